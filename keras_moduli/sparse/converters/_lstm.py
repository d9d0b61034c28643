"""From `LSTM` to `BlockSparseLSTMCell`."""

from typing import Any, ClassVar

import keras

from keras_moduli.connectivity._layout import BlockLayout
from keras_moduli.layers import ModuliLSTM, ModuliLSTMCell
from keras_moduli.sparse._cells import BlockSparseLSTMCell, Cell
from keras_moduli.sparse.converters._base import Array, Kind, register_converter
from keras_moduli.sparse.converters._recurrent import RecurrentConverter


@register_converter
class LSTMConverter(RecurrentConverter):
    """`LSTM`, its Moduli form, and their cells in an `RNN`."""

    kinds: ClassVar[tuple[Kind, ...]] = (
        (keras.layers.LSTM, keras.layers.LSTMCell),
        (ModuliLSTM, keras.layers.LSTMCell),
        (keras.layers.RNN, keras.layers.LSTMCell),
        (keras.layers.RNN, ModuliLSTMCell),
    )

    def refuse(self, cell: Any) -> str:
        """Returns nothing: all have a fast form."""
        return ""

    def make_cell(self, cell: Any, layout: BlockLayout, **arguments: Any) -> Cell:
        """Returns a `BlockSparseLSTMCell`."""
        activation = cell.recurrent_activation
        return BlockSparseLSTMCell(layout, recurrent_activation=activation, **arguments)

    def load_bias(self, bias: Array, new_cell: Any) -> Array:
        """Returns the bias: all of it belongs to the inputs."""
        return bias
