"""Values in double precision, which JAX has only where it is told to."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


def compute_in_float64(function: Callable[..., Any], *arrays: Any) -> Any:
    """Returns a function of tensors at float64 arrays, on the CPU, as a NumPy array.

    Where Keras's functions know no float64, they give float32.
    """
    with _choose_cpu(), _allow_float64():
        tensors = [ops.convert_to_tensor(array, "float64") for array in arrays]
        return np.asarray(ops.convert_to_numpy(function(*tensors)))


def _choose_cpu() -> Any:
    if keras.backend.backend() != "jax":
        return keras.device("cpu")
    import jax

    # Keras's "cpu" is the first of all processes, which others cannot read from.
    return jax.default_device(jax.local_devices(backend="cpu")[0])


def _allow_float64() -> Any:
    if keras.backend.backend() != "jax":
        return contextlib.nullcontext()
    import jax
    from jax import experimental

    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(True)
    return getattr(experimental, "enable_x64")()  # noqa: B009 - of an older JAX


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """`ops.take`, also by integers of NumPy.

    Under `floatx` "bfloat16" Keras makes float32 of those on JAX.
    """
    return ops.take(x, ops.convert_to_tensor(indices, "int32"), axis=axis)
