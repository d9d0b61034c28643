"""What is pruned at once: single weights, blocks, or n out of m."""

import abc
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_moduli import _checks

Array = NDArray[Any]


class Units(NamedTuple):
    """What a matrix is pruned by.

    Attributes:
        scores: How important each unit is: −1 if it is masked, infinite if it stays.
        sizes: Weights of each unit; None if each is one weight, in the matrix's order.
        labels: The unit of each weight, in the matrix's order; None likewise.
    """

    scores: Array
    sizes: Array | None = None
    labels: Array | None = None

    def mask(self, keep: Array) -> Array:
        """Which weights belong to units that are kept, flattened."""
        return keep if self.labels is None else keep[self.labels]


class Granularity(abc.ABC):
    """How a matrix (inputs, outputs) is divided into the units that pruning removes."""

    @abc.abstractmethod
    def check(self, path: str, shape: tuple[int, int]) -> None:
        """Raises a ValueError if a matrix of this shape cannot be divided."""

    @abc.abstractmethod
    def units(self, scores: Array, mask: Array) -> Units:
        """The units of a matrix, by the scores of its weights and its present mask."""


@dataclass(frozen=True)
class Weights(Granularity):
    """Each weight by itself."""

    def check(self, path: str, shape: tuple[int, int]) -> None:
        """Any matrix will do."""

    def units(self, scores: Array, mask: Array) -> Units:
        """One unit a weight."""
        return Units(np.where(mask, scores, -1.0).ravel())


@dataclass(frozen=True)
class Pattern(Granularity):
    """Of every `group` consecutive inputs to an output, `kept` stay.

    Source: Mishra et al., "Accelerating sparse deep neural networks", 2021, for 2:4.
    """

    kept: int
    group: int
    pad: bool = False

    @property
    def sparsity(self) -> float:
        """The fraction of zeros that the pattern has: 0.5 for 2:4."""
        return 1.0 - self.kept / self.group

    def check(self, path: str, shape: tuple[int, int]) -> None:
        """The inputs must fall into groups."""
        _check_divides(path, shape, (self.group, 1), self.pad, "pattern")

    def units(self, scores: Array, mask: Array) -> Units:
        """One unit a weight, of which the best of each group stay."""
        scores = np.where(mask, scores, -1.0)
        rows, columns = scores.shape
        padded = np.full((-(-rows // self.group) * self.group, columns), -2.0)
        padded[:rows] = scores
        groups = padded.reshape(-1, self.group, columns)
        best = np.argsort(-groups, axis=1, kind="stable")[:, : self.kept]
        stays = np.zeros(groups.shape, bool)
        np.put_along_axis(stays, best, True, axis=1)
        stays = stays.reshape(padded.shape)[:rows] & (scores >= 0)
        return Units(np.where(stays, np.inf, scores).ravel())


@dataclass(frozen=True)
class Blocks(Granularity):
    """Blocks of `height` inputs and `width` outputs, by their root mean square.

    If `balanced`, a unit is one block of *every* column of blocks: the best of each, the
    second best of each, and so on. So each output keeps equally many blocks, which is
    what makes a product of dense blocks of it.

    Source: Narang, Undersander and Diamos, "Block-sparse recurrent neural networks",
    2017.
    """

    height: int
    width: int
    balanced: bool = False
    pad: bool = False

    def check(self, path: str, shape: tuple[int, int]) -> None:
        """The blocks must divide the matrix."""
        _check_divides(path, shape, (self.height, self.width), self.pad, "block")

    def units(self, scores: Array, mask: Array) -> Units:
        """One unit a block, or a row of equally good blocks."""
        rows, columns = scores.shape
        across = -(-columns // self.width)
        down = -(-rows // self.height)
        block_rows = np.arange(rows) // self.height
        block_columns = np.arange(columns) // self.width
        labels = (block_rows[:, None] * across + block_columns[None, :]).ravel()
        if self.balanced:
            blocks = _grouped(scores, mask, labels, down * across)
            order = np.argsort(-blocks.reshape(down, across), axis=0, kind="stable")
            rank = np.empty_like(order)
            np.put_along_axis(rank, order, np.arange(down)[:, None], axis=0)
            labels = rank.ravel()[labels]
        count = down if self.balanced else down * across
        sizes = np.bincount(labels, minlength=count)
        return Units(_grouped(scores, mask, labels, count), sizes, labels)


def _grouped(scores: Array, mask: Array, labels: Array, count: int) -> Array:
    """The root mean square of each group's scores; −1 where all of it is masked."""
    kept = mask.ravel().astype(np.float64)
    squares = np.square(scores.ravel().astype(np.float64)) * kept
    sums = np.bincount(labels, squares, minlength=count)
    means = np.sqrt(sums / np.bincount(labels, minlength=count))
    return np.where(np.bincount(labels, kept, minlength=count) > 0, means, -1.0)


def _check_divides(
    path: str, shape: tuple[int, int], unit: tuple[int, int], pad: bool, name: str
) -> None:
    if not pad and any(n % u for n, u in zip(shape, unit, strict=True)):
        raise ValueError(
            f"`{name}`: {unit[0]} × {unit[1]} does not divide {path!r}, a matrix of "
            f"{shape[0]} × {shape[1]} (all axes but the last are its inputs). Pass "
            "`pad=True` to let the last ones be smaller, choose others, or leave the "
            "matrix out by `select`."
        )


def get(block: Any, balanced: Any, pattern: Any, pad: Any) -> Granularity:
    """What the arguments of `MagnitudePruning` stand for."""
    balanced = _checks.boolean("balanced", balanced)
    pad = _checks.boolean("pad", pad)
    if pattern is not None:
        if block is not None or balanced:
            raise ValueError(
                "`pattern` stands alone: it is balanced by itself and has no blocks. "
                f"Received: pattern={pattern!r}, block={block!r}, balanced={balanced}"
            )
        kept, group = _checks.pair("pattern", pattern, "(2, 4)")
        if kept >= group:
            raise ValueError(
                "`pattern` is (n, m), n < m: of m consecutive inputs n stay, as in "
                f"(2, 4). Received: pattern={pattern!r}"
            )
        return Pattern(kept, group, pad)
    if block is None and not balanced:
        return Weights()
    height, width = (1, 1) if block is None else _checks.pair("block", block, "(8, 8)")
    return Blocks(height, width, balanced, pad)
