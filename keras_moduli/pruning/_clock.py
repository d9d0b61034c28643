"""How many steps `fit` has done."""

from typing import Any

from keras_moduli import _keras_private


class StepClock:
    """Counts the updates of the weights during an epoch.

    Not read from the optimizer, which on JAX would mean to write back its state before
    each step.

    Args:
        optimizer: The optimizer, whose count is right as the epoch starts.
    """

    def __init__(self, optimizer: Any) -> None:
        *_, innermost = _keras_private.iterate_optimizers(optimizer)
        self._start = int(optimizer.iterations)
        self._batches = innermost.gradient_accumulation_steps or 1
        self._first: int | None = None

    def read(self, batch: int) -> int:
        """Returns how many updates were done before a batch.

        Args:
            batch: Its number, as `fit` counts them in this epoch.
        """
        if self._first is None:
            self._first = batch
        return self._start + (batch - self._first) // self._batches
