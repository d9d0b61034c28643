"""No islands: from each neuron a path leads to each other."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_moduli.connectivity._assignment import Edges
from keras_moduli.connectivity._grid import Grid

Array = NDArray[Any]

_MOST_EDGES = 64  # of an island, the longest, that are tried


def join_islands(taken: Array, rank: Array, grid: Grid, kept: Any = None) -> Array:
    """Returns a layout in which all neurons reach each other, with the same sums.

    Each node of the graph (see `Grid.nodes`) has as many blocks going out as coming in.
    Such a graph has no edge without which it would fall apart, and what hangs together
    is strongly connected. So one exchange of a block of an island with one outside joins
    the two; the cheapest by rank is taken, and the smallest island comes first.

    Args:
        taken: Boolean matrix of the blocks, those of the diagonal among them.
        rank: Matrix of the same shape.
        grid: The kernel that it is a layout of.
        kept: Boolean matrix of the blocks that stay, by default those of the diagonal.
            Each island must have others.
    """
    edges = Edges(taken, grid.diagonal if kept is None else kept, rank)
    start, label = grid.nodes[0][edges.rows], _label_nodes(taken, grid)
    while (label != label[0]).any():
        sizes = np.bincount(label)
        smallest = int(np.where(sizes > 0, sizes, len(label) + 1).argmin())
        is_inside = label[start] == smallest
        inside, outside = np.flatnonzero(is_inside), np.flatnonzero(~is_inside)
        longest = np.argsort(-edges.lengths[inside], kind="stable")[:_MOST_EDGES]
        first, second = _find_cheapest(edges, inside[longest], outside)
        edges.exchange(first, second)
        label[label == smallest] = label[start[second]]
    return taken


def _find_cheapest(edges: Edges, inside: Array, outside: Array) -> tuple[int, int]:
    rank, rows, columns = edges.rank, edges.rows, edges.columns
    cost = rank[rows[inside][:, None], columns[outside]].astype(np.float64)
    cost += rank[rows[outside], columns[inside][:, None]]
    cost -= edges.lengths[outside]
    cost -= edges.lengths[inside][:, None]
    k, m = np.unravel_index(cost.argmin(), cost.shape)
    return int(inside[k]), int(outside[m])


def is_whole(taken: Array, grid: Grid) -> bool:
    """Whether nothing falls apart if all connections are taken for both directions."""
    label = _label_nodes(taken, grid)
    return bool((label == label[0]).all())


def _label_nodes(taken: Array, grid: Grid) -> Array:
    (rows, columns), (of_row, of_column) = np.nonzero(taken), grid.nodes
    return _label(of_row[rows], of_column[columns], of_row[-1] + 1)


def _label(start: Array, end: Array, count: int) -> Array:
    """Returns the number of the island of each node: its smallest node."""
    label = np.arange(count)
    while True:
        ends = label[start], label[end]
        least = label.copy()
        for node in ends:
            np.minimum.at(least, node, np.minimum(*ends))
        least = least[least]
        if (least == label).all():
            return label
        label = least


def can_join(taken: Array, grid: Grid) -> bool:
    """Whether a layout is of a graph as `join_islands` takes it."""
    if not grid.recurrent or (grid.diagonal & ~taken).any():
        return False
    rows, columns = np.nonzero(taken & ~grid.diagonal)
    of_row, of_column = grid.nodes
    count = of_row[-1] + 1
    outgoing = np.bincount(of_row[rows], minlength=count)
    incoming = np.bincount(of_column[columns], minlength=count)
    return bool((outgoing == incoming).all() and (count == 1 or outgoing.all()))
