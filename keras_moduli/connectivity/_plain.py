"""Connections that ask for no manifold."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli.connectivity._base import Balanced, _registry

Array = NDArray[Any]


@_registry.register("random")
@dataclass(frozen=True)
class Random(Balanced):
    """Each block of neurons to others at random.

    Args:
        density: Fraction of the kernel that is there, in (0, 1]: a whole number of
            blocks in each column.
        block: (b, c): blocks of b inputs and c outputs, which divide the kernel.
        seed: In [0, 2³²).

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; from `connect`, if there is no such kernel.

    Examples:
        >>> import keras_moduli as km
        >>> km.connectivity.Random(0.5, (4, 4), seed=1).connect(16, 8).indices
        ((1, 3), (0, 2))
    """

    density: float
    block: tuple[int, int] = (16, 64)
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(seed=_checks.seed("seed", self.seed))

    def rank(self, rows: int, units: int, recurrent: bool) -> Array:
        rng = np.random.RandomState(self.seed)
        shape = rows // self.block[0], units // self.block[1]
        return rng.random_sample(shape).astype(np.float32)


@_registry.register("banded")
@dataclass(frozen=True)
class Banded(Balanced):
    """Each block of neurons to those of the nearest numbers, on a ring.

    Inputs and outputs are spread evenly on the ring, as many as there are of them. Of
    two blocks at the same distance the one before comes first.

    Args:
        density: Fraction of the kernel that is there, in (0, 1]: a whole number of
            blocks in each column.
        block: (b, c): blocks of b inputs and c outputs, which divide the kernel.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; from `connect`, if there is no such kernel.

    Examples:
        >>> import keras_moduli as km
        >>> km.connectivity.Banded(0.5, (4, 4)).connect(16, 16, recurrent=True).indices
        ((0, 3), (0, 1), (1, 2), (2, 3))
    """

    density: float
    block: tuple[int, int] = (16, 64)

    def rank(self, rows: int, units: int, recurrent: bool) -> Array:
        b, c = self.block
        step, turn = math.gcd(b * units, c * rows), 2 * rows * units
        dtype = np.int32 if 2 * turn // step < 2**31 else np.int64
        # Centers of blocks in whole numbers.
        inputs = np.arange(b, 2 * rows, 2 * b) * units // step
        outputs = np.arange(c, 2 * units, 2 * c) * rows // step
        ahead = inputs.astype(dtype)[:, None] - outputs.astype(dtype)
        ahead %= turn // step
        return np.minimum(2 * ahead + 1, 2 * (turn // step - ahead))
