"""How many steps of a run `fit` has done."""

from typing import Any

from keras import ops

from keras_moduli import _keras_private


class StepClock:
    """Counts the updates of the weights since the first epoch of a run, epoch 0.

    A step is one update: several batches, where an optimizer accumulates gradients. They
    are counted as `fit` counts batches, since an optimizer's own count goes on from
    earlier runs, and not at all where a `train_step` has optimizers of its own.

    Args:
        optimizer: The optimizer of the model.
        batches: Number of batches of an epoch, None where that is not known.
    """

    def __init__(self, optimizer: Any, batches: int | None) -> None:
        *_, innermost = _keras_private.iterate_optimizers(optimizer)
        self._accumulated = getattr(innermost, "gradient_accumulation_steps", None) or 1
        self._batches = batches
        self._optimizer = optimizer
        self._done: int | None = None  # batches before this epoch
        self._seen = 0  # of this epoch

    def count(self, epochs: int) -> int | None:
        """Returns the number of updates of so many epochs, None where unknown."""
        if self._batches is None:
            return None
        return epochs * self._batches // self._accumulated

    def start_epoch(self, epoch: int) -> None:
        """Tells that an epoch starts, perhaps not the first of a run that is resumed."""
        if self._batches is not None:
            self._done = epoch * self._batches
        elif self._done is not None:
            self._done += self._seen
        elif epoch == 0:
            self._done = 0
        else:
            steps = count_iterations(self._optimizer)
            self._done = steps * self._accumulated
        self._seen = 0

    def read(self, batch: int) -> int:
        """Returns how many updates were done before a batch.

        Args:
            batch: Its number in this epoch.
        """
        self._seen = batch + 1
        return ((self._done or 0) + batch) // self._accumulated


def count_iterations(optimizer: Any) -> int:
    """Returns how many updates an optimizer has done, also one on several devices."""
    return int(ops.convert_to_numpy(optimizer.iterations))
