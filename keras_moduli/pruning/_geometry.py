"""What pruning asks about geometry: the only file here that knows where to ask."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli.layers import find_embeddings
from keras_moduli.regularizers import find_regularizer

Variable = Any

# The least of a coefficient, relative to the mean: what is free still has a magnitude.
_FLOOR = 1e-3


def compute_relative_costs(variable: Variable) -> NDArray[np.float64]:
    """Returns what each connection costs, in units of the mean, in the weight's shape."""
    regularizer = find_regularizer(variable)
    assert regularizer is not None
    costs = regularizer.coefficients(variable.shape).astype(np.float64)
    mean = float(costs.mean())
    costs = np.maximum(costs / mean if mean > 0 else costs + 1.0, _FLOOR)
    return regularizer.spread(costs, variable.shape)


def compute_penalty(variables: Iterable[Variable]) -> float | None:
    """Returns what the connections of some weights cost, None if none has a price."""
    pairs = [(find_regularizer(variable), variable) for variable in variables]
    penalties = [r.penalty(variable) for r, variable in pairs if r is not None]
    costs = [float(ops.convert_to_numpy(penalty)) for penalty in penalties]
    return sum(costs) if costs else None


def list_embeddings(model: keras.Model) -> list[Variable]:
    """Returns the weights that hold the positions of neurons."""
    return [neurons.embedding for neurons in find_embeddings(model)]
