"""Neurons that trade positions."""

import keras
import numpy as np

from keras_moduli import _checks
from keras_moduli._repr import write_call
from keras_moduli.connectivity import get_dense_shape
from keras_moduli.regularizers import find_regularizer
from keras_moduli.regularizers._assignment import NeuronSet, find_neuron_sets


class NeuronSwap(keras.callbacks.Callback):
    """Swaps the positions of neurons where that lowers the penalty. Touches no weight.

    For placements that gradients do not move: `ModuliRegularizer`, and layers with
    `embedding_trainable=False`, on a `FiniteMetric` too. Pairs of neurons trade
    positions, the best first, until no swap helps. With a `ModuliRegularizer`, whose
    positions are constants of the compiled step, each round of swaps compiles it again.

    Args:
        frequency: Swap at the end of every so many epochs, at least 1, the default.
        sweeps: At most so many rounds over all neurons each time; 10 by default.

    Raises:
        TypeError: If an argument is no integer.
        ValueError: If one is below 1; when training starts, if no recurrent kernel has a
            geometry.

    Examples:
        >>> import keras, keras_moduli as km
        >>> layer = keras.layers.SimpleRNN(
        ...     8, recurrent_regularizer=km.ModuliRegularizer("circle")
        ... )
        >>> model = keras.Sequential([keras.Input((5, 2)), layer])
        >>> km.NeuronSwap().swap(model) > 0  # or `fit(..., callbacks=[km.NeuronSwap()])`
        True

    Source: the neuron swaps of Liu, Gan and Tegmark, "Seeing is believing:
    brain-inspired modular training for mechanistic interpretability", 2023.
    """

    def __init__(self, frequency: int = 1, *, sweeps: int = 10) -> None:
        super().__init__()
        self.frequency = _checks.integer("frequency", frequency, minimum=1)
        self.sweeps = _checks.integer("sweeps", sweeps, minimum=1)

    def __repr__(self) -> str:
        return write_call(self)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Checks that there are neurons to swap."""
        if _checks.has_weights(self.model):
            _find_swappable(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Swaps, and reports how many neurons moved as `logs["swapped"]`."""
        if (epoch + 1) % self.frequency:
            return
        swapped = self.swap(self.model)
        if logs is not None:
            logs["swapped"] = float(swapped)

    def swap(self, model: keras.Model) -> int:
        """Swaps neurons now, in a model that need not be training.

        Args:
            model: A built model.

        Returns:
            How many neurons have a new position.

        Raises:
            TypeError: If `model` is not a Keras model.
            ValueError: If it is not built, or has no neurons to swap.
        """
        moved = sum(map(self._swap_neurons_of, _find_swappable(model)))
        if moved and model.train_function is not None:
            model.make_train_function(force=True)
        return moved

    def _swap_neurons_of(self, neurons: NeuronSet) -> int:
        """Moves a set of neurons, and returns how many have a new position."""
        order = neurons.improve(self.sweeps)
        regularizer = find_regularizer(neurons.inner[0])
        assert regularizer is not None
        points, _ = regularizer.positions(neurons.inner[0].shape)
        moved = int((order != np.arange(len(order))).sum())
        if moved:
            regularizer.placement.assign(points[order])
        return moved


def _find_swappable(model: keras.Model) -> list[NeuronSet]:
    """Returns the sets of neurons that can be swapped, or says why none can be."""
    found = find_neuron_sets(_checks.built_model(model))
    if not found:
        raise ValueError(
            f"Model {model.name!r} has no neurons to swap: no kernel from a set of "
            "neurons to itself has a ModuliRegularizer or a layer of "
            "keras_moduli.layers."
        )
    for neurons in found:
        sizes = {k.path: get_dense_shape(k)[0] for k in neurons.inner}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                "One ModuliRegularizer places layers of different sizes, whose neurons "
                "have no places to trade. Give each layer a ModuliRegularizer of its "
                f"own. Received: neurons {sizes}"
            )
    return found
