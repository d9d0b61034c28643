"""Regrowth: masks that move, because pruned weights may come back."""

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _checks, _keras_private
from keras_moduli._registry import Configuration, Registry

__all__ = ["SET", "Regrowth", "RigL", "get", "names", "register"]

Array = NDArray[Any]


class Regrowth(Configuration, abc.ABC):
    """At each update a fraction of the kept weights makes room for pruned ones.

    The smallest go and as many come back, with the value 0 and no momentum, so that the
    sparsity stays what the schedule wants.

    Examples:
        To write your own, make a frozen dataclass of it and define the two methods:

        >>> import dataclasses, keras, numpy as np, keras_moduli as km
        >>> @keras.saving.register_keras_serializable("docs")
        ... @dataclasses.dataclass(frozen=True)
        ... class First(km.pruning.Regrowth):
        ...     def compute_fraction(self, progress):
        ...         return 0.1 * (1 - progress)
        ...     def compute_potentials(self, optimizer, variables, position):
        ...         return [np.ones(tuple(v.shape)) for v in variables]
        >>> km.MagnitudePruning(0.9, regrow=First()).rule.regrow
        First()
    """

    @abc.abstractmethod
    def compute_fraction(self, progress: float) -> float:
        """Returns the fraction of the kept weights that is exchanged.

        Args:
            progress: 0 at the start of pruning, 1 at its end.
        """

    @abc.abstractmethod
    def compute_potentials(
        self, optimizer: Any, variables: Sequence[Any], position: int
    ) -> list[Array]:
        """Returns what is expected of each weight if it came back: highest first.

        Args:
            optimizer: The optimizer, built.
            variables: The pruned weights.
            position: The epoch or step of this update.

        Returns:
            One array for each variable, of its shape and not negative.
        """


_registry = Registry("regrowth", Regrowth)  # type: ignore[type-abstract]
names = _registry.names
register = _registry.register


def get(identifier: str | dict[str, Any] | Regrowth) -> Regrowth:
    """Returns a regrowth from its name, its configuration, or itself.

    Args:
        identifier: A name such as `"rigl"`, a config made by `keras.saving`, or a
            `Regrowth`, which is returned as it is.

    Raises:
        TypeError: If `identifier` is none of these.
        ValueError: If the name is unknown.

    Examples:
        >>> import keras_moduli as km
        >>> km.pruning.regrowth.get("rigl")
        RigL(fraction=0.3)
    """
    return _registry.get(identifier)


@_registry.register("rigl")
@dataclass(frozen=True)
class RigL(Regrowth):
    """Back come the weights of largest gradient.

    The fraction falls as f/2·(1 + cos πp) over the progress p. The gradient is read from
    the optimizer's momentum, its running mean, which goes on for masked weights: Adam and
    its kin, SGD and RMSprop with momentum, Lion.

    Args:
        fraction: f, the fraction of the kept weights that is exchanged at the start,
            in (0, 1); 0.3 by default.

    Raises:
        TypeError: If `fraction` is not a number.
        ValueError: If `fraction` is not in (0, 1).

    Examples:
        >>> import keras_moduli as km
        >>> rigl = km.pruning.RigL(0.3)
        >>> rigl.compute_fraction(0.0), rigl.compute_fraction(1.0)
        (0.3, 0.0)

    Source: Evci et al., "Rigging the lottery", 2020; the momentum in place of one batch's
    gradient from Dettmers and Zettlemoyer, "Sparse networks from scratch", 2019.
    """

    fraction: float = 0.3

    def __post_init__(self) -> None:
        self._set(fraction=_checks.fraction("fraction", self.fraction))

    def compute_fraction(self, progress: float) -> float:
        """f/2·(1 + cos πp)."""
        return self.fraction / 2 * (1 + math.cos(math.pi * progress))

    def compute_potentials(
        self, optimizer: Any, variables: Sequence[Any], position: int
    ) -> list[Array]:
        """|momentum|."""
        slots = _keras_private.list_slots(optimizer, variables)
        pairs = zip(variables, slots, strict=True)
        momenta = [_find_momentum(optimizer, *pair) for pair in pairs]
        _checks.finite_weights(momenta, "RigL ranks weights by their gradients,")
        return [_compute_size(state) for state in momenta]


@_registry.register("set")
@dataclass(frozen=True)
class SET(Regrowth):
    """Back come random weights.

    Args:
        fraction: The fraction of the kept weights that is exchanged, in (0, 1); 0.3 by
            default.
        seed: Of the random numbers, together with the epoch or step of an update.

    Raises:
        TypeError: If `fraction` is not a number, or `seed` no integer.
        ValueError: If one is out of range.

    Examples:
        >>> import keras_moduli as km
        >>> km.pruning.SET(0.2).compute_fraction(0.5)
        0.2

    Source: Mocanu et al., "Scalable training of artificial neural networks with adaptive
    sparse connectivity inspired by network science", 2018.
    """

    fraction: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        self._set(
            fraction=_checks.fraction("fraction", self.fraction),
            seed=_checks.seed("seed", self.seed),
        )

    def compute_fraction(self, progress: float) -> float:
        """The same throughout, but none at the end, when what is kept must learn."""
        return self.fraction * (progress < 1)

    def compute_potentials(
        self, optimizer: Any, variables: Sequence[Any], position: int
    ) -> list[Array]:
        """Uniform random numbers."""
        rng = np.random.RandomState((self.seed, position))
        return [rng.uniform(size=tuple(variable.shape)) for variable in variables]


def _compute_size(state: Any) -> Array:
    values = ops.convert_to_numpy(state.value)
    return np.abs(values.astype(np.float32) if values.dtype.itemsize < 4 else values)


def _find_momentum(optimizer: Any, variable: Any, slots: list[Any]) -> Any:
    for state in slots:
        if _keras_private.is_momentum(state):
            return state
    part = _keras_private.find_optimizer(optimizer, variable)
    raise ValueError(
        f"RigL reads gradients from momentum, and {type(part).__name__} keeps none for "
        f"{variable.path!r}. Compile with Adam or `SGD(momentum=0.9)`, or pass "
        "`regrow='set'`."
    )
