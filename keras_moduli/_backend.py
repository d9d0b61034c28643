"""All that differs between backends, beyond what `keras.ops` hides.

The only file that knows which backend runs, or imports one.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import keras
from keras import ops

Tensor = Any
T = TypeVar("T")

_PAIRS_OF_A_BLOCK = 250_000
# What PyTorch keeps of a block is small, but lies where the block was, and the next does
# not fit there: malloc's heap grows by several kernels. Blocks of this size are mapped
# and unmapped instead, which takes longer.
_PAIRS_OF_A_TORCH_BLOCK = 2**23


def builds_inside_step() -> bool:
    """Whether `fit` builds a model inside its first step, after callbacks have begun."""
    return keras.backend.backend() == "tensorflow"


def pairs_of_a_block() -> int:
    """Returns how many pairs of neurons are computed at once, where all are too many."""
    is_torch = keras.backend.backend() == "torch"
    return _PAIRS_OF_A_TORCH_BLOCK if is_torch else _PAIRS_OF_A_BLOCK


def outside_of_trace(function: Callable[..., T], *arguments: Any) -> T:
    """Computes a value at once, also while a step is being compiled.

    Inside of the trace of a compiled step, what is computed becomes a part of that step.
    Traces belong to a thread, so another one is outside of them.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *arguments).result()


def constant(array: Any) -> Any:
    """An array as steps take it best: on PyTorch, which is eager, converted only once."""
    return ops.convert_to_tensor(array) if keras.backend.backend() == "torch" else array


def compile_with_weights(
    model: keras.Model, function: Callable[..., Any]
) -> Callable[..., Any]:
    """Compiles a function of tensors and a model's weights, where there is a way."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True, reduce_retracing=True)
    if backend == "jax":
        import jax

        @jax.jit
        def stateless(values: list[Any], *arguments: Any) -> Any:
            pairs = zip(model.variables, values, strict=True)
            with keras.StatelessScope(state_mapping=pairs):
                return function(*arguments)

        def with_weights(*arguments: Any) -> Any:
            return stateless([v.value for v in model.variables], *arguments)

        return with_weights
    if backend == "torch":
        import torch

        return torch.no_grad()(function)
    return function
