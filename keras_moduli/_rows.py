"""What is done for all pairs of neurons, a few rows of them at a time."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _backend

Tensor = Any

# So many differences of coordinates are held at once; of more, those of a block.
MOST_HELD = 2**25


def combine(function: Callable[..., Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Returns a function of points x and y, in blocks where all at once are too many.

    Its gradient evaluates the function anew for each block, so that nothing is kept.

    Args:
        function: Takes tensors (…, d) that broadcast; returns one value for each pair.
        x: Of shape (…, d).
        y: Of a shape that broadcasts with that of `x`.
    """
    if None in (*x.shape, *y.shape):  # not known while a graph is made
        return function(x, y)
    shape = np.broadcast_shapes(x.shape, y.shape)
    if len(shape) < 2 or math.prod(shape) <= MOST_HELD:
        return function(x, y)
    rank = len(shape)
    x, y = (ops.reshape(z, (1,) * (rank - len(z.shape)) + tuple(z.shape)) for z in (x, y))
    if shape[0] == 1:
        return combine(function, x[0], y[0])[None]
    height = _backend.count_differences_of_a_block() // math.prod(shape[1:])
    divided = [z for z in (x, y) if z.shape[0] > 1]
    whole = [z for z in (x, y) if z.shape[0] == 1]
    first = 0 if x.shape[0] > 1 else 1  # which of the two stands before the other

    @keras.remat
    def step(*pair: Tensor) -> Tensor:
        return combine(function, *(pair if first == 0 else pair[::-1]))

    made = ops.map(lambda block: step(*block, *whole), _divide_all(divided, height))
    return ops.reshape(made, (-1, *made.shape[2:]))[: shape[0]]


def map_rows(function: Callable[..., Any], rows: Sequence[Tensor], width: int) -> Any:
    """Applies a function to each block of rows, and stacks the results without gradient.

    Args:
        function: Takes a few rows of each tensor of `rows`; returns a tensor or several.
        rows: Tensors of one first axis. Rows of zeros are added where they do not divide.
        width: How many pairs there are in a row.
    """
    still = [ops.stop_gradient(tensor) for tensor in rows]
    blocks = _divide_all(still, _backend.count_pairs_of_a_block() // width)
    made = ops.map(lambda block: function(*block), blocks)
    return keras.tree.map_structure(ops.stop_gradient, made)


def sum_rows(
    function: Callable[..., Tensor],
    constants: Sequence[Tensor],
    rows: Sequence[Tensor],
    *others: Tensor,
) -> Tensor:
    """Returns Σ function(*some_constants, *some_rows, *others) over blocks of rows.

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
    height = _backend.count_pairs_of_a_block() // others[0].shape[0]
    blocks = _divide_all(rows, height)
    fixed = _divide_all([ops.stop_gradient(tensor) for tensor in constants], height)

    @keras.remat
    def step(number: Tensor, *arguments: Tensor) -> Tensor:
        return function(*(tensor[number] for tensor in fixed), *arguments)

    numbers = ops.arange(blocks[0].shape[0], dtype="int32")
    return ops.sum(ops.map(lambda block: step(*block, *others), [numbers, *blocks]))


def _divide_all(rows: Sequence[Tensor], most: int) -> list[Tensor]:
    """Reshapes tensors to (blocks, height, …), of at most so many rows each."""
    count, most = rows[0].shape[0], max(1, most)
    divisors = [n for n in range(1, min(count, most) + 1) if count % n == 0]
    # Blocks that divide the rows need no copy with rows of zeros.
    height = divisors[-1] if divisors[-1] > most // 4 else most
    return [_divide(tensor, height) for tensor in rows]


def _divide(tensor: Tensor, height: int) -> Tensor:
    if excess := -tensor.shape[0] % height:
        tensor = ops.pad(tensor, [(0, excess)] + [(0, 0)] * (len(tensor.shape) - 1))
    return ops.reshape(tensor, (-1, height, *tensor.shape[1:]))
