"""What is done for all pairs of neurons, a few rows of them at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

Tensor = Any

# Up to so many pairs are held at once; of more, a few rows at a time.
MOST_PAIRS = 4_000_000
_PAIRS_OF_A_BLOCK = 250_000
# What PyTorch keeps of a block is small, but lies where the block was, and the next does
# not fit there: malloc's heap grows by several kernels. Blocks of this size are mapped
# and unmapped instead, which takes longer.
_PAIRS_OF_A_TORCH_BLOCK = 2**23


def are_many(pairs: int) -> bool:
    """Whether so many pairs of neurons are too many to be held at once."""
    return pairs > MOST_PAIRS


def map_rows(function: Callable[..., Any], rows: Sequence[Tensor], width: int) -> Any:
    """What a function makes of each block of rows, stacked, without gradient.

    Args:
        function: Takes a few rows of each tensor of `rows`; returns a tensor or several.
        rows: Tensors of one first axis. Rows of zeros are added where they do not divide.
        width: How many pairs there are in a row.
    """
    still = [ops.stop_gradient(tensor) for tensor in rows]
    blocks = _blocked(still, _pairs_of_a_block() // width)
    made = ops.map(lambda block: function(*block), blocks)
    return keras.tree.map_structure(ops.stop_gradient, made)


def sum_rows(
    function: Callable[..., Tensor],
    constants: Sequence[Tensor],
    rows: Sequence[Tensor],
    *others: Tensor,
) -> Tensor:
    """Σ function(*some_constants, *some_rows, *others) over blocks of rows.

    Its gradient evaluates the function anew for each block, so that nothing of it is
    kept.

    Args:
        function: Takes a few rows of each tensor of `constants` and `rows`, then
            `others`, and returns a scalar, to which rows of zeros must add nothing.
        constants: Tensors without gradient, of the same first axis as `rows`. Backends
            keep copies of what has one.
        rows: Tensors that are differentiated.
        *others: Likewise, but given whole; the first axis is that of the columns.
    """
    height = _pairs_of_a_block() // others[0].shape[0]
    blocks = _blocked(rows, height)
    fixed = _blocked([ops.stop_gradient(tensor) for tensor in constants], height)

    @keras.remat
    def step(number: Tensor, *arguments: Tensor) -> Tensor:
        return function(*(tensor[number] for tensor in fixed), *arguments)

    numbers = ops.arange(blocks[0].shape[0], dtype="int32")
    return ops.sum(ops.map(lambda block: step(*block, *others), [numbers, *blocks]))


def _pairs_of_a_block() -> int:
    is_torch = keras.backend.backend() == "torch"
    return _PAIRS_OF_A_TORCH_BLOCK if is_torch else _PAIRS_OF_A_BLOCK


def _blocked(rows: Sequence[Tensor], most: int) -> list[Tensor]:
    """Tensors (blocks, height, …), of at most so many rows each."""
    count, most = rows[0].shape[0], max(1, most)
    divisors = [n for n in range(1, min(count, most) + 1) if count % n == 0]
    # Blocks that divide the rows need no copy with rows of zeros.
    height = divisors[-1] if divisors[-1] > most // 4 else most
    return [_divided(tensor, height) for tensor in rows]


def _divided(tensor: Tensor, height: int) -> Tensor:
    if excess := -tensor.shape[0] % height:
        tensor = ops.pad(tensor, [(0, excess)] + [(0, 0)] * (len(tensor.shape) - 1))
    return ops.reshape(tensor, (-1, height, *tensor.shape[1:]))
