"""Why a layer may do something else than its class says."""

import inspect
from typing import Any

import keras

from keras_moduli import _keras_private

# Keras wraps these in every layer.
_WRAPPED = ("build", "quantize")
_ACTIVATIONS = ("activation", "recurrent_activation")


def find_obstacle(layer: Any) -> str:
    """Returns why a layer, or one inside of it, is not what its class says, or nothing.

    Args:
        layer: A layer whose class is known.
    """
    for part in _keras_private.iterate_layers(layer):
        for explain in _REASONS:
            if reason := explain(part):
                return reason
    return ""


def _explain_replaced(layer: Any) -> str:
    for name, value in vars(layer).items():
        is_method = inspect.isroutine(getattr(type(layer), name, None))
        if is_method and callable(value) and name not in _WRAPPED:
            return f"{layer.name!r} has a `{name}` that is not its class's"
    return ""


def _explain_quantized(layer: Any) -> str:
    if mode := getattr(layer, "quantization_mode", None):
        return f"it is quantized, {mode}"
    return "it has LoRA weights" if getattr(layer, "lora_enabled", False) else ""


def _explain_activation(layer: Any) -> str:
    for name in _ACTIVATIONS:
        activation = getattr(layer, name, None)
        if not isinstance(activation, keras.layers.Layer):
            continue
        if activation.variables or not activation.built:
            return f"its {name} has weights"
    return ""


def _explain_empty(layer: Any) -> str:
    empty = [v.name for v in layer.variables if 0 in v.shape]
    return f"its {empty[0]} is empty" if empty else ""


_REASONS = (_explain_replaced, _explain_quantized, _explain_activation, _explain_empty)
