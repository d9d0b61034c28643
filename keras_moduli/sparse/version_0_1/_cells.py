"""One step of recurrent layers whose kernels are blocks."""

import abc
from typing import Any

import keras
from keras import ops

from keras_moduli import _checks, _keras_arguments
from keras_moduli._registry import PACKAGE
from keras_moduli.connectivity._layout import (
    BlockLayout,
    get_layout,
    to_columns,
    to_rows,
)
from keras_moduli.layers._sparse_cells import activate, activate_pair

Tensor = Any


def get_projection(value: Any) -> keras.layers.Layer | None:
    """Returns the layer that multiplies inputs, of itself or its config; or None."""
    value = _keras_arguments.make("projection", value)
    if value is not None and not isinstance(value, keras.layers.Layer):
        raise TypeError(
            "`projection` must be a layer, such as keras.layers.Dense(n), or None. "
            f"Received: projection={_checks.shorten(value)}"
        )
    return value


class Cell(keras.layers.Layer, abc.ABC):
    """One step of a recurrent layer.

    Args:
        layout: Of the recurrent kernel (units, gates · units).
        projection: The layer that multiplies the inputs, to gates · units features and
            with their bias: `Dense` or `BlockSparseDense`. None if they come multiplied.
        activation: As in the cell of Keras.
        recurrent_activation: Likewise.
        use_bias: Whether there is a recurrent bias; other biases belong to the inputs.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.
    """

    gates = 1
    states = 1
    has_state_bias = False  # besides that of the inputs, which is the projection's

    def __init__(
        self,
        layout: BlockLayout,
        projection: keras.layers.Layer | None = None,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**_keras_arguments.check(super().__init__, **kwargs))
        self.layout = get_layout(layout)
        self.projection = get_projection(projection)
        self.units = self.layout.rows
        if self.layout.columns != self.gates * self.units:
            raise ValueError(
                f"{type(self).__name__} needs a layout of n rows and {self.gates}·n "
                f"columns. Received: {self.layout.rows} × {self.layout.columns}"
            )
        self.activation = _keras_arguments.resolve("activation", activation)
        self.recurrent_activation = _keras_arguments.resolve(
            "recurrent_activation", recurrent_activation
        )
        self.use_bias = _checks.boolean("use_bias", use_bias)
        is_one = self.states == 1  # as in Keras's cells
        self.state_size = self.units if is_one else [self.units] * self.states
        self.output_size = self.units

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Adds the blocks, and the bias of the states if there is one."""
        if self.projection is not None and not self.projection.built:
            self.projection.build(input_shape)
        self.blocks = self.add_weight(
            shape=self.layout.shape, initializer="zeros", name="blocks"
        )
        self.bias = None
        if self.has_state_bias and self.use_bias:
            self.bias = self.add_weight(
                shape=(self.layout.columns,), initializer="zeros", name="bias"
            )

    def call(self, inputs: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Returns the output and the next states."""
        batch = inputs.shape[0]
        x = inputs if self.projection is None else self.projection.call(inputs)
        columns = [to_columns(state, batch) for state in states]
        new = self.step(to_columns(x, batch), columns, *self.constants(batch))
        states = [to_rows(state, batch) for state in new]
        return states[0], states

    def constants(self, batch: Any) -> list[Tensor]:
        """Returns what `step` takes of the weights: once, for many steps."""
        operand = self.layout.operand(self.blocks, batch)
        if self.bias is None:
            return [operand]
        return [operand, to_columns(ops.expand_dims(self.bias, 0), batch)]

    @abc.abstractmethod
    def step(self, x: Tensor, states: list[Tensor], *constants: Tensor) -> list[Tensor]:
        """Returns the next states, the first of which is the output.

        Args:
            x: Inputs, multiplied: columns (gates · n, batch), or one vector (gates · n,).
            states: Columns (n, batch), or vectors (n,).
            *constants: What `constants` returns.
        """

    def get_initial_state(self, batch_size: Any = None) -> list[Tensor]:
        """Returns zeros."""
        shape = (batch_size, self.units)
        return [ops.zeros(shape, self.compute_dtype) for _ in range(self.states)]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        serialize = keras.activations.serialize
        return {
            **super().get_config(),
            "layout": keras.saving.serialize_keras_object(self.layout),
            "projection": keras.saving.serialize_keras_object(self.projection),
            "activation": serialize(self.activation),
            "recurrent_activation": serialize(self.recurrent_activation),
            "use_bias": self.use_bias,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class BlockSparseSimpleRNNCell(Cell):
    """h ← activation(x + Rᵀ h), x the inputs times their kernel and plus the bias."""

    def step(self, x: Tensor, states: list[Tensor], *constants: Tensor) -> list[Tensor]:
        """Returns the next state."""
        product = self.layout.columnwise(states[0], *constants)
        return [activate(self.activation, x + product)]


@keras.saving.register_keras_serializable(PACKAGE)
class BlockSparseLSTMCell(Cell):
    """i, f, g, o ← x + Rᵀ h;  c ← σ(f)·c + σ(i)·tanh(g);  h ← σ(o)·tanh(c)."""

    gates, states = 4, 2

    def step(self, x: Tensor, states: list[Tensor], *constants: Tensor) -> list[Tensor]:
        """Returns the next states."""
        h, c = states
        x, n = x + self.layout.columnwise(h, *constants), self.units
        i, f = activate_pair(self.recurrent_activation, x[: 2 * n])
        g = activate(self.activation, x[2 * n : 3 * n])
        o = activate(self.recurrent_activation, x[3 * n :])
        c = f * c + i * g
        return [o * activate(self.activation, c), c]


@keras.saving.register_keras_serializable(PACKAGE)
class BlockSparseGRUCell(Cell):
    """z, r, g ← x, u, v, w ← Rᵀ h + b;  ĝ = tanh(g + σ(r+v)·w);  h ← σ(z+u)·(h−ĝ) + ĝ.

    As Keras's with `reset_after=True`.
    """

    gates = 3
    has_state_bias = True

    def step(self, x: Tensor, states: list[Tensor], *constants: Tensor) -> list[Tensor]:
        """Returns the next state."""
        h, n = states[0], self.units
        operand, *bias = constants
        inner = self.layout.columnwise(h, operand)
        inner = inner + bias[0] if bias else inner
        gates = x[: 2 * n] + inner[: 2 * n]
        z, r = activate_pair(self.recurrent_activation, gates)
        g = activate(self.activation, x[2 * n :] + r * inner[2 * n :])
        return [z * (h - g) + g]
