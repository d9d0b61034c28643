"""Which blocks a kernel has before there are weights, as values."""

import abc
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli._registry import Configuration, Registry
from keras_moduli.connectivity._assignment import fill
from keras_moduli.connectivity._grid import Grid
from keras_moduli.connectivity._islands import join_islands
from keras_moduli.connectivity._layout import BlockLayout

Array = NDArray[Any]


class Connectivity(Configuration, abc.ABC):
    """Where the connections of a kernel lie: a frozen, serialisable rule.

    Examples:
        To write your own, make a frozen dataclass of it and define `connect`, or one of
        `Balanced`, which needs less:

        >>> import dataclasses, keras, numpy as np, keras_moduli as km
        >>> @keras.saving.register_keras_serializable("docs")
        ... @dataclasses.dataclass(frozen=True)
        ... class Diagonal(km.connectivity.Connectivity):
        ...     block: tuple[int, int] = (8, 8)
        ...     def connect(self, rows, units, *, gates=1, recurrent=False):
        ...         mask = np.eye(rows, units, dtype=bool)
        ...         return km.connectivity.BlockLayout.of(mask, self.block).repeat(gates)
        >>> Diagonal().connect(16, 16, gates=3).shape
        (6, 8, 8)
    """

    @abc.abstractmethod
    def connect(
        self, rows: int, units: int, *, gates: int = 1, recurrent: bool = False
    ) -> BlockLayout:
        """Returns the blocks of a kernel (rows, gates · units).

        Args:
            rows: Number of inputs.
            units: Number of neurons that they reach.
            gates: How many kernels lie beside each other, as in an LSTM (4) or GRU (3).
            recurrent: Whether the inputs are the neurons themselves. Then each block of
                neurons stays connected with itself, and all are connected in the end.

        Raises:
            ValueError: If there is no such kernel; it says what to type.
        """


class Balanced(Connectivity):
    """Equally many blocks in each column, and in each row as nearly as can be.

    Rows of blocks are used equally often where the number of blocks divides by that of
    rows, and differ by one at most where it does not. If the inputs are the neurons
    themselves, all blocks of the diagonal are there, and from each neuron a path leads
    to each other.

    Attributes:
        density: Fraction of the kernel that is there, in (0, 1]: a whole number of
            blocks in each column.
        block: (b, c): blocks of b inputs and c outputs, which divide the kernel.

    Raises:
        TypeError: If `density` is not a number, or `block` no pair of integers.
        ValueError: If `density` is not in (0, 1], or a number of `block` below 1.

    Examples:
        To write your own, make a frozen dataclass of it, with these fields, and define
        `rank`:

        >>> import dataclasses, keras, numpy as np, keras_moduli as km
        >>> @keras.saving.register_keras_serializable("docs")
        ... @dataclasses.dataclass(frozen=True)
        ... class Upwards(km.connectivity.Balanced):
        ...     density: float
        ...     block: tuple[int, int] = (16, 64)
        ...     def rank(self, rows, units, recurrent):
        ...         down, across = rows // self.block[0], units // self.block[1]
        ...         rows = np.arange(down)[:, None] / down
        ...         return (rows - np.arange(across) / across) % 1
        >>> Upwards(0.5, (8, 8)).connect(32, 32, recurrent=True).indices
        ((0, 1), (1, 2), (2, 3), (0, 3))
    """

    density: float
    block: tuple[int, int]

    def __post_init__(self) -> None:
        density = _checks.positive("density", self.density)
        if density > 1:
            raise ValueError(
                f"`density` must be in (0, 1]. Received: density={self.density!r}"
            )
        self._set(density=density, block=_checks.pair("block", self.block, "(16, 64)"))

    @abc.abstractmethod
    def rank(self, rows: int, units: int, recurrent: bool) -> Array:
        """Returns how gladly each block is left out, (rows / b, units / c).

        Args:
            rows: Number of inputs.
            units: Number of neurons that they reach.
            recurrent: Whether the inputs are the neurons themselves.
        """

    @final
    def connect(
        self, rows: int, units: int, *, gates: int = 1, recurrent: bool = False
    ) -> BlockLayout:
        """Returns the blocks of a kernel (rows, gates · units), all gates alike.

        Args:
            rows: Number of inputs.
            units: Number of neurons that they reach.
            gates: How many equal kernels lie beside each other.
            recurrent: Whether the inputs are the neurons themselves.

        Raises:
            ValueError: If the blocks do not divide the kernel, or the density leaves no
                whole number of them, or too few for neurons to reach each other.
        """
        grid = make_grid(rows, units, self.block, recurrent)
        gates = _checks.integer("gates", gates, minimum=1)
        count = grid.count_blocks(self.density)
        rank = np.asarray(self.rank(grid.rows, grid.units, grid.recurrent))
        if rank.shape != grid.shape or not np.isfinite(rank).all():
            raise ValueError(
                f"`rank` must return finite numbers of shape {grid.shape}, one for each "
                f"block. {self!r} returned an array of shape {rank.shape}"
            )
        taken = fill(rank, grid, count)
        if recurrent:
            taken = join_islands(taken, rank, grid)
        return make_layout(taken, grid).repeat(gates)


def make_grid(rows: Any, units: Any, block: tuple[int, int], recurrent: bool) -> Grid:
    """Returns the blocks of a kernel (rows, units), of checked numbers."""
    rows = _checks.integer("rows", rows, minimum=1)
    units = _checks.integer("units", units, minimum=1)
    if recurrent and rows != units:
        raise ValueError(
            "A recurrent kernel has as many inputs as units. "
            f"Received: rows={rows}, units={units}"
        )
    return Grid(rows, units, block, _checks.boolean("recurrent", recurrent))


def make_layout(taken: Array, grid: Grid) -> BlockLayout:
    """Returns the layout of the blocks that are True, equally many in each column."""
    indices = np.nonzero(taken.T)[1].reshape(len(taken.T), -1)
    columns = tuple(map(tuple, indices.tolist()))
    return BlockLayout(grid.rows, grid.units, grid.block, columns)


_registry = Registry("connectivity", Connectivity)  # type: ignore[type-abstract]
names = _registry.names
register = _registry.register


def get(identifier: Any) -> Connectivity:
    """Returns a connectivity from its name, its configuration, or itself.

    Args:
        identifier: A name, a config made by `keras.saving`, or a `Connectivity`, which is
            returned as it is.

    Raises:
        TypeError: If `identifier` is none of these.
        ValueError: If the name is unknown or stands for one without defaults.

    Examples:
        >>> import keras_moduli as km
        >>> km.connectivity.get(km.connectivity.Random(0.25)).density
        0.25
    """
    return _registry.get(identifier)
