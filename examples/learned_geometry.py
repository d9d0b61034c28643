"""Learn where the neurons of a network are, and look at the map.

The network is told a heading and then its turns, and has to hold the heading. Its neurons
learn positions in the plane, short connections being cheap: they form a ring.
"""

import argparse

import keras
import matplotlib.pyplot as plt
import numpy as np

import keras_moduli as km

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--units", type=int, default=128)
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--walks", type=int, default=6400, help="to learn from")
parser.add_argument("--output", default="learned_geometry.png")
args = parser.parse_args()
keras.utils.set_random_seed(0)

# Walks of 25 steps: the heading at the first step, the turn at each of the others.
turns = 0.5 * np.random.RandomState(0).normal(size=(args.walks, 25, 1))
turns[:, 0] = np.random.RandomState(1).uniform(0, 2 * np.pi, (args.walks, 1))
heading = turns.cumsum(axis=1)
y = np.concatenate([np.cos(heading), np.sin(heading)], axis=-1)
x = np.concatenate([0 * y, turns], axis=-1)
x[:, 0] = np.pad(y[:, 0], ((0, 0), (0, 1)))


def compete(x):  # an excitatory network, inhibited by the mean of all neurons
    return keras.ops.relu(x - keras.ops.mean(x, axis=-1, keepdims=True))


rnn = km.layers.ModuliSimpleRNN(
    args.units,
    compete,
    return_sequences=True,
    recurrent_initializer=keras.initializers.RandomUniform(0.0, 2.0 / args.units),
    recurrent_constraint="non_neg",
    manifold=km.manifolds.Euclidean(2),
    strength=1e-3 / args.units,
    dispersion=10.0,  # repels neurons, so that they do not end in one point
)
model = keras.Sequential([keras.Input((25, 3)), rnn, keras.layers.Dense(2)])
adam = keras.optimizers.Adam(2e-3, global_clipnorm=1.0)
model.compile(km.embedding_optimizer(adam, 0.03), "mse")  # positions learn faster
model.fit(x, y, 64, args.epochs, callbacks=[km.MagnitudePruning(0.8)])
print(km.geometry(model))

# At which heading is each neuron most active? Those that pruning cut off are not drawn.
activity = keras.ops.convert_to_numpy(rnn(x[:2000]))[:, 5:].reshape(-1, args.units)
preferred = np.angle(activity.T @ np.exp(1j * heading[:2000, 5:].ravel()))
positions = keras.ops.convert_to_numpy(rnn.embedding.value)
kept = (keras.ops.convert_to_numpy(rnn.recurrent_kernel.value) != 0).any(axis=1)
plt.scatter(*positions[kept].T, c=preferred[kept], cmap="hsv")
plt.colorbar(label="preferred heading")
plt.savefig(args.output)
print(f"Drew the neurons to {args.output}")
