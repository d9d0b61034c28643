"""A weight that holds the blocks of a kernel, and what is known of it."""

from dataclasses import dataclass
from typing import Any

from keras import ops
from numpy.typing import NDArray

from keras_moduli.connectivity._layout import BlockLayout

Array = NDArray[Any]
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
