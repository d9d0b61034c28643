"""A box with a twist: path integration whose moduli space is the Klein bottle.

    python -m examples.experiments.single KleinBottle --manifold klein_bottle --seeds 5

A point moves in a square box; who leaves it at the top enters at the bottom, and who
leaves it on the right enters on the left upside down. The velocity is that in the box,
whichever way up. The output is the point in a space of five dimensions, in which the box
has no seam: with x and y in [0, 360) and s = sin y,

    (cos x, sin x, cos y, s·cos(x/2), s·sin(x/2))
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

import keras_moduli as km

from . import register
from ._integration import Integration, Walk, read_angles


@register
@dataclass(frozen=True, kw_only=True)
class KleinBottle(Integration):
    """Train a sparse recurrent network to integrate its way on a Klein bottle."""

    chance: ClassVar[float] = 138.0
    truth: ClassVar[km.manifolds.Manifold] = km.manifolds.KleinBottle(360.0)

    def draw_walk(self, count: int, rng: np.random.RandomState) -> Walk:
        velocity = 0.3 * rng.standard_normal((count, self.steps, 2))
        velocity[:, 0] = 0
        points = np.empty_like(velocity)
        position = rng.uniform(0, 360, (count, 2))
        for step in range(self.steps):
            position = position + np.rad2deg(velocity[:, step])
            crossings, position[:, 0] = np.divmod(position[:, 0], 360)
            position[:, 1] *= np.where(crossings % 2, -1, 1)
            points[:, step] = position
        return velocity, points % 360

    def embed(self, points: np.ndarray) -> np.ndarray:
        x, y = np.moveaxis(np.deg2rad(points), -1, 0)
        s = np.sin(y)
        flat = [np.cos(x), np.sin(x), np.cos(y), s * np.cos(x / 2), s * np.sin(x / 2)]
        return np.stack(flat, -1)

    def read(self, outputs: np.ndarray) -> np.ndarray:
        x = read_angles(outputs[..., :2])
        half = np.deg2rad(x / 2)
        s = outputs[..., 3] * np.cos(half) + outputs[..., 4] * np.sin(half)
        return np.stack([x, read_angles(np.stack([outputs[..., 2], s], -1))], -1)
