"""Train a sparse transformer with one geometry throughout, on any text.

The features of the residual stream have learned positions that all layers share; every
kernel pays for the distances that it spans, and is pruned.
"""

import argparse
import pathlib

import keras
import numpy as np

import keras_moduli as km

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--data", type=pathlib.Path, help="text file; Shakespeare if none")
parser.add_argument("--width", type=int, default=64, help="features of the stream")
parser.add_argument("--steps", type=int, default=64, help="characters in a window")
parser.add_argument("--blocks", type=int, default=2)
parser.add_argument("--epochs", type=int, default=12)
args = parser.parse_args()
keras.utils.set_random_seed(0)

url = "https://storage.googleapis.com/download.tensorflow.org/data/shakespeare.txt"
path = args.data or pathlib.Path(keras.utils.get_file(origin=url))
characters, codes = np.unique(list(path.read_text("utf-8")), return_inverse=True)
windows = np.lib.stride_tricks.sliding_window_view(codes, args.steps + 1)
training = windows[: int(0.9 * len(windows)) : 7]
held_out = windows[int(0.9 * len(windows)) :: args.steps]

stream = km.layers.NeuronEmbedding("euclidean", name="stream")


def connect(layer, x, y):  # from neurons x to neurons y
    return km.layers.Moduli(layer, input_embedding=x, output_embedding=y, strength=1e-7)


tokens = keras.Input((args.steps,), dtype="int32")
order = keras.ops.cumsum(keras.ops.ones_like(tokens), axis=1) - 1
x = keras.layers.Embedding(len(characters), args.width)(tokens)
x += keras.layers.Embedding(args.steps, args.width)(order)
for number in range(args.blocks):
    normed = keras.layers.LayerNormalization()(x)
    attention = keras.layers.MultiHeadAttention(4, args.width // 4)
    x += connect(attention, stream, stream)(normed, normed, use_causal_mask=True)
    hidden = km.layers.NeuronEmbedding("euclidean", seed=number)
    wide = connect(keras.layers.Dense(4 * args.width, "gelu"), stream, hidden)
    narrow = connect(keras.layers.Dense(args.width), hidden, stream)
    x += narrow(wide(keras.layers.LayerNormalization()(x)))
logits = keras.layers.Dense(len(characters))(keras.layers.LayerNormalization()(x))
model = keras.Model(tokens, logits)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(km.embedding_optimizer(keras.optimizers.Adam(2e-3), 0.01), loss)
callbacks = [km.MagnitudePruning(0.8), km.GeometryMonitor()]
x, y = training[:, :-1], training[:, 1:]
model.fit(x, y, batch_size=32, epochs=args.epochs, callbacks=callbacks)

print(km.sparsity(model), km.geometry(model), sep="\n")
nats = loss(held_out[:, 1:], model.predict(held_out[:, :-1], verbose=0))
print(f"{float(nats) / np.log(2):.3f} bits per character on held-out text")
