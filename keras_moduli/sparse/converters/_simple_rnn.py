"""From `SimpleRNN` to `SparseSimpleRNN`."""

from typing import Any, ClassVar

import keras

from keras_moduli.layers import ModuliSimpleRNN, ModuliSimpleRNNCell, SparseSimpleRNN
from keras_moduli.sparse.converters._base import Kind, register_converter
from keras_moduli.sparse.converters._recurrent import RecurrentConverter


@register_converter
class SimpleRNNConverter(RecurrentConverter):
    """`SimpleRNN`, its Moduli form, and their cells in an `RNN`."""

    kinds: ClassVar[tuple[Kind, ...]] = (
        (keras.layers.SimpleRNN, keras.layers.SimpleRNNCell),
        (ModuliSimpleRNN, keras.layers.SimpleRNNCell),
        (keras.layers.RNN, keras.layers.SimpleRNNCell),
        (keras.layers.RNN, ModuliSimpleRNNCell),
    )

    sparse_class = SparseSimpleRNN

    def refuse(self, cell: Any) -> str:
        """Returns nothing: all have a fast form."""
        return ""
