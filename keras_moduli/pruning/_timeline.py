"""When pruning happens, and how much of it."""

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from keras_moduli import _checks, schedules
from keras_moduli._registry import Configuration
from keras_moduli._repr import write_call

UNITS = ("epoch", "step")
# The paper's runs prune to the last epoch, end broken and need extra epochs.
_PRUNING_SHARE = 0.75
_FREQUENCY = {"epoch": 1, "step": 100}


class Update(NamedTuple):
    """What is in force from one update of the masks to the next.

    Attributes:
        position: The epoch or step at whose start the update is due.
        progress: 0 at the start of pruning, 1 at its end.
        fraction: Fraction of the final sparsity.
    """

    position: int
    progress: float
    fraction: float


@dataclass(frozen=True)
class Timeline(Configuration):
    """The updates of a run: at `begin`, every `frequency` after it, and at `end`.

    Args:
        schedule: Fraction of the final sparsity over progress: a name, a
            `keras_moduli.schedules.Schedule`, its config, or a function.
        begin: Position, an epoch or a step counted from 0, of the first update.
        end: Position of the last; None if that depends on the length of training.
        frequency: How many positions apart; None for each epoch, or 100 steps.
        unit: `"epoch"` or `"step"`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of range, or `end` is before `begin`.

    Examples:
        >>> import keras_moduli as km
        >>> timeline = km.pruning.Timeline("linear", begin=2, frequency=3).settle(16)
        >>> timeline.end
        12
        >>> timeline.at(1)
        >>> timeline.at(9)
        Update(position=8, progress=0.6, fraction=0.6)
    """

    schedule: Any = "cubic"
    begin: int = 0
    end: int | None = None
    frequency: int | None = None
    unit: str = "epoch"

    def __post_init__(self) -> None:
        self._set(schedule=schedules.get(self.schedule))
        for tenth in range(11):
            _compute_fraction(self.schedule, tenth / 10)
        _checks.choice("unit", self.unit, UNITS)
        self._set(begin=_checks.integer("begin", self.begin, minimum=0))
        if self.end is not None:
            self._set(end=_checks.integer("end", self.end, minimum=0))
            if self.end < self.begin:
                raise ValueError(
                    "`end` must not be before `begin`. Received: "
                    f"begin={self.begin}, end={self.end}"
                )
        if self.frequency is not None:
            self._set(frequency=_checks.integer("frequency", self.frequency, minimum=1))

    def __repr__(self) -> str:
        return write_call(self)

    def settle(self, length: int | None) -> Self:
        """Returns the same timeline with its `end` fixed.

        Args:
            length: Epochs or steps of the run; None where that is not known.

        Raises:
            ValueError: If neither `length` nor `end` is known.
        """
        if self.end is not None:
            return self
        if length is None:
            raise ValueError(
                f"The number of {self.unit}s of this run is not known, so `end` must be "
                f"given: the {self.unit} at which the final sparsity is reached."
            )
        end = max(self.begin, int(_PRUNING_SHARE * length))
        return dataclasses.replace(self, end=end)

    def at(self, position: int) -> Update | None:
        """Returns the latest update at or before a position, None before the first.

        Depends on nothing but the position, so that a run which is resumed anywhere finds
        what it must catch up with.

        Args:
            position: Epoch or step that is about to start.

        Raises:
            ValueError: If the end is not fixed yet.
        """
        if self.end is None:
            raise ValueError(
                "The timeline has no `end` yet. Call `settle(length)` first."
            )
        if position < self.begin:
            return None
        frequency = self.frequency or _FREQUENCY[self.unit]
        latest, progress = self.end, 1.0
        if position < self.end:
            latest = position - (position - self.begin) % frequency
            progress = (latest - self.begin) / (self.end - self.begin)
        return Update(latest, progress, _compute_fraction(self.schedule, progress))

    def warn_unless_it_fits(self, length: int | None) -> None:
        """Warns if a run of so many epochs or steps never reaches the end, or at once.

        Args:
            length: Epochs or steps of the run; None where that is not known.
        """
        assert self.end is not None
        if length is not None and self.end >= length:
            warnings.warn(
                f"The final sparsity is reached at the start of {self.unit} {self.end} "
                f"(counted from 0), which a run of {length} {self.unit}s never starts. "
                "Train longer or lower `begin` and `end`.",
                stacklevel=3,
            )
        elif self.end == 0:
            warnings.warn(
                "All pruning happens before the first step of training. Train for more "
                "epochs so that weights are ranked after they have learned.",
                stacklevel=3,
            )


def _compute_fraction(schedule: Callable[[float], float], progress: float) -> float:
    value = _checks.real("schedule(progress)", schedule(progress))
    if not 0 <= value <= 1:
        raise ValueError(
            "`schedule` must return a fraction of the final sparsity, in [0, 1]. At "
            f"progress {progress:g} it returned {value!r}."
        )
    return value
