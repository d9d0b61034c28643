"""The penalty of a kernel, from its cost and the positions of its neurons.

Small kernels at once, large ones a few rows at a time. No function here knows where the
positions come from.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_moduli import penalties
from keras_moduli._rows import map_rows, sum_rows
from keras_moduli.regularizers._cost import Cost, KernelLayout
from keras_moduli.regularizers._placement import Positions

Tensor = Any

# Up to so many pairs are held at once; of more, a few rows at a time.
MOST_PAIRS = 4_000_000


def evaluate(
    cost: Cost,
    kernel: Tensor,
    layout: KernelLayout,
    positions: Positions,
    coefficients: Tensor | None = None,
) -> Tensor:
    """Returns the penalty of a kernel: a scalar, in float32 or better.

    Args:
        cost: What connections cost.
        kernel: w, of a shape that flattens to `layout`.
        layout: (inputs, gates, outputs) of the kernel.
        positions: Where its neurons are.
        coefficients: What each connection costs, (inputs, outputs), if that is known.
    """
    # Half precision can hold neither positions nor a sum over a kernel.
    dtype = keras.backend.result_type(kernel.dtype, "float32")
    kernel = ops.reshape(ops.cast(kernel, dtype), layout)
    if not math.prod(layout):
        return ops.sum(kernel)  # of nothing
    if is_large(cost, layout):
        return _evaluate_by_rows(cost, kernel, layout, positions)
    squares = None
    if coefficients is None:
        squares = compute_squares(cost, positions, dtype)
        coefficients = price(cost, squares)
    coefficients = ops.cast(coefficients, dtype)
    if cost.communicability:
        coefficients = coefficients[:, None, :] * penalties.communicability(kernel)
    attraction = compute_scale(cost, layout, positions, dtype) * penalties.penalty(
        kernel, coefficients, cost.power
    )
    if not cost.repulsion:
        return attraction
    strengths = _sum_strengths(cost, kernel, layout)
    return attraction + repel(cost, layout, positions, strengths, squares)


def is_large(cost: Cost, layout: KernelLayout) -> bool:
    """Whether all coefficients of a kernel are too many to be held at once."""
    # The two that need them all are controls and O(n³) in time.
    at_once = cost.permute_seed is not None or cost.communicability
    return not at_once and are_many(layout)


def compute_squares(cost: Cost, positions: Positions, dtype: str) -> Tensor:
    """Returns the squared distance that each connection spans, (inputs, outputs)."""
    x, y = _convert(positions, dtype)
    return cost.manifold.squared_distance(x[:, None, :], y[None, :, :])


def price(cost: Cost, squares: Tensor) -> Tensor:
    """Returns what each connection costs: f(d), permuted in the control."""
    costs = cost.inhibitor(squares)
    if cost.permute_seed is None:
        return costs
    return penalties.permute(costs, cost.permute_seed)


def are_many(layout: KernelLayout) -> bool:
    """Whether a kernel connects too many pairs of neurons to keep anything of each."""
    return layout.inputs * layout.outputs > MOST_PAIRS


def _convert(positions: Positions, dtype: str) -> tuple[Tensor, Tensor]:
    """Returns the points of each input and each output of the kernel."""
    x = ops.convert_to_tensor(positions.inputs, dtype)
    y = ops.convert_to_tensor(positions.outputs, dtype)
    return ops.tile(x, (positions.taps, 1)) if positions.taps > 1 else x, y


def compute_scale(
    cost: Cost, layout: KernelLayout, positions: Positions, dtype: str
) -> Tensor:
    """Returns what Σ c·|w|^ℓ is multiplied by."""
    entries = 1 if cost.reduction == "sum" else math.prod(layout)
    ramp = ops.cast(positions.ramp, dtype) if positions.learned else positions.ramp
    return cost.strength / entries * ramp


def _split_gates(rows: Tensor, layout: KernelLayout) -> Tensor:
    """Returns rows of a matrix (inputs, gates · outputs) with an axis of gates."""
    return ops.reshape(rows, (-1, layout.gates, layout.outputs))


def _evaluate_by_rows(
    cost: Cost, kernel: Tensor, layout: KernelLayout, positions: Positions
) -> Tensor:
    # As a matrix: for an axis of one gate XLA would copy it.
    kernel = ops.reshape(kernel, (layout.inputs, -1))
    scale = compute_scale(cost, layout, positions, kernel.dtype)
    x, y = _convert(positions, kernel.dtype)
    penalty = _attract_by_rows(cost, kernel, layout, scale, x, y)
    if positions.learned:
        # Differentiable by the positions too, in a sum of its own.
        moving = scale * sum_rows(_make_block_cost(cost, layout), [kernel], [x], y)
        penalty = penalty + moving - ops.stop_gradient(moving)
    if cost.repulsion:
        strengths = _sum_strengths(cost, kernel, layout)
        penalty = penalty + repel(cost, layout, positions, strengths)
    return penalty


def _attract_by_rows(
    cost: Cost, kernel: Tensor, layout: KernelLayout, scale: Tensor, x: Tensor, y: Tensor
) -> Tensor:
    """Returns scale · Σ c·|w|^ℓ of a matrix, differentiable by it alone."""
    y = ops.stop_gradient(y)

    def compute_slopes(kernel: Tensor, x: Tensor) -> Tensor:
        costs = penalties.coefficients(cost.manifold, cost.inhibitor, x, y)
        slope = penalties.slope(_split_gates(kernel, layout), costs, cost.power)
        # Scaled here, so that compilers find it to be the gradient, not a factor.
        return ops.reshape(scale * slope, kernel.shape)

    # Σ c·|w|^ℓ = Σ w·slope/ℓ, of which the gradient is held once, as L1's is.
    slope = map_rows(compute_slopes, (kernel, x), layout.outputs)
    slope = ops.reshape(slope, (-1, kernel.shape[1]))[: layout.inputs]
    total = ops.sum(kernel * slope)
    if cost.power > 1:
        total = total - (1.0 - 1.0 / cost.power) * ops.stop_gradient(total)
    return total


def _make_block_cost(cost: Cost, layout: KernelLayout) -> Callable[..., Tensor]:
    def compute_cost(kernel: Tensor, x: Tensor, y: Tensor) -> Tensor:
        costs = penalties.coefficients(cost.manifold, cost.inhibitor, x, y)
        return penalties.penalty(_split_gates(kernel, layout), costs, cost.power)

    return compute_cost


def repel(
    cost: Cost,
    layout: KernelLayout,
    positions: Positions,
    strengths: tuple[Tensor, Tensor],
    squares: Tensor | None = None,
) -> Tensor:
    """Returns strength · β·f(r)·(Σ |w|^ℓ)·D, in which no gradient flows into w.

    Without it every learned embedding crumples: pairs whose weight is small feel nothing
    of the other term. It grows with the weights and with f(r), the cost at the natural
    length of the manifold, so that the geometry that is learned depends neither on how
    large weights are nor on the unit of distance, and one β serves all.

    Args:
        cost: What connections cost.
        layout: (inputs, gates, outputs) of the kernel.
        positions: Where its neurons are.
        strengths: Σ |w|^ℓ of each input and of each output, without gradient.
        squares: All squared distances, if they have been computed.
    """
    sending, receiving = strengths
    scale = compute_scale(cost, layout, positions, sending.dtype)
    total = cost.repulsion * scale * ops.sum(sending)
    if positions.taps > 1:
        sending = ops.sum(ops.reshape(sending, (positions.taps, -1)), axis=0)
        squares = None  # of inputs, of which some are the same neuron
    if positions.inputs is positions.outputs:
        both = sending + receiving
        return total * _disperse(cost, positions.inputs, both, squares)
    sides = ((positions.inputs, sending), (positions.outputs, receiving))
    return total * sum(_disperse(cost, *side) for side in sides) / 2


def _sum_strengths(
    cost: Cost, kernel: Tensor, layout: KernelLayout
) -> tuple[Tensor, Tensor]:
    """Returns Σ |w|^ℓ of each input and of each output, without gradient."""

    def sum_both(kernel: Tensor) -> tuple[Tensor, Tensor]:
        weight = ops.power(ops.abs(_split_gates(kernel, layout)), cost.power)
        return ops.sum(weight, axis=(1, 2)), ops.sum(weight, axis=(0, 1))

    kernel = ops.reshape(kernel, (layout.inputs, -1))
    if not is_large(cost, layout):
        return sum_both(ops.stop_gradient(kernel))
    sending, receiving = map_rows(sum_both, [kernel], layout.outputs)
    sending = ops.reshape(sending, (-1,))[: layout.inputs]
    return sending, ops.sum(receiving, axis=0)


def _disperse(
    cost: Cost, points: Tensor, strengths: Tensor, squares: Tensor | None = None
) -> Tensor:
    """Returns D, the mean of log((L² + ε)/(d² + ε)) over pairs of connected neurons.

    L moves no neuron: it keeps the loss of what lies within L of each other above 0.
    """
    x = ops.cast(points, strengths.dtype)
    counts = penalties.connectedness(strengths)

    def repel_rows(sending: Tensor, x: Tensor, y: Tensor) -> Tensor:
        squares = cost.manifold.squared_distance(x[:, None, :], y[None, :, :])
        return penalties.repulsion(squares, sending, counts)

    if squares is not None:
        total = penalties.repulsion(squares, counts, counts)
    elif x.shape[0] ** 2 > MOST_PAIRS:
        total = sum_rows(repel_rows, [counts], [x], x)
    else:
        total = repel_rows(counts, x, x)
    return cost.farthest + total / ops.maximum(ops.square(ops.sum(counts)), 1e-12)
