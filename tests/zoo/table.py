"""What a test must know of an architecture, and the table of all of them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tests.backends import BACKENDS

SAMPLES, BATCH = 32, 16
REGISTERED = keras.saving.register_keras_serializable("zoo")


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A model that is not ours, with all that it takes to train and to deploy it.

    Attributes:
        name: Of the function that builds it.
        source: The public example.
        build: Returns the model, not compiled.
        data: Returns inputs and targets; None as targets for a model without.
        compile: Compiles the model.
        pruning: The arguments of each pruner in its first training.
        monitor: What the callbacks look at.
        chain: Whether it takes one step of time after the other, so that it can stream.
        fast: How many of its kernels become fast; the others are of convolutions, of
            embeddings, or smaller than a block.
        deploy: Returns the part of the trained model that is used afterwards.
        serve: Returns what the deployed part takes, of the inputs of the training.
        change: What is done to it, once it is trained and loaded, before it trains on.
        further: The arguments of the pruner of that, or None to hold the zeros.
        trains: The backends on which Keras can train it at all.
        serves: Those on which Keras can call it.
        needs: A package without which Keras cannot build it.
        slow: Whether it is left to the slow tests: the others have all that becomes fast.
    """

    name: str
    source: str
    build: Callable[[], keras.Model]
    data: Callable[[], tuple[Any, Any]]
    compile: Callable[[keras.Model], None]
    pruning: tuple[dict[str, Any], ...] = ({"sparsity": 0.75},)
    monitor: str = "loss"
    chain: bool = False
    fast: int = 0
    deploy: Callable[[keras.Model], keras.Model] = lambda model: model
    serve: Callable[[Any], Any] = lambda x: x
    change: Callable[[keras.Model], None] | None = None
    further: dict[str, Any] | None = None
    trains: tuple[str, ...] = BACKENDS
    serves: tuple[str, ...] = BACKENDS
    needs: str = "keras"
    slow: bool = False


ARCHITECTURES: dict[str, Architecture] = {}


def architecture(source, data, loss=None, **fields):
    """Puts the model that the decorated function builds into the table.

    Args:
        source: As in `Architecture`; on keras.io without what all of them repeat.
        data: As in `Architecture`.
        loss: What it is compiled with, and Adam, unless `compile` is among the fields.
        **fields: Others of `Architecture`.
    """
    fields.setdefault("compile", functools.partial(compile_with_adam, loss=loss))

    def register(build):
        name = build.__name__
        address = source if "/" not in source else f"https://keras.io/{source}/"
        ARCHITECTURES[name] = Architecture(name, address, build, data, **fields)
        return build

    return register


def compile_with_adam(model, loss, learning_rate=0.003):
    # XLA takes longer to compile these on TensorFlow than they train.
    jit = "auto" if keras.backend.backend() != "tensorflow" else False
    model.compile(keras.optimizers.Adam(learning_rate), loss, jit_compile=jit)


def draw(*shape, samples=SAMPLES, seed=0):
    """Normal numbers for all samples."""
    rng = np.random.RandomState(seed)
    return rng.standard_normal((samples, *shape)).astype("float32")


def draw_images(*shape, samples=SAMPLES, seed=0):
    """Pixels in [0, 1) for all samples."""
    return np.random.RandomState(seed).uniform(size=(samples, *shape)).astype("float32")


def draw_integers(low, high, *shape, samples=SAMPLES, seed=0):
    """Integers, of the type that all backends take for indices."""
    rng = np.random.RandomState(seed)
    return rng.randint(low, high, (samples, *shape)).astype("int32")


def to_inputs(**columns):
    """Columns with strings among them, as what this backend has for these.

    On all backends but one no tensor holds strings, and arrays of them are no inputs.
    """
    is_able = keras.backend.backend() == "tensorflow"
    convert = keras.ops.convert_to_tensor
    return {k: convert(v.tolist()) if is_able else v for k, v in columns.items()}


def evaluate(model, x):
    """Returns the outputs of a model, one after the other, from its initial states."""
    reset_states(model)
    outputs = keras.tree.flatten(model(x, training=False))
    return [keras.ops.convert_to_numpy(y) for y in outputs]


def reset_states(model):
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_state()
