"""A periodic box: path integration whose moduli space is the torus.

    python -m examples.experiments.single PeriodicBox --manifold torus --seeds 5

A point moves in a square box whose opposite walls are one. The input is where it starts
and then its velocity in both directions; the output is the cosine and sine of both of its
coordinates, of which one is 360 degrees long.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import keras_moduli as km

from . import register
from ._integration import Integration, Walk, draw_flat_walk, read_angles, write_circles


@register
@dataclass(frozen=True, kw_only=True)
class PeriodicBox(Integration):
    """Train a sparse recurrent network to integrate its way in a periodic box."""

    chance: ClassVar[float] = 138.0
    truth: ClassVar[km.manifolds.Manifold] = km.manifolds.Torus(2, period=360.0)

    def draw_walk(self, count: int, rng: np.random.RandomState) -> Walk:
        return draw_flat_walk(count, self.steps, 2, 0.3, rng)

    def embed(self, points: np.ndarray) -> np.ndarray:
        return write_circles(points)

    def read(self, outputs: np.ndarray) -> np.ndarray:
        return np.stack(
            [read_angles(outputs[..., :2]), read_angles(outputs[..., 2:])], -1
        )
