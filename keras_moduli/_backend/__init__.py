"""All that differs between backends, beyond what `keras.ops` hides.

The only package that knows which backend runs, or imports one.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops

from keras_moduli._backend._eager_steps import Recurrence
from keras_moduli._backend._gradients import compile_gradients
from keras_moduli._backend._loops import is_known_to_be_one, name_product, run_steps
from keras_moduli._backend._precision import compute_in_float64, take
from keras_moduli._backend._products import (
    locate_blocks,
    multiply_blocks,
    multiply_vector,
)

__all__ = [
    "Recurrence",
    "compile_gradients",
    "compute_in_float64",
    "is_known_to_be_one",
    "locate_blocks",
    "multiply_blocks",
    "multiply_vector",
    "name_product",
    "run_steps",
    "take",
]

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


def count_pairs_of_a_block() -> int:
    """Returns how many pairs of neurons are computed at once, where all are too many."""
    is_torch = keras.backend.backend() == "torch"
    return _PAIRS_OF_A_TORCH_BLOCK if is_torch else _PAIRS_OF_A_BLOCK


def count_differences_of_a_block() -> int:
    """Returns the same for coordinates of pairs, where there are many of each."""
    is_torch = keras.backend.backend() == "torch"
    return _PAIRS_OF_A_TORCH_BLOCK if is_torch else 16 * _PAIRS_OF_A_BLOCK


def count_tiles() -> int:
    """Returns into how many parts points are divided, each pair of which is one block.

    JAX compiles all pairs into one loop, which is faster than half of them in parts.
    """
    return 1 if keras.backend.backend() == "jax" else 8


def compute_outside_of_trace(function: Callable[..., T], *arguments: Any) -> T:
    """Computes a value at once, also while a step is being compiled.

    Inside of the trace of a compiled step, what is computed becomes a part of that step.
    Traces belong to a thread, so another one is outside of them.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *arguments).result()


def make_constant(array: Any) -> Any:
    """An array as steps take it best: on PyTorch, which is eager, converted only once."""
    return ops.convert_to_tensor(array) if keras.backend.backend() == "torch" else array


class Indices:
    """Indices for `gather_blocks`, which PyTorch wants as a tensor on each device.

    What is kept are only arrays, and copies on devices that were made outside of traces:
    in the symbolic pass of Keras, tensors are of the device "meta" and have no values.
    Neither `copy.deepcopy` nor `pickle` takes the tensors along.

    Args:
        array: Of integers.
    """

    def __init__(self, array: Any) -> None:
        self.array = np.ascontiguousarray(array, np.int64)
        self._copies: dict[Any, Any] = {}

    def __reduce__(self) -> Any:
        return Indices, (self.array,)

    def on_device_of(self, x: Tensor) -> Tensor:
        """Returns the indices as a tensor of PyTorch, beside another."""
        import torch

        if x.device in self._copies:
            return self._copies[x.device]
        tensor = torch.from_numpy(self.array)  # shares memory, and costs next to nothing
        if x.device.type == "cpu":
            return tensor
        tensor = tensor.to(x.device)
        is_real = type(tensor) is torch.Tensor and not tensor.is_inference()
        if x.device.type != "meta" and is_real:
            self._copies[x.device] = tensor
        return tensor


def reverse_axes(x: Tensor) -> Tensor:
    """Returns a tensor with its axes in reverse."""
    # PyTorch wants a list of them if they are not two.
    return ops.transpose(x, tuple(reversed(range(len(x.shape)))))


def multiplies_rows() -> bool:
    """Whether one product of a batch in rows is faster than with the batch in columns.

    XLA moves whole blocks as fast as it copies, and turns a matrix around slowly.
    """
    return keras.backend.backend() != "torch"


# Few features are multiplied faster inside the loop than what comes of them, as many as
# all gates have neurons, is written and read.
_FEW_FEATURES = 64


def multiplies_in_loop(features: int, batch: Any, is_dense: bool, step: Any) -> bool:
    """Whether inputs of so many features are multiplied inside a loop over time.

    Args:
        features: How many.
        batch: Size of the batch: of one, all steps are small.
        is_dense: Whether their kernel is.
        step: What `run_steps` takes.
    """
    if features > _FEW_FEATURES:
        return False
    backend = keras.backend.backend()
    if backend == "jax":
        return not (is_dense and is_known_to_be_one(batch))
    if backend != "torch":
        return True
    import torch

    recurrence = getattr(step, "recurrence", None)
    if recurrence is None or recurrence.is_vector or not is_dense:
        return False
    return recurrence.kind == "plain" or not torch.is_grad_enabled()


def gather_blocks(x: Tensor, layout: Any) -> Tensor:
    """Returns the inputs of all blocks of a `BlockLayout`.

    Args:
        x: Columns (rows, batch), or one vector (rows,); rows fill whole blocks.
        layout: With J columns of K blocks of b inputs.

    Returns:
        (J, K·b, batch), or of a vector (J, 1, K·b).
    """
    is_vector = len(x.shape) == 1
    if keras.backend.backend() == "torch":
        # Each of the operations of Keras would take longer than all of this.
        inputs = layout.inputs.on_device_of(x)
        return x[inputs[:, None] if is_vector else inputs]
    columns, _, width = layout.shape
    height = layout.block[0]
    blocks = ops.reshape(x, (x.shape[0] // height, height, *[-1] * (len(x.shape) - 1)))
    shape = (columns, 1, width) if is_vector else (columns, width, -1)
    return ops.reshape(take(blocks, np.array(layout.indices), axis=0), shape)


def compute_without_gradients(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Computes a value as prediction does, for which PyTorch takes other ways."""
    if keras.backend.backend() != "torch":
        return function(*args, **kwargs)
    import torch

    with torch.no_grad():
        return function(*args, **kwargs)


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
