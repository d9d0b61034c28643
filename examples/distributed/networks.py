"""What the scripts train, on one device and on several, and what they compare.

Each network is a function that returns a model and the callbacks that train it; all of
these count steps, so that they work in `fit` and, by `attach` and `update`, in a loop.
"""

import sys
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import keras_moduli as km

# Training of a few steps is.
warnings.filterwarnings("ignore", "What is left of .* the penalty was too weak, or train")

Arrays = list[np.ndarray]
TOLERANCE = 1e-5
BATCH, STEPS = 16, 12  # of all devices together
STRENGTH = 0.1


def draw_data() -> tuple[np.ndarray, np.ndarray]:
    """Draws 64 sequences, and for each the sum of its first step."""
    x = np.random.RandomState(0).standard_normal((64, 6, 4)).astype("float32")
    return x, x[:, 0].sum(axis=-1, keepdims=True)


def take_share(array: np.ndarray, number: int, processes: int) -> np.ndarray:
    """Takes what one process has of each batch, if each feeds its own devices."""
    parts = array.reshape(-1, processes, BATCH // processes, *array.shape[1:])
    return parts[:, number].reshape(-1, *array.shape[1:])


def make_fixed() -> Any:
    """Neurons at given positions on a torus; masks that move, as in RigL."""
    penalty = km.ModuliRegularizer("torus", strength=STRENGTH)
    layer = keras.layers.SimpleRNN(32, recurrent_regularizer=penalty)
    return _stack(layer), [_prune(regrow="rigl", select="recurrent")]


def make_learned() -> Any:
    """Neurons that learn their positions, pruned in blocks."""
    layer = km.layers.ModuliSimpleRNN(32, manifold="torus", strength=STRENGTH)
    return _stack(layer), [_prune(structure=(4, 8), select="recurrent")]


def make_sparse() -> Any:
    """A layer of which only blocks exist, which move to where gradients are large."""
    rule = km.connectivity.SmallWorld("torus", 1 / 2, block=(4, 8))
    penalty = km.ModuliRegularizer("torus", strength=STRENGTH, gates=3)
    layer = km.layers.SparseGRU(32, connectivity=rule, recurrent_regularizer=penalty)
    return _stack(layer), [km.Rewire(1 / 4, frequency=3, data=draw_data())]


def make_large() -> Any:
    """A kernel of so many weights that its penalty is computed by rows.

    Blocks are pruned: of millions of weights some are as large as others up to rounding.
    """
    penalty = km.ModuliRegularizer("circle", strength=STRENGTH)
    layer = keras.layers.SimpleRNN(2048, recurrent_regularizer=penalty)
    return _stack(layer), [_prune(structure=(32, 32), select="recurrent")]


NETWORKS = {
    "fixed": make_fixed,
    "learned": make_learned,
    "sparse": make_sparse,
    "large": make_large,
}


def _stack(layer: Any) -> keras.Model:
    return keras.Sequential([keras.Input((6, 4)), layer, keras.layers.Dense(1)])


def _prune(**arguments: Any) -> km.MagnitudePruning:
    timing = {"schedule": "linear", "unit": "step", "end": STEPS // 2, "frequency": 2}
    return km.MagnitudePruning(0.75, **timing, **arguments)


def make(name: str) -> tuple[keras.Model, list[Any]]:
    """Makes a compiled network, with the same weights each time, and its callbacks."""
    keras.utils.set_random_seed(0)
    model, callbacks = NETWORKS[name]()
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    return model, callbacks


def train(name: str, number: int = 0, processes: int = 1) -> Arrays:
    """Trains a network by `fit`, with what one of some processes has of each batch."""
    model, callbacks = make(name)
    x, y = (take_share(array, number, processes) for array in draw_data())
    epochs = STEPS * BATCH // len(draw_data()[0])
    fixed = {"epochs": epochs, "shuffle": False, "verbose": 0}
    model.fit(x, y, BATCH // processes, callbacks=callbacks, **fixed)
    return read(model)


def read(model: keras.Model) -> Arrays:
    """Reads all weights, and says which of them no device has whole."""
    for variable in model.weights:
        sharding = getattr(variable.value, "sharding", None)
        if sharding is not None and not sharding.is_fully_replicated:
            own = sharding.shard_shape(variable.shape)
            print(f"{variable.path} is of shape {variable.shape}, {own} a device")
    return [keras.ops.convert_to_numpy(variable) for variable in model.weights]


def compare(name: str, alone: Arrays, together: Arrays) -> bool:
    """Says how much what several devices trained differs from what one did."""
    masks = same = True
    largest, zeros = 0.0, 0
    for one, other in zip(alone, together, strict=True):
        if np.issubdtype(one.dtype, np.integer):  # where blocks lie
            same &= bool((one == other).all())
        masks &= bool(((one == 0) == (other == 0)).all())
        zeros += int(np.count_nonzero(one == 0))
        largest = max(largest, float(np.abs(one - other).max()))
    masks &= same
    size = sum(array.size for array in alone)
    print(
        f"{name} ({zeros / size:.0%} zeros): same masks: {masks}, largest difference of "
        f"weights: {largest:.0e}",
        flush=True,
    )
    return masks and largest <= TOLERANCE


def compare_all(
    names: list[str], alone: Callable[[str], Arrays], together: Callable[[str], Arrays]
) -> None:
    """Trains each network in both ways; ends the script with 1 if any differs."""
    held = [compare(name, alone(name), together(name)) for name in names]
    if not all(held):
        sys.exit(1)
