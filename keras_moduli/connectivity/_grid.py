"""How a kernel divides into blocks, and how many of them a density leaves."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Grid:
    """The blocks of a kernel (rows, units).

    Attributes:
        rows: Number of inputs.
        units: Number of outputs.
        block: (b, c).
        recurrent: Whether inputs and outputs are the same neurons.
    """

    rows: int
    units: int
    block: tuple[int, int]
    recurrent: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        b, c = self.block
        return -(-self.rows // b), -(-self.units // c)

    @functools.cached_property
    def diagonal(self) -> Array:
        """Which blocks join a neuron with itself: all False if not recurrent."""
        (down, across), (b, c) = self.shape, self.block
        if not self.recurrent:
            return np.zeros((down, across), bool)
        row, column = np.arange(down)[:, None] * b, np.arange(across) * c
        return (row < column + c) & (column < row + b)

    @property
    def nodes(self) -> tuple[Array, Array]:
        """The node of each row and of each column of blocks.

        Neurons between two borders that rows and columns of blocks have in common are
        joined in both directions by diagonal blocks: they are one node of the graph.
        """
        (down, across), (b, c) = self.shape, self.block
        size = math.lcm(b, c)
        return np.arange(down) * b // size, np.arange(across) * c // size

    def quotas(self, count: int) -> Array:
        """Returns how many blocks each row has if each column has `count`.

        Rows that have one more are spread evenly, so that each node has as many blocks
        of outgoing connections as of incoming ones.
        """
        down, across = self.shape
        return np.diff(np.arange(down + 1) * across * count // down)

    def check_block(self) -> None:
        """Raises a ValueError if the blocks do not divide the kernel."""
        if self.rows % self.block[0] == 0 and self.units % self.block[1] == 0:
            return
        b = _list_near_divisors(self.rows, self.block[0])
        c = _list_near_divisors(self.units, self.block[1])
        raise ValueError(
            f"Blocks must divide the kernel, of {self.rows} inputs and {self.units} "
            f"outputs: those of {_join(b)} inputs do, and of {_join(c)} outputs. Type "
            f"block=({b[0]}, {c[0]}), or other numbers of neurons. "
            f"Received: block={self.block!r}"
        )

    def count_blocks(self, density: float) -> int:
        """Returns how many blocks of a density each column has.

        Raises:
            ValueError: If it is no whole number, or too small to connect all neurons.
        """
        self.check_block()
        down = self.shape[0]
        exact = density * down
        count = round(exact)
        if count < 1 or abs(exact - count) > 1e-6 * down:
            near = sorted({max(1, math.floor(exact)), max(1, math.ceil(exact))})
            raise ValueError(
                f"A column has {down} blocks of {self.block[0]} of the {self.rows} inputs"
                f"; density={density!r} leaves {exact:.6g} of them, which must be a "
                "whole number. Type "
                + " or ".join(f"density={k}/{down} ({k / down:.6g})" for k in near)
            )
        if count < (least := self._count_least()):
            raise ValueError(
                f"{count} of the {down} blocks of a column are too few for neurons to "
                f"keep the diagonal blocks and to reach each other. Type density={least}/"
                f"{down} ({least / down:.6g}) or more, or other blocks than "
                f"{self.block!r}. Received: density={density!r}"
            )
        return count

    def _count_least(self) -> int:
        if not self.recurrent:
            return 1
        least = int(self.diagonal.sum(axis=0).max())
        _, node = self.nodes
        used = np.bincount(node, self.diagonal.sum(axis=0))
        is_full = (used >= least * np.bincount(node)).any()
        return least + int(is_full and node[-1] > 0)


def _list_near_divisors(number: int, wanted: int) -> list[int]:
    divisors = [k for k in range(1, number + 1) if number % k == 0]
    return sorted(divisors, key=lambda k: (abs(math.log(k / wanted)), k))[:3]


def _join(numbers: list[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
