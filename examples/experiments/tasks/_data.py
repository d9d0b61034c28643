"""Batches that no epoch has seen before, and a score for classes."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

Arrays = tuple[Any, np.ndarray]


class FreshBatches(keras.utils.PyDataset):
    """Batches that no earlier epoch has shown.

    Args:
        draw_sequences: From a number and a seed to so many inputs and targets.
        seed: Of the run.
        batches: In an epoch.
        batch_size: Sequences in each.
        finish: From a batch of them to what the network sees, if that is larger.
    """

    def __init__(
        self,
        draw_sequences: Callable[[int, int], Arrays],
        seed: int,
        batches: int,
        batch_size: int,
        finish: Callable[[Any, Any], Arrays] = lambda x, y: (x, y),
    ) -> None:
        super().__init__()
        self.draw_sequences, self.finish = draw_sequences, finish
        self.batches, self.batch_size = batches, batch_size
        self.epoch_seed = 100_000 * seed
        self.on_epoch_end()

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, batch: int) -> Arrays:
        rows = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        return self.finish(self.x[rows], self.y[rows])

    def on_epoch_end(self) -> None:
        count = self.batches * self.batch_size
        self.x, self.y = self.draw_sequences(count, self.epoch_seed)
        self.epoch_seed += 1


def measure_percent_wrong(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """Measures how many sequences get the highest score for another class than theirs."""
    scores = model.predict(x, batch_size=len(x), verbose=0)
    return float(100 * np.mean(scores.argmax(-1) != y))
