"""How dense each of several kernels is to be."""

import math
from collections.abc import Sequence

import numpy as np

from keras_moduli import _checks


def erdos_renyi_kernel(shapes: Sequence[tuple[int, ...]], density: float) -> list[float]:
    """Returns densities of kernels by Erdős–Rényi–Kernel: min(1, ε·Σ shape / Π shape).

    ε is such that of all weights together the fraction `density` is kept: small kernels
    are kept denser than large ones.

    Args:
        shapes: Shapes of the kernels.
        density: Fraction of weights to keep, in (0, 1].

    Returns:
        Density of each kernel, in (0, 1].

    Raises:
        TypeError: If a shape is not one, or `density` is not a number.
        ValueError: If `density` is not in (0, 1].

    Examples:
        >>> import keras_moduli as km
        >>> densities = km.pruning.erdos_renyi_kernel([(10, 10), (10, 100)], 0.5)
        >>> [round(density, 2) for density in densities]
        [0.85, 0.47]

    Source: Evci et al., "Rigging the lottery", 2020.
    """
    if not isinstance(shapes, list | tuple):
        raise TypeError(
            "`shapes` must be a list of shapes, such as [(8, 8), (8, 2)]. "
            f"Received: shapes={shapes!r}"
        )
    shapes = [_checks.shape("shapes", shape) for shape in shapes]
    density = _checks.positive("density", density)
    if density > 1:
        raise ValueError(f"`density` must be in (0, 1]. Received: density={density!r}")
    sizes = np.array([math.prod(shape) for shape in shapes], np.float64)
    raw = np.array([sum(shape) for shape in shapes]) / sizes
    dense = np.zeros(len(shapes), bool)
    while True:
        budget = density * sizes.sum() - sizes[dense].sum()
        epsilon = budget / (raw * sizes)[~dense].sum() if not dense.all() else 0.0
        over = ~dense & (epsilon * raw > 1)
        if not over.any():
            return [float(d) for d in np.where(dense, 1.0, epsilon * raw)]
        dense |= over
