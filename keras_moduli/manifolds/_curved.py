"""Curved manifolds: spheres and their quotients, hyperbolic space."""

import math
from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_moduli import _checks
from keras_moduli.manifolds._base import Array, Manifold, Tensor, register
from keras_moduli.numerics import angle, line_angle, norm, normalize, squared_norm

__all__ = ["PoincareBall", "ProjectiveSpace", "SpecialOrthogonal3", "Sphere"]


@register("sphere")
@dataclass(frozen=True)
class Sphere(Manifold):
    """The sphere Sⁿ in Rⁿ⁺¹: d = 2R·atan2(‖x − y‖, ‖x + y‖) on unit vectors.

    Points are scaled to unit length inside the distance, so that only directions count.

    Args:
        dim: n, from 1 to 4096.
        radius: R, above 0; the default is that of Mackey et al. Samples are uniform.

    Raises:
        TypeError: If `dim` is no integer, or `radius` no number.
        ValueError: If `dim` is out of range, or `radius` is not finite or not above 0.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.manifolds.Sphere(radius=2.0).distance([0.0, 0, 1], [0.0, 0, -1]))
        6.28...
    """

    dim: int = 2
    radius: float = 5.0

    def __post_init__(self) -> None:
        self._set(
            dim=_checks.dimension("dim", self.dim),
            radius=_checks.positive("radius", self.radius),
        )

    @property
    def ambient_dim(self) -> int:
        return self.dim + 1

    def project(self, points: Tensor) -> Tensor:
        return normalize(points)

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.square(self.radius * angle(normalize(x), normalize(y)))

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        return _unit(rng.standard_normal((n, self.dim + 1)))

    def chart(self, points: Array) -> Array:
        points = _unit(points)
        longitude = np.arctan2(points[:, 1], points[:, 0])
        # Longitude and height keep areas on S²; higher spheres use their coordinates.
        return np.column_stack([longitude, points[:, 2:]]) if self.dim <= 2 else points


@register("projective_space")
@dataclass(frozen=True)
class ProjectiveSpace(Manifold):
    """Real projective space RPⁿ, lines through the origin of Rⁿ⁺¹: x ~ −x.

    d = 2R·atan2(min, max) of ‖x − y‖ and ‖x + y‖ on unit vectors: R times the angle
    between the lines, at most πR/2.

    Args:
        dim: n, from 1 to 4096.
        radius: R, above 0. Samples are uniform.

    Raises:
        TypeError: If `dim` is no integer, or `radius` no number.
        ValueError: If `dim` is out of range, or `radius` is not finite or not above 0.

    Examples:
        >>> import keras_moduli as km
        >>> plane = km.manifolds.ProjectiveSpace(dim=2, radius=5.0)
        >>> float(plane.distance([0.0, 0, 1], [0.0, 0, -1]))  # the same line
        0.0
    """

    dim: int = 2
    radius: float = 5.0

    def __post_init__(self) -> None:
        self._set(
            dim=_checks.dimension("dim", self.dim),
            radius=_checks.positive("radius", self.radius),
        )

    @property
    def ambient_dim(self) -> int:
        return self.dim + 1

    def project(self, points: Tensor) -> Tensor:
        return normalize(points)

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.square(self.radius * line_angle(normalize(x), normalize(y)))

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        return _unit(rng.standard_normal((n, self.dim + 1)))

    def chart(self, points: Array) -> Array:
        return _hemisphere(points)[:, :-1]


@register("special_orthogonal_3", "so3")
@dataclass(frozen=True)
class SpecialOrthogonal3(Manifold):
    """Rotations of space, as quaternions (w, x, y, z) with q ~ −q.

    d = s·4·atan2(min, max) of ‖p − q‖ and ‖p + q‖ on unit quaternions: s times the
    angle of the rotation that takes p to q, at most πs.

    Args:
        scale: s, the distance of one radian, above 0. Samples are uniform.

    Raises:
        TypeError: If `scale` is not a number.
        ValueError: If it is not finite, or not above 0.

    Examples:
        >>> import keras_moduli as km
        >>> half_turn = [0.0, 0.0, 0.0, 1.0]
        >>> float(km.manifolds.SpecialOrthogonal3().distance([1.0, 0, 0, 0], half_turn))
        3.14...
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        self._set(scale=_checks.positive("scale", self.scale))

    @property
    def ambient_dim(self) -> int:
        return 4

    def project(self, points: Tensor) -> Tensor:
        return normalize(points)

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.square(2.0 * self.scale * line_angle(normalize(x), normalize(y)))

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        return _unit(rng.standard_normal((n, 4)))

    def chart(self, points: Array) -> Array:
        return _hemisphere(points[:, [1, 2, 3, 0]])[:, :-1]


@register("poincare_ball")
@dataclass(frozen=True)
class PoincareBall(Manifold):
    """Hyperbolic space as the ball ‖x‖ < 1/√c of constant curvature −c.

    d = (2/√c)·asinh(√c·‖x − y‖ / √((1 − c‖x‖²)(1 − c‖y‖²))).

    Points on or beyond the boundary are drawn inside, to within 10⁻⁵ of it.

    Args:
        dim: Dimension, from 1 to 4096.
        curvature: −c, below 0. Samples are at a normal distance from the origin in each
            coordinate, with standard deviation 1.

    Raises:
        TypeError: If `dim` is no integer, or `curvature` no number.
        ValueError: If `dim` is out of range, or `curvature` is not finite or not below 0.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.manifolds.PoincareBall().distance([0.0, 0.0], [0.5, 0.0]))
        1.09...
    """

    dim: int = 2
    curvature: float = -1.0

    def __post_init__(self) -> None:
        self._set(
            dim=_checks.dimension("dim", self.dim),
            curvature=_checks.real("curvature", self.curvature),
        )
        if self.curvature >= 0:
            raise ValueError(
                "`curvature` must be below 0: for curvature 0 use `Euclidean`, above 0 "
                f"`Sphere`. Received: curvature={self.curvature!r}"
            )

    @property
    def ambient_dim(self) -> int:
        return self.dim

    def project(self, points: Tensor) -> Tensor:
        length = norm(points)[..., None]
        limit = (1.0 - 1e-5) / math.sqrt(-self.curvature)
        outside = length > limit
        return ops.where(outside, limit * normalize(points), points)

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        c = -self.curvature
        x, y = self.project(x), self.project(y)
        conformal = (1.0 - c * squared_norm(x)) * (1.0 - c * squared_norm(y))
        ratio = math.sqrt(c) * norm(x - y) / ops.sqrt(conformal)
        return ops.square(2.0 / math.sqrt(c) * ops.arcsinh(ratio))

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        root = math.sqrt(-self.curvature)
        tangent = rng.standard_normal((n, self.dim))
        length = np.linalg.norm(tangent, axis=1, keepdims=True)
        return np.tanh(root * length / 2) / root * tangent / length

    def chart(self, points: Array) -> Array:
        return points


def _unit(points: Array) -> Array:
    length = np.linalg.norm(points, axis=-1, keepdims=True)
    return np.divide(
        points, length, out=np.eye(1, points.shape[-1]) + 0 * points, where=length > 0
    )


def _hemisphere(points: Array) -> Array:
    """Of x and −x, the one whose last coordinate is not negative."""
    points = _unit(points)
    return np.where(points[:, -1:] < 0, -points, points)
