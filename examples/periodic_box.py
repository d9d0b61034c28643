"""A periodic box: path integration whose moduli space is the torus.

    python examples/periodic_box.py --manifold torus --seeds 5

A point moves in a square box whose opposite walls are one. The input is where it starts
and then its velocity in both directions; the output is the cosine and sine of both of its
coordinates, of which one is 360 degrees long.
"""

from dataclasses import dataclass
from typing import ClassVar

import command_line
import numpy as np
from integration import Integration, Walk, angles, circles, flat_walk

import keras_moduli as km


@dataclass(frozen=True, kw_only=True)
class PeriodicBox(Integration):
    """Train a sparse recurrent network to integrate its way in a periodic box."""

    chance: ClassVar[float] = 138.0
    truth: ClassVar[km.manifolds.Manifold] = km.manifolds.Torus(2, period=360.0)

    def walk(self, count: int, rng: np.random.RandomState) -> Walk:
        return flat_walk(count, self.steps, 2, 0.3, rng)

    def written(self, points: np.ndarray) -> np.ndarray:
        return circles(points)

    def read(self, outputs: np.ndarray) -> np.ndarray:
        return np.stack([angles(outputs[..., :2]), angles(outputs[..., 2:])], -1)


if __name__ == "__main__":
    command_line.main(PeriodicBox)
