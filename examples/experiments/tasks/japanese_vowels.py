"""Japanese vowels: which of nine men says a vowel.

    python -m examples.experiments.single JapaneseVowels --manifold circle --seeds 5

A real set of time series, which comes with sktime: 640 utterances of 7 to 29 steps of 12
cepstral coefficients, 270 of them to train with and 370 to test.

Source: Kudo, Toyama and Shimbo, "Multidimensional curve classification using
passing-through regions", 1999.
"""

import functools
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from ..settings import Experiment
from . import register
from ._data import measure_percent_wrong

LONGEST = 29


@functools.cache
def load_utterances(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Loads utterances (count, 29, 12), zeros after their ends, and speakers 0 to 8."""
    from sktime.datasets import load_japanese_vowels

    tables, speakers = load_japanese_vowels(split=split, return_type="df-list")
    series = [table.to_numpy(dtype="float32") for table in tables]
    x = keras.utils.pad_sequences(series, LONGEST, dtype="float32", padding="post")
    return x, np.asarray(speakers).astype(int) - 1


@register
@dataclass(frozen=True, kw_only=True)
class JapaneseVowels(Experiment):
    """Train a sparse recurrent network to tell speakers apart."""

    manifold: str = "circle"
    epochs: int = 60
    learning_rate: float = 3e-3

    error_name: ClassVar[str] = "% of test utterances wrong"
    chance: ClassVar[float] = 89.0
    quick: ClassVar[dict[str, Any]] = {"units": 32, "epochs": 10, "sparsity": 0.5}

    def build_network(self) -> keras.Model:
        model = keras.Sequential(
            [
                keras.Input((LONGEST, 12)),
                keras.layers.Masking(),
                self.build_recurrent(),
                keras.layers.Dense(9, name="readout"),
            ]
        )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(self.make_optimizer(global_clipnorm=1.0), loss)
        return model

    def make_training(self) -> dict[str, Any]:
        x, y = load_utterances("train")
        return {"x": x, "y": y, "batch_size": 16}

    def measure_error(self, model: keras.Model) -> float:
        return measure_percent_wrong(model, *load_utterances("test"))
