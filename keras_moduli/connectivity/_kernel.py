"""A weight that holds the blocks of a kernel, and what is known of it."""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli._repr import write_call
from keras_moduli.connectivity._layout import BlockLayout

Array = NDArray[Any]
Tensor = Any
Variable = Any


@dataclass(frozen=True, eq=False)
class BlockKernel:
    """A kernel (rows, gates · units) of which only blocks exist.

    Attributes:
        weights: The variable of the blocks, (J, c, K·b): those of the J-th column of
            blocks side by side, transposed, as `BlockLayout.pack` makes them.
        indices: The variable of integers (J, K): in which row of blocks each lies.
        rows: Number of inputs.
        columns: Number of outputs, those of all gates.
        block: (b, c).
        gates: How many kernels lie beside each other.
        connectivity: The rule by which it was connected first.
        recurrent: Whether the inputs are the neurons that the outputs are.

    Examples:
        >>> import keras_moduli as km
        >>> rule = km.connectivity.Random(density=1 / 4, block=(8, 8))
        >>> layer = km.layers.SparseDense(32, connectivity=rule)
        >>> layer.build((None, 32))
        >>> kernel = km.connectivity.find_kernel(layer.kernel)
        >>> kernel.shape, tuple(kernel.weights.shape), kernel.to_matrix().shape
        ((32, 32), (4, 8, 8), (32, 32))
    """

    weights: Variable
    indices: Variable
    rows: int
    columns: int
    block: tuple[int, int]
    gates: int
    connectivity: Any
    recurrent: bool

    def __repr__(self) -> str:
        return write_call(self)

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the dense kernel."""
        return self.rows, self.columns

    @property
    def sticks_out(self) -> bool:
        """Whether blocks do not divide the kernel, and hold weights of no connection."""
        return bool(self.rows % self.block[0] or self.columns % self.block[1])

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Which weights (J, c, K·b) are of connections: all, unless blocks stick out."""
        shape = tuple(self.weights.shape)
        if not self.sticks_out:
            return np.ones(shape, bool)
        return np.array(ops.convert_to_numpy(self._find_inside()))

    def cut(self, weights: Tensor) -> Tensor:
        """Returns `weights` (J, c, K·b) with zeros for what sticks out of the kernel."""
        if not self.sticks_out:
            return weights
        return ops.where(self._find_inside(), weights, ops.zeros_like(weights))

    def locate_inputs(self) -> Tensor:
        """Returns the input of each weight, integers (J, K·b), as the blocks lie now."""
        indices = ops.convert_to_tensor(self.indices)
        across, count = indices.shape
        first = ops.reshape(indices * self.block[0], (across, count, 1))
        inputs = first + ops.arange(self.block[0], dtype=indices.dtype)
        return ops.reshape(inputs, (across, count * self.block[0]))

    def _find_inside(self) -> Tensor:
        across, c, _ = self.weights.shape
        rows = self.locate_inputs()[:, None, :] < self.rows
        columns = np.arange(across * c).reshape(across, c, 1) < self.columns
        return ops.logical_and(rows, columns)

    @property
    def layout(self) -> BlockLayout:
        """Where the blocks are now."""
        indices = ops.convert_to_numpy(self.indices)
        return BlockLayout(
            self.rows, self.columns, self.block, tuple(map(tuple, indices.tolist()))
        )

    def to_matrix(self) -> Array:
        """Returns the dense kernel (rows, columns): for small ones."""
        return self.layout.unpack(ops.convert_to_numpy(self.weights))

    def attach(self) -> None:
        """Makes the kernel known to whoever comes across its weights."""
        self.weights.block_kernel = self


def find_kernel(variable: Variable) -> BlockKernel | None:
    """Returns what is known of a variable that holds blocks; None of any other.

    Args:
        variable: A `keras.Variable`.

    Examples:
        >>> import keras_moduli as km
        >>> rule = km.connectivity.Random(density=1 / 4, block=(8, 8))
        >>> layer = km.layers.SparseDense(32, connectivity=rule)
        >>> layer.build((None, 32))
        >>> km.connectivity.find_kernel(layer.kernel).block
        (8, 8)
        >>> km.connectivity.find_kernel(layer.bias) is None
        True
    """
    kernel = getattr(variable, "block_kernel", None)
    return kernel if isinstance(kernel, BlockKernel) else None


def get_dense_shape(variable: Variable) -> tuple[int, ...]:
    """Returns the shape of a weight, or of the dense kernel of which it holds blocks.

    Args:
        variable: A `keras.Variable`.

    Examples:
        >>> import keras_moduli as km
        >>> rule = km.connectivity.Random(density=1 / 4, block=(8, 8))
        >>> layer = km.layers.SparseDense(32, connectivity=rule)
        >>> layer.build((None, 32))
        >>> tuple(layer.kernel.shape), km.connectivity.get_dense_shape(layer.kernel)
        ((4, 8, 8), (32, 32))
    """
    kernel = find_kernel(variable)
    return tuple(variable.shape) if kernel is None else kernel.shape


# Blocks and their rows, by the addresses of the weights that they stand beside.
_extensions: contextvars.ContextVar[dict[int, tuple[Tensor, Tensor]]]
_extensions = contextvars.ContextVar("extensions", default={})  # noqa: B039


@contextlib.contextmanager
def extend_kernels(
    kernels: Sequence[BlockKernel], blocks: Sequence[Tensor], indices: Sequence[Tensor]
) -> Iterator[None]:
    """Lets kernels have further blocks, in what layers compute within a context.

    So there are gradients of blocks that a kernel does not have.

    Args:
        kernels: The kernels.
        blocks: Of each (J, c, C·b).
        indices: In which rows of blocks they are, (J, C).
    """
    sites = zip(kernels, blocks, indices, strict=True)
    token = _extensions.set({id(k.weights): (b, i) for k, b, i in sites})
    try:
        yield
    finally:
        _extensions.reset(token)


def add_extension(
    kernel: BlockKernel, blocks: Tensor, indices: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the blocks of a kernel and their rows, with those of `extend_kernels`."""
    if (more := _extensions.get().get(id(kernel.weights))) is None:
        return blocks, indices
    other = ops.cast(more[0], blocks.dtype), ops.cast(more[1], indices.dtype)
    return (
        ops.concatenate([blocks, other[0]], axis=-1),
        ops.concatenate([indices, other[1]], axis=-1),
    )
