"""Recurrent steps over all time at once, where they run eagerly.

PyTorch pays for each operation, and for each array that one makes. Here a step is a few
of them, written in place; of a plain one that trains only states are kept.
"""

import functools
from typing import Any

import keras

from keras_moduli._backend import _eager_steps
from keras_moduli._backend._eager_steps import Recurrence

Tensor = Any


_GATES = {"plain": 1, "gru": 3, "lstm": 4}


def takes(recurrence: Recurrence | None, inputs: Tensor, states: list[Tensor]) -> bool:
    """Whether `run` can do what a recurrence says, of blocks that fill the states."""
    if recurrence is None or keras.backend.backend() != "torch" or _is_traced():
        return False
    across, c, width = recurrence.operand.shape
    if recurrence.is_vector:
        c, width = width, c
    n, known = states[0].shape[0], _eager_steps.find_activations()
    height = width // recurrence.sites.indices.shape[1]
    fits = across * c == _GATES[recurrence.kind] * n
    fits = fits and n == recurrence.sites.rows * height
    is_known = recurrence.activation in known
    if recurrence.kind != "plain":
        is_known = is_known and recurrence.recurrent_activation in known
    tensors = [recurrence.operand, inputs, *states]
    if recurrence.kernel is not None:
        tensors.append(recurrence.kernel)
    is_one_dtype = len({tensor.dtype for tensor in tensors}) == 1
    if not (fits and is_known and is_one_dtype and states[0].numel()):
        return False
    is_plain = recurrence.kind == "plain" and not recurrence.is_vector
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

    tensors = (recurrence.operand, recurrence.kernel, recurrence.input_bias)
    if _needs_gradients(inputs, *tensors, *states):
        activate = _eager_steps.choose_activation(recurrence.activation, states[0])
        _, slope = _eager_steps.find_activations()[recurrence.activation]
        inputs, kernel = _join_bias(recurrence, inputs)
        outputs = _make_function().apply(
            inputs,
            kernel,
            states[0],
            recurrence.operand,
            recurrence.sites.indices,
            activate,
            slope,
            all_outputs,
        )
        return (outputs, [outputs[-1]]) if all_outputs else (None, [outputs])
    h, *others = (s.clone(memory_format=torch.contiguous_format) for s in states)
    outputs = h.new_empty(len(inputs), *h.shape) if all_outputs else None
    places = [h] * (len(inputs) + 1) if outputs is None else [h, *outputs.unbind(0)]
    step = _eager_steps.make_step(recurrence, inputs, places, *others)
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


def _join_bias(recurrence: Recurrence, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Returns inputs with a feature of ones, and their kernel with its bias."""
    import torch

    if recurrence.kernel is None or recurrence.input_bias is None:
        return inputs, recurrence.kernel
    ones = inputs.new_ones(len(inputs), 1, inputs.shape[2])
    kernel = torch.cat([recurrence.kernel, recurrence.input_bias], dim=1)
    return torch.cat([inputs, ones], dim=1), kernel


@functools.cache
def _make_function() -> Any:
    import torch

    class Run(torch.autograd.Function):
        @staticmethod
        def forward(context, x, kernel, h, weights, indices, activate, slope, keep):  # type: ignore[no-untyped-def]
            states = _go_forward(x, kernel, h, weights, indices, activate)
            context.save_for_backward(x, kernel, states, weights, indices)
            context.slope, context.keep = slope, keep
            return states[1:] if keep else states[-1].clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(context, gradient):  # type: ignore[no-untyped-def]
            x, kernel, states, weights, indices = context.saved_tensors
            found = _go_back(
                x,
                kernel,
                states,
                weights,
                indices,
                context.slope,
                gradient,
                context.keep,
                context.needs_input_grad,
            )
            return (*found, None, None, None, None)

    return Run


def _go_forward(
    x: Tensor, kernel: Tensor, h: Tensor, weights: Tensor, indices: Tensor, activate: Any
) -> Tensor:
    """Returns the states, the first of them before all steps, (time + 1, n, batch)."""
    import torch

    across, _, width = weights.shape
    states = h.new_empty(len(x) + 1, *h.shape)
    states[0] = h
    gather, gathered = _make_gather(states, indices, width)
    places, blocks = _split(states, across)
    for t, of_step in enumerate(x.unbind(0)):
        place, z = places[t + 1], blocks[t + 1]
        if kernel is None:
            place.copy_(of_step)
        else:
            torch.mm(kernel, of_step, out=place)
        gather(t)
        torch.baddbmm(z, weights, gathered, out=z)
        activate(place, place)
    return states


def _go_back(
    x: Tensor,
    kernel: Tensor,
    states: Tensor,
    weights: Tensor,
    indices: Tensor,
    slope: Any,
    gradient: Tensor,
    keep: bool,
    wanted: tuple[bool, ...],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients of inputs, their kernel, the first state and blocks."""
    import torch

    across, _, width = weights.shape
    turned, flat = weights.transpose(1, 2), indices.reshape(-1)
    gather, gathered = _make_gather(states, indices, width)
    of_inputs, transposed = torch.empty_like(gathered), gathered.transpose(1, 2)
    rows = of_inputs.view(len(flat), -1)
    of_weights, of_h = torch.zeros_like(weights), torch.zeros_like(states[0])
    sums = of_h.view(-1, rows.shape[1])
    wants_x, wants_kernel, _, wants_weights, *_ = wanted
    of_kernel = torch.zeros_like(kernel) if wants_kernel else None
    of_x = torch.empty_like(x) if wants_x else None
    is_own = kernel is None and wants_x  # what reaches z is what reaches x
    steps = of_x if is_own else torch.empty_like(of_h).expand(len(x), *of_h.shape)
    if not keep:
        of_h.copy_(gradient)
    places, blocks = _split(steps, across)
    for t in reversed(range(len(x))):
        of_z, z = places[t], blocks[t]
        if keep:
            of_h.add_(gradient[t])
        slope(of_h, states[t + 1], of_z)
        if of_kernel is not None:
            of_kernel.addmm_(of_z, x[t].T)
        if of_x is not None and kernel is not None:
            torch.mm(kernel.T, of_z, out=of_x[t])
        if wants_weights:
            gather(t)
            of_weights.baddbmm_(z, transposed)
        torch.bmm(turned, z, out=of_inputs)
        sums.zero_().index_add_(0, flat, rows)
    return of_x, of_kernel, of_h, of_weights


def _split(sequence: Tensor, across: int) -> tuple[list[Tensor], list[Tensor]]:
    """Returns the parts of a sequence (time, n, batch), as they are and as blocks."""
    blocks = sequence.unflatten(1, (across, -1))
    return list(sequence.unbind(0)), list(blocks.unbind(0))


def _make_gather(states: Tensor, indices: Tensor, width: int) -> tuple[Any, Tensor]:
    """Returns what writes the inputs of all blocks at a time, and where."""
    import torch

    flat, batch = indices.reshape(-1), states.shape[2]
    height = width // indices.shape[1]
    rows = states.view(len(states), -1, height * batch).unbind(0)
    gathered = states.new_empty(len(flat), height * batch)

    def gather(time: int) -> None:
        torch.index_select(rows[time], 0, flat, out=gathered)

    return gather, gathered.view(len(indices), width, batch)
