"""The control without geometry."""

import math

import keras
import numpy as np

from keras_moduli import _checks
from keras_moduli.regularizers._base import DistancePenalty


def matched_l1(
    regularizer: DistancePenalty, units: int | tuple[int, ...]
) -> keras.regularizers.Regularizer:
    """Returns the control without geometry: L1 of the mean coefficient as its strength.

    Args:
        regularizer: The penalty to match: a `ModuliRegularizer`, or what
            `find_regularizer` returns of a kernel of which only blocks exist.
        units: Number of neurons of the recurrent layer, or the shape of the weight.

    Returns:
        `keras.regularizers.L1`, or `L2` if the penalty's power is 2, which costs the
        same on a kernel whose entries all have the same size.

    Raises:
        TypeError: If `regularizer` is not a `ModuliRegularizer`.
        ValueError: If its power is above 2, which no regularizer of Keras has.

    Examples:
        >>> import keras_moduli as km
        >>> penalty = km.ModuliRegularizer(inhibitor="constant", strength=1e-3)
        >>> float(km.matched_l1(penalty, 64).l1)
        0.001...
    """
    if not isinstance(regularizer, DistancePenalty):
        raise TypeError(
            "`regularizer` must be a ModuliRegularizer. "
            f"Received: regularizer={regularizer!r}"
        )
    controls = {1: keras.regularizers.L1, 2: keras.regularizers.L2}
    if regularizer.cost.power not in controls:
        raise ValueError(
            "Only power 1 and 2 have a matched control, L1 and L2. "
            f"Received: regularizer.cost.power={regularizer.cost.power}"
        )
    if isinstance(units, tuple | list):
        units = _checks.shape("units", units)
    else:
        units = _checks.integer("units", units, minimum=1)
        units = (units, regularizer.cost.gates * units)
    costs = regularizer.coefficients(units)
    mean = float(costs.mean(dtype=np.float64)) if costs.size else 0.0
    strength = regularizer.cost.strength * mean
    if costs.size and regularizer.cost.reduction == "mean":
        strength /= math.prod(regularizer.layout(units))
    return controls[regularizer.cost.power](strength)
