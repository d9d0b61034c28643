"""From the graph of a model to what it does at one time step."""

from typing import Any

import keras
from keras import ops

from keras_moduli import _keras_private
from keras_moduli._keras_private import Call
from keras_moduli.layers import Moduli
from keras_moduli.sparse.streaming._alike import (
    can_call_directly,
    check_pure,
    make_alike,
    make_direct,
    makes_mask,
)
from keras_moduli.sparse.streaming._operations import make_operation
from keras_moduli.sparse.streaming._program import Program
from keras_moduli.sparse.streaming._recurrence import is_recurrent, make_recurrence
from keras_moduli.sparse.streaming._values import (
    Arguments,
    Held,
    RefusalError,
    Result,
    Value,
    fill,
)

Known = dict[int, Value]  # by the `id` of a symbolic tensor, in one place of a model


def trace_model(model: keras.Model) -> Program:
    """Returns a model as a function of one time step.

    Raises:
        ValueError: If it is not one; the message names the layer and says why.
    """
    inputs, outputs = _find_ends(model)
    if len(inputs) != 1 or len(inputs[0].shape) < 2:
        raise ValueError(
            "A Stream takes a model of one input, of shape (batch, time, ...). Those of "
            f"{model.name!r} are of shapes {[tuple(x.shape) for x in inputs]}."
        )
    program = Program()
    known = {id(inputs[0]): program.add_value(inputs[0], True, False)}
    program.outputs = _trace(program, outputs, known)
    is_list = isinstance(model, keras.Sequential)
    structure = outputs if is_list else model.output
    is_one = isinstance(structure, list | tuple) and len(structure) == 1
    program.structure = structure[0] if is_one else structure
    return program


def _find_ends(model: Any) -> tuple[list[Any], list[Any]]:
    inputs, outputs = (getattr(model, name, None) for name in ("inputs", "outputs"))
    if not _keras_private.is_graph(model) or not inputs or not outputs:
        raise ValueError(
            f"A Stream cannot follow {model.name!r} ({type(model).__name__}): it has a "
            "`call` of its own, or does not know its inputs. Make it a Functional model, "
            "or a Sequential that begins with a keras.Input."
        )
    return inputs, outputs


def _trace(program: Program, outputs: list[Any], known: Known) -> list[Value]:
    for call in _list_calls(outputs, known):
        values = _trace_call(program, call, known)
        known |= {id(x): v for x, v in zip(call.outputs, values, strict=True)}
    return [known[id(tensor)] for tensor in outputs]


def _list_calls(outputs: list[Any], known: Known) -> list[Call]:
    """Returns the calls that make tensors, each after those that it needs."""
    made, calls, stack = set(known), [], [*reversed(outputs)]
    while stack:
        if id(stack[-1]) in made:
            stack.pop()
            continue
        call = _keras_private.find_call(stack[-1])
        if missing := [x for x in _list_needed(call) if id(x) not in made]:
            stack += missing
            continue
        calls.append(call)
        made |= {id(tensor) for tensor in call.outputs}
    return calls


def _is_symbolic(leaf: Any) -> bool:
    return isinstance(leaf, keras.KerasTensor)


def _list_needed(call: Call) -> list[Any]:
    return [*filter(_is_symbolic, keras.tree.flatten(_split(call)))]


def _split(call: Call) -> tuple[tuple[Any, ...], dict[str, Any], Any]:
    """Returns the arguments of a call, and a mask that its input does not bring along."""
    kwargs = {k: v for k, v in call.kwargs.items() if k not in ("mask", "training")}
    mask = call.kwargs.get("mask")
    first = next(iter(keras.tree.flatten(call.args)), None)
    is_carried = mask is None or mask is _keras_private.find_mask(first)
    return tuple(call.args), kwargs, None if is_carried else mask


def _trace_call(program: Program, call: Call, known: Known) -> list[Value]:
    try:
        return _trace_known_call(program, call, known)
    except RefusalError as refusal:
        kind = type(call.operation).__name__
        raise ValueError(
            f"A Stream cannot take {call.operation.name!r} ({kind}): {refusal}. It takes "
            "recurrent layers that go forward, and what treats all time steps alike, as "
            "Dense does."
        ) from None


def _trace_known_call(program: Program, call: Call, known: Known) -> list[Value]:
    if call.kwargs.get("training"):
        raise RefusalError("it is called with `training=True`")
    args, kwargs, mask = _split(call)
    if mask is not None and not _is_symbolic(mask):
        raise RefusalError("it is given a mask that is not a tensor of the graph")
    template: Arguments = keras.tree.map_structure(
        lambda leaf: known[id(leaf)] if _is_symbolic(leaf) else leaf, (args, kwargs)
    )
    values = [v for v in keras.tree.flatten(template) if isinstance(v, Value)]
    masks = [] if mask is None else [known[id(mask)]]
    if len({v.is_sequence for v in [*values, *masks]}) != 1:
        raise RefusalError(
            "it joins values of each time step with one of the whole sequence"
        )
    if masks and not values[0].is_sequence:
        raise RefusalError("it is given a mask of what is no sequence any more")
    if masks:
        masked = _put_mask(program, values[0], masks[0])
        template = keras.tree.map_structure(
            lambda leaf: masked if leaf is values[0] else leaf, template
        )
        values[0] = masked
    if _keras_private.is_graph(call.operation):
        return _trace_inside(program, call.operation, template)
    is_layer = isinstance(call.operation, keras.layers.Layer)
    if not values[0].is_sequence:
        result = _make_whole(call, template, values)
    elif is_layer:
        result = _make_layer(program, call.operation, template)
    else:
        result = make_operation(call.operation, template, len(call.outputs))
    return program.add_step(result, values, call.outputs)


def _put_mask(program: Program, value: Value, mask: Value) -> Value:
    if mask.rank != 2:
        raise RefusalError(f"it is given a mask of shape {mask.shape}, not (batch, time)")

    def run(held: list[Held], state: Any) -> tuple[list[Held], Any]:
        (x, _), (given, _) = held
        return [(x, given)], state

    (masked,) = program.add_step(Result(run, ((True, True),)), [value, mask], [value])
    return masked


def _make_layer(program: Program, layer: Any, template: Arguments) -> Result:
    """Returns how a layer runs on one step of sequences."""
    args, kwargs = template
    leaves = keras.tree.flatten(args)
    if len(args) != 1 or kwargs or not all(isinstance(v, Value) for v in leaves):
        raise RefusalError(
            "it is called with more than its inputs, such as an initial state or an array"
        )
    while type(layer) is Moduli:
        layer = layer.layer
    if not is_recurrent(layer):
        return make_alike(layer, leaves, is_list=not isinstance(args[0], Value))
    if layer.stateful and id(layer) in program.stateful:
        raise RefusalError("it is stateful and called in more than one place")
    program.stateful.add(id(layer))
    return make_recurrence(layer, args[0])


def _make_whole(call: Call, template: Arguments, values: list[Value]) -> Result:
    """Returns how what depends on a whole sequence is computed: as in the model."""
    operation = call.operation
    if isinstance(operation, keras.layers.Layer):
        check_pure(operation)
        if isinstance(operation, keras.layers.RNN | keras.layers.Bidirectional):
            raise RefusalError("it goes through a sequence that comes of another's end")
        is_one = len(template[0]) == len(values) == 1 and template[0][0] is values[0]
        if is_one and not template[1] and can_call_directly(operation, values):
            # Not through `__call__`, which costs more than a step on PyTorch.
            return Result(make_direct(operation), ((False, False),))
    # It may bring a mask along, which calls hand on, and `run` of others would lose.
    may_be_masked = any(value.is_masked for value in values) or makes_mask(operation)

    def run(held: list[Held], state: Any) -> tuple[list[Held], Any]:
        args, kwargs = fill(template, [x for x, _ in held])
        made = keras.tree.flatten(operation(*args, **kwargs))
        return [(x, None) for x in made], state

    return Result(run, ((False, may_be_masked),) * len(call.outputs))


def _trace_inside(program: Program, model: Any, template: Arguments) -> list[Value]:
    """Appends the steps of a model inside another."""
    inputs, outputs = _find_ends(model)
    args, kwargs = template
    given = keras.tree.flatten(args)
    structures = [*args, None][0], getattr(model, "input", None)
    is_dict = [isinstance(structure, dict) for structure in structures]
    if kwargs or len(args) != 1 or len(given) != len(inputs) or len({*is_dict}) != 1:
        raise RefusalError("it is called with other arguments than its inputs")
    known = {}
    for value, tensor in zip(given, inputs, strict=True):
        if not isinstance(value, Value) or value.rank != len(tensor.shape):
            raise RefusalError(f"its input is of another rank than {tuple(tensor.shape)}")
        known[id(tensor)] = _cast(program, value, tensor)
    return _trace(program, outputs, known)


def _cast(program: Program, value: Value, tensor: Any) -> Value:
    """Returns a value as the input of a model takes it."""
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if value.dtype == dtype:
        return value
    if value.is_masked and not value.is_sequence:
        raise RefusalError("its input may have a mask, and is of another type")

    def run(held: list[Held], state: Any) -> tuple[list[Held], Any]:
        return [(ops.cast(x, dtype), mask) for x, mask in held], state

    result = Result(run, ((value.is_sequence, value.is_masked),))
    return program.add_step(result, [value], [tensor])[0]
