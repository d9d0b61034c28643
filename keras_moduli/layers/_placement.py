"""Positions that are learned, and the kernels that pay for them."""

from typing import Any

import keras

from keras_moduli import _checks
from keras_moduli._repr import write_call
from keras_moduli.connectivity import find_kernel
from keras_moduli.layers._embedding import NeuronEmbedding
from keras_moduli.regularizers import (
    BlockPenalty,
    Cost,
    ModuliRegularizer,
    Placement,
    Positions,
    find_regularizer,
)

Array = Any


class LearnedPlacement(Placement):
    """The positions that `NeuronEmbedding` layers hold.

    Args:
        inputs: Of the sending neurons.
        outputs: Of the receiving neurons; the same object if they are the same.
        taps: How many inputs of the kernel share each sending neuron.

    Examples:
        >>> import keras_moduli as km
        >>> neurons = km.layers.NeuronEmbedding("torus")
        >>> neurons.build_for(8)
        >>> placement = km.layers.LearnedPlacement(neurons, neurons)
        >>> tuple(placement.positions(8, 8).inputs.shape)
        (8, 2)
    """

    def __init__(
        self, inputs: NeuronEmbedding, outputs: NeuronEmbedding, taps: int = 1
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.taps = taps
        self.square = inputs is outputs
        self.embeddings = (inputs,) if self.square else (inputs, outputs)

    def __repr__(self) -> str:
        return write_call(self)

    def positions(self, inputs: int, outputs: int) -> Positions:
        """Returns the points as tensors, into which gradients flow."""
        x = self.inputs.positions()
        y = x if self.square else self.outputs.positions()
        return Positions(x, y, self.taps, learned=True, ramp=self.inputs.ramp.value)

    def assign(self, points: Array) -> None:
        """Moves the neurons."""
        self.inputs.embedding.assign(points)

    def get_config(self) -> dict[str, Any]:
        """Learned positions are weights of a layer, which is what can be saved."""
        raise ValueError(
            "The positions of this regularizer are learned by a layer and are part of no "
            "config. Save the model, or serialize the layer."
        )


def attach(kernel: Any, cost: Cost, placement: LearnedPlacement) -> None:
    """Makes a kernel pay by learned positions, beside any regularizer that it has."""
    regularizer = ModuliRegularizer.of(cost, placement, beside=kernel.regularizer)
    blocks = find_kernel(kernel)
    if blocks is None:
        regularizer.layout(kernel.shape)
    kernel.regularizer = (
        regularizer if blocks is None else BlockPenalty(regularizer, blocks)
    )
    for embedding in placement.embeddings:
        if embedding.trainable:
            embedding.charge(kernel, kernel.regularizer)
            break  # once, however many of its neurons' positions learn


def find_embeddings(model: keras.layers.Layer) -> list[NeuronEmbedding]:
    """Returns the sets of neurons of a model that own their positions, each once.

    Args:
        model: A built Keras model, or a layer of one.

    Raises:
        TypeError: If `model` is neither.
        ValueError: If a model is not built.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 2)), km.layers.ModuliGRU(8)])
        >>> (neurons,) = km.layers.find_embeddings(model)
        >>> tuple(neurons.embedding.shape)
        (8, 3)
    """
    is_layer = isinstance(model, keras.layers.Layer) and not isinstance(
        model, keras.Model
    )
    weights = model.weights if is_layer else _checks.built_model(model).weights
    regularizers = map(find_regularizer, weights)
    embeddings = [
        e for r in regularizers if r is not None for e in r.placement.embeddings
    ]
    return list({id(embedding): embedding for embedding in embeddings}.values())
