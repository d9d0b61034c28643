"""Layers that treat each time step alike: a row for each kind, by its exact type."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_moduli.layers import SparseDense
from keras_moduli.sparse.streaming import _operations
from keras_moduli.sparse.streaming._values import (
    Held,
    RefusalError,
    Result,
    Run,
    Value,
    add_time,
    check_axes,
    check_constant,
    check_rank,
    is_plain,
    remove_time,
)
from keras_moduli.sparse.version_0_1 import BlockSparseDense

Check = Callable[[Any, list[Value]], None]


def _accept(layer: Any, values: list[Value]) -> None:
    check_rank(values)


def _check_axis(layer: Any, values: list[Value]) -> None:
    check_axes(layer.axis, check_rank(values, at_least=3))


def _check_softmax(layer: Any, values: list[Value]) -> None:
    _check_axis(layer, values)
    if values[0].is_masked:
        raise RefusalError("it takes the mask over time for one of features")


def _check_normalization(layer: Any, values: list[Value]) -> None:
    rank = check_rank(values)
    if layer.axis:
        check_axes(layer.axis, rank)
    check_constant(layer.mean, rank)
    check_constant(layer.variance, rank)


def _check_rescaling(layer: Any, values: list[Value]) -> None:
    rank = check_rank(values)
    for constant in (layer.scale, layer.offset):
        check_constant(constant, rank)
        if np.ndim(constant) and keras.config.image_data_format() == "channels_first":
            raise RefusalError("it puts channels first")


def _check_last_axis(layer: Any, values: list[Value]) -> None:
    check_rank(values, at_least=3)


def _check_activation(layer: Any, values: list[Value]) -> None:
    check_rank(values, at_least=3)
    activation = layer.activation
    if isinstance(activation, keras.layers.Layer):
        check_layer(activation, values)
    elif activation not in _operations.find_activations():
        raise RefusalError(
            f"its activation {activation!r} may look along the axis of time. Wrap it in "
            "keras.layers.TimeDistributed if it treats each time step alike"
        )


def _check_einsum(layer: Any, values: list[Value]) -> None:
    _check_activation(layer, values)
    rank = values[0].rank
    operands, result = layer.equation.split("->")
    inputs, kernel = operands.split(",")
    named = inputs.replace("...", "")
    if "..." in inputs:
        alike = inputs.startswith("...") and result.startswith("...")
        alike = alike and rank - len(named) >= 2
    else:
        alike = inputs[:2] == result[:2] and inputs[1] not in kernel
    if not alike or (inputs.count(inputs[1]) > 1 and "..." not in inputs):
        raise RefusalError(f"its equation {layer.equation!r} mixes time steps")
    if layer.bias is not None:
        check_constant(layer.bias, len(result.replace("...", "")) + rank - len(named))


def _check_slopes(layer: Any, values: list[Value]) -> None:
    check_constant(layer.alpha, check_rank(values))


def _check_convolution(layer: Any, values: list[Value]) -> None:
    _check_activation(layer, values)
    if (*layer.kernel_size, *layer.strides) != (1, 1):
        raise RefusalError("it needs more than one time step")
    if layer.data_format != "channels_last":
        raise RefusalError("it puts channels first")


def _check_distributed(layer: Any, values: list[Value]) -> None:
    check_rank(values, at_least=3)
    check_pure(layer.layer)


K = keras.layers
_DENSE = (K.Dense, SparseDense, BlockSparseDense)
CHECKS: dict[type, Check] = {
    **dict.fromkeys((K.ReLU, K.LeakyReLU, K.ELU, K.Identity, K.Embedding), _accept),
    **dict.fromkeys((K.Dropout, K.AlphaDropout, K.ActivityRegularization), _accept),
    **dict.fromkeys((K.GaussianDropout, K.GaussianNoise, K.SpatialDropout1D), _accept),
    **dict.fromkeys((K.SpatialDropout2D, K.SpatialDropout3D), _accept),
    **dict.fromkeys((K.Add, K.Subtract, K.Multiply, K.Average), _accept),
    **dict.fromkeys((K.Maximum, K.Minimum), _accept),
    **dict.fromkeys((K.BatchNormalization, K.LayerNormalization), _check_axis),
    **dict.fromkeys((K.UnitNormalization, K.RMSNormalization), _check_axis),
    **dict.fromkeys((*_DENSE, K.Activation), _check_activation),
    K.Concatenate: _check_axis,
    K.Conv1D: _check_convolution,
    K.EinsumDense: _check_einsum,
    K.Masking: _check_last_axis,
    K.Normalization: _check_normalization,
    K.PReLU: _check_slopes,
    K.Rescaling: _check_rescaling,
    K.Softmax: _check_softmax,
    K.TimeDistributed: _check_distributed,
}
# Whether the output has a mask, where that is not whether all inputs have one.
_MASKS: dict[type, Callable[[Any, list[Value]], bool]] = {
    K.Embedding: lambda layer, values: layer.mask_zero,
    K.Masking: lambda layer, values: True,
    K.Concatenate: lambda layer, values: any(value.is_masked for value in values),
}
# Layers that work along the last axis whether there is one of time or not.
_LAST_AXIS_ONLY = _DENSE


def check_layer(layer: Any, values: list[Value]) -> None:
    """Raises unless a layer is known to treat each time step of its inputs alike."""
    check = CHECKS.get(type(layer))
    if check is not None:
        check(layer, values)
        return
    if getattr(K, type(layer).__name__, None) is type(layer):
        raise RefusalError("it needs more than one time step")
    raise RefusalError(
        "it is of a kind that may need more than one time step. If it treats each alike, "
        "wrap it in keras.layers.TimeDistributed"
    )


def check_pure(layer: Any) -> None:
    """Raises if the output of a layer may depend on more than inputs and weights."""
    if type(layer) in CHECKS and type(layer) is not K.TimeDistributed:
        return
    if _has_state(layer):
        raise RefusalError("it, or a layer inside, is stateful")
    inner = [part for name in ("layer", "layers") for part in _list(layer, name)]
    if inner:
        for part in inner:
            check_pure(part)
    elif layer.non_trainable_variables and not _is_keras_own(layer):
        raise RefusalError(
            f"{layer.name!r} has variables that are not trained and may change when "
            "it is called, as those of random numbers do"
        )


def _list(layer: Any, name: str) -> list[Any]:
    parts = getattr(layer, name, [])
    return list(parts) if isinstance(parts, list | tuple) else [parts]


def _has_state(layer: Any) -> bool:
    return bool(getattr(layer, "stateful", False))


def _is_keras_own(layer: Any) -> bool:
    return getattr(K, type(layer).__name__, None) is type(layer)


def makes_mask(operation: Any) -> bool:
    """Whether a layer may give its output a mask that its inputs do not have."""
    return isinstance(operation, K.Layer) and (
        type(operation) not in CHECKS or type(operation) in _MASKS
    )


def can_call_directly(layer: Any, values: list[Value]) -> bool:
    """Whether `layer.call` does all that calling a layer does, on tensors as they are."""
    return (
        type(layer) in CHECKS
        and type(layer) is not K.TimeDistributed
        and not makes_mask(layer)
        and is_plain(layer, values)
        and not any(value.is_masked for value in values)
    )


def make_direct(layer: Any) -> Run:
    """Returns how a layer runs by its `call`, on one tensor as it is."""
    call = layer.call

    def run(held: list[Held], state: Any) -> tuple[list[Held], Any]:
        ((x, mask),) = held
        return [(call(x), mask)], state

    return run


def make_alike(layer: Any, values: list[Value], *, is_list: bool) -> Result:
    """Returns how a layer that treats each time step alike runs on one.

    Args:
        layer: Of a kind in `CHECKS`.
        values: Its inputs, sequences.
        is_list: Whether it takes a list.

    Raises:
        RefusalError: If it does not treat each alike.
    """
    check_layer(layer, values)
    has_mask = _MASKS.get(type(layer), lambda _, vs: all(v.is_masked for v in vs))
    masked = bool(layer.supports_masking and has_mask(layer, values))
    plain = is_plain(layer, values)
    if plain and type(layer) in _LAST_AXIS_ONLY:
        return Result(make_direct(layer), ((True, masked),))
    call = layer.call if plain else layer
    takes_mask = "mask" in inspect.signature(layer.call).parameters

    def run(held: list[Held], state: Any) -> tuple[list[Held], Any]:
        inputs: Any = [add_time(x) for x, _ in held]
        masks: Any = [add_time(mask) for _, mask in held]
        if not is_list:
            (inputs,), (masks,) = inputs, masks
        given = {"mask": masks} if takes_mask and values[0].is_masked else {}
        outputs = call(inputs, **given)
        mask = layer.compute_mask(inputs, masks) if masked else None
        return [(remove_time(outputs), remove_time(mask))], state

    return Result(run, ((True, masked),))
