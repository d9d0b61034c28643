"""Which blocks a kernel has before there are weights, as values."""

import abc
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli._registry import Configuration, Registry
from keras_moduli.connectivity._layout import BlockLayout

Array = NDArray[Any]


class Connectivity(Configuration, abc.ABC):
    """Where the connections of a kernel lie: a frozen, serialisable rule."""

    @abc.abstractmethod
    def connect(
        self, rows: int, units: int, *, gates: int = 1, recurrent: bool = False
    ) -> BlockLayout:
        """Returns the blocks of a kernel (rows, gates · units).

        Args:
            rows: Number of inputs.
            units: Number of neurons that they reach.
            gates: How many kernels lie beside each other, as in an LSTM (4) or GRU (3).
            recurrent: Whether the inputs are the neurons themselves. Then each block of
                neurons stays connected with itself, and all are connected in the end.

        Raises:
            ValueError: If there is no such kernel; it says what to type.
        """


class Balanced(Connectivity):
    """Equally many blocks in each column, and in each row as nearly as can be.

    To write your own, make a frozen dataclass of it, with these fields, and define
    `rank`.

    Attributes:
        density: Fraction of the kernel that is there, in (0, 1].
        block: (b, c): blocks of b inputs and c outputs.
        seed: What is random comes from `numpy.random.RandomState(seed)`.
    """

    density: float
    block: tuple[int, int]
    seed: int

    @abc.abstractmethod
    def rank(self, rows: int, units: int, recurrent: bool) -> Array:
        """Returns how gladly each block is left out, (rows / b, units / c).

        Args:
            rows: Number of inputs.
            units: Number of neurons that they reach.
            recurrent: Whether the inputs are the neurons themselves.
        """

    @final
    def connect(
        self, rows: int, units: int, *, gates: int = 1, recurrent: bool = False
    ) -> BlockLayout:
        """Returns the blocks of a kernel (rows, gates · units), all gates alike."""
        raise NotImplementedError


_registry = Registry("connectivity", Connectivity)  # type: ignore[type-abstract]
names = _registry.names
register = _registry.register


def get(identifier: Any) -> Connectivity:
    """Returns a connectivity from its name, its configuration, or itself."""
    return _registry.get(identifier)
