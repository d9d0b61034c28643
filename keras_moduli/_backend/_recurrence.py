"""h ← activation(x + Rᵀ h) over all time steps at once, where steps run eagerly.

PyTorch pays for each operation and keeps what each one makes. Here a step is three of
them, written in place, and only states are kept.
"""

import functools
from typing import Any, NamedTuple

import keras

from keras_moduli._backend import _products

Tensor = Any


class Recurrence(NamedTuple):
    """What a plain recurrent step does.

    Attributes:
        activation: Of Keras.
        operand: Blocks (J, c, K·b), or turned (J, K·b, c) for one vector.
        sites: Where they are.
        is_vector: Whether states are one vector.
    """

    activation: Any
    operand: Tensor
    sites: Any
    is_vector: bool


def takes(recurrence: Recurrence | None, inputs: Tensor, state: Tensor) -> bool:
    """Whether `run` can do what a recurrence says, of blocks that fill the states."""
    if recurrence is None or keras.backend.backend() != "torch":
        return False
    across, c = recurrence.operand.shape[0], recurrence.operand.shape[1]
    if recurrence.is_vector:
        c = recurrence.operand.shape[2]
    n = state.shape[0]
    fits = across * c == n and n % recurrence.sites.rows == 0
    needs_gradients = _needs_gradients(recurrence.operand, inputs, state)
    known = recurrence.activation in _find_activations()
    return fits and known and not (recurrence.is_vector and needs_gradients)


def run(
    recurrence: Recurrence, inputs: Tensor, state: Tensor, all_outputs: bool
) -> tuple[Tensor, Tensor]:
    """Returns all states (time, n, batch), or None, and the last one.

    Args:
        recurrence: What `takes` agrees to.
        inputs: (time, n, batch), or of vectors (time, n).
        state: The first, (n, batch), or a vector (n,).
        all_outputs: Whether all states are wanted.
    """
    activate, slope = _find_activations()[recurrence.activation]
    if recurrence.is_vector:
        return _run_vectors(recurrence, activate, inputs, state, all_outputs)
    if _needs_gradients(recurrence.operand, inputs, state):
        states = _make_function().apply(
            inputs, state, recurrence.operand, recurrence.sites.indices, activate, slope
        )
        return (states if all_outputs else None), states[-1]
    return _run_columns(recurrence, activate, inputs, state, all_outputs)


def _needs_gradients(*tensors: Tensor) -> bool:
    import torch

    return torch.is_grad_enabled() and any(t.requires_grad for t in tensors)


@functools.cache
def _find_activations() -> dict[Any, Any]:
    """Returns for each activation how it is done in place, and its slope by its value."""
    import torch

    activations, aten = keras.activations, torch.ops.aten
    return {
        activations.tanh: (torch.tanh_, aten.tanh_backward),
        activations.sigmoid: (torch.sigmoid_, aten.sigmoid_backward),
        activations.relu: (torch.relu_, lambda g, y: aten.threshold_backward(g, y, 0)),
        activations.linear: (lambda x: x, lambda g, y: g),
    }


def _run_vectors(
    recurrence: Recurrence, activate: Any, inputs: Tensor, h: Tensor, all_outputs: bool
) -> tuple[Tensor, Tensor]:
    import torch

    across, width, c = recurrence.operand.shape
    height = h.shape[0] // recurrence.sites.rows
    indices = _products.spread(recurrence.sites.indices, height).view(-1)
    gathered = h.new_empty(across * width)
    outputs = []
    for x in inputs.reshape(len(inputs), across, 1, c).unbind(0):
        torch.index_select(h, 0, indices, out=gathered)
        h = torch.baddbmm(x, gathered.view(across, 1, width), recurrence.operand)
        h = activate(h).view(-1)
        if all_outputs:
            outputs.append(h)
    return (torch.stack(outputs) if all_outputs else None), h


def _run_columns(
    recurrence: Recurrence, activate: Any, inputs: Tensor, h: Tensor, all_outputs: bool
) -> tuple[Tensor, Tensor]:
    import torch

    weights, indices = recurrence.operand, recurrence.sites.indices
    across, c, width = weights.shape
    outputs = []
    for x in inputs.unflatten(1, (across, c)).unbind(0):
        gathered = _products.gather_torch(h, indices, width)
        h = activate(torch.baddbmm(x, weights, gathered)).flatten(0, 1)
        if all_outputs:
            outputs.append(h)
    return (torch.stack(outputs) if all_outputs else None), h


@functools.cache
def _make_function() -> Any:
    import torch

    class Run(torch.autograd.Function):
        @staticmethod
        def forward(context, x, h, weights, indices, activate, slope):  # type: ignore[no-untyped-def]
            across, c, width = weights.shape
            states = x.new_empty(len(x) + 1, *h.shape)
            states[0] = h
            for t in range(len(x)):
                gathered = _products.gather_torch(states[t], indices, width)
                new = states[t + 1].view(across, c, -1)
                torch.baddbmm(x[t].unflatten(0, (across, c)), weights, gathered, out=new)
                activate(new)
            context.save_for_backward(states, weights, indices)
            context.slope = slope
            return states[1:]

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(context, gradient):  # type: ignore[no-untyped-def]
            states, weights, indices = context.saved_tensors
            across, c, width = weights.shape
            n = states.shape[1]
            rows = n * indices.shape[1] // width
            turned = weights.transpose(1, 2)
            of_x = torch.empty_like(gradient)
            of_weights = torch.zeros_like(weights)
            of_h = torch.zeros_like(states[0])
            for t in reversed(range(len(gradient))):
                of_z = context.slope(of_h + gradient[t], states[t + 1])
                of_x[t] = of_z
                of_z = of_z.view(across, c, -1)
                gathered = _products.gather_torch(states[t], indices, width)
                of_weights.baddbmm_(of_z, gathered.transpose(1, 2))
                of_h = _products.scatter_torch(turned @ of_z, indices, rows)
            return of_x, of_h, of_weights, None, None, None

    return Run
