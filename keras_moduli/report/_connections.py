"""The weights of a matrix that are not zero, and the matrix of a name."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli.connectivity import find_kernel
from keras_moduli.regularizers import find_regularizer
from keras_moduli.report._labels import label_variables

Array = NDArray[Any]
Variable = Any


@dataclass(frozen=True, eq=False)
class Connections:
    """The weights of a matrix that are not zero.

    Attributes:
        inputs: The neuron that each comes from, integers.
        outputs: The neuron that each leads to.
        gates: The gate of each, 0 where there is one.
        weights: Their values.
        shape: How many neurons send, how many receive, and how many gates there are.
        size: Number of weights of the dense matrix.

    Examples:
        >>> import keras_moduli as km
        >>> layer = km.layers.ModuliSimpleRNN(8)
        >>> layer.build((None, 5, 2))
        >>> km.placement(layer).connections
        <64 connections of 8 to 8 neurons>
    """

    inputs: NDArray[np.intp]
    outputs: NDArray[np.intp]
    gates: NDArray[np.intp]
    weights: Array
    shape: tuple[int, int, int]
    size: int

    @property
    def sparsity(self) -> float:
        """Fraction of the dense matrix that is zero, or does not exist."""
        return 1.0 - len(self) / self.size if self.size else 0.0

    def __len__(self) -> int:
        return len(self.weights)

    def __repr__(self) -> str:
        senders, receivers, gates = self.shape
        return (
            f"<{len(self):,} connections of {senders:,} to {receivers:,} neurons"
            f"{f', {gates} gates' * (gates > 1)}>"
        )


def connect(
    variable: Variable,
    senders: int | None = None,
    *,
    gates: int = 1,
    input_axes: int | None = None,
) -> Connections:
    """Returns the connections of a weight matrix.

    Args:
        variable: The weight, or the variable of its blocks.
        senders: How many neurons send. Taps of a convolution share them; where it is
            not known, each row is one.
        gates: How many lie side by side, if no regularizer and no blocks know.
        input_axes: How many leading axes are inputs, if none of these knows; by default
            all but the last.
    """
    values = ops.convert_to_numpy(variable.value)
    if find_kernel(variable) is not None:
        return _connect_blocks(find_kernel(variable), values)
    regularizer = find_regularizer(variable)
    if regularizer is None:
        axes = values.ndim - 1 if input_axes is None else input_axes
        columns = math.prod(values.shape[axes:])
        layout = (math.prod(values.shape[:axes]), gates, columns // gates)
    else:
        layout = regularizer.layout(variable.shape)
    matrix = values.reshape(layout)
    rows, gate, columns = np.nonzero(matrix)
    senders = senders or matrix.shape[0]
    return Connections(
        rows % senders,
        columns,
        gate,
        matrix[rows, gate, columns],
        (senders, matrix.shape[2], matrix.shape[1]),
        matrix.size,
    )


def _connect_blocks(kernel: Any, values: Array) -> Connections:
    column, unit, place = np.nonzero(values)
    rows = ops.convert_to_numpy(kernel.locate_inputs())[column, place]
    columns, units = column * values.shape[1] + unit, kernel.columns // kernel.gates
    return Connections(
        rows,
        columns % units,
        columns // units,
        values[column, unit, place],
        (kernel.rows, units, kernel.gates),
        kernel.rows * kernel.columns,
    )


def list_matrices(model: keras.Model | keras.Layer) -> list[tuple[Variable, str]]:
    """Returns the weights of a model or layer that connect neurons, with their labels.

    Raises:
        TypeError: If `model` is neither a model nor a layer.
        ValueError: If it has no weights yet, or none that connects neurons.
    """
    if isinstance(model, keras.Model):
        _checks.built_model(model)
    elif not isinstance(model, keras.Layer):
        raise TypeError(f"Expected a Keras model or layer. Received: {model!r}")
    elif not model.weights:
        raise ValueError(
            f"Layer {model.name!r} has no weights yet. Build it first, by calling it or "
            "the model that it is in on a batch."
        )
    variables = [v for v in model.weights if len(v.shape) >= 2 and _is_float(v)]
    if not variables:
        raise ValueError(f"{describe(model)} has no weight matrix.")
    return list(zip(variables, label_variables(model, variables), strict=True))


def _is_float(variable: Variable) -> bool:
    return bool(keras.backend.is_float_dtype(variable.dtype))


def choose_matrix(
    matrices: list[tuple[Variable, str]],
    name: str,
    prefer: Callable[[Variable], bool],
) -> tuple[Variable, str]:
    """Returns the weight of a name, or the one of the layer of a name.

    Args:
        matrices: Of `list_matrices`.
        name: A label, a path, or the name of a layer.
        prefer: Of several weights of a layer the first is chosen of which this is true.

    Raises:
        ValueError: If there is none.
    """
    exact = [m for m in matrices if name in (m[1], m[0].path)]
    inside = [m for m in matrices if name in [*m[1].split("/"), *m[0].path.split("/")]]
    found = exact or inside
    if not found:
        raise ValueError(
            f"There is no weight matrix and no layer {name!r}. Known are: "
            f"{[label for _, label in matrices]}"
        )
    return next((m for m in found if prefer(m[0])), found[0])


def describe(model: Any) -> str:
    """Returns what to call a model or layer in a message."""
    kind = "Model" if isinstance(model, keras.Model) else "Layer"
    return f"{kind} {model.name!r}"
