"""Which blocks are there: the best by rank, as many in each row and column as wanted."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_moduli.connectivity._grid import Grid

Array = NDArray[Any]

_SPARE_CANDIDATES = 16  # of a column, beyond twice those that it takes
_MOST_SWEEPS, _MOST_TRIES = 4, 2**29  # exchanges that are tried after the first sweep


def assign(rank: Array, kept: Array, counts: Array, quotas: Array) -> Array:
    """Returns a boolean matrix with given sums and low ranks.

    Blocks are taken by rank while their row and column have room. Columns that then
    lack some get them by moving others, and those late blocks are exchanged for
    shorter ones. Ties of ranks are broken by row, then by column.

    Args:
        rank: Matrix (R, J): blocks of low rank are preferred.
        kept: Boolean matrix of the blocks that are there in any case.
        counts: Blocks of each column.
        quotas: Blocks of each row.

    Raises:
        ValueError: If there is no such matrix.
    """
    taken = kept.copy()
    rooms = quotas - taken.sum(axis=1), counts - taken.sum(axis=0)
    if min(room.min() for room in rooms) < 0:
        raise ValueError(_EXPLAIN_NONE)
    row_room, column_room = (room.tolist() for room in rooms)
    rows, columns = _sort_candidates(rank, kept, int(counts.max()))
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        if row_room[i] and column_room[j]:
            row_room[i] -= 1
            column_room[j] -= 1
            taken[i, j] = True
    room = np.array(row_room)
    late = [
        _augment(taken, kept, room, rank, j)
        for j, missing in enumerate(column_room)
        for _ in range(missing)
    ]
    return _shorten(taken, kept, rank, late) if late else taken


def fill(rank: Array, grid: Grid, count: int) -> Array:
    """Returns the blocks of low ranks of a grid, `count` in each column."""
    counts = np.full(grid.shape[1], count)
    return assign(rank, grid.diagonal, counts, grid.quotas(count))


def _sort_candidates(rank: Array, kept: Array, count: int) -> tuple[Array, Array]:
    """Returns rows and columns of the best blocks of each column, the best first."""
    last = min(len(rank), 2 * count + _SPARE_CANDIDATES) - 1
    limit = np.partition(rank, last, axis=0)[last]
    rows, columns = np.nonzero((rank <= limit) & ~kept)
    order = np.lexsort((columns, rows, rank[rows, columns]))
    return rows[order], columns[order]


def _augment(taken: Array, kept: Array, room: Array, rank: Array, column: int) -> Any:
    """Adds a block to a column, moving blocks of others where its row has no room.

    The shortest path from the column to a row with room takes blocks that are not there
    and leaves out others that are, in turns.

    Returns:
        The block that came into the row with room.
    """
    down, across = taken.shape
    column_of, row_of = np.full(down, -1), np.full(across, -1)
    row_of[column] = down  # the start: not to be reached again
    columns = [column]
    while columns:
        reached: list[int] = []
        for j in columns:
            new = np.flatnonzero(~taken[:, j] & (column_of < 0))
            column_of[new] = j
            if len(free := new[room[new] > 0]):
                end = free[np.argmin(rank[free, j])]
                room[end] -= 1
                _flip(taken, end, column, column_of, row_of)
                return int(end), int(j)
            reached.extend(new)
        if not reached:
            break
        moves = taken[reached] & ~kept[reached] & (row_of < 0)
        new = np.flatnonzero(moves.any(axis=0))
        first = moves[:, new].argmax(axis=0)
        row_of[new] = np.array(reached, int)[first]
        columns = new[np.argsort(first, kind="stable")].tolist()
    raise ValueError(_EXPLAIN_NONE)


def _flip(taken: Array, row: int, start: int, column_of: Array, row_of: Array) -> None:
    while True:
        column = column_of[row]
        taken[row, column] = True
        if column == start:
            return
        row = row_of[column]
        taken[row, column] = False


def _shorten(
    taken: Array, kept: Array, rank: Array, late: list[tuple[int, int]]
) -> Array:
    """Exchanges late blocks with others, (i, j) and (r, c) for (i, c) and (r, j)."""
    edges = Edges(taken, kept, rank)
    slots = [k for i, j in late for k in edges.find(i, j)]
    tries = max(1, len(slots) * len(edges.rows))
    for _ in range(max(1, min(_MOST_SWEEPS, _MOST_TRIES // tries))):
        improved = [edges.improve(slot) for slot in slots]
        if not any(improved):
            break
    return taken


class Edges:
    """The blocks of a matrix that may move, in a list, and the matrix itself."""

    def __init__(self, taken: Array, kept: Array, rank: Array) -> None:
        self.taken, self.rank = taken, rank
        self.rows, self.columns = np.nonzero(taken & ~kept)
        self.lengths = rank[self.rows, self.columns].astype(np.float64)

    def find(self, row: int, column: int) -> list[int]:
        """Returns where in the list a block is: nowhere, if it was moved."""
        return np.flatnonzero((self.rows == row) & (self.columns == column)).tolist()

    def improve(self, slot: int) -> bool:
        """Exchanges the columns of a block and of the best other one, if that helps."""
        i, j = self.rows[slot], self.columns[slot]
        is_there = self.taken[i][self.columns] | self.taken[:, j][self.rows]
        others = np.flatnonzero(~is_there)
        gain = self.lengths[others] + self.lengths[slot]
        gain -= self.rank[i][self.columns[others]]
        gain -= self.rank[:, j][self.rows[others]]
        if not (gain > 0).any():
            return False
        self.exchange(slot, int(others[gain.argmax()]))
        return True

    def can_exchange(self, first: int, second: int) -> bool:
        """Whether neither of the blocks that would come is there already."""
        rows, columns = self.rows, self.columns
        return not (
            self.taken[rows[first], columns[second]]
            or self.taken[rows[second], columns[first]]
        )

    def exchange(self, first: int, second: int) -> None:
        """Exchanges the columns of two blocks: all sums stay."""
        slots, rows = [first, second], self.rows
        self.taken[rows[slots], self.columns[slots]] = False
        self.columns[slots] = self.columns[slots[::-1]]
        self.taken[rows[slots], self.columns[slots]] = True
        self.lengths[slots] = self.rank[rows[slots], self.columns[slots]]


_EXPLAIN_NONE = (
    "There is no layout of this density that keeps all diagonal blocks and uses rows of "
    "blocks equally often. Type a `block` of two numbers of which one divides the other, "
    "such as (16, 64), or a larger density."
)
