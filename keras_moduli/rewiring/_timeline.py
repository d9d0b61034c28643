"""When blocks move, and how many."""

import math
import warnings
from dataclasses import dataclass

from keras_moduli import _checks
from keras_moduli._registry import Configuration

UNITS = ("epoch", "step")


@dataclass(frozen=True)
class MoveTimeline(Configuration):
    """Blocks move every so many epochs or steps after `begin`, and before `end`.

    Args:
        fraction: Of the blocks of a column, in (0, 1].
        frequency: How many epochs or steps apart.
        unit: `"epoch"` or `"step"`.
        begin: Epoch or step, counted from 0: the first move is `frequency` after it.
        end: Epoch or step from which on nothing moves. On the way there the fraction
            falls as f/2·(1 + cos πp) over the progress p. None: it stays, to the last.
    """

    fraction: float = 0.1
    frequency: int = 100
    unit: str = "step"
    begin: int = 0
    end: int | None = None

    def __post_init__(self) -> None:
        fraction = _checks.positive("fraction", self.fraction)
        if fraction > 1:
            raise ValueError(
                "`fraction` is that of the blocks which move, in (0, 1]. "
                f"Received: fraction={self.fraction!r}"
            )
        self._set(
            fraction=fraction,
            frequency=_checks.integer("frequency", self.frequency, minimum=1),
            unit=_checks.choice("unit", self.unit, UNITS),
            begin=_checks.integer("begin", self.begin, minimum=0),
        )
        if self.end is None:
            return
        self._set(end=_checks.integer("end", self.end, minimum=0))
        if self.end <= self.begin + self.frequency:
            raise ValueError(
                "`end` must be after the first move, which is `frequency` after `begin`. "
                f"Received: begin={self.begin}, frequency={self.frequency}, "
                f"end={self.end}"
            )

    @property
    def first(self) -> int:
        """The position of the first move."""
        return self.begin + self.frequency

    def find(self, position: int, previous: int) -> int | None:
        """Returns the latest move that is due after one position and up to another.

        Args:
            position: Epoch or step that is about to start.
            previous: The one before, at which moves were made if they were due.
        """
        latest = position - (position - self.begin) % self.frequency
        if latest < self.first or latest <= previous:
            return None
        return None if self.end is not None and latest >= self.end else latest

    def count(self, position: int, blocks: int) -> int:
        """Returns how many of the blocks of a column move.

        Args:
            position: Of the move.
            blocks: Of a column.
        """
        fraction = self.fraction
        if self.end is not None:
            progress = (position - self.begin) / (self.end - self.begin)
            fraction *= (1 + math.cos(math.pi * progress)) / 2
        return max(1, round(fraction * blocks))

    def warn_unless_it_fits(self, length: int | None) -> None:
        """Warns if a run of so many epochs or steps ends before the first move.

        Args:
            length: Epochs or steps of the run; None where that is not known.
        """
        if length is not None and length <= self.first:
            warnings.warn(
                f"No block moves: the first move is before {self.unit} {self.first} "
                f"(counted from 0), which a run of {length} {self.unit}s never starts. "
                "Train longer or lower `begin` and `frequency`.",
                stacklevel=3,
            )
