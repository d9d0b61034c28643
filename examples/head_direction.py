"""Head direction: path integration whose moduli space is the circle.

    python examples/head_direction.py --manifold circle --seeds 5

The input is the heading at the start and then the angular velocity, step by step; the
output is the cosine and sine of the heading.
"""

from dataclasses import dataclass
from typing import ClassVar

import command_line
import numpy as np
from integration import Integration, Walk, angles, circles, flat_walk

import keras_moduli as km


@dataclass(frozen=True, kw_only=True)
class HeadDirection(Integration):
    """Train a sparse recurrent network to integrate its turns."""

    chance: ClassVar[float] = 90.0
    truth: ClassVar[km.manifolds.Manifold] = km.manifolds.Circle(circumference=360.0)

    def walk(self, count: int, rng: np.random.RandomState) -> Walk:
        return flat_walk(count, self.steps, 1, 0.5, rng)

    def written(self, points: np.ndarray) -> np.ndarray:
        return circles(points)

    def read(self, outputs: np.ndarray) -> np.ndarray:
        return angles(outputs)[..., None]


if __name__ == "__main__":
    command_line.main(HeadDirection)
