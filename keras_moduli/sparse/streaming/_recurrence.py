"""Recurrent layers at one time step."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_moduli import layers
from keras_moduli.sparse.streaming._values import (
    Held,
    RefusalError,
    Result,
    Tensor,
    Value,
    is_plain,
)
from keras_moduli.sparse.version_0_1 import (
    BlockSparseGRUCell,
    BlockSparseLSTMCell,
    BlockSparseRNN,
    BlockSparseSimpleRNNCell,
)

K = keras.layers
# Layers whose neurons may have another order inside than outside.
_ORDERED = (
    BlockSparseRNN,
    layers.SparseSimpleRNN,
    layers.SparseGRU,
    layers.SparseLSTM,
)
KINDS = (
    K.RNN,
    K.SimpleRNN,
    K.GRU,
    K.LSTM,
    layers.ModuliSimpleRNN,
    layers.ModuliGRU,
    layers.ModuliLSTM,
    *_ORDERED,
)
# Cells whose output is the first of their states.
_CELLS = (
    K.SimpleRNNCell,
    K.GRUCell,
    K.LSTMCell,
    layers.ModuliSimpleRNNCell,
    layers.ModuliGRUCell,
    layers.ModuliLSTMCell,
    layers.SparseSimpleRNNCell,
    layers.SparseGRUCell,
    layers.SparseLSTMCell,
    BlockSparseSimpleRNNCell,
    BlockSparseGRUCell,
    BlockSparseLSTMCell,
)
Advance = Callable[[Tensor, Any], tuple[Tensor, Any]]


def is_recurrent(layer: Any) -> bool:
    """Whether a layer is of a kind that a Stream runs step by step."""
    return type(layer) in KINDS


def make_recurrence(layer: Any, value: Value) -> Result:
    """Returns how a recurrent layer runs on one time step.

    Args:
        layer: Of a kind in `KINDS`.
        value: Its input, a sequence.

    Raises:
        RefusalError: If what it gives is not known before the sequence ends.
    """
    is_masked = value.is_masked
    _check(layer, is_masked)
    advance = _make_advance(layer, value)
    unsort = layer.unsort if type(layer) in _ORDERED else lambda x: x

    def run(held: list[Held], states: Any) -> tuple[list[Held], Any]:
        ((x, mask),) = held
        output, new = advance(x, states)
        if is_masked:
            before = keras.tree.flatten(states)[0]
            before = ops.zeros_like(output) if layer.zero_output_for_mask else before
            kept = ops.expand_dims(mask, -1)
            output = ops.where(kept, output, before)
            new = keras.tree.map_structure(
                lambda a, b: ops.where(kept, a, b), new, states
            )
        output = (unsort(output), mask if layer.return_sequences else None)
        if not layer.return_state:
            return [output], new
        return [output, *((unsort(s), None) for s in keras.tree.flatten(new))], new

    def get_initial_state(batch_size: int) -> Any:
        dtype = layer.cell.compute_dtype
        states = layer.get_initial_state(batch_size)
        return keras.tree.map_structure(lambda s: ops.cast(s, dtype), states)

    kinds = [(layer.return_sequences, is_masked and layer.return_sequences)]
    if layer.return_state:
        kinds += [(False, False)] * len(keras.tree.flatten(layer.state_size))
    return Result(run, tuple(kinds), get_initial_state)


def _check(layer: Any, is_masked: bool) -> None:
    if layer.go_backwards:
        raise RefusalError("it goes backwards, from the last time step")
    if is_masked and type(layer.cell) not in _CELLS:
        raise RefusalError(
            "what its cell gives at masked time steps depends on Keras's backend. Masks "
            "go with SimpleRNN, GRU and LSTM"
        )
    states = keras.tree.flatten(layer.states) if layer.stateful else []
    if any(ops.convert_to_numpy(state).any() for state in states):
        raise RefusalError(
            "it is stateful and holds the state of an earlier sequence, while a Stream "
            "begins with zeros. Call `reset_state()` of this layer first"
        )


def _make_advance(layer: Any, value: Value) -> Advance:
    """Returns what maps an input and states to the output and the next states."""
    cell = layer.cell
    parts = [layer, *(p for p in (_projection(layer), _projection(cell)) if p)]
    plain = type(cell) in _CELLS and all(is_plain(p, [value]) for p in (cell, *parts))
    before = _projection(layer)
    if plain:  # not through `__call__`, which costs more than a step on PyTorch
        if before is None:
            return cell.call
        return lambda x, states: cell.call(before.call(x), states)
    takes_training = (
        isinstance(cell, K.Layer)
        and "training" in inspect.signature(cell.call).parameters
    )
    given = {"training": False} if takes_training else {}

    def advance(x: Tensor, states: Any) -> tuple[Tensor, Any]:
        x = ops.cast(x, layer.compute_dtype) if "float" in value.dtype else x
        output, new = cell(x if before is None else before(x), list(states), **given)
        output = ops.cast(output, layer.compute_dtype)
        return output, keras.tree.pack_sequence_as(states, keras.tree.flatten(new))

    return advance


def _projection(layer: Any) -> Any:
    return getattr(layer, "projection", None)
