"""What tests need and keras.ops does not have: gradients, and other backends."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
BACKENDS = ("tensorflow", "jax", "torch")
CURRENT = keras.backend.backend()
OTHERS = [name for name in BACKENDS if name != CURRENT]


def installed(backend):
    return importlib.util.find_spec(backend) is not None


def run_on(backend, module, *arguments, ok=True):
    """Runs a module of the tests in a process of its own, on a given backend."""
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or not ok, done.stderr[-3000:]
    return done


def gradient(function, *arrays):
    """Gradients of a scalar function at float32 arrays, as NumPy arrays."""
    return globals()[f"_{CURRENT}_gradient"](
        function, [np.asarray(a, "float32") for a in arrays]
    )


def _jax_gradient(function, arrays):
    import jax

    gradients = jax.grad(function, argnums=tuple(range(len(arrays))))(
        *map(jax.numpy.asarray, arrays)
    )
    return [np.asarray(g) for g in gradients]


def _tensorflow_gradient(function, arrays):
    import tensorflow as tf

    tensors = [tf.constant(a) for a in arrays]
    with tf.GradientTape() as tape:
        for tensor in tensors:
            tape.watch(tensor)
        value = function(*tensors)
    gradients = tape.gradient(value, tensors, unconnected_gradients="zero")
    return [np.asarray(tf.convert_to_tensor(g)) for g in gradients]


def _torch_gradient(function, arrays):
    import torch

    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    value = function(*tensors)
    if not value.requires_grad:  # constant in its arguments
        return [np.zeros_like(a) for a in arrays]
    gradients = torch.autograd.grad(value, tensors, allow_unused=True)
    return [
        np.zeros_like(a) if g is None else g.detach().numpy()
        for g, a in zip(gradients, arrays, strict=True)
    ]
