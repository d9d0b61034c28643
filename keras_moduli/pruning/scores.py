"""Scores: how important a weight is, since what has the lowest score is pruned first."""

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli._registry import Configuration, Registry
from keras_moduli.pruning import _geometry
from keras_moduli.regularizers import find_regularizer

__all__ = ["Geometric", "Magnitude", "Score", "get", "names", "register"]

Array = NDArray[Any]


class Score(Configuration, abc.ABC):
    """How important each weight of a variable is.

    Attributes:
        needs_geometry: Whether there is nothing to go by if no weight has a geometry.

    Examples:
        To write your own, make a frozen dataclass of it and define `compute`, or pass
        any function of a variable where a score is expected:

        >>> import dataclasses, keras, numpy as np, keras_moduli as km
        >>> @keras.saving.register_keras_serializable("docs")
        ... @dataclasses.dataclass(frozen=True)
        ... class Square(km.pruning.scores.Score):
        ...     def compute(self, variable):
        ...         return np.square(variable.numpy())
        >>> Square()(keras.Variable([[-2.0, 1.0]])).tolist()
        [[4.0, 1.0]]
    """

    needs_geometry: ClassVar[bool] = False

    @abc.abstractmethod
    def compute(self, variable: Any) -> Array:
        """Returns an array of the shape of `variable`: not negative, low goes first."""

    @final
    def __call__(self, variable: Any) -> Array:
        """Returns the scores of a variable's weights, checked.

        Args:
            variable: A `keras.Variable`.

        Returns:
            Array of the variable's shape.

        Raises:
            ValueError: If they are of another shape, negative, or not numbers.
        """
        scores = np.asarray(self.compute(variable))
        if scores.shape != tuple(variable.shape):
            raise ValueError(
                "`score` must return an array of the variable's shape. For "
                f"{variable.path!r} expected {tuple(variable.shape)}. Received: "
                f"{scores.shape}"
            )
        illegal = np.isnan(scores) | (scores < 0)
        if illegal.any():
            _checks.finite_weights([variable], "A score ranks weights,")
            raise ValueError(
                "`score` must return numbers that are not negative. For "
                f"{variable.path!r} received {scores[illegal].flat[0]!r}"
            )
        return scores

    @final
    def check(self, variables: Sequence[Any]) -> None:
        """Raises an error if there is nothing to go by in some `variables`.

        Raises:
            ValueError: If the score needs a geometry, and none of them has one.
        """
        has_geometry = any(find_regularizer(v) is not None for v in variables)
        if self.needs_geometry and not has_geometry:
            raise ValueError(
                f"`score={self!r}` needs a weight with a geometry among the chosen. Use "
                "`ModuliRegularizer` or a layer of `keras_moduli.layers`."
            )


@dataclass(frozen=True)
class _Function(Score):
    """What a function returns."""

    function: Callable[[Any], Any]

    def compute(self, variable: Any) -> Array:
        return np.asarray(self.function(variable))


def _adapt(value: Any) -> Score | None:
    return _Function(value) if callable(value) and not isinstance(value, type) else None


_registry = Registry(
    "score",
    Score,  # type: ignore[type-abstract]
    _adapt,
    also="a function from a variable to an array of its shape",
)
names = _registry.names
register = _registry.register


def get(identifier: str | dict[str, Any] | Callable[[Any], Any] | Score) -> Score:
    """Returns a score from its name, its configuration, a function, or itself.

    Args:
        identifier: A name such as `"magnitude"`, a config made by `keras.saving`, a
            `Score`, or a function from a variable to an array of its shape.

    Raises:
        TypeError: If `identifier` is none of these.
        ValueError: If the name is unknown.

    Examples:
        >>> import keras_moduli as km
        >>> km.pruning.scores.get("magnitude")
        Magnitude()
    """
    return _registry.get(identifier)


@_registry.register("magnitude")
@dataclass(frozen=True)
class Magnitude(Score):
    """|w|.

    Examples:
        >>> import keras, keras_moduli as km
        >>> km.pruning.scores.Magnitude()(keras.Variable([[-2.0, 1.0]])).tolist()
        [[2.0, 1.0]]
    """

    def compute(self, variable: Any) -> Array:
        """|w|."""
        return _compute_magnitude(variable)


@_registry.register("geometric")
@dataclass(frozen=True)
class Geometric(Score):
    """|w| / (c / mean c), c the coefficient of the distance that a weight spans.

    Without geometry |w|, so that both may be ranked together.

    Examples:
        >>> import keras_moduli as km
        >>> layer = km.layers.ModuliSimpleRNN(8)
        >>> layer.build((None, 5, 2))
        >>> km.pruning.scores.Geometric()(layer.recurrent_kernel).shape
        (8, 8)
    """

    needs_geometry: ClassVar[bool] = True

    def compute(self, variable: Any) -> Array:
        """|w| / (c / mean c)."""
        scores = _compute_magnitude(variable)
        if find_regularizer(variable) is not None:
            scores = scores / _geometry.compute_relative_costs(variable)
        return scores


def _compute_magnitude(variable: Any) -> Array:
    values = ops.convert_to_numpy(variable.value)
    is_half = values.dtype.itemsize < 4  # of which NumPy knows little
    return np.abs(values.astype(np.float32) if is_half else values)
