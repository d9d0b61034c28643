"""Schedules: how sparsity grows from the start of pruning to its end."""

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from keras_moduli import _checks
from keras_moduli._registry import Configuration, Registry

__all__ = [
    "Constant",
    "Cubic",
    "Linear",
    "OneShot",
    "Schedule",
    "get",
    "names",
    "register",
]


class Schedule(Configuration, abc.ABC):
    """The fraction of the final sparsity, as a function of progress in [0, 1].

    To write your own, make a frozen dataclass of it and define `compute_fraction`, or
    pass any function of progress where a schedule is expected.

    Examples:
        >>> import dataclasses, keras, keras_moduli as km
        >>> @keras.saving.register_keras_serializable("docs")
        ... @dataclasses.dataclass(frozen=True)
        ... class Square(km.schedules.Schedule):
        ...     def compute_fraction(self, progress):
        ...         return progress**2
        >>> Square()(0.5)
        0.25
    """

    @abc.abstractmethod
    def compute_fraction(self, progress: float) -> float:
        """Returns the fraction at a progress strictly between 0 and 1, or at its ends.

        Args:
            progress: 0 at the start of pruning, 1 at its end.
        """

    @final
    def __call__(self, progress: float) -> float:
        """Returns the fraction in [0, 1] of the final sparsity.

        Args:
            progress: 0 at the start of pruning, 1 at its end; clipped to that range.
        """
        progress = _checks.real("progress", progress)
        return self.compute_fraction(min(max(progress, 0.0), 1.0))


def _adapt(value: Any) -> Any:
    return value if callable(value) and not isinstance(value, type) else None


_registry = Registry(
    "schedule",
    Schedule,  # type: ignore[type-abstract]
    _adapt,
    also="a function of progress in [0, 1]",
)
names = _registry.names
register = _registry.register


def get(
    identifier: str | dict[str, Any] | Callable[[float], float],
) -> Callable[[float], float]:
    """Returns a schedule from its name, its configuration, or itself.

    Args:
        identifier: A name such as `"cubic"`, a config made by `keras.saving`, a
            `Schedule`, or any function of progress.

    Raises:
        TypeError: If `identifier` is none of these.
        ValueError: If the name is unknown.

    Examples:
        >>> import keras_moduli as km
        >>> km.schedules.get("linear")(0.25)
        0.25
    """
    return _registry.get(identifier)


@_registry.register("constant")
@dataclass(frozen=True)
class Constant(Schedule):
    """All of it at once, at the start of pruning.

    Examples:
        >>> import keras_moduli as km
        >>> km.schedules.Constant()(0.0)
        1.0
    """

    def compute_fraction(self, progress: float) -> float:
        return 1.0


@_registry.register("one_shot")
@dataclass(frozen=True)
class OneShot(Schedule):
    """All of it at once, at the end of pruning.

    Examples:
        >>> import keras_moduli as km
        >>> schedule = km.schedules.OneShot()
        >>> schedule(0.99), schedule(1.0)
        (0.0, 1.0)
    """

    def compute_fraction(self, progress: float) -> float:
        return float(progress >= 1.0)


@_registry.register("linear")
@dataclass(frozen=True)
class Linear(Schedule):
    """Evenly: i + (1 − i)·p. With i = 0 the schedule of Mackey et al.

    Args:
        initial: i, the fraction of the final sparsity at the start, in [0, 1].

    Raises:
        TypeError: If `initial` is not a number.
        ValueError: If it is not in [0, 1].

    Examples:
        >>> import keras_moduli as km
        >>> km.schedules.Linear(initial=0.5)(0.5)
        0.75
    """

    initial: float = 0.0

    def __post_init__(self) -> None:
        self._set(initial=_check_initial(self.initial))

    def compute_fraction(self, progress: float) -> float:
        return 1.0 - (1.0 - self.initial) * (1.0 - progress)


@_registry.register("cubic")
@dataclass(frozen=True)
class Cubic(Schedule):
    """Fast first, then ever slower: 1 − (1 − i)·(1 − p)³.

    Args:
        initial: i, the fraction of the final sparsity at the start, in [0, 1].

    Raises:
        TypeError: If `initial` is not a number.
        ValueError: If it is not in [0, 1].

    Examples:
        >>> import keras_moduli as km
        >>> km.schedules.Cubic()(0.5)
        0.875

    Source: Zhu and Gupta, "To prune, or not to prune", 2017.
    """

    initial: float = 0.0

    def __post_init__(self) -> None:
        self._set(initial=_check_initial(self.initial))

    def compute_fraction(self, progress: float) -> float:
        return 1.0 - (1.0 - self.initial) * (1.0 - progress) ** 3


def _check_initial(value: float) -> float:
    value = _checks.real("initial", value, minimum=0.0)
    if value > 1:
        raise ValueError(f"`initial` must be at most 1. Received: initial={value!r}")
    return value
