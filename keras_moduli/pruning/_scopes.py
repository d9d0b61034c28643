"""Which weights compete with each other, and how many of each group go."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SCOPES = ("global", "layer", "gate", "erk")


@dataclass(frozen=True)
class Kernel:
    """A weight to prune.

    Attributes:
        variable: The `keras.Variable`.
        sparsity: Its final sparsity.
        gates: How many gates lie side by side along its last axis.
    """

    variable: Any
    sparsity: float
    gates: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the variable."""
        return tuple(self.variable.shape)

    @property
    def matrix(self) -> tuple[int, int]:
        """Its shape with all axes but the last as inputs."""
        return math.prod(self.shape[:-1]), self.shape[-1]


class Part(NamedTuple):
    """Columns of one of the kernels' matrices."""

    kernel: int
    columns: slice

    def of(self, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """A view of this part of the kernel's array, as a matrix."""
        array = arrays[self.kernel]
        return array.reshape(-1, array.shape[-1])[:, self.columns]


class Group(NamedTuple):
    """Parts that are ranked together, with the final sparsity of them all."""

    parts: list[Part]
    sparsity: float


def groups(kernels: Sequence[Kernel], scope: str) -> list[Group]:
    """The groups of a scope.

    Args:
        kernels: The weights to prune.
        scope: One of `SCOPES`.
    """
    whole = [Part(i, slice(None)) for i in range(len(kernels))]
    if scope == "gate":
        return [
            Group([part], kernel.sparsity)
            for i, kernel in enumerate(kernels)
            for part in _gate_parts(i, kernel)
        ]
    if scope == "layer":
        return [Group([p], k.sparsity) for p, k in zip(whole, kernels, strict=True)]
    found = []
    for sparsity in dict.fromkeys(kernel.sparsity for kernel in kernels):
        alike = [p for p in whole if kernels[p.kernel].sparsity == sparsity]
        if scope == "global":
            found.append(Group(alike, sparsity))
        else:
            shapes = [kernels[p.kernel].shape for p in alike]
            densities = erdos_renyi_kernel(shapes, 1 - sparsity)
            found += [Group([p], 1 - d) for p, d in zip(alike, densities, strict=True)]
    return found


def _gate_parts(index: int, kernel: Kernel) -> list[Part]:
    width = kernel.shape[-1] // kernel.gates
    return [
        Part(index, slice(gate * width, (gate + 1) * width))
        for gate in range(kernel.gates)
    ]


def erdos_renyi_kernel(shapes: Sequence[tuple[int, ...]], density: float) -> list[float]:
    """The densities of kernels by Erdős–Rényi–Kernel: min(1, ε·Σ shape / Π shape).

    ε is such that of all weights together the fraction `density` is kept: small kernels
    are kept denser than large ones.

    Args:
        shapes: Shapes of the kernels.
        density: Fraction of weights to keep, in (0, 1].

    Source: Evci et al., "Rigging the lottery", 2020.
    """
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
