"""How important a weight is: what is pruned first has the lowest score."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli.regularizers import find_regularizer

Array = NDArray[Any]
Score = Callable[[Any], Array]

# The least of a coefficient, relative to the mean: what is free still has a magnitude.
_FLOOR = 1e-3


def magnitude(variable: Any) -> Array:
    """|w|."""
    return np.abs(ops.convert_to_numpy(variable.value).astype(np.float32))


def geometric(variable: Any) -> Array:
    """|w| / (c / mean c), c the coefficient of the distance that a weight spans.

    Without geometry |w|, so that both may be ranked together.
    """
    weights = magnitude(variable)
    penalty = find_regularizer(variable)
    if penalty is None:
        return weights
    costs: Array = penalty.coefficients(variable.shape)[:, None, :].astype(np.float32)
    mean = float(costs.mean())
    costs = np.maximum(costs / mean if mean > 0 else costs + 1.0, _FLOOR)
    layout = penalty.layout(variable.shape)
    return (weights.reshape(layout) / costs).reshape(weights.shape)


_NAMES: dict[str, Score] = {"magnitude": magnitude, "geometric": geometric}


def get(score: Any) -> Score:
    """A score from its name, a function of a variable, or None for the magnitude."""
    if score is None:
        return magnitude
    if isinstance(score, str) and score in _NAMES:
        return _NAMES[score]
    if not callable(score):
        raise ValueError(
            f"`score` must be one of {list(_NAMES)} or a function from a variable to an "
            f"array of its shape, highest for what is to be kept. Received: {score!r}"
        )
    return score


def check(score: Score, variables: Sequence[Any]) -> None:
    """Raises a ValueError if a score has nothing to go by."""
    if score is geometric and all(find_regularizer(v) is None for v in variables):
        raise ValueError(
            "`score='geometric'` needs a weight with a geometry among the chosen. Use "
            "`ModuliRegularizer` or a layer of `keras_moduli.layers`."
        )


def of(score: Score, variable: Any) -> Array:
    """The scores of a variable's weights, checked."""
    found = np.asarray(score(variable))
    if found.shape != tuple(variable.shape):
        raise ValueError(
            f"`score` must return an array of the variable's shape. For {variable.path!r}"
            f" expected {tuple(variable.shape)}. Received: {found.shape}"
        )
    # A weight that is not a number has no magnitude: what to do about it is not ours.
    found = np.where(np.isnan(found), np.inf, found) if score in _OURS else found
    if np.isnan(found).any() or (found < 0).any():
        raise ValueError(
            f"`score` must return numbers that are not negative. For {variable.path!r} "
            f"received {found[np.isnan(found) | (found < 0)].flat[0]!r}"
        )
    return found


_OURS = (magnitude, geometric)
