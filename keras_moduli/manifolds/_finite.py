"""Metrics given by a table."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from keras import ops

from keras_moduli import _checks
from keras_moduli._repr import write_call
from keras_moduli.manifolds import _tables
from keras_moduli.manifolds._base import Array, Manifold, Tensor, register

__all__ = ["FiniteMetric"]

_MOST_SHOWN = 4  # elements, whose distances the repr lists


@register("finite_metric")
@dataclass(frozen=True)
class FiniteMetric(Manifold):
    """A finite metric space, given by the distances between its elements.

    A point is the number of an element, from 0: `ambient_dim` is 1. Distances are
    constants, so that points can be permuted but not learned by gradients.

    Args:
        distances: Square symmetric matrix (list of lists, or array) of distances:
            finite, 0 on the diagonal, above 0 off it, within the triangle inequality.
            Samples are elements without repetition while they last.

    Raises:
        TypeError: If `distances` does not hold numbers.
        ValueError: If it is not a metric as above.

    Examples:
        >>> import keras_moduli as km
        >>> triangle = km.manifolds.FiniteMetric([[0, 1, 2], [1, 0, 1], [2, 1, 0]])
        >>> float(triangle.distance([0], [2]))
        2.0
    """

    learnable: ClassVar[bool] = False
    distances: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        table = _checks.array(self.distances, "distances")
        _tables.check_metric(table)
        self._set(distances=tuple(map(tuple, table.tolist())))

    def __repr__(self) -> str:
        if self.size <= _MOST_SHOWN:
            return write_call(self)
        return f"<FiniteMetric of {self.size} elements>"

    @classmethod
    def from_graph(cls, graph: Any) -> Self:
        """The metric of shortest paths in an undirected graph. Needs SciPy.

        Args:
            graph: Matrix of edge lengths, dense or SciPy sparse; 0 means no edge.

        Returns:
            The metric of as many elements as the graph has nodes.

        Raises:
            ImportError: If SciPy is not installed.
            TypeError: If `graph` does not hold numbers.
            ValueError: If it is not square, or not connected.

        Examples:
            >>> import keras_moduli as km
            >>> graph = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
            >>> path = km.manifolds.FiniteMetric.from_graph(graph)
            >>> path.distances[0]
            (0.0, 1.0, 2.0)
        """
        try:
            from scipy.sparse.csgraph import shortest_path
        except ImportError as error:
            raise ImportError(
                "`FiniteMetric.from_graph` needs SciPy: pip install scipy"
            ) from error
        if not hasattr(graph, "toarray"):
            graph = _checks.array(graph, "graph")
        if (
            len(graph.shape) != 2
            or graph.shape[0] != graph.shape[1]
            or not graph.shape[0]
        ):
            raise ValueError(
                "`graph` must be a square matrix of edge lengths. "
                f"Received: graph.shape={graph.shape}"
            )
        table = shortest_path(graph, directed=False)
        if not np.isfinite(table).all():
            lost = np.flatnonzero(~np.isfinite(table[0]))
            raise ValueError(
                "The graph must be connected. No path leads from node 0 to node "
                f"{lost[0]}."
            )
        return cls(table)

    @property
    def ambient_dim(self) -> int:
        return 1

    @property
    def size(self) -> int:
        """Number of elements."""
        return len(self.distances)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.distances)

    @cached_property
    def _squares(self) -> Array:
        return np.square(self._table).ravel()

    @cached_property
    def _table(self) -> Array:
        return np.asarray(self.distances)

    def project(self, points: Tensor) -> Tensor:
        return ops.clip(ops.round(points), 0.0, self.size - 1.0)

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        row, column = (ops.cast(self.project(p)[..., 0], "int32") for p in (x, y))
        squares = ops.convert_to_tensor(self._squares, x.dtype)
        last = self.size**2 - 1  # NaN is the number of no element, and no integer
        number = ops.clip(row * self.size + column, 0, last)
        return ops.take(squares, number) + ops.where(ops.isnan(x + y), x + y, 0.0)[..., 0]

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        rounds = -(-n // self.size)
        elements = np.concatenate([rng.permutation(self.size) for _ in range(rounds)])
        return elements[:n, None].astype(np.float64)

    def chart(self, points: Array) -> Array:
        """Classical multidimensional scaling to at most three dimensions."""
        squares = np.square(self._table)
        centered = squares - squares.mean(0) - squares.mean(1)[:, None] + squares.mean()
        values, vectors = np.linalg.eigh(-centered / 2)
        coordinates = (vectors * np.sqrt(np.maximum(values, 0.0)))[:, :-4:-1]
        return coordinates[np.clip(points[:, 0].round().astype(int), 0, self.size - 1)]
