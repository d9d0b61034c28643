"""Recurrent steps over all time at once, where they run eagerly.

PyTorch pays for each operation, and for each array that one makes. Here a step is a few
of them, written in place; of a plain one that trains only states are kept.
"""

import functools
from typing import Any

import keras

from keras_moduli._backend import _products
from keras_moduli._backend._eager_steps import (
    Recurrence,
    choose_activation,
    find_activations,
    make_step,
)

Tensor = Any


_GATES = {"plain": 1, "gru": 3, "lstm": 4}


def takes(recurrence: Recurrence | None, inputs: Tensor, states: list[Tensor]) -> bool:
    """Whether `run` can do what a recurrence says, of blocks that fill the states."""
    if recurrence is None or keras.backend.backend() != "torch" or _is_traced():
        return False
    across, c, width = recurrence.operand.shape
    c = width if recurrence.is_vector else c
    n, known = states[0].shape[0], find_activations()
    fits = across * c == _GATES[recurrence.kind] * n and n % recurrence.sites.rows == 0
    is_known = recurrence.activation in known
    if recurrence.kind != "plain":
        is_known = is_known and recurrence.recurrent_activation in known
    tensors = [recurrence.operand, inputs, *states]
    if recurrence.kernel is not None:
        tensors.append(recurrence.kernel)
    is_one_dtype = len({tensor.dtype for tensor in tensors}) == 1
    if not (fits and is_known and is_one_dtype):
        return False
    is_plain = recurrence.kind == "plain" and not recurrence.is_vector
    is_plain = is_plain and recurrence.kernel is None
    return is_plain or not _needs_gradients(recurrence.bias, *tensors)


def run(
    recurrence: Recurrence, inputs: Tensor, states: list[Tensor], all_outputs: bool
) -> tuple[Tensor, list[Tensor]]:
    """Returns all outputs (time, n, batch), or None, and the last states.

    Args:
        recurrence: What `takes` agrees to.
        inputs: (time, gates · n, batch), or of vectors (time, gates · n); if the
            recurrence has their kernel, (time, features, batch).
        states: The first, (n, batch), or vectors (n,).
        all_outputs: Whether all outputs are wanted.
    """
    import torch

    if _needs_gradients(recurrence.operand, inputs, *states):
        activate = choose_activation(recurrence.activation, states[0])
        _, slope = find_activations()[recurrence.activation]
        outputs = _make_function().apply(
            inputs,
            states[0],
            recurrence.operand,
            recurrence.sites.indices,
            activate,
            slope,
        )
        return (outputs if all_outputs else None), [outputs[-1]]
    h, *others = (s.clone(memory_format=torch.contiguous_format) for s in states)
    outputs = h.new_empty(len(inputs), *h.shape) if all_outputs else None
    places = [h] * (len(inputs) + 1) if outputs is None else [h, *outputs.unbind(0)]
    step = make_step(recurrence, inputs, places, *others)
    with torch.no_grad():
        for number in range(len(inputs)):
            step(number)
    return outputs, [places[-1], *others]


def _is_traced() -> bool:
    import torch

    is_tracing = torch.jit.is_tracing  # type: ignore[attr-defined]
    return bool(torch.compiler.is_compiling() or is_tracing())


def _needs_gradients(*tensors: Tensor) -> bool:
    import torch

    return torch.is_grad_enabled() and any(
        t is not None and t.requires_grad for t in tensors
    )


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
                activate(new, new)
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
