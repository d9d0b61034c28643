"""One step at a time, for input that arrives while it is needed."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _backend, _checks, _keras_private
from keras_moduli.layers import Moduli
from keras_moduli.sparse._layers import BlockSparseDense, BlockSparseRNN

Tensor = Any
Array = NDArray[Any]

# Layers that do the same at each time step, whatever came before.
_POINTWISE = (
    keras.layers.Activation,
    keras.layers.BatchNormalization,
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.LayerNormalization,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    keras.layers.Softmax,
    BlockSparseDense,
    Moduli,
)


class Stream:
    """A recurrent model that takes one time step at a time and remembers its state.

    Args:
        model: A built model that is a chain of layers: recurrent ones that go forward,
            and ones that treat all time steps alike, such as `Dense`. With
            `return_sequences=False` in its last recurrent layer, each step gives what the
            model gives for the sequence so far. It shares the weights of the model.
        batch_size: Number of sequences side by side.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If it is not built, or a layer needs more than one time step.

    Example:

    >>> import keras, numpy as np, keras_moduli as km
    >>> model = keras.Sequential([keras.Input((None, 2)), keras.layers.GRU(8)])
    >>> stream = km.sparse.Stream(model)
    >>> x = np.ones((1, 3, 2), "float32")
    >>> outputs = [stream.step(x[:, t]) for t in range(3)]
    >>> bool(np.allclose(outputs[-1], model.predict(x, verbose=0), atol=1e-6))
    True
    """

    def __init__(self, model: keras.Model, batch_size: int = 1) -> None:
        self.model = _checks.built_model(model)
        self.batch_size = _checks.integer("batch_size", batch_size, minimum=1)
        self._layers = _chain(model)
        self._advance = _backend.compile_with_weights(model, self._one_step)
        self.reset()

    def reset(self) -> None:
        """Forgets all steps so far."""
        self._states = [
            layer.get_initial_state(self.batch_size) if _is_recurrent(layer) else []
            for layer in self._layers
        ]

    def step(self, x: Array) -> Array:
        """Returns the output of the next time step.

        Args:
            x: Inputs of this step, of shape (batch_size, features).

        Returns:
            NumPy array of shape (batch_size, outputs).
        """
        shape = (self.batch_size, self.model.inputs[0].shape[-1])
        if np.shape(x) != shape:
            raise ValueError(
                f"A step takes inputs of shape {shape}. Received: {np.shape(x)}"
            )
        y, self._states = self._advance(ops.convert_to_tensor(x), self._states)
        return ops.convert_to_numpy(y)

    def _one_step(self, x: Tensor, states: list[Any]) -> tuple[Tensor, list[Any]]:
        new = []
        for layer, state in zip(self._layers, states, strict=True):
            if _is_recurrent(layer):
                x, state = _recur(layer, x, state)
            else:
                # Not through `__call__`, which costs more than a step on PyTorch.
                is_plain = isinstance(layer, keras.layers.Dense | BlockSparseDense)
                x = layer.call(x) if is_plain else layer(x)
            new.append(state)
        return x, new


def _recur(layer: Any, x: Tensor, states: Any) -> tuple[Tensor, Any]:
    if isinstance(layer, BlockSparseRNN):
        if layer.projection is not None:
            x = layer.projection.call(x)
        output, states = layer.cell.call(x, states)
        return layer.unsort(output), states
    return layer.cell.call(x, states)


def _is_recurrent(layer: Any) -> bool:
    return isinstance(layer, keras.layers.RNN)


def _chain(model: keras.Model) -> list[Any]:
    """Returns the layers of a model in the order in which they are called."""
    chain = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        if isinstance(layer, keras.Sequential):
            chain += _chain(layer)
            continue
        forward = _is_recurrent(layer) and not layer.go_backwards
        if not forward and not isinstance(layer, _POINTWISE):
            raise ValueError(
                f"Layer {layer.name!r} ({type(layer).__name__}) needs more than one time "
                "step. A Stream takes a chain of recurrent layers that go forward and of "
                "layers that treat all time steps alike, such as Dense."
            )
        chain.append(layer)
    ends = [model.inputs, model.outputs]
    nodes = [_keras_private.count_calls(layer) for layer in chain]
    if any(len(end) != 1 for end in ends) or any(count != 1 for count in nodes):
        raise ValueError(f"Model {model.name!r} is not a chain of layers.")
    return chain
