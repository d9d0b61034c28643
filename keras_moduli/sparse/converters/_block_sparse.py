"""Layers that are block-sparse already: they have rows, and stay as they are."""

from typing import Any, ClassVar, NoReturn

import keras

from keras_moduli import layers
from keras_moduli.sparse._attention import (
    BlockSparseGroupQueryAttention,
    BlockSparseMultiHeadAttention,
)
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse._einsum import BlockSparseEinsumDense
from keras_moduli.sparse.converters._base import (
    Converter,
    Kind,
    Rows,
    Variable,
    list_matrices,
    register_converter,
)
from keras_moduli.sparse.converters._recurrent import list_cell_kernels
from keras_moduli.sparse.version_0_1 import (
    BlockSparseDense,
    BlockSparseGRUCell,
    BlockSparseLSTMCell,
    BlockSparseRNN,
    BlockSparseSimpleRNNCell,
)

SPARSE_CELLS = (
    layers.SparseSimpleRNNCell,
    layers.SparseGRUCell,
    layers.SparseLSTMCell,
)


@register_converter
class BlockSparseConverter(Converter):
    """The fast layers themselves."""

    kinds: ClassVar[tuple[Kind, ...]] = (
        (BlockSparseDense,),
        (BlockSparseEinsumDense,),
        (BlockSparseMultiHeadAttention,),
        (BlockSparseGroupQueryAttention,),
        (BlockSparseRNN, BlockSparseSimpleRNNCell),
        (BlockSparseRNN, BlockSparseGRUCell),
        (BlockSparseRNN, BlockSparseLSTMCell),
        (layers.SparseDense,),
        (layers.SparseSimpleRNN, layers.SparseSimpleRNNCell),
        (layers.SparseGRU, layers.SparseGRUCell),
        (layers.SparseLSTM, layers.SparseLSTMCell),
    )

    def kernels(self, layer: Any) -> dict[str, Variable]:
        """Returns the blocks, of the recurrent kernel first."""
        if isinstance(getattr(layer, "cell", None), SPARSE_CELLS):
            return list_cell_kernels(layer.cell)
        if not isinstance(layer, BlockSparseRNN):
            return list_matrices(layer)
        projection = layer.projection or layer.cell.projection
        name = "blocks" if isinstance(projection, BlockSparseDense) else "kernel"
        return {
            "recurrent_blocks": layer.cell.blocks,
            name: getattr(projection, name),
        }

    def choose(self, layer: Any, costs: CostModel) -> dict[str, Choice]:
        """Returns that nothing is to be done."""
        reason = "its layer is block-sparse already"
        return dict.fromkeys(self.kernels(layer), Choice(None, reason))

    def build(self, layer: Any, rows: Rows) -> NoReturn:
        """Refuses rows that were edited to have blocks."""
        raise ValueError(
            f"Layer {layer.name!r} is block-sparse already. Leave its rows as they are."
        )

    def load(self, layer: Any, new: Any, rows: Rows) -> None:
        """Has nothing to do: what stays as it is keeps its weights."""

    def sample_shape(self, layer: keras.layers.Layer) -> None:
        """Returns None: there is nothing to compare."""
