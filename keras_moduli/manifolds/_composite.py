"""Manifolds made of others, and metrics given by a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from keras import ops

from keras_moduli import _checks
from keras_moduli._repr import write_call
from keras_moduli.manifolds import _tables
from keras_moduli.manifolds._base import Array, Manifold, Tensor, get, register

__all__ = ["FiniteMetric", "Product"]

_MOST_SHOWN = 4  # elements, whose distances the repr lists


@register("product")
@dataclass(frozen=True)
class Product(Manifold):
    """A product of manifolds: d² = Σₖ wₖ dₖ².

    A point is the concatenation of one point of each factor.

    Args:
        factors: Manifolds or their names, at least one.
        weights: wₖ, one number above 0 for each factor; 1 by default.

    Examples:
        >>> import keras_moduli as km
        >>> mixed = km.manifolds.Product(["sphere", km.manifolds.Torus()])
        >>> mixed.ambient_dim
        5
    """

    factors: tuple[Manifold, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.factors, str) or not isinstance(self.factors, Sequence):
            raise TypeError(
                "`factors` must be a list of manifolds or their names, such as "
                f"['circle', 'sphere']. Received: factors={self.factors!r}"
            )
        self._set(factors=tuple(get(factor) for factor in self.factors))
        if not self.factors:
            raise ValueError("`factors` must name at least one manifold.")
        if self.ambient_dim > _checks.MOST_DIMENSIONS + 1:
            raise ValueError(
                f"`factors` must have at most {_checks.MOST_DIMENSIONS + 1} coordinates "
                f"in all. Received: {self.ambient_dim}"
            )
        if self.weights is None:
            return
        if isinstance(self.weights, np.ndarray):
            self._set(weights=self.weights.tolist())
        if not isinstance(self.weights, Sequence):
            raise TypeError(
                "`weights` must be a list of numbers, one for each factor. "
                f"Received: weights={self.weights!r}"
            )
        if len(self.weights) != len(self.factors):
            raise ValueError(
                f"`weights` must hold one number for each of the {len(self.factors)} "
                f"factors. Received: weights={self.weights!r}"
            )
        self._set(weights=tuple(_checks.positive("weights", w) for w in self.weights))

    @property
    def ambient_dim(self) -> int:
        return sum(factor.ambient_dim for factor in self.factors)

    @property
    def learnable(self) -> bool:  # type: ignore[override]
        return all(factor.learnable for factor in self.factors)

    def _parts(self, points: Any) -> list[Any]:
        ends = np.cumsum([factor.ambient_dim for factor in self.factors])
        starts = [0, *ends[:-1]]
        return [points[..., a:b] for a, b in zip(starts, ends, strict=True)]

    def project(self, points: Tensor) -> Tensor:
        parts = zip(self.factors, self._parts(points), strict=True)
        return ops.concatenate([factor.project(x) for factor, x in parts], axis=-1)

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        weights = self.weights or (1.0,) * len(self.factors)
        parts = zip(weights, self.factors, self._parts(x), self._parts(y), strict=True)
        return sum(w * m.compute_squared_distance(a, b) for w, m, a, b in parts)

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        return np.hstack([factor.draw(n, rng) for factor in self.factors])

    def chart(self, points: Array) -> Array:
        parts = zip(self.factors, self._parts(points), strict=True)
        return np.hstack([factor.chart(x) for factor, x in parts])


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

        Raises:
            ImportError: If SciPy is not installed.
            ValueError: If the graph is not connected.

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
