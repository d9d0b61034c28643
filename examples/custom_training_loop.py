"""Prune in a custom training loop, with a mask that moves: dynamic sparse training.

The network is sparse from the first step on. Every 20 steps RigL prunes the weakest of
its weights and brings back as many pruned ones, those with the largest gradients.
"""

import argparse

import keras
import numpy as np

import keras_moduli as km

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--sparsity", type=float, default=0.9)
parser.add_argument("--steps", type=int, default=600)
args = parser.parse_args()
keras.utils.set_random_seed(0)

# Which of four frequencies has a noisy wave?
rng = np.random.RandomState(0)
labels = rng.randint(0, 4, 4096)
phases = rng.uniform(0, 2 * np.pi, (4096, 1)) + np.outer(
    0.2 + 0.1 * labels, np.arange(30)
)
waves = (np.sin(phases) + 0.3 * rng.normal(size=phases.shape)).astype("float32")[
    ..., None
]

model = keras.Sequential(
    [keras.Input((30, 1)), keras.layers.GRU(64), keras.layers.Dense(4)]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])

pruning = km.MagnitudePruning(
    args.sparsity,
    unit="step",
    end=args.steps * 3 // 4,  # afterwards the mask stays
    frequency=20,
    schedule="constant",
    scope="erk",
    regrow="rigl",
)
recurrent_kernel = model.layers[0].cell.recurrent_kernel
pruning.attach(model)  # before the first step is compiled
for step in range(args.steps):
    changed = pruning.update(step)
    batch = rng.randint(0, 3584, 64)
    logs = model.train_on_batch(waves[batch], labels[batch], return_dict=True)
    if step % 100 == 0 or step == args.steps - 1:
        kept = np.count_nonzero(keras.ops.convert_to_numpy(recurrent_kernel.value))
        print(f"step {step}: loss {logs['loss']:.3f}, {kept} recurrent weights")
pruning.release()  # the zeros are ordinary weights now

print(km.sparsity(model))
scores = model.predict(waves[3584:], verbose=0)
print(
    f"{np.mean(scores.argmax(-1) == labels[3584:]):.1%} of waves not trained on are right"
)
