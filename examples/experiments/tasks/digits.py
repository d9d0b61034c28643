"""Handwritten digits, row by row.

    python -m examples.experiments.single Digits --manifold torus --seeds 5

The network sees the eight rows of an image of 8 × 8 pixels, one at a time, and says which
digit it is. The 1797 images come with scikit-learn; 500 of them are the test.

Source: Alpaydin and Kaynak, "Optical recognition of handwritten digits", 1998.
"""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from ..settings import Experiment
from . import register
from ._data import measure_percent_wrong

TESTED = 500


@functools.cache
def load_images() -> tuple[np.ndarray, np.ndarray]:
    """Loads all images (1797, 8, 8) from 0 to 1 and their digits, in one random order."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.RandomState(0).permutation(len(data.target))
    return (data.images[order] / 16).astype("float32"), data.target[order]


@register
@dataclass(frozen=True, kw_only=True)
class Digits(Experiment):
    """Train a sparse recurrent network to read digits row by row."""

    epochs: int = 60
    learning_rate: float = 3e-3

    error_name: ClassVar[str] = "% of test digits wrong"
    chance: ClassVar[float] = 90.0
    quick: ClassVar[dict[str, Any]] = {"units": 32, "epochs": 8, "sparsity": 0.5}

    def build_network(self) -> keras.Model:
        readout = keras.layers.Dense(10, name="readout")
        model = keras.Sequential([keras.Input((8, 8)), self.build_recurrent(), readout])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(self.make_optimizer(global_clipnorm=1.0), loss)
        return model

    def make_training(self) -> dict[str, Any]:
        x, y = load_images()
        return {"x": x[TESTED:], "y": y[TESTED:], "batch_size": 32}

    def measure_error(self, model: keras.Model) -> float:
        x, y = load_images()
        return measure_percent_wrong(model, x[:TESTED], y[:TESTED])
