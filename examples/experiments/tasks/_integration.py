"""Path integration on a manifold: what the tasks whose moduli space is known share.

The input is where the walk starts, at the first step, and then its velocity, step by
step; the output is where it is, as a point of the manifold embedded in a space. What such
a network has to hold in its state is a point of the manifold.
"""

import abc
import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

import keras_moduli as km

from ..settings import TEST_SEED, Experiment, add_option
from ._data import FreshBatches

Walk = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Integration(Experiment):
    """A task on a manifold: how a walk goes, and how a point is written down and read."""

    steps: int = add_option(25, "of a walk")
    batches: int = add_option(100, "of fresh walks in an epoch")
    batch_size: int = add_option(64, "walks in a batch")
    epochs: int = 20
    sparsity: float = 0.95

    error_name: ClassVar[str] = "error in degrees"
    chance: ClassVar[float]
    quick: ClassVar[dict[str, Any]] = {
        "units": 64,
        "epochs": 6,
        "batches": 60,
        "learning_rate": 3e-3,
        "sparsity": 0.3,
    }
    truth: ClassVar[km.manifolds.Manifold]  # with all lengths in degrees

    @abc.abstractmethod
    def draw_walk(self, count: int, rng: np.random.RandomState) -> Walk:
        """Draws velocities (count, steps, v), first 0, and points (count, steps, a)."""

    @abc.abstractmethod
    def embed(self, points: np.ndarray) -> np.ndarray:
        """Writes points as networks see them: coordinates of a space without seams."""

    @abc.abstractmethod
    def read(self, outputs: np.ndarray) -> np.ndarray:
        """Reads the points that outputs stand for: the inverse of `embed`."""

    def draw_walks(
        self, count: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws inputs, targets, and the points of the walks."""
        velocity, points = self.draw_walk(count, np.random.RandomState(seed))
        y = self.embed(points).astype("float32")
        x = np.zeros((count, self.steps, y.shape[-1] + velocity.shape[-1]), "float32")
        x[:, 0, : y.shape[-1]] = y[:, 0]
        x[:, :, y.shape[-1] :] = velocity
        return x, y, points

    def build_network(self) -> keras.Model:
        x, y, _ = self.draw_walks(1, 0)
        layer = self.build_recurrent(activation="relu", return_sequences=True)
        readout = keras.layers.Dense(y.shape[-1], name="readout")
        model = keras.Sequential([keras.Input(x.shape[1:]), layer, readout])
        model.compile(self.make_optimizer(global_clipnorm=1.0), "mse")
        return model

    def make_training(self) -> dict[str, Any]:
        def draw(count: int, seed: int) -> Any:
            return self.draw_walks(count, seed)[:2]

        return {"x": FreshBatches(draw, self.seed, self.batches, self.batch_size)}

    def measure_error(self, model: keras.Model) -> float:
        """Measures the mean distance of the last point read from where the walk ended."""
        x, points = _draw_test_walks(type(self), self.steps)
        outputs = model.predict(x, batch_size=500, verbose=0)[:, -1]
        points_read = self.read(outputs.astype("float64")).astype("float32")
        distance = self.truth.distance(points_read, points[:, -1].astype("float32"))
        return float(np.mean(keras.ops.convert_to_numpy(distance)))


@functools.cache
def _draw_test_walks(
    task: type[Integration], steps: int
) -> tuple[np.ndarray, np.ndarray]:
    x, _, points = task(steps=steps).draw_walks(2000, TEST_SEED)
    return x, points


def read_angles(outputs: np.ndarray) -> np.ndarray:
    """Computes the degrees in [0, 360) of pairs of cosine and sine (..., 2)."""
    return np.rad2deg(np.arctan2(outputs[..., 1], outputs[..., 0])) % 360


def write_circles(degrees: np.ndarray) -> np.ndarray:
    """Computes cosine and sine of angles (..., n), as (..., 2n)."""
    radians = np.deg2rad(degrees)
    pairs = np.stack([np.cos(radians), np.sin(radians)], -1)
    return pairs.reshape(*degrees.shape[:-1], -1)


def draw_flat_walk(
    count: int, steps: int, dim: int, step: float, rng: np.random.RandomState
) -> Walk:
    """Draws velocities in radians, and the angles in degrees that they add up to."""
    velocity = step * rng.standard_normal((count, steps, dim))
    velocity[:, 0] = 0
    start = rng.uniform(0, 360, (count, 1, dim))
    return velocity, start + np.rad2deg(velocity.cumsum(axis=1))
