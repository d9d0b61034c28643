"""Connections that are given, and the control without geometry of any."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli.connectivity._assignment import assign
from keras_moduli.connectivity._base import (
    Connectivity,
    _registry,
    get,
    make_grid,
    make_layout,
)
from keras_moduli.connectivity._grid import Grid
from keras_moduli.connectivity._islands import can_join, join_islands
from keras_moduli.connectivity._layout import BlockLayout, get_layout

Array = NDArray[Any]


@_registry.register("from_mask")
@dataclass(frozen=True)
class FromMask(Connectivity):
    """The blocks of a given layout, whatever they are.

    Nothing is added: rows of blocks may be used unequally often, and a recurrent kernel
    may lack blocks of its diagonal or fall apart into islands.

    Args:
        layout: Of a kernel (rows, units), repeated for each gate, or of all gates.

    Raises:
        TypeError: If `layout` is not a `BlockLayout`.
        ValueError: From `connect`, if the kernel is of another size.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> rule = km.connectivity.FromMask.of(np.tri(8, 8, dtype=bool), block=(2, 8))
        >>> rule.connect(8, 8).indices
        ((0, 1, 2, 3),)
    """

    layout: BlockLayout

    def __post_init__(self) -> None:
        self._set(layout=get_layout(self.layout))

    @classmethod
    def of(cls, mask: Array, block: tuple[int, int]) -> Self:
        """Returns the rule of the blocks that cover what is true in a matrix.

        Args:
            mask: Boolean matrix (rows, units), or of all gates beside each other.
            block: (b, c): blocks of b inputs and c outputs.

        Raises:
            TypeError: If an argument is of the wrong type.
        """
        return cls(BlockLayout.of(mask, block))

    def connect(
        self, rows: int, units: int, *, gates: int = 1, recurrent: bool = False
    ) -> BlockLayout:
        """Returns the layout."""
        layout = self.layout
        if layout.rows == rows and layout.columns in {units, gates * units}:
            return layout.repeat(gates * units // layout.columns)
        sizes = dict.fromkeys([f"({rows}, {units})", f"({rows}, {gates * units})"])
        raise ValueError(
            f"The layout is of a kernel ({layout.rows}, {layout.columns}); this one is "
            f"of {rows} inputs, {units} units and gates={gates}. Type FromMask.of(mask, "
            f"block={layout.block!r}) with a mask of shape {' or '.join(sizes)}."
        )


@_registry.register("permuted")
@dataclass(frozen=True)
class Permuted(Connectivity):
    """The control of another rule: as many connections, between permuted neurons.

    Rows and columns of blocks that have equally many are permuted at random, each for
    themselves, so that all degrees stay and geometry is gone. In a recurrent kernel the
    blocks of the diagonal stay; what would fall on them lies elsewhere, at random.
    All neurons still reach each other, as long as each group of neurons has as many
    blocks out as in: with all rules but `FromMask`.

    Args:
        connectivity: The rule, a `Connectivity`.
        seed: Of the permutations, in [0, 2³²).

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If `seed` is out of range; from `connect`, as the other rule.

    Examples:
        >>> import keras_moduli as km
        >>> rule = km.connectivity.Banded(1 / 4, (4, 4))
        >>> km.connectivity.Permuted(rule, seed=1).connect(32, 32, recurrent=True).density
        0.25
    """

    connectivity: Connectivity
    seed: int = 0

    def __post_init__(self) -> None:
        self._set(
            connectivity=get(self.connectivity), seed=_checks.seed("seed", self.seed)
        )

    def connect(
        self, rows: int, units: int, *, gates: int = 1, recurrent: bool = False
    ) -> BlockLayout:
        """Returns the layout; gates that are alike stay alike."""
        layout = self.connectivity.connect(rows, units, gates=gates, recurrent=recurrent)
        grid = make_grid(rows, units, layout.block, recurrent)
        if gates > 1 and units % layout.block[1]:
            raise ValueError(
                f"Blocks of {layout.block[1]} outputs do not divide {units} units, so "
                f"that the {gates} gates cannot be permuted each for itself. Type a "
                f"block whose second number divides {units}."
            )
        across = grid.shape[1]
        rng = np.random.RandomState(self.seed)
        permuted: dict[Any, BlockLayout] = {}
        parts = [layout.indices[k * across :][:across] for k in range(gates)]
        for part in parts:
            if part not in permuted:
                permuted[part] = _permute(part, grid, rng)
        indices = sum((permuted[part].indices for part in parts), ())
        return BlockLayout(rows, layout.columns, layout.block, indices)


def _permute(
    indices: tuple[tuple[int, ...], ...], grid: Grid, rng: np.random.RandomState
) -> BlockLayout:
    taken = np.zeros(grid.shape, bool)
    for j, column in enumerate(indices):
        taken[list(column), j] = True
    counts, quotas = taken.sum(axis=0), taken.sum(axis=1)
    kept = taken & grid.diagonal
    free = taken & ~kept
    rows = _permute_equal(free.sum(axis=1), rng)
    columns = _permute_equal(free.sum(axis=0), rng)
    rank = rng.random_sample(grid.shape).astype(np.float32)
    rank[free[rows][:, columns]] = -1
    taken = assign(rank, kept, counts, quotas)
    if can_join(taken, grid):
        taken = join_islands(taken, rank, grid)
    return make_layout(taken, grid)


def _permute_equal(degrees: Array, rng: np.random.RandomState) -> Array:
    """Returns a random permutation that moves nothing to another degree."""
    order = np.arange(len(degrees))
    for degree in np.unique(degrees):
        same = np.flatnonzero(degrees == degree)
        order[same] = same[rng.permutation(len(same))]
    return order
