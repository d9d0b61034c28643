"""A point on a turning sphere: path integration whose moduli space is the sphere.

    python -m examples.experiments.single SphereRotation --manifold sphere --seeds 5

The sphere turns about an axis fixed in space, another one at each step. The input is
where the point starts and then the rotation vector of the step; the output is where the
point is, in three coordinates.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import keras_moduli as km

from . import register
from ._integration import Integration, Walk


@register
@dataclass(frozen=True, kw_only=True)
class SphereRotation(Integration):
    """Train a sparse recurrent network to follow a point on a turning sphere."""

    chance: ClassVar[float] = 90.0
    truth: ClassVar[km.manifolds.Manifold] = km.manifolds.Sphere(2, np.rad2deg(1.0))

    def draw_walk(self, count: int, rng: np.random.RandomState) -> Walk:
        turns = 0.3 * rng.standard_normal((count, self.steps, 3))
        turns[:, 0] = 0
        point = rng.standard_normal((count, 3))
        point /= np.linalg.norm(point, axis=-1, keepdims=True)
        points = np.empty_like(turns)
        for step in range(self.steps):
            points[:, step] = point = rotate(point, turns[:, step])
        return turns, points

    def embed(self, points: np.ndarray) -> np.ndarray:
        return points

    def read(self, outputs: np.ndarray) -> np.ndarray:
        return outputs / np.linalg.norm(outputs, axis=-1, keepdims=True).clip(1e-9)


def rotate(points: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Rotates points by |turn| radians about each turn's axis (Rodrigues)."""
    angle = np.linalg.norm(turns, axis=-1, keepdims=True)
    axis = turns / np.maximum(angle, 1e-12)
    along = (axis * points).sum(-1, keepdims=True) * axis
    across = np.cross(axis, points)
    return along + np.cos(angle) * (points - along) + np.sin(angle) * across
