"""A weight that holds the blocks of a kernel, and what is known of it."""

import contextlib
import contextvars
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from keras import ops
from numpy.typing import NDArray

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
    """

    weights: Variable
    indices: Variable
    rows: int
    columns: int
    block: tuple[int, int]
    gates: int
    connectivity: Any
    recurrent: bool

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
    """Returns what is known of a variable that holds blocks; None of any other."""
    kernel = getattr(variable, "block_kernel", None)
    return kernel if isinstance(kernel, BlockKernel) else None


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
