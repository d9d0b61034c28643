"""Layers whose kernels are blocks, as version 0.1 has them."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _backend, _checks, _keras_arguments
from keras_moduli._registry import PACKAGE
from keras_moduli.connectivity._layout import (
    BlockLayout,
    get_layout,
    to_columns,
    to_rows,
)
from keras_moduli.layers._sparse_recurrent import check_order, from_steps, to_steps
from keras_moduli.sparse.version_0_1._cells import Cell, get_projection

Tensor = Any


@keras.saving.register_keras_serializable(PACKAGE)
class BlockSparseDense(keras.layers.Layer):
    """`keras.layers.Dense` with a block-sparse kernel.

    Input (..., layout.rows), output (..., layout.columns). Regularizers and constraints,
    which prediction does not have, are left out.

    Args:
        layout: Where the blocks are: a `BlockLayout`.
        activation: As in `Dense`.
        use_bias: As in `Dense`.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        layout: BlockLayout,
        activation: Any = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**_keras_arguments.check(super().__init__, **kwargs))
        self.layout = get_layout(layout)
        self.activation = _keras_arguments.resolve("activation", activation)
        self.use_bias = _checks.boolean("use_bias", use_bias)
        self.supports_masking = True

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Adds the blocks and the bias."""
        if input_shape[-1] != self.layout.rows:
            raise ValueError(
                f"The layout has {self.layout.rows} inputs. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.blocks = self.add_weight(
            shape=self.layout.shape, initializer="zeros", name="blocks"
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.layout.columns,), initializer="zeros", name="bias"
            )

    def call(self, inputs: Tensor) -> Tensor:
        """Returns activation(inputs @ kernel + bias)."""
        inputs = ops.cast(inputs, self.compute_dtype)  # they may be integers
        flat = ops.reshape(inputs, (-1, self.layout.rows))
        y = self.layout.product(flat, self.blocks)
        y = ops.reshape(y, (*ops.shape(inputs)[:-1], self.layout.columns))
        return self.activation(y if self.bias is None else y + self.bias)

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns (..., columns)."""
        return (*input_shape[:-1], self.layout.columns)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        return {
            **super().get_config(),
            "layout": keras.saving.serialize_keras_object(self.layout),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
        }


@keras.saving.register_keras_serializable(PACKAGE)
class BlockSparseRNN(keras.layers.RNN):
    """A recurrent layer with a block-sparse recurrent kernel.

    Dropout, regularizers and constraints, which prediction
    does not have, are left out.

    Args:
        cell: A `BlockSparseSimpleRNNCell`, `BlockSparseGRUCell` or `BlockSparseLSTMCell`.
        projection: A layer that multiplies the inputs of all time steps at once, before
            the loop, if the cell has none. That pays where there are many features; few
            are multiplied faster in the loop than a long sequence is written and read.
        order: Permutation of the neurons in which the blocks are: the k-th neuron inside
            is neuron `order[k]` outside, in outputs and states. None for none.
        **kwargs: `return_sequences`, `return_state`, `go_backwards`, `stateful` and other
            arguments of `keras.layers.RNN`.
    """

    def __init__(
        self,
        cell: Cell,
        projection: keras.layers.Layer | None = None,
        order: Any = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(cell, Cell):
            raise TypeError(
                "`cell` must be a BlockSparseSimpleRNNCell, BlockSparseGRUCell or "
                f"BlockSparseLSTMCell. Received: cell={cell!r}"
            )
        super().__init__(**_keras_arguments.check(super().__init__, cell, **kwargs))
        self.projection = get_projection(projection)
        self.order = check_order(order, cell.units)

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Builds the projection and the cell."""
        if self.projection is not None:
            if not self.projection.built:
                self.projection.build(sequences_shape)
            width = self.cell.gates * self.cell.units
            sequences_shape = (*sequences_shape[:2], width)
        super().build(sequences_shape, initial_state_shape)

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> Any:
        """Returns what `keras.layers.RNN` returns."""
        if initial_state is not None:
            initial_state = keras.tree.map_structure(self._sort, initial_state)
        if self.projection is not None:
            sequences = self.projection(sequences)
        outputs = super().call(sequences, initial_state, mask=mask, training=training)
        return keras.tree.map_structure(self.unsort, outputs)

    def inner_loop(
        self, sequences: Tensor, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        """Runs the loop over time, with the batch in columns."""
        if mask is not None:
            return super().inner_loop(sequences, initial_state, mask, training)
        batch, cell = sequences.shape[0], self.cell
        constants = cell.constants(batch)
        x = sequences if cell.projection is None else cell.projection(sequences)
        output, outputs, states = _backend.run_steps(
            lambda x, states: cell.step(x, states, *constants),
            to_steps(x, batch),
            [to_columns(s, batch) for s in keras.tree.flatten(initial_state)],
            go_backwards=self.go_backwards,
            all_outputs=self.return_sequences,
            unroll=self.unroll,
        )
        rows = [to_rows(state, batch) for state in states]
        return to_rows(output, batch), from_steps(outputs, batch), rows

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        return {
            **super().get_config(),
            "projection": keras.saving.serialize_keras_object(self.projection),
            "order": self.order,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Rebuilds the layer from what `get_config` returned."""
        if not isinstance(config, dict) or "cell" not in config:
            raise ValueError(
                "`config` must be what `get_config` of a BlockSparseRNN returned. "
                f"Received: config={config!r}"
            )
        cell = _keras_arguments.make("cell", config["cell"], custom_objects)
        return cls(**(config | {"cell": cell}))

    def _sort(self, x: Tensor) -> Tensor:
        if self.order is None:
            return x
        return _backend.take(x, np.array(self.order), axis=-1)

    def unsort(self, x: Tensor) -> Tensor:
        """Returns neurons along the last axis in the order that callers know."""
        if self.order is None:
            return x
        return _backend.take(x, np.argsort(self.order), axis=-1)
