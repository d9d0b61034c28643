"""From `GRU` to `BlockSparseGRUCell`."""

from typing import Any, ClassVar

import keras

from keras_moduli.connectivity._layout import BlockLayout
from keras_moduli.layers import ModuliGRU, ModuliGRUCell
from keras_moduli.sparse._cells import BlockSparseGRUCell, Cell
from keras_moduli.sparse.converters._base import Array, Kind, register_converter
from keras_moduli.sparse.converters._recurrent import RecurrentConverter


@register_converter
class GRUConverter(RecurrentConverter):
    """`GRU`, its Moduli form, and their cells in an `RNN`."""

    kinds: ClassVar[tuple[Kind, ...]] = (
        (keras.layers.GRU, keras.layers.GRUCell),
        (ModuliGRU, keras.layers.GRUCell),
        (keras.layers.RNN, keras.layers.GRUCell),
        (keras.layers.RNN, ModuliGRUCell),
    )

    def refuse(self, cell: Any) -> str:
        """Returns why a cell with two products has no fast form."""
        return (
            "" if cell.reset_after else "a GRU with `reset_after=False` has two products"
        )

    def make_cell(self, cell: Any, layout: BlockLayout, **arguments: Any) -> Cell:
        """Returns a `BlockSparseGRUCell`."""
        activation = cell.recurrent_activation
        return BlockSparseGRUCell(layout, recurrent_activation=activation, **arguments)

    def load_bias(self, bias: Array, new_cell: Any) -> Array:
        """Returns the bias of the inputs; the other is of the state."""
        new_cell.bias.assign(bias[1])
        return bias[0]
