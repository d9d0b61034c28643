"""From `SimpleRNN` to `BlockSparseSimpleRNNCell`."""

from typing import Any, ClassVar

import keras

from keras_moduli.connectivity._layout import BlockLayout
from keras_moduli.layers import ModuliSimpleRNN, ModuliSimpleRNNCell
from keras_moduli.sparse._cells import BlockSparseSimpleRNNCell, Cell
from keras_moduli.sparse.converters._base import Array, Kind, register_converter
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

    def refuse(self, cell: Any) -> str:
        """Returns nothing: all have a fast form."""
        return ""

    def make_cell(self, cell: Any, layout: BlockLayout, **arguments: Any) -> Cell:
        """Returns a `BlockSparseSimpleRNNCell`."""
        return BlockSparseSimpleRNNCell(layout, **arguments)

    def load_bias(self, bias: Array, new_cell: Any) -> Array:
        """Returns the bias: all of it belongs to the inputs."""
        return bias
