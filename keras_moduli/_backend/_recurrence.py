"""Recurrent steps over all time at once, where they run eagerly.

PyTorch pays for each operation, and for each array that one makes. Here a step is a few
of them, written in place; of a plain one that trains only states are kept.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from keras_moduli._backend import _products

Tensor = Any


class Recurrence(NamedTuple):
    """What a recurrent step does.

    Attributes:
        kind: "plain", h ← activation(x + Rᵀ h), "gru" (with its reset after the product)
            or "lstm".
        activation: Of Keras.
        recurrent_activation: Likewise, of the gates.
        bias: Of the states, columns (gates · n, 1) or a vector; None for none.
        operand: Blocks (J, c, K·b), or turned (J, K·b, c) for one vector.
        sites: Where they are.
        is_vector: Whether states are one vector.
    """

    kind: str
    activation: Any
    recurrent_activation: Any
    bias: Tensor
    operand: Tensor
    sites: Any
    is_vector: bool


_GATES = {"plain": 1, "gru": 3, "lstm": 4}


def takes(recurrence: Recurrence | None, inputs: Tensor, states: list[Tensor]) -> bool:
    """Whether `run` can do what a recurrence says, of blocks that fill the states."""
    if recurrence is None or keras.backend.backend() != "torch" or _is_traced():
        return False
    across, c, width = recurrence.operand.shape
    c = width if recurrence.is_vector else c
    n, known = states[0].shape[0], _find_activations()
    fits = across * c == _GATES[recurrence.kind] * n and n % recurrence.sites.rows == 0
    is_known = recurrence.activation in known
    if recurrence.kind != "plain":
        is_known = is_known and recurrence.recurrent_activation in known
    tensors = [recurrence.operand, inputs, *states]
    is_one_dtype = len({tensor.dtype for tensor in tensors}) == 1
    if not (fits and is_known and is_one_dtype):
        return False
    is_plain = recurrence.kind == "plain" and not recurrence.is_vector
    return is_plain or not _needs_gradients(recurrence.bias, *tensors)


def run(
    recurrence: Recurrence, inputs: Tensor, states: list[Tensor], all_outputs: bool
) -> tuple[Tensor, list[Tensor]]:
    """Returns all outputs (time, n, batch), or None, and the last states.

    Args:
        recurrence: What `takes` agrees to.
        inputs: (time, gates · n, batch), or of vectors (time, gates · n).
        states: The first, (n, batch), or vectors (n,).
        all_outputs: Whether all outputs are wanted.
    """
    import torch

    if _needs_gradients(recurrence.operand, inputs, *states):
        activate, slope = _find_activations()[recurrence.activation]
        outputs = _make_function().apply(
            inputs,
            states[0],
            recurrence.operand,
            recurrence.sites.indices,
            activate,
            slope,
        )
        return (outputs if all_outputs else None), [outputs[-1]]
    inputs = inputs.contiguous()
    h, *others = (s.clone(memory_format=torch.contiguous_format) for s in states)
    outputs = h.new_empty(len(inputs), *h.shape) if all_outputs else None
    places = itertools.repeat(h) if outputs is None else outputs.unbind(0)
    advance = _STEPS[recurrence.kind](recurrence, inputs, h, *others)
    with torch.no_grad():
        for number, place in zip(range(len(inputs)), places, strict=False):
            advance(number, h, place)
            h = place
    return outputs, [h, *others]


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


# A step of number `number` writes into `place` what follows the state `h`, which may be
# the same array.
Advance = Callable[[int, Tensor, Tensor], None]


def _make_plain(recurrence: Recurrence, inputs: Tensor, h: Tensor) -> Advance:
    multiply, shape = _make_product(recurrence, h)
    steps = inputs.view(len(inputs), *shape).unbind(0)
    activate, _ = _find_activations()[recurrence.activation]

    def advance(number: int, h: Tensor, place: Tensor) -> None:
        multiply(steps[number], h, place.view(shape))
        activate(place)

    return advance


def _make_lstm(recurrence: Recurrence, inputs: Tensor, h: Tensor, c: Tensor) -> Advance:
    """i, f, g, o ← x + Rᵀ h;  c ← σ(f)·c + σ(i)·act(g);  h ← σ(o)·act(c)."""
    import torch

    multiply, shape = _make_product(recurrence, h)
    steps, n = inputs.view(len(inputs), *shape).unbind(0), len(h)
    z, scratch = h.new_empty(4 * n, *h.shape[1:]), torch.empty_like(h)
    blocks, first, last = z.view(shape), z[: 2 * n], z[3 * n :]
    i, f, g = z[:n], z[n : 2 * n], z[2 * n : 3 * n]
    activate, _ = _find_activations()[recurrence.activation]
    open_gates, _ = _find_activations()[recurrence.recurrent_activation]

    def advance(number: int, h: Tensor, place: Tensor) -> None:
        multiply(steps[number], h, blocks)
        open_gates(first)
        open_gates(last)
        activate(g)
        c.mul_(f).addcmul_(i, g)
        scratch.copy_(c)
        torch.mul(last, activate(scratch), out=place)

    return advance


def _make_gru(recurrence: Recurrence, inputs: Tensor, h: Tensor) -> Advance:
    """z, r, g ← x;  u, v, w ← Rᵀ h + b;  ĝ ← act(g + σ(r + v)·w);  h ← ĝ + z·(h − ĝ)."""
    import torch

    multiply, shape = _make_product(recurrence, h)
    n = len(h)
    gates, candidates = inputs[:, : 2 * n].unbind(0), inputs[:, 2 * n :].unbind(0)
    inner, both = h.new_empty(3 * n, *h.shape[1:]), h.new_empty(2 * n, *h.shape[1:])
    blocks, of_gates, of_candidate = inner.view(shape), inner[: 2 * n], inner[2 * n :]
    z, r, new = both[:n], both[n:], torch.empty_like(h)
    bias = h.new_zeros(()) if recurrence.bias is None else recurrence.bias
    bias = bias.expand(inner.shape).reshape(shape).contiguous()
    activate, _ = _find_activations()[recurrence.activation]
    open_gates, _ = _find_activations()[recurrence.recurrent_activation]

    def advance(number: int, h: Tensor, place: Tensor) -> None:
        multiply(bias, h, blocks)
        open_gates(torch.add(gates[number], of_gates, out=both))
        activate(torch.addcmul(candidates[number], r, of_candidate, out=new))
        torch.lerp(new, h, z, out=place)

    return advance


_STEPS: dict[str, Callable[..., Advance]] = {
    "plain": _make_plain,
    "gru": _make_gru,
    "lstm": _make_lstm,
}


def _make_product(recurrence: Recurrence, h: Tensor) -> tuple[Any, tuple[int, ...]]:
    """Returns `multiply(x, h, out)`, out ← x + Rᵀ h, and the shape of x and out."""
    import torch

    operand, sites = recurrence.operand, recurrence.sites
    height, batch = len(h) // sites.rows, h.shape[1:].numel()
    taken: tuple[int, ...]
    if recurrence.is_vector:
        across, width, c = operand.shape
        indices = _products.spread(sites.indices, height).view(-1)
        gathered, taken = h.new_empty(across * width), (-1,)
        operands, shape = (gathered.view(across, 1, width), operand), (across, 1, c)
    else:
        across, c, width = operand.shape
        indices = sites.indices.reshape(-1)
        gathered, taken = h.new_empty(len(indices), height * batch), (-1, height * batch)
        operands = operand, gathered.view(across, width, batch)
        shape = (across, c, batch)

    def multiply(x: Tensor, h: Tensor, out: Tensor) -> None:
        torch.index_select(h.view(taken), 0, indices, out=gathered)
        torch.baddbmm(x, *operands, out=out)

    return multiply, shape


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
