"""How fast block-sparse products are expected to be, and which blocks that favors."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

from numpy.typing import NDArray

from keras_moduli.connectivity._layout import BlockLayout
from keras_moduli.sparse._orders import AS_IT_IS, Permutation

Array = NDArray[Any]

# Of those that are as fast the first is taken, the one with the fewest blocks.
BLOCKS = [(b, c) for b in (64, 32, 16, 8, 4) for c in (8, 16, 32, 64, 128) if c >= b]
# A block-sparse product costs what its weights cost, a share more because the matrices
# are small, for one vector and for 32, and the gather of its inputs, which the outputs of
# a block share: so many outputs' worth. Fitted to times of blocks from 4 × 4 to 64 × 128
# on all backends; blocks of four outputs are slower than dense ones. For many vectors
# what is gathered does not stay in the caches, and the dense product is at its best.
_SMALL = (0.15, 1.0)
_MANY, _MOST, _LARGE = 128, 1024, 3.0
_GATHER = 26.0
_WORTH_IT = 1.2
_SMALLEST = 100_000
_ADVICE = "prune it with `MagnitudePruning(structure=(16, 64))`"


@dataclass(frozen=True, eq=False)
class Choice:
    """What becomes of one kernel.

    Attributes:
        layout: Its blocks, or None if it stays dense.
        reason: Why it stays dense, or empty.
        permutation: The order of the neurons in which its blocks are, None for as it is.
        order: The name of that order.
        speed: How many times faster its product is expected to be.

    Examples:
        >>> import keras_moduli as km
        >>> km.sparse.Choice(None, "is too small to gain").speed
        1.0
    """

    layout: BlockLayout | None
    reason: str = ""
    permutation: Permutation | None = None
    order: str = AS_IT_IS
    speed: float = 1.0


@dataclass(frozen=True)
class CostModel:
    """Chooses blocks by what products of them would cost.

    Attributes:
        block: (b, c) for all kernels, or None to choose.
        batch_size: Number of sequences that a model will be called on at once.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> matrix = np.kron(np.eye(8), np.ones((64, 64)))
        >>> choice = km.sparse.CostModel().choose(matrix)
        >>> choice.layout.density, choice.speed > 2
        (0.125, True)
    """

    block: tuple[int, int] | None = None
    batch_size: int = 1

    def choose(
        self,
        weights: Array,
        permutation: Permutation | None = None,
        order: str = AS_IT_IS,
    ) -> Choice:
        """Returns the fastest blocks of a matrix, or that it stays dense.

        Args:
            weights: A matrix (inputs, outputs), its neurons in the order given.
            permutation: That order, None for as it is.
            order: Its name.
        """
        rows, columns = weights.shape
        if self.block is None and rows * columns < _SMALLEST:
            size = f"{rows} × {columns}"
            return Choice(None, f"a kernel of {size} is too small to gain")
        blocks = BLOCKS if self.block is None else [self.block]
        layouts = [BlockLayout.of(weights != 0, block) for block in blocks]
        best = max(layouts, key=self.estimate_speed)
        speed = self.estimate_speed(best)
        if self.block is None and best.density >= 1:
            return Choice(None, f"no block of it is empty; {_ADVICE}")
        if self.block is None and speed < _WORTH_IT:
            return Choice(
                None,
                f"its zeros leave {best.density:.0%} of its weights in the best blocks, "
                f"{best.block[0]} × {best.block[1]}; {_ADVICE}",
            )
        return Choice(best, "", permutation, order, speed)

    def at_positions(self, sizes: Iterable[int | None]) -> Self:
        """Returns the model for a kernel that multiplies several vectors of a sequence.

        Args:
            sizes: Lengths of the axes along which they are. Of None, one that is not
                known, nothing follows.
        """
        known = math.prod(size for size in sizes if size is not None)
        return replace(self, batch_size=self.batch_size * known)

    def estimate_speed(self, layout: BlockLayout) -> float:
        """Returns the time of the dense product over that of the blocks of `layout`."""
        share = min(1.0, (self.batch_size - 1) / 31)
        small = _SMALL[0] + share * (_SMALL[1] - _SMALL[0])
        small += _LARGE * min(1.0, max(0, self.batch_size - _MANY) / (_MOST - _MANY))
        return 1.0 / (layout.density * (1.0 + small + _GATHER / layout.block[1]))
