"""What tests need and keras.ops does not have: gradients, and other backends."""

import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import keras
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[1]
BACKENDS = ("tensorflow", "jax", "torch")
CURRENT = keras.backend.backend()
OTHERS = [name for name in BACKENDS if name != CURRENT]


def installed(package):
    return importlib.util.find_spec(package) is not None


def needs(package):
    """Skips a test where Keras lacks a package without which it cannot do this."""
    return pytest.mark.skipif(not installed(package), reason=f"Keras needs {package}")


def run_on(backend, module, *arguments, ok=True):
    """Runs a module of the tests in a process of its own, on a given backend."""
    process = _start(backend, module, arguments)
    stdout, stderr = process.communicate()
    assert process.returncode == 0 or not ok, stderr[-3000:]
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def run_side_by_side(backends, module, *arguments):
    """Runs a module in one process for each backend, all at once, until one fails."""
    with tempfile.TemporaryFile("w+") as log:
        running = {name: _start(name, module, arguments, log) for name in backends}
        try:
            while running:
                time.sleep(0.1)
                running = {b: p for b, p in running.items() if not _succeeded(b, p, log)}
        finally:
            for process in running.values():
                process.kill()


def _succeeded(backend, process, log):
    if process.poll() is None:
        return False
    if process.returncode:
        log.seek(0)
        raise AssertionError(f"{backend}: {log.read()[-3000:]}")
    return True


def _start(backend, module, arguments, stderr=subprocess.PIPE):
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE if stderr is subprocess.PIPE else subprocess.DEVNULL,
        stderr=stderr,
        text=True,
    )


def gradient(function, *arrays):
    """Gradients of a scalar function at float32 arrays, as NumPy arrays."""
    return globals()[f"_{CURRENT}_gradient"](
        function, [np.asarray(a, "float32") for a in arrays]
    )


def _jax_gradient(function, arrays):
    import jax

    # Compiled whole: one by one, each operation would be compiled on its own.
    differentiate = jax.jit(jax.grad(function, argnums=tuple(range(len(arrays)))))
    gradients = differentiate(*map(jax.numpy.asarray, arrays))
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


def custom_loop(model, optimizer, x, y, steps, before):
    """A training loop of one's own, as each backend's guide writes it.

    `before` is called before each step, with its number and two functions that write the
    state of the step back to the variables and read it again.
    """
    globals()[f"_{CURRENT}_loop"](model, optimizer, x, y, steps, before)


def _jax_loop(model, optimizer, x, y, steps, before):
    import jax

    def loss(trainable, fixed):
        predicted, fixed = model.stateless_call(trainable, fixed, x)
        return keras.ops.mean((predicted - y) ** 2), fixed

    @jax.jit
    def step(state):
        trainable, fixed, slots = state
        (_, fixed), gradients = jax.value_and_grad(loss, has_aux=True)(trainable, fixed)
        trainable, slots = optimizer.stateless_apply(slots, gradients, trainable)
        return trainable, fixed, slots

    lists = (
        lambda: model.trainable_variables,
        lambda: model.non_trainable_variables,
        lambda: optimizer.variables,
    )
    state = [[v.value for v in variables()] for variables in lists]

    def write():
        for variables, values in zip(lists, state, strict=True):
            for variable, value in zip(variables(), values, strict=True):
                variable.assign(value)

    def read():
        state[:] = [[v.value for v in variables()] for variables in lists]

    for number in range(steps):
        before(number, write, read)
        state[:] = step(tuple(state))
    write()


def _tensorflow_loop(model, optimizer, x, y, steps, before):
    import tensorflow as tf

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((model(x) - y) ** 2)
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)

    for number in range(steps):
        before(number, lambda: None, lambda: None)
        step()


def _torch_loop(model, optimizer, x, y, steps, before):
    y = keras.ops.convert_to_tensor(y)
    for number in range(steps):
        before(number, lambda: None, lambda: None)
        model.zero_grad()
        keras.ops.mean((model(x) - y) ** 2).backward()
        variables = model.trainable_variables
        optimizer.apply([v.value.grad for v in variables], variables)
