"""From `Dense` to `SparseDense`."""

from typing import Any, ClassVar

import keras

from keras_moduli.layers import SparseDense
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


@register_converter
class DenseConverter(Converter):
    """`Dense`, of inputs of any rank."""

    kinds: ClassVar[tuple[Kind, ...]] = ((keras.layers.Dense,),)

    def kernels(self, layer: Any) -> dict[str, Variable]:
        """Returns the one that it has."""
        return {"kernel": layer.kernel}

    def choose(self, layer: Any, costs: CostModel) -> dict[str, Choice]:
        """Returns the fastest blocks, with the neurons as they are."""
        costs = costs.at_positions(find_input_shape(layer)[1:-1])
        return {"kernel": costs.choose(to_array(layer.kernel))}

    def build(self, layer: Any, rows: Rows) -> SparseDense:
        """Returns a `SparseDense`."""
        return SparseDense(
            layer.units,
            layer.activation,
            layer.use_bias,
            connectivity=rows["kernel"].layout,
            name=layer.name,
            dtype=layer.dtype_policy,
            trainable=layer.trainable,
        )

    def load(self, layer: Any, new: Any, rows: Rows) -> None:
        """Assigns blocks and bias."""
        blocks = pack(rows["kernel"], to_array(layer.kernel))
        transfer(new.kernel, layer.kernel, blocks)
        if layer.use_bias:
            transfer(new.bias, layer.bias, to_array(layer.bias))

    def sample_shape(self, layer: Any) -> tuple[int, ...]:
        """Returns the shape of sequences."""
        return (2, 3, layer.kernel.shape[0])
