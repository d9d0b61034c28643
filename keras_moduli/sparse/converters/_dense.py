"""From `Dense` to `BlockSparseDense`."""

from typing import Any, ClassVar

import keras

from keras_moduli.layers import Moduli
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse._layers import BlockSparseDense
from keras_moduli.sparse.converters._base import (
    Array,
    Converter,
    Kind,
    Rows,
    Variable,
    pack,
    register_converter,
    to_array,
)


@register_converter
class DenseConverter(Converter):
    """`Dense`, alone or in `Moduli`."""

    kinds: ClassVar[tuple[Kind, ...]] = (
        (keras.layers.Dense,),
        (Moduli, keras.layers.Dense),
    )

    def kernels(self, layer: Any) -> dict[str, Variable]:
        """Returns the one that it has."""
        return {"kernel": _unwrap(layer).kernel}

    def choose(self, layer: Any, costs: CostModel) -> dict[str, Choice]:
        """Returns the fastest blocks, with the neurons as they are."""
        return {"kernel": costs.choose(to_array(_unwrap(layer).kernel))}

    def build(self, layer: Any, rows: Rows) -> BlockSparseDense:
        """Returns a `BlockSparseDense`."""
        dense, layout = _unwrap(layer), rows["kernel"].layout
        assert layout is not None
        return BlockSparseDense(
            layout,
            dense.activation,
            dense.use_bias,
            name=layer.name,
            dtype=dense.dtype_policy,
        )

    def load(self, layer: Any, new: Any, rows: Rows) -> None:
        """Assigns blocks and bias."""
        dense = _unwrap(layer)
        bias = to_array(dense.bias) if dense.use_bias else None
        load_projection(new, rows, to_array(dense.kernel), bias)

    def sample_shape(self, layer: Any) -> tuple[int, ...]:
        """Returns the shape of sequences."""
        return (2, 3, _unwrap(layer).kernel.shape[0])


def _unwrap(layer: Any) -> Any:
    return layer.layer if type(layer) is Moduli else layer


def load_projection(new: Any, rows: Rows, kernel: Array, bias: Array | None) -> None:
    """Assigns the kernel and bias of a `Dense` or a `BlockSparseDense`.

    Args:
        new: The layer.
        rows: With the row of "kernel".
        kernel: The matrix.
        bias: None if there is none.
    """
    if rows["kernel"].layout is None:
        new.kernel.assign(kernel)
    else:
        new.blocks.assign(pack(rows["kernel"], kernel))
    if bias is not None:
        new.bias.assign(bias)
