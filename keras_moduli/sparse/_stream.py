"""One step at a time, for input that arrives while it is needed."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _backend, _checks
from keras_moduli._repr import write_call
from keras_moduli.sparse.streaming import trace_model

Array = NDArray[Any]


class Stream:
    """A recurrent model that takes one time step at a time and remembers its state.

    Each step gives what the model gives for the sequence so far: of outputs for each time
    step the latest, and others as they are, such as those with `return_sequences=False`
    and states. Time steps that the model masks are masked.

    Args:
        model: A Sequential or Functional model of one input (batch, time, ...). Before
            what it gives for a whole sequence, it has recurrent layers that go forward,
            and layers and operations that treat all time steps alike: `Dense`,
            activations, normalization along features, `Embedding`, `Masking`,
            `TimeDistributed`, sums of branches. Stateful layers begin with zeros. It
            shares the weights of the model.
        batch_size: Number of sequences side by side.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If it is not built, or something in it needs, or may need, more than
            one time step; the message names it and says why.

    Examples:
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
        self._program = trace_model(model)
        self._advance = _backend.compile_with_weights(model, self._program.run)
        self.reset()

    def __repr__(self) -> str:
        return write_call(self)

    def reset(self) -> None:
        """Forgets all steps so far."""
        self._states = self._program.get_initial_states(self.batch_size)

    def step(self, x: Array) -> Any:
        """Returns the output of the next time step.

        Args:
            x: Inputs of this step, of the shape of the model's without the axis of time:
                (batch_size, features), or (batch_size,) for an `Embedding`.

        Returns:
            NumPy array of shape (batch_size, outputs); of several outputs, arrays in the
            structure in which the model returns them.

        Raises:
            ValueError: If x is of another shape.
        """
        (expected,) = self.model.inputs
        shape, received = (self.batch_size, *expected.shape[2:]), np.shape(x)
        if len(received) != len(shape) or any(
            size not in (None, got) for size, got in zip(shape, received, strict=True)
        ):
            raise ValueError(
                f"A step takes inputs of shape {shape}. Received: {received}"
            )
        tensor = ops.convert_to_tensor(x, expected.dtype)
        outputs, self._states = self._advance(tensor, self._states)
        if isinstance(outputs, dict | list | tuple):
            return keras.tree.map_structure(ops.convert_to_numpy, outputs)
        return ops.convert_to_numpy(outputs)
