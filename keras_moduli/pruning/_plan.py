"""When pruning happens, and how much of it."""

import warnings
from collections.abc import Callable
from typing import Any

from keras_moduli import _checks, schedules

UNITS = ("epoch", "step")
# The paper's runs prune to the last epoch, end broken and need extra epochs.
_PRUNING_SHARE = 0.75
_FREQUENCY = {"epoch": 1, "step": 100}


class Plan:
    """The updates of a run: at `begin`, every `frequency` after it, and at `end`.

    Args:
        schedule: Fraction of the final sparsity over progress.
        begin: Position, an epoch or a step, of the first update.
        end: Position of the last; None if that depends on the length of training.
        frequency: How many positions apart; None for each epoch, or 100 steps.
        unit: `"epoch"` or `"step"`.
    """

    def __init__(
        self,
        schedule: str | dict[str, Any] | Callable[[float], float],
        begin: int,
        end: int | None,
        frequency: int | None,
        unit: str,
    ) -> None:
        self.schedule = schedules.get(schedule)
        for tenth in range(11):
            _fraction(self.schedule, tenth / 10)
        self.unit = _checks.choice("unit", unit, UNITS)
        self.begin = _checks.integer("begin", begin, minimum=0)
        self.end = None if end is None else _checks.integer("end", end, minimum=0)
        if self.end is not None and self.end < self.begin:
            raise ValueError(
                f"`end` must not be before `begin`. Received: begin={begin}, end={end}"
            )
        if frequency is None:
            frequency = _FREQUENCY[self.unit]
        self.frequency = _checks.integer("frequency", frequency, minimum=1)
        self.last: int | None = self.end

    def settle(self, length: int | None) -> None:
        """Fixes the last update for a run of so many epochs or steps.

        Args:
            length: None where it is not known, which needs an `end`.
        """
        if self.end is not None:
            self.last = self.end
        elif length is None:
            raise ValueError(
                f"The number of {self.unit}s of this run is not known, so `end` must be "
                f"given: the {self.unit} at which the final sparsity is reached."
            )
        else:
            self.last = max(self.begin, int(_PRUNING_SHARE * length))

    def due(self, position: int, since: int | None = None) -> int | None:
        """The latest update at or before a position and after `since`, if there is one.

        Args:
            position: Epoch or step that is about to begin.
            since: The position looked at last; None to look at all.
        """
        assert self.last is not None
        if position < self.begin:
            return None
        steps = (min(position, self.last) - self.begin) // self.frequency
        latest = self.begin + steps * self.frequency
        if position >= self.last:
            latest = self.last
        return latest if since is None or latest > since else None

    def progress(self, position: int) -> float:
        """0 at the begin of pruning, 1 at its end."""
        assert self.last is not None
        if position >= self.last:
            return 1.0
        return (position - self.begin) / (self.last - self.begin)

    def warn(self, length: int | None) -> None:
        """Warns of a plan that a run of this many epochs or steps does not fit."""
        assert self.last is not None
        if length is not None and self.last >= length:
            warnings.warn(
                f"The final sparsity is reached at the start of {self.unit} {self.last} "
                f"(counted from 0), which a run of {length} {self.unit}s never begins. "
                "Train longer or lower `begin` and `end`.",
                stacklevel=3,
            )
        elif self.last == 0:
            warnings.warn(
                "All pruning happens before the first step of training. Train for more "
                "epochs so that weights are ranked after they have learned.",
                stacklevel=3,
            )

    def fraction(self, position: int) -> float:
        """The fraction of the final sparsity in force from a position on."""
        return _fraction(self.schedule, self.progress(position))


def _fraction(schedule: Callable[[float], float], progress: float) -> float:
    value = _checks.real("schedule(progress)", schedule(progress))
    if not 0 <= value <= 1:
        raise ValueError(
            "`schedule` must return a fraction of the final sparsity, in [0, 1]. At "
            f"progress {progress:g} it returned {value!r}."
        )
    return value
