"""What a figure is of: a weight of a model, or its placement."""

from typing import Any

import numpy as np

from keras_moduli.connectivity import find_kernel
from keras_moduli.pruning._selection import count_gates, count_input_axes
from keras_moduli.regularizers import find_regularizer
from keras_moduli.report import Connections, Placement, placement
from keras_moduli.report._connections import choose_matrix, connect, list_matrices
from keras_moduli.report._placement import describe_placement, has_geometry

Variable = Any


def find_placement(target: Any, kernel: str | None) -> Placement:
    """Returns the placement that a figure is of.

    Args:
        target: A model, a layer, or a `Placement`.
        kernel: Name of a layer or weight matrix, if `target` has several.
    """
    if isinstance(target, Placement):
        return target
    return placement(target, kernel)


def check_places(placed: Placement) -> Placement:
    """Returns a placement of which something can be drawn.

    Raises:
        ValueError: If none of its positions is finite; where they are learned, none of
            the neurons that have a connection.
    """
    inputs, outputs = placed.input_positions, placed.positions
    if placed.learned and len(placed.connections):
        inputs, outputs = inputs[placed.connected_inputs], outputs[placed.connected]
    for points in (inputs, outputs):
        if len(points) and not np.isfinite(points).all(axis=1).any():
            raise ValueError(
                f"No position of {placed.label} is finite: training has diverged. Train "
                "from an earlier file, with a smaller learning rate or `clipnorm`."
            )
    return placed


def find_connections(
    target: Any, kernel: str | None
) -> tuple[Connections, Placement | None, str]:
    """Returns the connections that a figure is of, where their neurons are, and a label.

    By default those of the first weight with a geometry; if there is none, of the first
    whose inputs are its neurons; if there is none, of the first.
    """
    if isinstance(target, Placement):
        return target.connections, target, target.label
    variable, label = _find_matrix(target, kernel)
    if not has_geometry(variable):
        gates = count_gates(target).get(id(variable), 1)
        axes = count_input_axes(target).get(id(variable)) or None  # 0: outputs first
        return connect(variable, gates=gates, input_axes=axes), None, label
    placed = describe_placement(variable, label)
    return placed.connections, placed, label


def find_cost(target: Any, kernel: str | None) -> Any:
    """Returns the cost of a weight matrix of a model or layer.

    Raises:
        ValueError: If its connections cost nothing by distance.
    """
    variable, label = _find_matrix(target, kernel)
    regularizer = find_regularizer(variable)
    if regularizer is None:
        raise ValueError(
            f"{label} costs nothing by distance. Pass an inhibitor, such as "
            "km.plot.inhibitor('dog', 'torus'), or a model with a `ModuliRegularizer`."
        )
    return regularizer.cost


def _find_matrix(model: Any, kernel: str | None) -> tuple[Variable, str]:
    matrices = list_matrices(model)
    if kernel is not None:
        return choose_matrix(matrices, kernel, prefer=has_geometry)
    for wanted in (has_geometry, _is_recurrent):
        for variable, label in matrices:
            if wanted(variable):
                return variable, label
    return matrices[0]


def _is_recurrent(variable: Variable) -> bool:
    blocks = find_kernel(variable)
    if blocks is not None:
        return blocks.recurrent
    return "recurrent_kernel" in variable.path.split("/")[-1]
