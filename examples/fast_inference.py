"""Prune a recurrent network in blocks and turn it into one that is small and fast.

Large balanced blocks are what fast layers need: `km.sparsify` makes an ordinary Keras
model that holds the kept blocks only and computes the same function.
"""

import argparse
import pathlib
import time

import keras
import numpy as np

import keras_moduli as km

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--units", type=int, default=512, help="below it, little is gained")
parser.add_argument("--block", type=int, nargs=2, default=[16, 64])
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--sequences", type=int, default=4096)
parser.add_argument("--output", type=pathlib.Path, default="runs/fast_inference")
args = parser.parse_args()
args.output.mkdir(parents=True, exist_ok=True)
keras.utils.set_random_seed(0)

# The task: to smooth a noisy signal, each output being 0.9 of the last and the input.
rng = np.random.RandomState(0)
signal = rng.normal(size=(args.sequences, 50, 1)).astype("float32")
decay = np.tril(0.9 ** np.subtract.outer(np.arange(50), np.arange(50)))
smooth = 0.1 * np.einsum("ts,nsi->nti", decay, signal)

# Neurons on a circle, whose short connections are cheap, make masks of blocks local.
penalty = km.ModuliRegularizer("circle", "diffusion", strength=1e-4, reduction="mean")
rnn = keras.layers.SimpleRNN(
    args.units, recurrent_regularizer=penalty, return_sequences=True, name="rnn"
)
model = keras.Sequential([keras.Input((50, 1)), rnn, keras.layers.Dense(1)])
model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=1.0), "mse")
blocks = tuple(args.block)
pruning = km.MagnitudePruning(0.9, select="recurrent", structure=blocks)
model.fit(signal, smooth, batch_size=32, epochs=args.epochs, callbacks=[pruning])

print(km.sparsity(model))  # where the zeros are
print(km.sparse.plan(model))  # which layers gain, and which stay as they are
fast = km.sparsify(model)
for name, network in (("pruned", model), ("fast", fast)):
    size = km.save_compressed(network, args.output / f"{name}.keras")
    network.predict_on_batch(signal[:32])  # compiles
    start = time.perf_counter()
    outputs = np.asarray(network.predict_on_batch(signal[:32]))
    milliseconds = 1000 * (time.perf_counter() - start)
    error = np.mean((outputs - smooth[:32]) ** 2)
    print(f"{name}: MSE {error:.5f}, {size / 1024:.0f} kB, {milliseconds:.1f} ms")

# One time step at a time, for a signal that arrives while it is needed.
stream = km.sparse.Stream(fast)
for step in range(3):
    print(f"step {step}: {stream.step(signal[:1, step])[0]} is {outputs[0, step]}")
