"""Scopes: which weights compete with each other, and how many of each group go."""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from keras_moduli._registry import Configuration, Registry
from keras_moduli._repr import write_call
from keras_moduli.connectivity import BlockKernel, find_kernel
from keras_moduli.pruning._densities import erdos_renyi_kernel

__all__ = [
    "ErdosRenyiKernel",
    "Gate",
    "Global",
    "Group",
    "Kernel",
    "Layer",
    "Part",
    "Scope",
    "erdos_renyi_kernel",
    "get",
    "names",
    "register",
]


@dataclass(frozen=True)
class Kernel:
    """A weight to prune.

    Attributes:
        variable: The `keras.Variable`.
        sparsity: Its final sparsity.
        gates: How many gates lie side by side along its last axis.
        input_axes: How many leading axes are inputs; None for all but the last.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> variable = keras.Variable(np.ones((3, 3, 8, 16)), name="kernel")
        >>> km.pruning.scopes.Kernel(variable, sparsity=0.9).matrix_shape
        (72, 16)
    """

    variable: Any
    sparsity: float
    gates: int = 1
    input_axes: int | None = None

    def __repr__(self) -> str:
        return write_call(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the variable."""
        return tuple(self.variable.shape)

    @property
    def blocks(self) -> BlockKernel | None:
        """What is known of the blocks that the variable holds, if it does."""
        return find_kernel(self.variable)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Its shape as a matrix (inputs, outputs), of blocks only those that exist."""
        if self.blocks is not None:
            across, c, width = self.shape
            return width, across * c
        axes = len(self.shape) - 1 if self.input_axes is None else self.input_axes
        return math.prod(self.shape[:axes]), math.prod(self.shape[axes:])

    def to_matrix(self, array: NDArray[Any]) -> NDArray[Any]:
        """Returns an `array` of the variable's shape as such a matrix.

        Of blocks the k-th of each column of blocks lie beside each other.
        """
        if self.blocks is not None:
            array = array.transpose(2, 0, 1)
        return array.reshape(self.matrix_shape)

    def from_matrix(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Returns a `matrix` of `matrix_shape` in the variable's shape."""
        if self.blocks is None:
            return matrix.reshape(self.shape)
        across, c, width = self.shape
        return matrix.reshape(width, across, c).transpose(1, 2, 0)


class Part(NamedTuple):
    """Columns of one of the kernels' matrices (inputs, outputs).

    Attributes:
        kernel: Index of the kernel.
        columns: Which columns of its matrix.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> part = km.pruning.scopes.Part(0, slice(0, 2))
        >>> part.view([np.ones((4, 6))]).shape
        (4, 2)
    """

    kernel: int
    columns: slice = slice(None)

    def view(self, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Returns this part of the `arrays` of all kernels: a view (inputs, columns)."""
        array = arrays[self.kernel]
        return array.reshape(-1, array.shape[-1])[:, self.columns]


class Group(NamedTuple):
    """Parts that are ranked together, with the final sparsity of them all.

    Attributes:
        parts: Of kernels.
        sparsity: Fraction of their weights that goes, in [0, 1).

    Examples:
        >>> import keras_moduli as km
        >>> km.pruning.scopes.Group([km.pruning.scopes.Part(0)], sparsity=0.9).sparsity
        0.9
    """

    parts: list[Part]
    sparsity: float


class Scope(Configuration, abc.ABC):
    """Which weights are ranked together.

    Examples:
        To write your own, make a frozen dataclass of it and define `compute_groups`:

        >>> import dataclasses, keras, keras_moduli as km
        >>> @keras.saving.register_keras_serializable("docs")
        ... @dataclasses.dataclass(frozen=True)
        ... class FirstAlone(km.pruning.scopes.Scope):
        ...     def compute_groups(self, kernels):
        ...         first, rest = kernels[:1], kernels[1:]
        ...         groups = km.pruning.scopes.Layer().compute_groups(first)
        ...         return groups + km.pruning.scopes.Global().compute_groups(rest)
        >>> FirstAlone().compute_groups([])
        []
    """

    @abc.abstractmethod
    def compute_groups(self, kernels: Sequence[Kernel]) -> list[Group]:
        """Returns the groups of weights that compete, which leave out none.

        Args:
            kernels: The weights to prune.
        """


_registry = Registry("scope", Scope)  # type: ignore[type-abstract]
names = _registry.names
register = _registry.register


def get(identifier: str | dict[str, Any] | Scope) -> Scope:
    """Returns a scope from its name, its configuration, or itself.

    Args:
        identifier: A name such as `"layer"`, a config made by `keras.saving`, or a
            `Scope`, which is returned as it is.

    Raises:
        TypeError: If `identifier` is none of these.
        ValueError: If the name is unknown.

    Examples:
        >>> import keras_moduli as km
        >>> km.pruning.scopes.get("erk")
        ErdosRenyiKernel()
    """
    return _registry.get(identifier)


@_registry.register("global")
@dataclass(frozen=True)
class Global(Scope):
    """All weights compete, as far as the same final sparsity is asked of them.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> variable = keras.Variable(np.ones((2, 6)), name="kernel")
        >>> kernels = 2 * [km.pruning.scopes.Kernel(variable, 0.5, gates=3)]
        >>> len(km.pruning.scopes.Global().compute_groups(kernels))
        1
    """

    def compute_groups(self, kernels: Sequence[Kernel]) -> list[Group]:
        """One group for each sparsity."""
        return [
            Group([Part(i) for i in indices], sparsity)
            for sparsity, indices in _sort_by_sparsity(kernels).items()
        ]


@_registry.register("layer")
@dataclass(frozen=True)
class Layer(Scope):
    """The weights of each kernel compete, so that all are equally sparse.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> variable = keras.Variable(np.ones((2, 6)), name="kernel")
        >>> kernels = 2 * [km.pruning.scopes.Kernel(variable, 0.5, gates=3)]
        >>> len(km.pruning.scopes.Layer().compute_groups(kernels))
        2
    """

    def compute_groups(self, kernels: Sequence[Kernel]) -> list[Group]:
        """One group for each kernel."""
        return [Group([Part(i)], kernel.sparsity) for i, kernel in enumerate(kernels)]


@_registry.register("gate")
@dataclass(frozen=True)
class Gate(Scope):
    """The weights of each gate of each kernel compete.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> variable = keras.Variable(np.ones((2, 6)), name="kernel")
        >>> kernels = 2 * [km.pruning.scopes.Kernel(variable, 0.5, gates=3)]
        >>> len(km.pruning.scopes.Gate().compute_groups(kernels))
        6
    """

    def compute_groups(self, kernels: Sequence[Kernel]) -> list[Group]:
        """One group for each gate."""
        return [
            Group([Part(i, columns)], kernel.sparsity)
            for i, kernel in enumerate(kernels)
            for columns in _split_into_gates(kernel)
        ]


@_registry.register("erk")
@dataclass(frozen=True)
class ErdosRenyiKernel(Scope):
    """The weights of each kernel compete, with densities by `erdos_renyi_kernel`.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> variable = keras.Variable(np.ones((2, 6)), name="kernel")
        >>> kernels = 2 * [km.pruning.scopes.Kernel(variable, 0.5, gates=3)]
        >>> groups = km.pruning.scopes.ErdosRenyiKernel().compute_groups(kernels)
        >>> [group.sparsity for group in groups]
        [0.5, 0.5]
    """

    def compute_groups(self, kernels: Sequence[Kernel]) -> list[Group]:
        """One group for each kernel."""
        groups = []
        for sparsity, indices in _sort_by_sparsity(kernels).items():
            shapes = [_get_own_shape(kernels[i]) for i in indices]
            densities = erdos_renyi_kernel(shapes, 1 - sparsity)
            pairs = zip(indices, densities, strict=True)
            groups += [Group([Part(i)], 1 - density) for i, density in pairs]
        return groups


def _sort_by_sparsity(kernels: Sequence[Kernel]) -> dict[float, list[int]]:
    indices: dict[float, list[int]] = {}
    for i, kernel in enumerate(kernels):
        indices.setdefault(kernel.sparsity, []).append(i)
    return indices


def _get_own_shape(kernel: Kernel) -> tuple[int, ...]:
    """Returns the shape of a kernel, of blocks that of what exists."""
    return kernel.shape if kernel.blocks is None else kernel.matrix_shape


def _split_into_gates(kernel: Kernel) -> list[slice]:
    width = kernel.matrix_shape[1] // kernel.gates
    return [slice(gate * width, (gate + 1) * width) for gate in range(kernel.gates)]
