"""Recurrent steps of PyTorch that write in place, into arrays made once."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import keras

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
        kernel: Of the inputs, (gates · n, features), and
        input_bias: their bias (gates · n, 1), or None. None if they come multiplied.
    """

    kind: str
    activation: Any
    recurrent_activation: Any
    bias: Tensor
    operand: Tensor
    sites: Any
    is_vector: bool
    kernel: Tensor = None
    input_bias: Tensor = None


# What writes the state after a step into its place, for the number of the step.
Step = Callable[[int], None]
# `multiply(number, x, out)`, out ← x + Rᵀ h of the state before a step, in blocks.
Multiply = Callable[[int, Tensor, Tensor], None]
Shape = tuple[int, ...]


def make_step(
    recurrence: Recurrence, inputs: Tensor, places: list[Tensor], *others: Tensor
) -> Step:
    """Returns what computes a step, without gradients.

    Args:
        recurrence: What it does.
        inputs: Of all steps, (time, ...).
        places: The first state and where each step writes the next, which may all be the
            same.
        *others: Further states, which steps change.
    """
    multiply, shape = _make_product(recurrence, places)
    return _STEPS[recurrence.kind](recurrence, inputs, places, multiply, shape, *others)


def _make_plain(
    recurrence: Recurrence,
    inputs: Tensor,
    places: list[Tensor],
    multiply: Multiply,
    shape: Shape,
) -> Step:
    read = _make_reader(recurrence, inputs, shape)
    blocks = _view_all(places, shape)
    activate = choose_activation(recurrence.activation, places[0])

    def step(number: int) -> None:
        out = blocks[number + 1]
        multiply(number, read(number), out)
        activate(out, out)

    return step


def _make_lstm(
    recurrence: Recurrence,
    inputs: Tensor,
    places: list[Tensor],
    multiply: Multiply,
    shape: Shape,
    c: Tensor,
) -> Step:
    """i, f, g, o ← x + Rᵀ h;  c ← σ(f)·c + σ(i)·act(g);  h ← σ(o)·act(c)."""
    import torch

    read, n = _make_reader(recurrence, inputs, shape), len(c)
    z, scratch = c.new_empty(4 * n, *c.shape[1:]), torch.empty_like(c)
    blocks, first, last = z.view(shape), z[: 2 * n], z[3 * n :]
    i, f, g = z[:n], z[n : 2 * n], z[2 * n : 3 * n]
    activate = choose_activation(recurrence.activation, c)
    open_gates = choose_activation(recurrence.recurrent_activation, c)

    def step(number: int) -> None:
        multiply(number, read(number), blocks)
        open_gates(first, first)
        open_gates(last, last)
        activate(g, g)
        c.mul_(f).addcmul_(i, g)
        activate(c, scratch)
        torch.mul(last, scratch, out=places[number + 1])

    return step


def _make_gru(
    recurrence: Recurrence,
    inputs: Tensor,
    places: list[Tensor],
    multiply: Multiply,
    shape: Shape,
) -> Step:
    """z, r, g ← x;  u, v, w ← Rᵀ h + b;  ĝ ← act(g + σ(r + v)·w);  h ← ĝ + z·(h − ĝ)."""
    import torch

    h = places[0]
    n = len(h)
    read = _make_reader(recurrence, inputs, (3 * n, *h.shape[1:]))
    inner, both = h.new_empty(3 * n, *h.shape[1:]), h.new_empty(2 * n, *h.shape[1:])
    blocks, of_gates, of_candidate = inner.view(shape), inner[: 2 * n], inner[2 * n :]
    z, r, new = both[:n], both[n:], torch.empty_like(h)
    bias = h.new_zeros(()) if recurrence.bias is None else recurrence.bias
    bias = bias.expand(inner.shape).reshape(shape).contiguous()
    activate = choose_activation(recurrence.activation, h)
    open_gates = choose_activation(recurrence.recurrent_activation, h)

    def step(number: int) -> None:
        x = read(number)
        multiply(number, bias, blocks)
        torch.add(x[: 2 * n], of_gates, out=both)
        open_gates(both, both)
        torch.addcmul(x[2 * n :], r, of_candidate, out=new)
        activate(new, new)
        torch.lerp(new, places[number], z, out=places[number + 1])

    return step


_STEPS: dict[str, Callable[..., Step]] = {
    "plain": _make_plain,
    "gru": _make_gru,
    "lstm": _make_lstm,
}


def _view_all(tensors: list[Tensor], shape: Shape) -> list[Tensor]:
    """Returns tensors in another shape: equal ones once, since each view takes long."""
    if tensors[0] is tensors[-1]:
        return [tensors[0].view(shape)] * len(tensors)
    return [tensor.view(shape) for tensor in tensors]


def _make_reader(
    recurrence: Recurrence, inputs: Tensor, shape: Shape
) -> Callable[[int], Tensor]:
    """Returns `read(number)`, the multiplied inputs of a step in a shape."""
    import torch

    if recurrence.kernel is None:
        return inputs.reshape(len(inputs), *shape).unbind(0).__getitem__
    x = inputs.new_empty(len(recurrence.kernel), inputs.shape[-1])
    blocks, bias = x.view(shape), recurrence.input_bias

    def read(number: int) -> Tensor:
        if bias is None:
            torch.mm(recurrence.kernel, inputs[number], out=x)
        else:
            torch.addmm(bias, recurrence.kernel, inputs[number], out=x)
        return blocks

    return read


def _make_product(recurrence: Recurrence, places: list[Tensor]) -> tuple[Multiply, Shape]:
    """Returns `multiply`, and the shape of what it takes and writes."""
    import torch

    operand, sites, h = recurrence.operand, recurrence.sites, places[0]
    indices = sites.indices.reshape(-1)
    gathered = h.new_empty(len(indices), h.numel() // sites.rows)
    rows = _view_all(places, (sites.rows, -1))
    if recurrence.is_vector:
        across, width, c = operand.shape
        operands, shape = (gathered.view(across, 1, width), operand), (across, 1, c)
    else:
        across, c, width = operand.shape
        operands, shape = (operand, gathered.view(across, width, -1)), (across, c, -1)

    def multiply(number: int, x: Tensor, out: Tensor) -> None:
        torch.index_select(rows[number], 0, indices, out=gathered)
        torch.baddbmm(x, *operands, out=out)

    return multiply, shape


def choose_activation(activation: Any, x: Tensor) -> Any:
    """Returns `activate(x, out)` of arrays like one."""
    is_large = x.numel() >= _MANY and x.dtype.itemsize >= 4
    if activation is keras.activations.tanh and is_large:
        return _apply_tanh
    return find_activations()[activation][0]


# Of so many on, PyTorch's sigmoid and three short operations take less than its tanh: a
# third, of 65,536.
_MANY = 8192


def _apply_tanh(x: Tensor, out: Tensor) -> None:
    """Writes tanh x = 2 σ(2x) − 1, in float32 within 1e-7, also of small x."""
    import torch

    torch.mul(x, 2, out=out).sigmoid_().mul_(2).sub_(1)


@functools.cache
def find_activations() -> dict[Any, Any]:
    """Returns `activate(x, out)` of each activation, and `slope(gradient, y, out)`.

    The slope writes the gradient of x, of that of y and of y.
    """
    import torch

    activations, aten = keras.activations, torch.ops.aten
    return {
        activations.tanh: _write_out(torch.tanh, aten.tanh_backward),
        activations.sigmoid: _write_out(torch.sigmoid, aten.sigmoid_backward),
        activations.relu: (
            lambda x, out: torch.clamp_min(x, 0, out=out),
            lambda g, y, out: aten.threshold_backward(g, y, 0, grad_input=out),
        ),
        activations.linear: (
            lambda x, out: None if out is x else out.copy_(x),
            lambda g, y, out: out.copy_(g),
        ),
    }


def _write_out(function: Any, slope: Any) -> tuple[Any, Any]:
    return (
        lambda x, out: function(x, out=out),
        lambda gradient, y, out: slope(gradient, y, grad_input=out),
    )
