"""`Moduli` around any layer that has a fast form: in prediction it is its layer."""

from typing import Any

import keras

from keras_moduli.layers import Moduli
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse.converters._base import (
    Converter,
    Rows,
    Variable,
    register_wrapper,
)


@register_wrapper(Moduli)
class ModuliConverter(Converter):
    """The wrapper, with the converter of its layer.

    Args:
        inner: That converter.
    """

    def __init__(self, inner: Converter) -> None:
        self.inner = inner

    def kernels(self, layer: Any) -> dict[str, Variable]:
        """Returns those of its layer."""
        return self.inner.kernels(layer.layer)

    def choose(self, layer: Any, costs: CostModel) -> dict[str, Choice]:
        """Returns what becomes of those."""
        return self.inner.choose(layer.layer, costs)

    def build(self, layer: Any, rows: Rows) -> keras.layers.Layer:
        """Returns the fast form of its layer, by the name of the wrapper."""
        new = self.inner.build(layer.layer, rows)
        new.name = layer.name
        new.trainable = layer.trainable and layer.layer.trainable
        return new

    def load(self, layer: Any, new: Any, rows: Rows) -> None:
        """Gives it the weights of its layer."""
        self.inner.load(layer.layer, new, rows)

    def sample_shape(self, layer: Any) -> tuple[int, ...] | None:
        """Returns that of its layer."""
        return self.inner.sample_shape(layer.layer)
