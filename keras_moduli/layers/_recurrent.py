"""Keras's recurrent cells and layers, whose neurons learn their positions."""

from typing import Any, ClassVar

import keras

from keras_moduli import _checks
from keras_moduli._registry import PACKAGE
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.layers._embedding import (
    NeuronEmbedding,
    get_embedding,
    resolve_manifold,
    serialize_embedding,
)
from keras_moduli.layers._placement import LearnedPlacement, attach
from keras_moduli.layers._shortcuts import HasCell, HasCost
from keras_moduli.manifolds import Manifold
from keras_moduli.regularizers import Cost
from keras_moduli.regularizers._cost import take_options

DISPERSION = 3.0
# Options of a cost that a layer knows by itself.
_KNOWN = ("manifold", "gates", "input_axes")


class LearnedGeometry(HasCost):
    """What the layers and cells of this package add to Keras's own.

    The positions of the neurons are the weight `embedding`, (units, ambient_dim), which
    is trained like any other, and the recurrent kernel w adds to the loss

        strength · [ Σⱼₖ f(d(xⱼ, xₖ))·|wⱼₖ|^power + dispersion·f(r)·(Σ |w|^power)·D ]

    where D = mean log((L² + 0.1)/(d² + 0.1)) over all pairs of connected neurons keeps
    them apart, f(r) is the cost at the natural length r of the manifold, within which a
    tenth of all pairs lie, and no gradient flows into the weights through the second
    term. L = 10 r moves nothing: it is as far as neurons should be, and keeps the loss
    above 0. All gates share the positions.

    The embedding belongs to the cell where a cell is used alone, and to the layer where a
    layer is: Keras's layers build their own cells, and keep their fused paths. Both have
    the `manifold`, and the `recurrent_kernel` of the cell.

    Args:
        units: Number of neurons.
        manifold: Where they live: a name, or a `keras_moduli.manifolds.Manifold`. By
            default that of `embedding`, or `"euclidean"`.
        inhibitor: f: a name, or a `keras_moduli.inhibitors.Inhibitor`; `"diffusion"` by
            default.
        embedding: A `NeuronEmbedding` to share with other layers. It brings its manifold,
            seed and initializer.
        embedding_seed: Seed of the first positions, `manifold.sample(units, seed)`.
        embedding_initializer: A Keras initializer for the first positions instead.
        embedding_trainable: Whether the positions are learned.
        strength: Factor of the penalty, finite and at least 0; 3e-5 by default.
        power: Power of |w|, an integer from 1, the default, to 64.
        reduction: `"sum"`, the default, or `"mean"` over the entries of the kernel.
        dispersion: At least 0. The default, 3, recovers planted circles, spheres and
            tori; 0 is the published formula, under which every learned embedding
            crumples.
        communicability: As in `keras_moduli.ModuliRegularizer`.
        permute_seed: The permuted control, as there: positions are learned from costs
            that are put at random connections.
        **kwargs: Arguments of Keras's own class, `recurrent_regularizer` included.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of range, or `embedding` comes with another
            `manifold`.
    """

    gates: ClassVar[int]

    def __init__(
        self,
        units: int,
        *args: Any,
        manifold: str | Manifold | None = None,
        inhibitor: str | Inhibitor = "diffusion",
        embedding: NeuronEmbedding | None = None,
        embedding_seed: int = 0,
        embedding_initializer: Any = None,
        embedding_trainable: bool = True,
        **kwargs: Any,
    ) -> None:
        options = {"dispersion": DISPERSION, **take_options(kwargs, *_KNOWN)}
        super().__init__(units, *args, **kwargs)  # type: ignore[call-arg]
        embedding = get_embedding("embedding", embedding)
        manifold = resolve_manifold(manifold, {"embedding": embedding})
        self.neurons = embedding or NeuronEmbedding(
            manifold,
            seed=embedding_seed,
            initializer=embedding_initializer,
            trainable=_checks.boolean("embedding_trainable", embedding_trainable),
            name="neurons",
        )
        self.neurons.holders += 1
        self.cost = Cost(manifold, inhibitor, gates=self.gates, **options)

    def _place_neurons(self, recurrent_kernel: Any) -> None:
        self.neurons.build_for(recurrent_kernel.shape[0])
        placement = LearnedPlacement(self.neurons, self.neurons)
        attach(recurrent_kernel, self.cost, placement)

    @property
    def embedding(self) -> Any:
        """The weight that holds the positions of the neurons, (units, ambient_dim)."""
        return self.neurons.embedding

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        options = self.cost.get_config()
        return {
            **super().get_config(),  # type: ignore[misc]
            **{name: value for name, value in options.items() if name not in _KNOWN},
            "embedding": serialize_embedding(self.neurons),
        }


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
    """

    gates = 3


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliLSTMCell(_Cell, keras.layers.LSTMCell):
    """`keras.layers.LSTMCell` whose neurons learn their positions on a manifold.

    Args:
        units: Number of neurons.
        **kwargs: Other arguments of `ModuliLSTM` and of `keras.layers.LSTMCell`.
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
