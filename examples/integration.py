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
from experiments import TEST_SEED, Experiment, FreshBatches, option

import keras_moduli as km

Walk = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Integration(Experiment):
    """A task on a manifold: how a walk goes, and how a point is written down and read."""

    steps: int = option(25, "of a walk")
    batches: int = option(100, "of fresh walks in an epoch")
    batch_size: int = option(64, "walks in a batch")
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
    def walk(self, count: int, rng: np.random.RandomState) -> Walk:
        """Velocities (count, steps, v), the first 0, and points (count, steps, a)."""

    @abc.abstractmethod
    def written(self, points: np.ndarray) -> np.ndarray:
        """Points as the network sees them: coordinates of a space without seams."""

    @abc.abstractmethod
    def read(self, outputs: np.ndarray) -> np.ndarray:
        """The points that outputs stand for: the inverse of `written`."""

    def walks(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs, targets, and the points of the walk."""
        velocity, points = self.walk(count, np.random.RandomState(seed))
        y = self.written(points).astype("float32")
        x = np.zeros((count, self.steps, y.shape[-1] + velocity.shape[-1]), "float32")
        x[:, 0, : y.shape[-1]] = y[:, 0]
        x[:, :, y.shape[-1] :] = velocity
        return x, y, points

    def network(self) -> keras.Model:
        x, y, _ = self.walks(1, 0)
        layer = self.recurrent(activation="relu", return_sequences=True)
        readout = keras.layers.Dense(y.shape[-1], name="readout")
        model = keras.Sequential([keras.Input(x.shape[1:]), layer, readout])
        model.compile(self.optimizer(global_clipnorm=1.0), "mse")
        return model

    def training(self) -> dict[str, Any]:
        def sequences(count: int, seed: int) -> Any:
            return self.walks(count, seed)[:2]

        return {"x": FreshBatches(sequences, self.seed, self.batches, self.batch_size)}

    def error(self, model: keras.Model) -> float:
        """Mean distance of the last point that is read from where the walk ended."""
        x, points = _test_walks(type(self), self.steps)
        outputs = model.predict(x, batch_size=500, verbose=0)[:, -1]
        found = self.read(outputs.astype("float64")).astype("float32")
        distance = self.truth.distance(found, points[:, -1].astype("float32"))
        return float(np.mean(keras.ops.convert_to_numpy(distance)))


@functools.cache
def _test_walks(task: type[Integration], steps: int) -> tuple[np.ndarray, np.ndarray]:
    x, _, points = task(steps=steps).walks(2000, TEST_SEED)
    return x, points


def angles(outputs: np.ndarray) -> np.ndarray:
    """Degrees in [0, 360) of pairs of cosine and sine (..., 2)."""
    return np.rad2deg(np.arctan2(outputs[..., 1], outputs[..., 0])) % 360


def circles(degrees: np.ndarray) -> np.ndarray:
    """Cosine and sine of angles (..., n), as (..., 2n)."""
    radians = np.deg2rad(degrees)
    pairs = np.stack([np.cos(radians), np.sin(radians)], -1)
    return pairs.reshape(*degrees.shape[:-1], -1)


def flat_walk(
    count: int, steps: int, dim: int, step: float, rng: np.random.RandomState
) -> Walk:
    """Velocities in radians, and angles in degrees that they add up to from anywhere."""
    velocity = step * rng.standard_normal((count, steps, dim))
    velocity[:, 0] = 0
    start = rng.uniform(0, 360, (count, 1, dim))
    return velocity, start + np.rad2deg(velocity.cumsum(axis=1))
