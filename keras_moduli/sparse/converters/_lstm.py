"""From `LSTM` to `SparseLSTM`."""

from typing import Any, ClassVar

import keras

from keras_moduli.layers import ModuliLSTM, ModuliLSTMCell, SparseLSTM
from keras_moduli.sparse.converters._base import Kind, register_converter
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

    sparse_class = SparseLSTM

    def refuse(self, cell: Any) -> str:
        """Returns nothing: all have a fast form."""
        return ""
