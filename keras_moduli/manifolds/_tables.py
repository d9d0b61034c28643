"""Whether a table of distances is a metric."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_ROWS_OF_A_BLOCK = 128  # with their sums in a processor's cache
_SLACK = 1e-6  # of a distance, by which rounding may have broken a triangle


def check_metric(table: Array) -> None:
    """Raises a ValueError that says why a table of distances is no metric."""
    problem = None
    if table.ndim != 2 or table.shape[0] != table.shape[1] or not table.size:
        problem = f"a square matrix; its shape is {table.shape}"
    elif not np.isfinite(table).all():
        problem = "finite"
    elif not np.allclose(table, table.T, rtol=1e-9, atol=0):
        problem = "symmetric"
    elif np.diag(table).any() or (table + np.eye(len(table)) <= 0).any():
        problem = "0 on the diagonal and above 0 off it"
    elif _breaks_a_triangle(table):
        problem = "within the triangle inequality; `FiniteMetric.from_graph` mends that"
    if problem:
        raise ValueError(f"`distances` must be {problem}.")


def _breaks_a_triangle(table: Array) -> bool:
    """Whether any distance is longer than a way by a third element.

    That takes n³/2 sums, in half the width first; what looks broken is looked at again.
    """
    scaled = table / max(table.max(), 1e-300)
    find = partial(_find_suspects, scaled.astype(np.float32))
    with ThreadPoolExecutor() as threads:
        blocks = threads.map(find, range(0, len(table), _ROWS_OF_A_BLOCK))
        return any(_is_broken(scaled, row) for rows in blocks for row in rows)


def _find_suspects(table: NDArray[np.float32], first: int) -> NDArray[np.intp]:
    """Returns the rows of a block in which a distance is longer than another way."""
    rows = table[first : first + _ROWS_OF_A_BLOCK]
    direct = rows[:, first:]  # before these lies what other blocks have, by symmetry
    shortest, way = np.full_like(direct, np.inf), np.empty_like(direct)
    for third, row in enumerate(table):
        np.add(rows[:, third, None], row[first:], out=way)
        np.minimum(shortest, way, out=shortest)
    longer = direct > shortest * np.float32(1 + _SLACK)
    return first + np.flatnonzero(longer.any(axis=1))


def _is_broken(table: Array, row: int) -> bool:
    ways = table[row][:, None] + table
    return bool((table[row] > ways * (1 + _SLACK)).any())
