"""Which blocks leave and which come: rows and columns keep as many as they have."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_moduli.connectivity._assignment import assign
from keras_moduli.connectivity._grid import Grid
from keras_moduli.connectivity._islands import can_join, is_whole, join_islands

Array = NDArray[Any]

# What stands in the place of a rank, which is in [0, 1].
_NO_CANDIDATE = 2.0
_WAS_THERE = 4.0


def measure(blocks: Array, count: int) -> Array:
    """Returns the root mean square of each block, (J, count).

    Args:
        blocks: (J, c, count · b), weights or gradients.
        count: How many blocks a column has.
    """
    across, c, _ = blocks.shape
    values = blocks.reshape(across, c, count, -1).astype(np.float64)
    # By powers of 2, which round nothing: squares of float64 leave its range.
    exponents = np.frexp(np.abs(values).max(axis=(1, 3), keepdims=True))[1]
    squares = np.square(np.ldexp(values, -exponents))
    return np.ldexp(np.sqrt(squares.mean(axis=(1, 3))), exponents[:, 0, :, 0])


def choose_leaving(norms: Array, fixed: Array, count: int, rows: int) -> Array:
    """Returns which blocks leave: the smallest of each column, booleans (J, K).

    Args:
        norms: Of the blocks, (J, K). Of equal ones the first go first.
        fixed: Booleans (J, K): the blocks that stay in any case.
        count: How many leave each column; fewer where others are fixed, or where the
            column has not so many rows of blocks to go to.
        rows: How many rows of blocks there are.
    """
    across, width = norms.shape
    order = np.lexsort((norms, fixed), axis=1)
    place = np.empty_like(order)
    place[np.arange(across)[:, None], order] = np.arange(width)
    movable = np.minimum(width - fixed.sum(axis=1), rows - width)
    return place < np.minimum(count, movable)[:, None]


def find_candidates(indices: Array, leaving: Array, rows: int) -> Array:
    """Returns where blocks may come, booleans (J, R).

    In rows that some block leaves, since each row keeps its count, and which the column
    does not have.

    Args:
        indices: Rows of blocks (J, K).
        leaving: Booleans (J, K).
        rows: How many rows of blocks there are.
    """
    freed = np.bincount(indices[leaving], minlength=rows) > 0
    return freed & ~mark(indices, rows).T


def choose_moves(indices: Array, leaving: Array, scores: Array, grid: Grid) -> Array:
    """Returns the rows of blocks (J, K), sorted, after what leaves has come elsewhere.

    The rows that blocks leave are dealt to the columns anew: the highest score first,
    where the row has one left and the column room. A column that is left without gets a
    row by exchange with others. So each column keeps its K blocks and each row its
    count. A block for which there is no such exchange stays. If each neuron reaches each
    other before, it does so afterwards, where blocks of the diagonal are all there and
    neurons have as many blocks in as out.

    Args:
        indices: Rows of blocks (J, K).
        leaving: Booleans (J, K).
        scores: Of blocks that may come, (J, R); -inf of those that should not.
        grid: The blocks of the kernel.
    """
    rows = scores.shape[1]
    old, staying = mark(indices, rows), mark(indices, rows, ~leaving)
    if (old.sum(axis=0) != indices.shape[1]).any():
        raise ValueError(
            "A column of blocks must have each of its rows once. Received rows "
            f"{indices[old.sum(axis=0) != indices.shape[1]][0].tolist()}"
        )
    rank = _compute_rank(scores.T, old)
    taken = _assign(old, staying, rank)
    if grid.recurrent and is_whole(old, grid) and can_join(taken, grid):
        taken = join_islands(taken, rank, grid, kept=staying & taken)
    return np.nonzero(taken.T)[1].reshape(indices.shape)


def _assign(old: Array, staying: Array, rank: Array) -> Array:
    freed, (counts, quotas) = old & ~staying, (old.sum(axis=0), old.sum(axis=1))
    try:  # beside all old blocks, so that none comes back
        more = counts + freed.sum(axis=0), quotas + freed.sum(axis=1)
        return assign(rank, old, *more) & ~freed
    except ValueError:
        return assign(rank, staying, counts, quotas)


def _compute_rank(scores: Array, old: Array) -> Array:
    """Returns how gladly a block is left out: 0 for the best, 1 for the worst."""
    is_candidate = np.isfinite(scores) & ~old
    rank = np.where(old, _WAS_THERE, _NO_CANDIDATE)
    if is_candidate.any():
        values = scores[is_candidate].astype(np.float64)
        span = values.max() - values.min()
        rank[is_candidate] = (values.max() - values) / (span or 1.0)
    return rank


def find_sources(old: Array, new: Array) -> Array:
    """Returns at which place (J, K) a column had each of its blocks; -1 for new ones.

    Args:
        old: Rows of blocks (J, K), before,
        new: and after.
    """
    same = new[:, :, None] == old[:, None, :]
    return np.where(same.any(axis=2), same.argmax(axis=2), -1)


def carry_over(blocks: Array, sources: Array) -> Array:
    """Returns blocks (J, c, K·b) where they are now, and zero where they are new."""
    across, c, _ = blocks.shape
    apart = blocks.reshape(across, c, sources.shape[1], -1)
    there = np.maximum(sources, 0)[:, None, :, None]
    moved = np.take_along_axis(apart, there, axis=2)
    zero = np.zeros((), blocks.dtype)
    return np.where((sources < 0)[:, None, :, None], zero, moved).reshape(blocks.shape)


def mark(indices: Array, rows: int, which: Any = True) -> Array:
    """Returns a boolean matrix (R, J) of blocks."""
    columns = np.broadcast_to(np.arange(len(indices))[:, None], indices.shape)
    chosen = np.broadcast_to(which, indices.shape)
    matrix = np.zeros((rows, len(indices)), bool)
    matrix[indices[chosen], columns[chosen]] = True
    return matrix
