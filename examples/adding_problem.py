"""Train a recurrent network, prune it by geometry, and compare it with a control.

The input is a row of numbers in [0, 1] and a row of marks, 1 at two steps, else 0; the
output is the sum of the marked numbers. Who always answers 1 has an error (MSE) of 1/6.

Source: Mackey et al., "Geometric sparsification in recurrent neural networks", 2024.
"""

import argparse
import statistics

import keras
import numpy as np

import keras_moduli as km

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
add = parser.add_argument
add("--manifold", default="torus", help="where neurons are: circle, sphere...")
add("--inhibitor", default="dog", help="what a distance costs: diffusion, gaussian...")
add("--control", default="geometry", choices=["geometry", "permuted", "l1", "none"])
add("--strength", type=float, default=0.1, help="of the penalty")
add("--units", type=int, default=128)
add("--epochs", type=int, default=30)
add("--batches", type=int, default=312, help="of 32 fresh sequences, in an epoch")
add("--seeds", type=int, default=1, help="networks to train")
args = parser.parse_args()


def draw_batches(rng, size):
    while True:
        values, marks = rng.uniform(size=(size, 50)), np.zeros((size, 50))
        marked = rng.uniform(size=(size, 50)).argsort(axis=1)[:, :2]
        np.put_along_axis(marks, marked, 1.0, axis=1)
        x, y = np.stack([values, marks], axis=-1), (values * marks).sum(axis=1)
        yield x.astype("float32"), y.astype("float32")[:, None]


x_test, y_test = next(draw_batches(np.random.RandomState(2**31), 10_000))
errors = {}
for seed in range(args.seeds):
    keras.utils.set_random_seed(seed)
    shuffled = seed if args.control == "permuted" else None
    geometry = args.manifold, args.inhibitor, args.strength
    settings = {"reduction": "mean", "seed": seed, "permute_seed": shuffled}
    penalty = km.ModuliRegularizer(*geometry, **settings)
    controls = {"l1": km.matched_l1(penalty, args.units), "none": None}
    penalty = controls.get(args.control, penalty)
    rnn = keras.layers.SimpleRNN(args.units, "relu", recurrent_regularizer=penalty)
    model = keras.Sequential([keras.Input((50, 2)), rnn, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-3, global_clipnorm=0.5), "mse")
    batches = draw_batches(np.random.RandomState(seed), 32)
    fresh = {"steps_per_epoch": args.batches, "shuffle": False, "epochs": args.epochs}
    model.fit(batches, **fresh, callbacks=[km.MagnitudePruning(0.95)])
    errors[seed] = float(np.mean((model.predict(x_test, verbose=0) - y_test) ** 2))
    print(f"\nSeed {seed}\n{km.sparsity(model)}\n")

print(f"seed    test MSE, {args.control}")
for row in (*errors.items(), ("median", statistics.median(errors.values()))):
    print("{:<7} {:.5f}".format(*row))
