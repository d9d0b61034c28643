"""The product with a matrix of blocks, and its gradients, on each backend.

    y[block j] = Σₖ weights[j, :, block k] · x[block indices[j, k]]

Gradients are written by hand: what autodiff derives of a gather is a scatter of single
rows, and what it keeps is a copy of all that was gathered.
"""

import functools
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

Tensor = Any


class Sites(NamedTuple):
    """Where blocks are, and how to go back from them to the inputs.

    Attributes:
        indices: Rows of blocks (J, K).
        order: The blocks in the order of their rows, (J·K,); None where nothing takes it.
        is_even: Whether each row is used equally often, as a tensor; None likewise.
        rows: How many rows of blocks there are.
        inputs: The input of each row of the weights turned, (J, K·b), where one vector is
            multiplied; None likewise.
    """

    indices: Tensor
    order: Tensor
    is_even: Tensor
    rows: int
    inputs: Tensor = None


def locate_blocks(indices: Tensor, rows: int, height: int, is_vector: bool) -> Sites:
    """Returns what products want to know of the places of blocks.

    Args:
        indices: Rows of blocks (J, K), integers.
        rows: How many rows of blocks the inputs have.
        height: How many inputs a block has.
        is_vector: Whether `multiply_vector` is to know it, or `multiply_blocks`.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        # Read here: gradients of a loop cannot read a variable.
        indices = tf.identity(indices)
    if is_vector and backend != "torch":
        # XLA gathers numbers inside of the product, and blocks before it.
        offsets = ops.arange(height, dtype=indices.dtype)
        inputs = indices[:, :, None] * height + offsets
        inputs = ops.reshape(inputs, (indices.shape[0], -1))
        return Sites(indices, None, None, rows, inputs)
    if backend != "jax":
        return Sites(indices, None, None, rows)
    flat = ops.reshape(indices, (-1,))
    order = ops.argsort(flat)
    if flat.shape[0] % rows:
        return Sites(indices, order, None, rows)
    evenly = np.repeat(np.arange(rows), flat.shape[0] // rows)
    return Sites(indices, order, ops.all(ops.take(flat, order) == evenly), rows)


def multiply_blocks(x: Tensor, weights: Tensor, sites: Sites) -> Tensor:
    """Returns the product of blocks with columns.

    Args:
        x: Columns (rows · b, batch).
        weights: (J, c, K·b), of the type of `x`.
        sites: What `locate_blocks` returns.

    Returns:
        Columns (J · c, batch).
    """
    backend = keras.backend.backend()
    if backend == "jax":
        return _multiply_in_jax()(x, weights, sites.indices, sites.order, sites.is_even)
    if backend == "tensorflow":
        return _multiply_in_tensorflow(x, weights, sites)
    if backend == "torch":
        return _torch_function().apply(x, weights, sites.indices)
    return _multiply(x, weights, sites.indices)


def multiply_vector(x: Tensor, operand: Tensor, sites: Sites) -> Tensor:
    """Returns the product with one vector (rows · b,), of weights turned (J, K·b, c)."""
    across, width, c = operand.shape
    if keras.backend.backend() == "torch":
        inputs = spread(sites.indices, x.shape[0] // sites.rows)
        return (x[inputs.view(across, 1, width)] @ operand).view(-1)
    gathered = _take(x, sites.inputs)[:, None, :]
    return ops.reshape(gathered @ operand, (across * c,))


def _gather(x: Tensor, indices: Tensor, width: int) -> Tensor:
    """Returns the inputs (J, K·b, batch) of each column of blocks."""
    across, count = indices.shape
    height = width // count
    blocks = ops.reshape(x, (x.shape[0] // height, height, -1))
    return ops.reshape(_take(blocks, indices), (across, width, -1))


def _take(x: Tensor, indices: Tensor) -> Tensor:
    if keras.backend.backend() == "jax":  # `take` writes NaN where there is no row
        return x.at[indices].get(mode="promise_in_bounds")
    return ops.take(x, indices, axis=0)


def _multiply(x: Tensor, weights: Tensor, indices: Tensor) -> Tensor:
    across, c, width = weights.shape
    return ops.reshape(weights @ _gather(x, indices, width), (across * c, -1))


@functools.cache
def _multiply_in_jax() -> Any:
    import jax
    import jax.numpy as jnp

    @jax.custom_vjp
    def multiply(x, weights, indices, order, is_even):  # type: ignore[no-untyped-def]
        return _multiply(x, weights, indices)

    def forward(x, weights, *sites):  # type: ignore[no-untyped-def]
        return _multiply(x, weights, sites[0]), (x, weights, sites)

    def backward(kept, gradient):  # type: ignore[no-untyped-def]
        x, weights, (indices, order, is_even) = kept
        across, c, width = weights.shape
        (_, count), batch = indices.shape, x.shape[1]
        height = width // count
        gradient = gradient.reshape(across, c, batch)
        of_weights = gradient @ _gather(x, indices, width).transpose(0, 2, 1)
        of_inputs = weights.transpose(0, 2, 1) @ gradient
        blocks = of_inputs.reshape(across * count, height, batch)

        def scatter(blocks):  # type: ignore[no-untyped-def]
            zeros = jnp.zeros((x.shape[0] // height, height, batch), blocks.dtype)
            return zeros.at[indices.reshape(-1)].add(blocks)

        def gather(blocks):  # type: ignore[no-untyped-def]
            rows = blocks[order].reshape(x.shape[0] // height, -1, height, batch)
            return rows.sum(axis=1)

        if is_even is None:
            of_x = scatter(blocks)
        else:
            of_x = jax.lax.cond(is_even, gather, scatter, blocks)
        return of_x.reshape(x.shape), of_weights, None, None, None

    multiply.defvjp(forward, backward)
    return multiply


def _multiply_in_tensorflow(x: Tensor, weights: Tensor, sites: Sites) -> Tensor:
    import tensorflow as tf

    @tf.custom_gradient
    def multiply(x, weights):  # type: ignore[no-untyped-def]
        across, c, width = weights.shape
        count = sites.indices.shape[1]
        height = width // count

        def gradients(gradient):  # type: ignore[no-untyped-def]
            gradient = tf.reshape(gradient, (across, c, -1))
            gathered = _gather(x, sites.indices, width)
            of_weights = tf.matmul(gradient, gathered, transpose_b=True)
            of_inputs = tf.matmul(weights, gradient, transpose_a=True)
            batch = tf.shape(x)[1]
            blocks = tf.reshape(of_inputs, (across * count, height, batch))
            of_x = tf.math.unsorted_segment_sum(
                blocks, tf.reshape(sites.indices, (-1,)), sites.rows
            )
            return tf.reshape(of_x, tf.shape(x)), of_weights

        return _multiply(x, weights, sites.indices), gradients

    return multiply(tf.convert_to_tensor(x), tf.convert_to_tensor(weights))


def spread(indices: Tensor, height: int) -> Tensor:
    """Returns the indices (J, K·b) of the inputs of blocks, in PyTorch."""
    import torch

    offsets = torch.arange(height, device=indices.device, dtype=indices.dtype)
    return (indices[:, :, None] * height + offsets).view(indices.shape[0], -1)


def _gather_torch(x: Tensor, indices: Tensor, width: int) -> Tensor:
    """Returns `_gather` of PyTorch, in whose view a block of a batch is one row."""
    across, count = indices.shape
    height, batch = width // count, x.shape[1]
    rows = x.reshape(x.shape[0] // height, height * batch)
    return rows.index_select(0, indices.reshape(-1)).view(across, width, batch)


def _scatter_torch(of_inputs: Tensor, indices: Tensor, rows: int) -> Tensor:
    """Returns the sums over blocks (J, K·b, batch) of the same row, as columns."""
    width, batch = of_inputs.shape[1:]
    height = width // indices.shape[1]
    sums = of_inputs.new_zeros(rows, height * batch)
    blocks = of_inputs.view(indices.numel(), height * batch)
    sums.index_add_(0, indices.reshape(-1), blocks)
    return sums.view(rows * height, batch)


@functools.cache
def _torch_function() -> Any:
    import torch

    class Multiply(torch.autograd.Function):
        @staticmethod
        def forward(context, x, weights, indices):  # type: ignore[no-untyped-def]
            context.save_for_backward(x, weights, indices)
            return (weights @ _gather_torch(x, indices, weights.shape[2])).flatten(0, 1)

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(context, gradient):  # type: ignore[no-untyped-def]
            x, weights, indices = context.saved_tensors
            across, c, width = weights.shape
            gradient = gradient.reshape(across, c, x.shape[1])
            of_x = of_weights = None
            if context.needs_input_grad[1]:
                gathered = _gather_torch(x, indices, width)
                of_weights = gradient @ gathered.transpose(1, 2)
            if context.needs_input_grad[0]:
                of_inputs = weights.transpose(1, 2) @ gradient
                rows = x.shape[0] * indices.shape[1] // width
                of_x = _scatter_torch(of_inputs, indices, rows)
            return of_x, of_weights, None

    return Multiply
