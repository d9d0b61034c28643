"""What every manifold has, and how manifolds are named."""

import abc
import functools
import itertools
from typing import Any, ClassVar, final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _backend, _checks, _rows, numerics
from keras_moduli._ordering import hilbert_order
from keras_moduli._registry import Configuration, Registry

Tensor = Any
Array = NDArray[np.float64]


class Manifold(Configuration, abc.ABC):
    """A metric space whose points are the last axis of a tensor.

    Attributes:
        ambient_dim: Number of coordinates of a point.
        learnable: Whether distances have gradients with respect to the points.

    Examples:
        To write your own, make a frozen dataclass of it and define `ambient_dim`,
        `project`, `compute_squared_distance`, `draw` and `chart`, with the roots and
        norms of `keras_moduli.numerics`; distances, sampling, ordering, equality and
        saving follow:

        >>> import dataclasses, keras, keras_moduli as km
        >>> @keras.saving.register_keras_serializable("docs")
        ... @dataclasses.dataclass(frozen=True)
        ... class Line(km.manifolds.Manifold):
        ...     length: float = 1.0
        ...     ambient_dim = 1
        ...     def project(self, points):
        ...         return keras.ops.clip(points, 0.0, self.length)
        ...     def compute_squared_distance(self, x, y):
        ...         return keras.ops.square(x - y)[..., 0]
        ...     def draw(self, n, rng):
        ...         return rng.uniform(0.0, self.length, (n, 1))
        ...     def chart(self, points):
        ...         return points
        >>> Line().sample(5).shape
        (5, 1)
    """

    learnable: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def ambient_dim(self) -> int:
        """Number of coordinates of a point."""

    @abc.abstractmethod
    def project(self, points: Tensor) -> Tensor:
        """Maps any coordinates to the point of the manifold that they stand for.

        Args:
            points: Tensor of shape (..., ambient_dim).

        Returns:
            Tensor of the same shape. Distances do not change by projecting.
        """

    @abc.abstractmethod
    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        """d(x, y)² over the last axis of two broadcastable tensors of one float type.

        Args:
            x: Points, of shape (..., ambient_dim).
            y: Points, of a shape that broadcasts with that of `x`.

        Returns:
            Tensor of the broadcast shape without its last axis.
        """

    @abc.abstractmethod
    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        """Random points, an array of shape (n, ambient_dim).

        Args:
            n: Number of points.
            rng: Where randomness comes from.

        Returns:
            Array of shape (n, ambient_dim), in any order.
        """

    @abc.abstractmethod
    def chart(self, points: Array) -> Array:
        """Coordinates (n, k), about one to one, that a space-filling curve follows.

        Args:
            points: Array of shape (n, ambient_dim).

        Returns:
            Array of shape (n, k).
        """

    @final
    def squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        """The squared geodesic distance d(x, y)².

        Args:
            x: Points, of shape (..., ambient_dim).
            y: Points, of a shape that broadcasts with that of `x`.

        Returns:
            Tensor of the broadcast shape without its last axis, with finite gradients
            everywhere, also where points coincide or are as far apart as can be.

        Raises:
            ValueError: If the last axis is not of size `ambient_dim`.
        """
        squared, dtype = self._measure(x, y)
        return ops.cast(squared, dtype)

    @final
    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """The geodesic distance d(x, y), with gradient 0 where points coincide.

        Args:
            x: Points, of shape (..., ambient_dim).
            y: Points, of a shape that broadcasts with that of `x`.

        Returns:
            Tensor of the broadcast shape without its last axis.

        Raises:
            ValueError: If the last axis is not of size `ambient_dim`.
        """
        squared, dtype = self._measure(x, y)
        return ops.cast(numerics.sqrt(squared), dtype)

    @final
    def pairwise(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """All distances between two sets of points.

        Args:
            x: Points, of shape (m, ambient_dim).
            y: Points, of shape (n, ambient_dim); `x` by default.

        Returns:
            Tensor of shape (m, n).

        Raises:
            ValueError: If points are not of those shapes.
        """
        x = self._list_points("x", x)
        y = x if y is None else self._list_points("y", y)
        return self.distance(x[:, None, :], y[None, :, :])

    @final
    def sample(self, n: int, seed: int = 0) -> Array:
        """Random points, sorted so that neighbors in the array are neighbors in space.

        The stream is that of `numpy.random.RandomState`, which is frozen: a seed means
        the same points on every backend and in every version of NumPy.

        Args:
            n: Number of points, at least 1.
            seed: Integer in [0, 2³²).

        Returns:
            NumPy array of shape (n, ambient_dim), float64, already in `order`.
        """
        n = _checks.integer("n", n, minimum=1)
        rng = np.random.RandomState(_checks.seed("seed", seed))
        points = self.draw(n, rng)
        return points[self.order(points)]

    @final
    def order(self, points: Array) -> NDArray[np.intp]:
        """The permutation that sorts points along a space-filling curve.

        Args:
            points: Array or tensor of shape (n, ambient_dim).

        Returns:
            Integer array of shape (n,): `points[order]` is sorted.

        Raises:
            ValueError: If `points` is not of that shape.
        """
        points = _checks.array(points)
        self._check_list("points", points)
        return hilbert_order(self.chart(points))

    @final
    def natural_length(self, density: float = 0.1) -> float:
        """The distance within which a fraction of all pairs of neurons lie.

        The scale by which to choose what is near: an inhibitor of one fixed width is
        saturated on one manifold and flat on another.

        Args:
            density: Fraction of pairs, in (0, 1).

        Returns:
            Quantile of the distances among 512 samples.
        """
        density = _checks.fraction("density", density)
        return float(np.quantile(_sample_distances(self), density))

    def _measure(self, x: Tensor, y: Tensor) -> tuple[Tensor, str]:
        """Returns d² in float32 or better, and the type that it should have."""
        x, y = self._points("x", x), self._points("y", y)
        dtype = keras.backend.result_type(x.dtype, y.dtype)
        wide = keras.backend.result_type(dtype, "float32")  # half holds no d of 256
        x, y = ops.cast(x, wide), ops.cast(y, wide)
        return _rows.combine(self.compute_squared_distance, x, y), dtype

    def _check_shape(self, name: str, points: Any) -> None:
        if not points.shape or points.shape[-1] != self.ambient_dim:
            raise ValueError(
                f"{self!r} expects `{name}` of shape (..., {self.ambient_dim}). "
                f"Received: {name}.shape={tuple(points.shape)}"
            )

    def _check_list(self, name: str, points: Any) -> None:
        self._check_shape(name, points)
        if len(points.shape) != 2 or not points.shape[0]:
            raise ValueError(
                f"{self!r} expects `{name}` of shape (n, {self.ambient_dim}), n at least "
                f"1. Received: {name}.shape={tuple(points.shape)}"
            )

    def _list_points(self, name: str, points: Tensor) -> Tensor:
        points = self._points(name, points)
        self._check_list(name, points)
        return points

    def _points(self, name: str, points: Tensor) -> Tensor:
        points = _checks.tensor(points, name)
        self._check_shape(name, points)
        is_float = keras.backend.is_float_dtype(
            keras.backend.standardize_dtype(points.dtype)
        )
        return points if is_float else ops.cast(points, keras.backend.floatx())


@functools.lru_cache(maxsize=64)
def _sample_distances(manifold: Manifold) -> Array:
    points = manifold.sample(512).astype(np.float32)
    # Where there are many coordinates, each pair once, of parts of one shape.
    parts = np.split(points, 1 if manifold.ambient_dim <= 64 else _backend.count_tiles())

    def measure(i: int, j: int) -> Array:
        table: Array = ops.convert_to_numpy(manifold.pairwise(parts[i], parts[j]))
        return table[np.triu_indices(len(table), 1)] if i == j else table.ravel()

    pairs = itertools.combinations_with_replacement(range(len(parts)), 2)
    measured = _backend.compute_outside_of_trace(lambda: [measure(*p) for p in pairs])
    return np.concatenate(measured).astype(np.float64)


_registry = Registry("manifold", Manifold)  # type: ignore[type-abstract]
names = _registry.names
register = _registry.register


def get(identifier: str | dict[str, Any] | Manifold) -> Manifold:
    """Returns a manifold from its name, its configuration, or itself.

    Args:
        identifier: A name such as `"torus"`, a config made by `keras.saving`, or a
            `Manifold`, which is returned as it is.

    Raises:
        TypeError: If `identifier` is none of these.
        ValueError: If the name is unknown or stands for a manifold without defaults.

    Examples:
        >>> import keras_moduli as km
        >>> km.manifolds.get("torus")
        Torus(dim=2, period=10.0)
    """
    return _registry.get(identifier)
