"""From `GRU` to `SparseGRU`."""

from typing import Any, ClassVar

import keras

from keras_moduli.layers import ModuliGRU, ModuliGRUCell, SparseGRU
from keras_moduli.sparse.converters._base import Kind, register_converter
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

    sparse_class = SparseGRU

    def refuse(self, cell: Any) -> str:
        """Returns why a cell with two products has no fast form."""
        return (
            "" if cell.reset_after else "a GRU with `reset_after=False` has two products"
        )
