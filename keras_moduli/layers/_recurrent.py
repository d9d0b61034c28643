"""Keras's recurrent cells and layers, whose neurons learn their positions."""

from typing import Any

import keras

from keras_moduli._registry import PACKAGE
from keras_moduli.layers._learned import LearnedGeometry
from keras_moduli.layers._shortcuts import HasCell


class _Cell(LearnedGeometry):
    def build(self, input_shape: Any) -> None:
        super().build(input_shape)  # type: ignore[misc]
        self._place_neurons(self.recurrent_kernel)  # type: ignore[attr-defined]


class _Layer(LearnedGeometry, HasCell):
    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        super().build(sequences_shape, initial_state_shape)  # type: ignore[misc]
        self._place_neurons(self.recurrent_kernel)


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliSimpleRNNCell(_Cell, keras.layers.SimpleRNNCell):
    """`keras.layers.SimpleRNNCell` whose neurons learn their positions on a manifold.

    Args:
        units: Number of neurons.
        **kwargs: Arguments of `ModuliSimpleRNN` and `keras.layers.SimpleRNNCell`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range, or `manifold` is not that of `embedding`.

    Examples:
        >>> import keras, keras_moduli as km
        >>> make = km.layers.ModuliSimpleRNNCell
        >>> cells = [make(8, manifold="sphere") for _ in range(2)]
        >>> layer = keras.layers.RNN(keras.layers.StackedRNNCells(cells))
    """

    gates = 1


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliGRUCell(_Cell, keras.layers.GRUCell):
    """`keras.layers.GRUCell` whose neurons learn their positions on a manifold.

    Args:
        units: Number of neurons.
        **kwargs: Other arguments of `ModuliGRU` and of `keras.layers.GRUCell`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range, or `manifold` is not that of `embedding`.

    Examples:
        >>> import keras_moduli as km
        >>> cell = km.layers.ModuliGRUCell(8, manifold="circle")
        >>> cell.build((None, 2))
        >>> tuple(cell.embedding.shape), tuple(cell.recurrent_kernel.shape)
        ((8, 1), (8, 24))
    """

    gates = 3


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliLSTMCell(_Cell, keras.layers.LSTMCell):
    """`keras.layers.LSTMCell` whose neurons learn their positions on a manifold.

    Args:
        units: Number of neurons.
        **kwargs: Other arguments of `ModuliLSTM` and of `keras.layers.LSTMCell`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range, or `manifold` is not that of `embedding`.

    Examples:
        >>> import keras_moduli as km
        >>> cell = km.layers.ModuliLSTMCell(8, manifold="circle")
        >>> cell.build((None, 2))
        >>> tuple(cell.embedding.shape), tuple(cell.recurrent_kernel.shape)
        ((8, 1), (8, 32))
    """

    gates = 4


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliSimpleRNN(_Layer, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` whose neurons learn their positions on a manifold.

    Besides what Keras's layer computes, the recurrent kernel w (n, n) adds to the loss

        strength · [ Σⱼₖ f(d(xⱼ, xₖ))·|wⱼₖ| + dispersion·f(r)·(Σ |w|)·D ]

    where x are the rows of the weight `embedding`, d is the geodesic distance, and D
    keeps connected neurons apart, as `LearnedGeometry` says.

    Args:
        units: n, the number of neurons.
        manifold: Where they live: a name or a `Manifold`; `"euclidean"` by default.
        inhibitor: f: a name or an `Inhibitor`; `"diffusion"` by default.
        strength: Factor of the penalty, finite and at least 0; 3e-5 by default.
        dispersion: Factor of the repulsion, at least 0; 3 by default.
        embedding: A `NeuronEmbedding` to share with other layers, with its manifold.
        **kwargs: Other arguments of `LearnedGeometry` and of `keras.layers.SimpleRNN`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range, or `manifold` is not that of `embedding`.

    Examples:
        >>> import keras, keras_moduli as km
        >>> layer = km.layers.ModuliSimpleRNN(32, manifold="torus", strength=1e-3)
        >>> layer.build((None, 10, 4))
        >>> layer.manifold, tuple(layer.embedding.shape)
        (Torus(dim=2, period=10.0), (32, 2))
        >>> tuple(layer.recurrent_kernel.shape)
        (32, 32)

    Source: Mackey et al., "Geometric sparsification in recurrent neural networks", 2024.
    """

    gates = 1


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliGRU(_Layer, keras.layers.GRU):
    """`keras.layers.GRU` whose neurons learn their positions on a manifold.

    Besides what Keras's layer computes, the recurrent kernel w (n, 3·n), whose gates
    share positions, adds to the loss

        strength · [ Σⱼₖ f(d(xⱼ, xₖ))·|wⱼₖ| + dispersion·f(r)·(Σ |w|)·D ]

    where x are the rows of the weight `embedding`, d is the geodesic distance, and D
    keeps connected neurons apart, as `LearnedGeometry` says.

    Args:
        units: n, the number of neurons.
        manifold: Where they live: a name or a `Manifold`; `"euclidean"` by default.
        inhibitor: f: a name or an `Inhibitor`; `"diffusion"` by default.
        strength: Factor of the penalty, finite and at least 0; 3e-5 by default.
        dispersion: Factor of the repulsion, at least 0; 3 by default.
        embedding: A `NeuronEmbedding` to share with other layers, with its manifold.
        **kwargs: Other arguments of `LearnedGeometry` and of `keras.layers.GRU`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range, or `manifold` is not that of `embedding`.

    Examples:
        >>> import keras, keras_moduli as km
        >>> layer = km.layers.ModuliGRU(32, manifold="torus", strength=1e-3)
        >>> layer.build((None, 10, 4))
        >>> layer.manifold, tuple(layer.embedding.shape)
        (Torus(dim=2, period=10.0), (32, 2))
        >>> tuple(layer.recurrent_kernel.shape)
        (32, 96)

    Source: Mackey et al., "Geometric sparsification in recurrent neural networks", 2024.
    """

    gates = 3


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliLSTM(_Layer, keras.layers.LSTM):
    """`keras.layers.LSTM` whose neurons learn their positions on a manifold.

    Besides what Keras's layer computes, the recurrent kernel w (n, 4·n), whose gates
    share positions, adds to the loss

        strength · [ Σⱼₖ f(d(xⱼ, xₖ))·|wⱼₖ| + dispersion·f(r)·(Σ |w|)·D ]

    where x are the rows of the weight `embedding`, d is the geodesic distance, and D
    keeps connected neurons apart, as `LearnedGeometry` says.

    Args:
        units: n, the number of neurons.
        manifold: Where they live: a name or a `Manifold`; `"euclidean"` by default.
        inhibitor: f: a name or an `Inhibitor`; `"diffusion"` by default.
        strength: Factor of the penalty, finite and at least 0; 3e-5 by default.
        dispersion: Factor of the repulsion, at least 0; 3 by default.
        embedding: A `NeuronEmbedding` to share with other layers, with its manifold.
        **kwargs: Other arguments of `LearnedGeometry` and of `keras.layers.LSTM`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range, or `manifold` is not that of `embedding`.

    Examples:
        >>> import keras, keras_moduli as km
        >>> layer = km.layers.ModuliLSTM(32, manifold="torus", strength=1e-3)
        >>> layer.build((None, 10, 4))
        >>> layer.manifold, tuple(layer.embedding.shape)
        (Torus(dim=2, period=10.0), (32, 2))
        >>> tuple(layer.recurrent_kernel.shape)
        (32, 128)

    Source: Mackey et al., "Geometric sparsification in recurrent neural networks", 2024.
    """

    gates = 4
