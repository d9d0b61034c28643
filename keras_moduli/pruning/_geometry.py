"""What pruning asks about geometry: the only file here that knows where to ask."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli.layers import neuron_embeddings
from keras_moduli.regularizers import geometry_of

Variable = Any

# The least of a coefficient, relative to the mean: what is free still has a magnitude.
_FLOOR = 1e-3


def find_penalty(variable: Variable) -> Any:
    """Returns what prices the connections of a weight by distance, None if nothing."""
    return geometry_of(variable)


def compute_relative_costs(variable: Variable) -> NDArray[np.float32]:
    """Returns what each connection costs, in units of the mean, in the weight's shape."""
    penalty = find_penalty(variable)
    costs = penalty.coefficients(variable.shape)[:, None, :].astype(np.float32)
    mean = float(costs.mean())
    costs = np.maximum(costs / mean if mean > 0 else costs + 1.0, _FLOOR)
    layout = penalty.layout(variable.shape)
    return np.broadcast_to(costs, tuple(layout)).reshape(tuple(variable.shape))


def compute_penalty(variables: Iterable[Variable]) -> float | None:
    """Returns what the connections of some weights cost, None if none has a price."""
    pairs = [(find_penalty(variable), variable) for variable in variables]
    costs = [float(ops.convert_to_numpy(p(v))) for p, v in pairs if p is not None]
    return sum(costs) if costs else None


def list_embeddings(model: keras.Model) -> list[Variable]:
    """Returns the weights that hold the positions of neurons."""
    return [embedding.points for embedding in neuron_embeddings(model)]
