"""Handwritten digits, row by row.

    python examples/digits.py --manifold torus --seeds 5

The network sees the eight rows of an image of 8 × 8 pixels, one at a time, and says which
digit it is. The 1797 images come with scikit-learn; 500 of them are the test.

Source: Alpaydin and Kaynak, "Optical recognition of handwritten digits", 1998.
"""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import command_line
import keras
import numpy as np
from experiments import Experiment, percent_wrong

TESTED = 500


@functools.cache
def images() -> tuple[np.ndarray, np.ndarray]:
    """All images (1797, 8, 8) from 0 to 1 and their digits, shuffled once and for all."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.RandomState(0).permutation(len(data.target))
    return (data.images[order] / 16).astype("float32"), data.target[order]


@dataclass(frozen=True, kw_only=True)
class Digits(Experiment):
    """Train a sparse recurrent network to read digits row by row."""

    epochs: int = 60
    learning_rate: float = 3e-3

    error_name: ClassVar[str] = "% of test digits wrong"
    chance: ClassVar[float] = 90.0
    quick: ClassVar[dict[str, Any]] = {"units": 32, "epochs": 8, "sparsity": 0.5}

    def network(self) -> keras.Model:
        readout = keras.layers.Dense(10, name="readout")
        model = keras.Sequential([keras.Input((8, 8)), self.recurrent(), readout])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(self.optimizer(global_clipnorm=1.0), loss)
        return model

    def training(self) -> dict[str, Any]:
        x, y = images()
        return {"x": x[TESTED:], "y": y[TESTED:], "batch_size": 32}

    def error(self, model: keras.Model) -> float:
        x, y = images()
        return percent_wrong(model, x[:TESTED], y[:TESTED])


if __name__ == "__main__":
    command_line.main(Digits)
