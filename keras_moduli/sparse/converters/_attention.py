"""From attention to the same with block-sparse projections."""

from typing import Any, ClassVar

import keras

from keras_moduli import _keras_private
from keras_moduli.sparse._attention import (
    BlockSparseGroupQueryAttention,
    BlockSparseMultiHeadAttention,
)
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse.converters._base import (
    Converter,
    Kind,
    Rows,
    Variable,
    find_input_shape,
    pack,
    register_converter,
    to_array,
    transfer,
)
from keras_moduli.sparse.converters._einsum import choose_einsum, to_matrix

_FAST: dict[type, Any] = {
    keras.layers.MultiHeadAttention: BlockSparseMultiHeadAttention,
    keras.layers.GroupQueryAttention: BlockSparseGroupQueryAttention,
}
# What only training needs may be of a user's own, and not made from its configuration.
_FOR_TRAINING = ("_initializer", "_regularizer", "_constraint")


@register_converter
class AttentionConverter(Converter):
    """`MultiHeadAttention` and `GroupQueryAttention`: their projections."""

    kinds: ClassVar[tuple[Kind, ...]] = tuple((kind,) for kind in _FAST)

    def kernels(self, layer: Any) -> dict[str, Variable]:
        """Returns those of the projections."""
        projections = _keras_private.get_projections(layer)
        return {f"{name}/kernel": part.kernel for name, part in projections.items()}

    def choose(self, layer: Any, costs: CostModel) -> dict[str, Choice]:
        """Returns the fastest blocks of each projection."""
        projections = _keras_private.get_projections(layer)
        # Keras builds the last one for any number of queries.
        queries = costs.at_positions(find_input_shape(projections["query"])[1:-1])
        return {
            f"{name}/kernel": choose_einsum(
                part, queries if name == "attention_output" else costs
            )
            for name, part in projections.items()
        }

    def build(self, layer: Any, rows: Rows) -> keras.layers.Layer:
        """Returns the fast form of its class."""
        layouts = {
            name.removesuffix("/kernel"): row.layout
            for name, row in rows.items()
            if row.layout is not None
        }
        config = {
            key: value
            for key, value in layer.get_config().items()
            if not key.endswith(_FOR_TRAINING)
        }
        return _FAST[type(layer)].from_config(config | {"layouts": layouts})

    def load(self, layer: Any, new: Any, rows: Rows) -> None:
        """Gives each projection the weights of the one before."""
        new_parts = _keras_private.get_projections(new)
        for name, part in _keras_private.get_projections(layer).items():
            row, new_part = rows[f"{name}/kernel"], new_parts[name]
            if row.layout is None:
                transfer(new_part.kernel, part.kernel, to_array(part.kernel))
            else:
                transfer(new_part.blocks, part.kernel, pack(row, to_matrix(part)))
            if part.bias is not None:
                transfer(new_part.bias, part.bias, to_array(part.bias))

    def sample_shape(self, layer: Any) -> None:
        """Returns None: it takes more than one input."""
