"""From `EinsumDense` to `BlockSparseEinsumDense`."""

from typing import Any, ClassVar

import keras

from keras_moduli.sparse._attention import make_einsum
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse._einsum import BlockSparseEinsumDense, MatrixProduct
from keras_moduli.sparse.converters._base import (
    Array,
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
class EinsumDenseConverter(Converter):
    """`EinsumDense`, if its equation is a product of matrices."""

    kinds: ClassVar[tuple[Kind, ...]] = ((keras.layers.EinsumDense,),)

    def kernels(self, layer: Any) -> dict[str, Variable]:
        """Returns the one that it has."""
        return {"kernel": layer.kernel}

    def choose(self, layer: Any, costs: CostModel) -> dict[str, Choice]:
        """Returns the fastest blocks of the kernel as a matrix."""
        return {"kernel": choose_einsum(layer, costs)}

    def build(self, layer: Any, rows: Rows) -> BlockSparseEinsumDense:
        """Returns a `BlockSparseEinsumDense`."""
        layout = rows["kernel"].layout
        assert layout is not None
        return make_einsum(layer, layout)

    def load(self, layer: Any, new: Any, rows: Rows) -> None:
        """Assigns blocks and bias."""
        transfer(new.blocks, layer.kernel, pack(rows["kernel"], to_matrix(layer)))
        if layer.bias is not None:
            transfer(new.bias, layer.bias, to_array(layer.bias))

    def sample_shape(self, layer: Any) -> tuple[int, ...] | None:
        """Returns the shape for which it was built."""
        shape = find_input_shape(layer)
        return tuple(2 if n is None else n for n in shape) or None


def choose_einsum(layer: Any, costs: CostModel) -> Choice:
    """Returns what becomes of the kernel of an `EinsumDense`."""
    try:
        product = MatrixProduct.of(layer.equation)
    except ValueError as error:
        return Choice(None, str(error))
    shape = find_input_shape(layer)
    labels, _ = product.label_axes(len(shape))
    sizes = [n for k, n in zip(labels, shape, strict=False) if k not in product.summed]
    return costs.at_positions(sizes[1:]).choose(to_matrix(layer))


def to_matrix(layer: Any) -> Array:
    """Returns the kernel of an `EinsumDense` as a matrix (inputs, outputs).

    Raises:
        ValueError: If it is none.
    """
    product = MatrixProduct.of(layer.equation)
    kernel = to_array(layer.kernel)
    rows = 1
    for axis in product.order[: len(product.summed)]:
        rows *= kernel.shape[axis]
    return kernel.transpose(product.order).reshape(rows, -1)
