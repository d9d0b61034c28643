"""The adding problem with a sparse recurrent network.

A sequence holds two rows of numbers: values in [0, 1], and a marker that is 1 at two
steps and 0 elsewhere. The network has to output the sum of the two marked values.
Answering 1 every time gives a mean squared error (MSE) of 1/6.

    python -m examples.experiments.single AddingProblem --manifold torus --seeds 3

trains one network per seed, prunes it to 95 % zeros while it learns, and writes to
`--output`: `results.csv`, one row per seed and weight matrix, and one `.keras` file per
seed, which it loads back and checks.

Source: Mackey et al., "Geometric sparsification in recurrent neural networks", 2024,
whose sizes these are. They train at a learning rate of 1e-4 for 110 epochs; ten times
the rate and a schedule that leaves time to recover do it in fewer.
"""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from ..settings import TEST_SEED, Experiment
from . import register
from ._data import FreshBatches

BATCH_SIZE = 32
EPOCH_SIZE = 10_000
STEPS = 50


def draw_sequences(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws `count` inputs of shape (STEPS, 2) and their targets."""
    rng = np.random.RandomState(seed)
    values = rng.uniform(size=(count, STEPS))
    marks = np.zeros_like(values)
    marked = np.argsort(rng.uniform(size=values.shape), axis=1)[:, :2]
    np.put_along_axis(marks, marked, 1.0, axis=1)
    x = np.stack([values, marks], axis=-1).astype("float32")
    return x, (values * marks).sum(axis=1, keepdims=True).astype("float32")


class FreshSequences(FreshBatches):
    """Epochs of the size that Mackey et al. train with."""

    def __init__(self, seed: int) -> None:
        super().__init__(draw_sequences, seed, EPOCH_SIZE // BATCH_SIZE, BATCH_SIZE)


@functools.cache
def draw_test_sequences() -> tuple[np.ndarray, np.ndarray]:
    """Draws sequences never trained on."""
    return draw_sequences(EPOCH_SIZE, TEST_SEED)


@register
@dataclass(frozen=True, kw_only=True)
class AddingProblem(Experiment):
    """Train a sparse recurrent network on the adding problem."""

    error_name: ClassVar[str] = "test MSE"
    chance: ClassVar[float] = 1 / 6
    quick: ClassVar[dict[str, Any]] = {"units": 32, "epochs": 3, "sparsity": 0.5}

    def build_network(self) -> keras.Model:
        layer = self.build_recurrent(activation="relu")
        readout = keras.layers.Dense(1, name="readout")
        model = keras.Sequential([keras.Input((STEPS, 2)), layer, readout])
        model.compile(self.make_optimizer(global_clipnorm=0.5), "mse")
        return model

    def make_training(self) -> dict[str, Any]:
        return {"x": FreshSequences(self.seed)}

    def measure_error(self, model: keras.Model) -> float:
        x, y = draw_test_sequences()
        return float(np.mean((model.predict(x, batch_size=500, verbose=0) - y) ** 2))
