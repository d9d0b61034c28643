"""Arguments that layers hand on to Keras, checked when a layer is made.

Keras looks at many of them only when the layer is built, and names few of them then.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_moduli import _checks


def check(init: Callable[..., None], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Returns arguments of a class of Keras by their names, checked.

    Args:
        init: The bound `__init__` of the class.
        *args: What it is to be called with.
        **kwargs: Likewise.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; the message names it.
    """
    given = inspect.signature(init).bind(*args, **kwargs).arguments
    given.update(given.pop("kwargs", {}))
    return {name: _find_check(name)(name, value) for name, value in given.items()}


def resolve(name: str, value: Any) -> Any:
    """Returns what Keras makes of a name, a config or an object.

    Args:
        name: Of the argument, whose last word says the kind: `kernel_initializer`.
        value: What was typed.

    Raises:
        TypeError: If it is of a wrong type.
        ValueError: If it is none that is known; the message names the argument.
    """
    get = _KINDS[name.rpartition("_")[2]]
    try:
        return get(value)
    except Exception as error:  # whatever a config of somebody else's can raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"`{name}` must be an object, a name or a config that Keras knows. "
            f"Received: {name}={_checks.shorten(value)} ({error})"
        ) from error


def make(name: str, config: Any, custom_objects: Any = None) -> Any:
    """Returns the object of a config, and anything that is no dictionary as it is.

    Args:
        name: Of the argument.
        config: What was typed.
        custom_objects: Of `keras.saving.deserialize_keras_object`.

    Raises:
        TypeError: If it is of a wrong type.
        ValueError: If it can be made of none; the message names the argument.
    """
    if not isinstance(config, dict):
        return config
    try:
        return keras.saving.deserialize_keras_object(config, custom_objects)
    except Exception as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"`{name}` must be an object or what `keras.saving.serialize_keras_object` "
            f"made of one. Received: {name}={_checks.shorten(config)} ({error})"
        ) from error


def _check_size(name: str, value: Any) -> int:
    return _checks.integer(name, value, minimum=1)


def _check_optional_size(name: str, value: Any) -> int | None:
    return _checks.optional(_check_size, name, value)


def _check_optional_sizes(name: str, value: Any) -> Any:
    if value is None or not isinstance(value, tuple | list):
        return _check_optional_size(name, value)
    return tuple(_check_optional_size(name, size) for size in value)


def _check_optional_axes(name: str, value: Any) -> Any:
    if value is None:
        return None
    axes = value if isinstance(value, tuple | list) else [value]
    return tuple(_checks.integer(name, axis, minimum=-64, maximum=63) for axis in axes)


def _check_rate(name: str, value: Any) -> float:
    value = _checks.real(name, value, minimum=0.0)
    if value > 1:
        raise ValueError(f"`{name}` must be at most 1. Received: {name}={value!r}")
    return value


def _check_flag(name: str, value: Any) -> bool:
    is_number = isinstance(value, int | np.integer) and value in (0, 1)
    return bool(value) if is_number else _checks.boolean(name, value)


def _check_optional_flag(name: str, value: Any) -> bool | None:
    return _checks.optional(_check_flag, name, value)


def _check_seed(name: str, value: Any) -> Any:
    is_drawn = value is None or isinstance(value, keras.random.SeedGenerator)
    return value if is_drawn else _checks.seed(name, value)


def _check_dtype(name: str, value: Any) -> Any:
    if not isinstance(resolve(name, value), keras.DTypePolicy):
        raise TypeError(
            f"`{name}` must be a type such as 'float32' or 'mixed_bfloat16', or a "
            f"keras.DTypePolicy. Received: {name}={_checks.shorten(value)}"
        )
    return value


def _check_nothing(name: str, value: Any) -> Any:
    return value


_KINDS: dict[str, Callable[[Any], Any]] = {
    "activation": keras.activations.get,
    "constraint": keras.constraints.get,
    "dtype": keras.dtype_policies.get,
    "initializer": keras.initializers.get,
    "regularizer": keras.regularizers.get,
}
_FLAGS = (
    "autocast go_backwards reset_after return_sequences return_state stateful trainable "
    "unit_forget_bias unroll use_bias use_gate zero_output_for_mask"
)
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(["units", "num_heads", "key_dim", "head_dim"], _check_size),
    **dict.fromkeys(["num_query_heads", "num_key_value_heads"], _check_size),
    **dict.fromkeys(["value_dim", "sliding_window"], _check_optional_size),
    **dict.fromkeys(["dropout", "recurrent_dropout"], _check_rate),
    **dict.fromkeys(_FLAGS.split(), _check_flag),
    "attention_axes": _check_optional_axes,
    "dtype": _check_dtype,
    "flash_attention": _check_optional_flag,
    "output_shape": _check_optional_sizes,
    "seed": _check_seed,
}


def _find_check(name: str) -> Callable[[str, Any], Any]:
    if name in _CHECKS:
        return _CHECKS[name]
    return resolve if name.rpartition("_")[2] in _KINDS else _check_nothing
