"""Head direction: path integration whose moduli space is the circle.

    python -m examples.experiments.single HeadDirection --manifold circle --seeds 5

The input is the heading at the start and then the angular velocity, step by step; the
output is the cosine and sine of the heading.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import keras_moduli as km

from . import register
from ._integration import Integration, Walk, draw_flat_walk, read_angles, write_circles


@register
@dataclass(frozen=True, kw_only=True)
class HeadDirection(Integration):
    """Train a sparse recurrent network to integrate its turns."""

    chance: ClassVar[float] = 90.0
    truth: ClassVar[km.manifolds.Manifold] = km.manifolds.Circle(circumference=360.0)

    def draw_walk(self, count: int, rng: np.random.RandomState) -> Walk:
        return draw_flat_walk(count, self.steps, 1, 0.5, rng)

    def embed(self, points: np.ndarray) -> np.ndarray:
        return write_circles(points)

    def read(self, outputs: np.ndarray) -> np.ndarray:
        return read_angles(outputs)[..., None]
