"""Flat manifolds: Euclidean space and its quotients."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from keras_moduli import _checks
from keras_moduli.manifolds._base import Array, Manifold, Tensor, register
from keras_moduli.numerics import squared_norm, wrap

__all__ = ["Circle", "Euclidean", "KleinBottle", "MobiusStrip", "Torus"]


@register("euclidean")
@dataclass(frozen=True)
class Euclidean(Manifold):
    """Euclidean space Rⁿ: d² = Σ (xᵢ − yᵢ)².

    Args:
        dim: Dimension, from 1 to 4096. Samples are standard normal in each coordinate.

    Raises:
        TypeError: If `dim` is no integer.
        ValueError: If it is out of range.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.manifolds.Euclidean(2).distance([0.0, 0.0], [3.0, 4.0]))
        5.0
    """

    dim: int = 3

    def __post_init__(self) -> None:
        self._set(dim=_checks.dimension("dim", self.dim))

    @property
    def ambient_dim(self) -> int:
        return self.dim

    def project(self, points: Tensor) -> Tensor:
        return points

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        return squared_norm(x - y)

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        return rng.standard_normal((n, self.dim))

    def chart(self, points: Array) -> Array:
        return points


@register("circle")
@dataclass(frozen=True)
class Circle(Manifold):
    """The circle, a point being its arc length: d = |x − y| the short way round.

    `Sphere(dim=1)` is the same circle with points in the plane.

    Args:
        circumference: Length of the circle, above 0. The default, 10π, is the circle of
            radius 5 of Mackey et al. Samples are uniform.

    Raises:
        TypeError: If `circumference` is not a number.
        ValueError: If it is not finite, or not above 0.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.manifolds.Circle(circumference=10.0).distance([1.0], [9.0]))
        2.0
    """

    circumference: float = 10 * math.pi

    def __post_init__(self) -> None:
        self._set(circumference=_checks.positive("circumference", self.circumference))

    @property
    def ambient_dim(self) -> int:
        return 1

    def project(self, points: Tensor) -> Tensor:
        return ops.mod(points, self.circumference)

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        return squared_norm(wrap(x - y, self.circumference))

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        return rng.uniform(0.0, self.circumference, (n, 1))

    def chart(self, points: Array) -> Array:
        return points % self.circumference


@register("torus")
@dataclass(frozen=True)
class Torus(Manifold):
    """The flat torus Tⁿ: d² = Σ δᵢ², where δ = x − y wrapped to half a period.

    Args:
        dim: Dimension, from 1 to 4096.
        period: Length of each axis, above 0: a number, or one for each axis. Samples
            are uniform. The default is that of Mackey et al.

    Raises:
        TypeError: If `dim` is no integer, or a period no number.
        ValueError: If `dim` is out of range, a period is not finite or not above 0, or
            there are not as many as axes.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.manifolds.Torus().distance([1.0, 0.0], [8.0, 4.0]))
        5.0
    """

    dim: int = 2
    period: float | tuple[float, ...] = 10.0

    def __post_init__(self) -> None:
        self._set(dim=_checks.dimension("dim", self.dim))
        if isinstance(self.period, np.ndarray):
            self._set(period=self.period.tolist())
        if not isinstance(self.period, tuple | list):
            self._set(period=_checks.positive("period", self.period))
            return
        if len(self.period) != self.dim:
            raise ValueError(
                f"`period` must be a number or one number for each of the {self.dim} "
                f"axes. Received: period={_checks.shorten(self.period)}"
            )
        self._set(period=tuple(_checks.positive("period", p) for p in self.period))

    @property
    def ambient_dim(self) -> int:
        return self.dim

    def project(self, points: Tensor) -> Tensor:
        return ops.mod(points, ops.cast(self.period, points.dtype))

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        return squared_norm(wrap(x - y, ops.cast(self.period, x.dtype)))

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        return rng.uniform(0.0, self.period, (n, self.dim))

    def chart(self, points: Array) -> Array:
        return points % np.asarray(self.period)


@register("klein_bottle")
@dataclass(frozen=True)
class KleinBottle(Manifold):
    """The flat Klein bottle: (x, y) ~ (x + L, −y) ~ (x, y + L).

    d² is the smaller of wrap₂L(Δx)² + wrapL(y − y′)² and
    wrap₂L(Δx − L)² + wrapL(y + y′)²: two candidates reach all images.

    Args:
        period: L, above 0. Samples are uniform. The default is that of Mackey et al.

    Raises:
        TypeError: If `period` is not a number.
        ValueError: If it is not finite, or not above 0.

    Examples:
        >>> import keras_moduli as km
        >>> klein_bottle = km.manifolds.KleinBottle(period=10.0)
        >>> float(klein_bottle.distance([0.0, 2.0], [10.0, 8.0]))  # the same point
        0.0
    """

    period: float = 10.0

    def __post_init__(self) -> None:
        self._set(period=_checks.positive("period", self.period))

    @property
    def ambient_dim(self) -> int:
        return 2

    def project(self, points: Tensor) -> Tensor:
        x, y = _unglide(ops, points, self.period)
        return ops.stack([x, ops.mod(y, self.period)], axis=-1)

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        along, difference, total = _glide_offsets(x, y)
        return ops.minimum(
            ops.square(wrap(along, 2 * self.period))
            + ops.square(wrap(difference, self.period)),
            ops.square(wrap(along - self.period, 2 * self.period))
            + ops.square(wrap(total, self.period)),
        )

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        return rng.uniform(0.0, self.period, (n, 2))

    def chart(self, points: Array) -> Array:
        x, y = _unglide(np, points, self.period)
        return np.stack([x, y % self.period], axis=-1)


@register("mobius_strip")
@dataclass(frozen=True)
class MobiusStrip(Manifold):
    """The flat Möbius strip: (x, y) ~ (x + L, −y), with |y| ≤ W/2.

    d² is the smaller of wrap₂L(Δx)² + (y − y′)² and wrap₂L(Δx − L)² + (y + y′)².
    The strip is convex, so that geodesics do not leave it.

    Args:
        period: L, the length of the strip, above 0.
        width: W, above 0. Samples are uniform; `project` clips y to the strip.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If one is not finite, or not above 0.

    Examples:
        >>> import keras_moduli as km
        >>> strip = km.manifolds.MobiusStrip(period=10.0, width=5.0)
        >>> float(strip.distance([0.0, 2.0], [10.0, -2.0]))  # the same point
        0.0
    """

    period: float = 10.0
    width: float = 5.0

    def __post_init__(self) -> None:
        self._set(
            period=_checks.positive("period", self.period),
            width=_checks.positive("width", self.width),
        )

    @property
    def ambient_dim(self) -> int:
        return 2

    def project(self, points: Tensor) -> Tensor:
        x, y = _unglide(ops, points, self.period)
        return ops.stack([x, ops.clip(y, -self.width / 2, self.width / 2)], axis=-1)

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        along, difference, total = _glide_offsets(x, y)
        return ops.minimum(
            ops.square(wrap(along, 2 * self.period)) + ops.square(difference),
            ops.square(wrap(along - self.period, 2 * self.period)) + ops.square(total),
        )

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        high = np.array([self.period, self.width])
        return rng.uniform(0.0, high, (n, 2)) - [0.0, self.width / 2]

    def chart(self, points: Array) -> Array:
        return np.stack(_unglide(np, points, self.period), axis=-1)


def _glide_offsets(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Δx, y − y′ and y + y′."""
    return x[..., 0] - y[..., 0], x[..., 1] - y[..., 1], x[..., 1] + y[..., 1]


def _unglide(namespace: Any, points: Any, period: float) -> tuple[Any, Any]:
    """The image of (x, y) under the glide reflections whose x lies in [0, L)."""
    x = namespace.mod(points[..., 0], 2 * period)
    y = points[..., 1]
    beyond = x >= period
    return namespace.where(beyond, x - period, x), namespace.where(beyond, -y, y)
