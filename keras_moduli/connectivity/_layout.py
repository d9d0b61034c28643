"""A matrix of which only some blocks are there, and its product with a batch."""

import functools
from dataclasses import dataclass
from typing import Any, Self

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _backend, _checks, _keras_arguments
from keras_moduli._registry import PACKAGE, Configuration
from keras_moduli._repr import write_call

Array = NDArray[Any]
Tensor = Any

_MOST_SHOWN = 16  # blocks, whose indices the repr lists


@keras.saving.register_keras_serializable(f"{PACKAGE}.sparse")
@dataclass(frozen=True)
class BlockLayout(Configuration):
    """Where the blocks of a (rows, columns) matrix are: equally many in each column.

    The J columns of blocks have K blocks each, of b inputs and c outputs. Their weights
    are one array (J, c, K·b), and the product with a batch of vectors is one gather of
    the inputs' blocks and one batched matrix product:

        y[:, j·c : (j+1)·c] = concat(x[block i] for i in indices[j]) @ weights[j]ᵀ

    Args:
        rows: Number of inputs.
        columns: Number of outputs.
        block: (b, c). The last blocks may stick out of the matrix.
        indices: For each of the J columns of blocks the K rows of blocks that are there.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a number is out of range, or the indices do not fit the shape.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> kernel = np.kron(np.eye(4), np.ones((8, 8)))
        >>> layout = km.sparse.BlockLayout.of(kernel != 0, (8, 8))
        >>> layout.indices, layout.density
        (((0,), (1,), (2,), (3,)), 0.25)
    """

    rows: int
    columns: int
    block: tuple[int, int]
    indices: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        self._set(
            rows=_checks.integer("rows", self.rows, minimum=1),
            columns=_checks.integer("columns", self.columns, minimum=1),
            block=_checks.pair("block", self.block, "(16, 64)"),
            indices=_check_indices(self.indices),
        )
        down, across = self._blocks_of(self.rows, self.columns, self.block)
        counts = {len(column) for column in self.indices}
        flat = [i for column in self.indices for i in column]
        if len(self.indices) != across or len(counts) != 1 or not flat:
            raise ValueError(
                f"`indices` must have {across} entries of one length, one for each column"
                f" of blocks. Received {len(self.indices)} of lengths {sorted(counts)}"
            )
        if twice := next((c for c in self.indices if len(set(c)) < len(c)), None):
            raise ValueError(
                "A column of blocks must have each of its rows once: type "
                "`BlockLayout.of(mask, block)`, or indices without repetition. "
                f"Received the column {twice}"
            )
        if min(flat) < 0 or max(flat) >= down:
            raise ValueError(
                f"`indices` must be in [0, {down}), rows of blocks. Received values from "
                f"{min(flat)} to {max(flat)}"
            )

    def __repr__(self) -> str:
        if len(self.indices) * len(self.indices[0]) <= _MOST_SHOWN:
            return write_call(self)
        down, _ = self._blocks_of(self.rows, self.columns, self.block)
        return (
            f"<BlockLayout of {self.rows} × {self.columns} in blocks of {self.block[0]} "
            f"× {self.block[1]}: {len(self.indices[0])} of {down} in each column>"
        )

    @staticmethod
    def _blocks_of(rows: int, columns: int, block: tuple[int, int]) -> tuple[int, int]:
        return -(-rows // block[0]), -(-columns // block[1])

    @classmethod
    def of(cls, mask: Array, block: tuple[int, int]) -> Self:
        """Returns the layout that covers what is true in a matrix.

        Columns of blocks that need fewer than the fullest are filled up with others.

        Args:
            mask: Boolean matrix (rows, columns).
            block: (b, c).

        Raises:
            TypeError: If an argument is of the wrong type.
            ValueError: If `mask` is not a matrix, or `block` not a pair.
        """
        block = _checks.pair("block", block, "(16, 64)")
        if not isinstance(mask, np.ndarray) or mask.ndim != 2:
            raise TypeError(
                f"`mask` must be a NumPy array (rows, columns). Received: mask={mask!r}"
            )
        rows, columns = mask.shape
        down, across = cls._blocks_of(rows, columns, block)
        padded = np.zeros((down * block[0], across * block[1]), bool)
        padded[:rows, :columns] = mask
        full = padded.reshape(down, block[0], across, block[1]).any(axis=(1, 3))
        count = max(1, int(full.sum(axis=0).max()))
        first = np.argsort(~full, axis=0, kind="stable")[:count]
        return cls(rows, columns, block, tuple(map(tuple, np.sort(first, axis=0).T)))

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the weights: (J, c, K·b)."""
        return (
            len(self.indices),
            self.block[1],
            len(self.indices[0]) * self.block[0],
        )

    @property
    def density(self) -> float:
        """Weights of the blocks over those of the matrix."""
        return float(np.prod(self.shape)) / (self.rows * self.columns)

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which weights (J, c, K·b) are of the matrix: blocks may stick out of it."""
        (across, c, width), height = self.shape, self.block[0]
        first = height * np.array(self.indices)[:, :, None]
        inputs = (first + np.arange(height)).reshape(across, 1, width)
        outputs = np.arange(across * c).reshape(across, c, 1)
        return np.logical_and(inputs < self.rows, outputs < self.columns)

    def repeat(self, gates: int) -> Self:
        """Returns the layout of `gates` equal kernels beside each other.

        Raises:
            ValueError: If blocks do not divide the columns.
        """
        if gates == 1:
            return self
        if self.columns % self.block[1]:
            raise ValueError(
                f"Blocks of {self.block[1]} outputs do not divide {self.columns} units, "
                f"so that {gates} kernels do not lie beside each other in whole blocks. "
                f"Type a block whose second number divides {self.columns}, or a mask of "
                f"all gates, ({self.rows}, {gates * self.columns})."
            )
        columns = gates * self.columns
        return type(self)(self.rows, columns, self.block, gates * self.indices)

    def pack(self, matrix: Array) -> Array:
        """Returns the weights (J, c, K·b) of a `matrix` (rows, columns)."""
        down, across = self._blocks_of(self.rows, self.columns, self.block)
        (b, c), index = self.block, np.array(self.indices)
        padded = np.zeros((down * b, across * c), matrix.dtype)
        padded[: self.rows, : self.columns] = matrix
        blocks = padded.reshape(down, b, across, c)
        chosen = blocks[index, :, np.arange(across)[:, None], :]  # (J, K, b, c)
        return chosen.transpose(0, 3, 1, 2).reshape(self.shape)

    def unpack(self, weights: Array) -> Array:
        """Returns the matrix (rows, columns) of `weights` (J, c, K·b)."""
        down, across = self._blocks_of(self.rows, self.columns, self.block)
        (b, c), index = self.block, np.array(self.indices)
        blocks = np.zeros((down, b, across, c), weights.dtype)
        chosen = weights.reshape(across, c, -1, b).transpose(0, 2, 3, 1)
        blocks[index, :, np.arange(across)[:, None], :] = chosen
        return blocks.reshape(down * b, across * c)[: self.rows, : self.columns]

    def product(self, x: Tensor, weights: Tensor) -> Tensor:
        """Returns x @ matrix, of x (batch, rows) and `weights` (J, c, K·b)."""
        batch = x.shape[0]
        if _backend.multiplies_rows() and not _backend.is_known_to_be_one(batch):
            return self.rowwise(x, weights)
        y = self.columnwise(to_columns(x, batch), self.operand(weights, batch))
        return to_rows(y, batch)

    def rowwise(self, x: Tensor, weights: Tensor) -> Tensor:
        """Returns what `product` does of x and `weights`, of a batch (batch, rows)."""
        (across, _, width), height = self.shape, self.block[0]
        if excess := -self.rows % height:
            x = ops.pad(x, ((0, 0), (0, excess)))
        blocks = ops.reshape(x, (-1, x.shape[1] // height, height))
        gathered = _backend.take(blocks, np.array(self.indices), axis=1)
        gathered = ops.reshape(gathered, (-1, across, width))
        y = ops.transpose(gathered, (1, 0, 2)) @ ops.transpose(weights, (0, 2, 1))
        y = ops.reshape(ops.transpose(y, (1, 0, 2)), (-1, across * self.block[1]))
        return y if y.shape[1] == self.columns else y[:, : self.columns]

    def operand(self, weights: Tensor, batch: Any) -> Tensor:
        """Returns `weights` (J, c, K·b) for many `columnwise` of one size of `batch`."""
        is_one = _backend.is_known_to_be_one(batch)
        return ops.transpose(weights, (0, 2, 1)) if is_one else weights

    def columnwise(self, x: Tensor, operand: Tensor) -> Tensor:
        """Returns matrixᵀ @ x, of x (rows, batch) or (rows,) and what `operand` made.

        In columns, a block of inputs of the whole batch lies in one piece, and neither
        what is gathered nor the product has to be turned around.
        """
        across, c, _ = self.shape
        if excess := -self.rows % self.block[0]:
            x = ops.pad(x, ((0, excess), *[(0, 0)] * (len(x.shape) - 1)))
        gathered = _backend.gather_blocks(x, self)
        if len(x.shape) == 1:  # a row times matrices is faster than they times a column
            y = ops.reshape(gathered @ operand, (across * c,))
        else:
            y = ops.reshape(operand @ gathered, (across * c, -1))
        return y if y.shape[0] == self.columns else y[: self.columns]

    @functools.cached_property
    def inputs(self) -> _backend.Indices:
        """Indices (J, K·b) of the inputs of each column of blocks."""
        first = self.block[0] * np.array(self.indices)[:, :, None]
        inputs = first + np.arange(self.block[0])
        return _backend.Indices(inputs.reshape(len(inputs), -1))


def _check_indices(value: Any) -> tuple[tuple[int, ...], ...]:
    value = value.tolist() if isinstance(value, np.ndarray) else value
    columns = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(column, list | tuple | np.ndarray) for column in columns):
        raise TypeError(
            "`indices` must be a list of lists of integers, one for each column of "
            "blocks, such as [[0, 1], [1, 2]]. Received: "
            f"indices={_checks.shorten(value)}"
        )
    flat = (i for column in columns for i in column)
    if all(type(i) is int and 0 <= i <= _checks.MOST for i in flat):  # fast
        return tuple(tuple(column) for column in columns)
    check = _checks.integer
    return tuple(tuple(check("indices", i, minimum=0) for i in c) for c in columns)


def get_layout(value: Any, name: str = "layout") -> BlockLayout:
    """Returns a layout, or the one that its configuration describes."""
    value = _keras_arguments.make(name, value)
    if not isinstance(value, BlockLayout):
        raise TypeError(
            f"`{name}` must be a BlockLayout. Received: {name}={_checks.shorten(value)}"
        )
    return value


def to_columns(x: Tensor, batch: Any) -> Tensor:
    """Returns a batch (batch, n) as columns (n, batch), or (n,) if it is known to be one.

    Loops over the elements of an array (n, 1) would not be vectorized.
    """
    is_one = _backend.is_known_to_be_one(batch)
    return x[0] if is_one else _backend.reverse_axes(x)


def to_rows(x: Tensor, batch: Any) -> Tensor:
    """Returns the inverse of `to_columns`; an axis of time may be in between."""
    reversed_axes = _backend.reverse_axes(x)
    is_one = _backend.is_known_to_be_one(batch)
    return reversed_axes[None] if is_one else reversed_axes
