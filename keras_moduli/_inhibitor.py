"""What every inhibitor has, and how inhibitors are named."""

import abc
from typing import Any, final

from keras_moduli import _checks
from keras_moduli._registry import Configuration, Registry

Tensor = Any


class Inhibitor(Configuration, abc.ABC):
    """A cost f(d) ≥ 0, as a function of the squared distance d².

    Inhibitors with a length have `for_density(manifold, density)`, which chooses it so
    that a fraction of all pairs of neurons is cheap. Use it whenever manifolds are
    compared, and whenever the default scale does not fit: at one width, the authors'
    difference of Gaussians is flat (within 1 % of its far value) for a quarter of the
    pairs on their 2-torus, for two thirds on the circle, and for nine tenths on the
    6-torus, where next to nothing pulls. A comparison of manifolds at one width is a
    comparison of scales.

    Examples:
        To write your own, make a frozen dataclass of it and define `compute_cost`:

        >>> import dataclasses, keras, keras_moduli as km
        >>> @keras.saving.register_keras_serializable("docs")
        ... @dataclasses.dataclass(frozen=True)
        ... class Threshold(km.inhibitors.Inhibitor):
        ...     length: float = 1.0
        ...     def compute_cost(self, squared_distance):
        ...         return keras.ops.relu(squared_distance - self.length**2)
        >>> float(Threshold()(4.0))
        3.0
    """

    @abc.abstractmethod
    def compute_cost(self, squared_distance: Tensor) -> Tensor:
        """f(√s) for a tensor s ≥ 0.

        Args:
            squared_distance: s, of any shape.

        Returns:
            Tensor of the same shape, at least 0.
        """

    @final
    def __call__(self, squared_distance: Tensor) -> Tensor:
        """The cost of connections.

        Args:
            squared_distance: Tensor or array of squared distances, of any shape.

        Returns:
            Tensor of the same shape, with finite gradients everywhere.
        """
        return self.compute_cost(_checks.tensor(squared_distance, "squared_distance"))


_registry = Registry("inhibitor", Inhibitor)  # type: ignore[type-abstract]
names = _registry.names
register = _registry.register


def get(identifier: str | dict[str, Any] | Inhibitor) -> Inhibitor:
    """Returns an inhibitor from its name, its configuration, or itself.

    Args:
        identifier: A name such as `"dog"`, a config made by `keras.saving`, or an
            `Inhibitor`, which is returned as it is.

    Raises:
        TypeError: If `identifier` is none of these.
        ValueError: If the name is unknown.

    Examples:
        >>> import keras_moduli as km
        >>> km.inhibitors.get("gaussian")
        Gaussian(amplitude=1.0, width=3.0)
    """
    return _registry.get(identifier)
