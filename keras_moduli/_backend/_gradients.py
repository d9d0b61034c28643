"""Gradients beside those that a training step computes."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

Tensor = Any


def compile_gradients(
    model: keras.Model, function: Callable[..., Tensor]
) -> Callable[..., list[Tensor]]:
    """Compiles the gradients of a scalar function that calls a model.

    What the function assigns to variables, such as running means, is forgotten. Losses
    that layers add are among those that it finds in the model.

    Args:
        model: What it calls.
        function: Of a list of tensors, and of other arguments, nested tensors.

    Returns:
        A function of the same arguments: the gradients by the list of tensors.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        return _compile_in_jax(model, function)
    if backend == "tensorflow":
        return _compile_in_tensorflow(model, function)
    if backend == "torch":
        return _make_in_torch(model, function)
    raise NotImplementedError(f"There are no gradients on backend {backend!r}.")


def _enter_scope(model: keras.Model, values: Sequence[Tensor]) -> keras.StatelessScope:
    # With all values: Keras gives regularizers no other.
    pairs = zip(model.variables, values, strict=True)
    return keras.StatelessScope(state_mapping=pairs, collect_losses=True)


def _compile_in_jax(model: keras.Model, function: Any) -> Any:
    import jax

    def stateless(given: Sequence[Tensor], values: list[Tensor], *arguments: Any) -> Any:
        with _enter_scope(model, values):
            return function(given, *arguments)

    compiled = jax.jit(jax.grad(stateless))

    def differentiate(given: Sequence[Tensor], *arguments: Any) -> list[Tensor]:
        values = [v.value for v in model.variables]
        return list(compiled(list(given), values, *arguments))

    return differentiate


def _compile_in_tensorflow(model: keras.Model, function: Any) -> Any:
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def differentiate(given: Sequence[Tensor], *arguments: Any) -> list[Tensor]:
        with tf.GradientTape() as tape:
            for tensor in given:
                tape.watch(tensor)
            with _enter_scope(model, [v.value for v in model.variables]):
                value = function(given, *arguments)
        return list(tape.gradient(value, given, unconnected_gradients="zero"))

    return differentiate


def _make_in_torch(model: keras.Model, function: Any) -> Any:
    import torch

    def differentiate(given: Sequence[Tensor], *arguments: Any) -> list[Tensor]:
        values = [v.value for v in model.variables]
        with torch.enable_grad(), _enter_scope(model, values):
            given = [tensor.detach().requires_grad_() for tensor in given]
            value = function(given, *arguments)
        found = torch.autograd.grad(value, given, allow_unused=True)
        pairs = zip(found, given, strict=True)
        return [ops.zeros_like(x) if g is None else g for g, x in pairs]

    return differentiate
