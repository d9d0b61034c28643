"""Keras's recurrent cells and layers, whose neurons learn where to be."""

from typing import Any, ClassVar

import keras

from keras_moduli import _checks, _keras_private, inhibitors, manifolds
from keras_moduli._registry import PACKAGE
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.layers._embedding import NeuronEmbedding
from keras_moduli.layers._penalty import LearnedPenalty
from keras_moduli.manifolds import Manifold

DISPERSION = 3.0


class LearnedGeometry:
    """What the layers and cells of this package add to Keras's own.

    The neurons' places are the weight `embedding`, of shape (units, ambient_dim), trained
    like any other, and the recurrent kernel w adds to the loss

        strength · [ Σⱼₖ f(d(xⱼ, xₖ))·|wⱼₖ|^power + dispersion·f(r)·(Σ |w|^power)·D ]

    where D = −mean log(d² + 0.1) over all pairs of connected neurons keeps them apart,
    f(r) is the cost at the natural length of the manifold, within which a tenth of all
    pairs lie, and no gradient flows into the weights through the second term. All gates
    share the places.

    The embedding belongs to the cell where a cell is used alone, and to the layer where a
    layer is: Keras's layers build their own cells, and keep their fused paths.

    Args:
        units: Number of neurons.
        manifold: Where they live: a name, or a `keras_moduli.manifolds.Manifold`.
        inhibitor: f: a name, or a `keras_moduli.inhibitors.Inhibitor`.
        strength: Factor of the penalty, finite and at least 0.
        power: Power of |w|, an integer of at least 1.
        reduction: `"sum"`, or `"mean"` over the entries of the kernel.
        dispersion: At least 0. The default recovers planted circles, spheres and tori;
            0 is the published formula, under which every learned embedding crumples.
        communicability: As in `keras_moduli.ModuliRegularizer`.
        permute_seed: The permuted control, as there: places are learned from costs that
            are put at random connections.
        embedding: A `NeuronEmbedding` to share with other layers. It brings its manifold,
            seed and initializer.
        embedding_seed: Seed of the first places, `manifold.sample(units, seed)`.
        embedding_initializer: A Keras initializer for the first places instead.
        embedding_trainable: Whether the places are learned.
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
        manifold: str | Manifold = "euclidean",
        inhibitor: str | Inhibitor = "diffusion",
        strength: float = 1e-3,
        power: int = 1,
        reduction: str = "sum",
        dispersion: float = DISPERSION,
        communicability: bool = False,
        permute_seed: int | None = None,
        embedding: NeuronEmbedding | None = None,
        embedding_seed: int = 0,
        embedding_initializer: Any = None,
        embedding_trainable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, *args, **kwargs)  # type: ignore[call-arg]
        manifold = manifolds.get(manifold)
        if embedding is None:
            embedding = NeuronEmbedding(
                manifold,
                seed=embedding_seed,
                initializer=embedding_initializer,
                trainable=_checks.boolean("embedding_trainable", embedding_trainable),
                name="neurons",
            )
        self.neurons = shared_embedding("embedding", embedding)
        if manifold not in (self.neurons.manifold, manifolds.get("euclidean")):
            raise ValueError(
                "`embedding` brings its manifold; leave `manifold` out. Received: "
                f"manifold={manifold!r} and one on {self.neurons.manifold!r}"
            )
        # Checks the arguments now, and holds them as plain values.
        self._penalty = LearnedPenalty(
            self.neurons,
            self.neurons,
            inhibitors.get(inhibitor),
            strength,
            power=power,
            reduction=reduction,
            gates=self.gates,
            dispersion=dispersion,
            input_axes=None,
            communicability=communicability,
            permute_seed=permute_seed,
        )

    def _place_neurons(self, recurrent_kernel: Any) -> None:
        self.neurons.build_for(recurrent_kernel.shape[0])
        self._penalty.attach(recurrent_kernel)

    @property
    def embedding(self) -> Any:
        """The weight that holds the places of the neurons, (units, ambient_dim)."""
        return self.neurons.points

    def get_config(self) -> dict[str, Any]:
        """The arguments as plain Python values."""
        penalty = self._penalty
        return {
            **super().get_config(),  # type: ignore[misc]
            "inhibitor": keras.saving.serialize_keras_object(penalty.inhibitor),
            "strength": penalty.strength,
            "power": penalty.power,
            "reduction": penalty.reduction,
            "dispersion": penalty.dispersion,
            "communicability": penalty.communicability,
            "permute_seed": penalty.permute_seed,
            "embedding": shared_config(self.neurons),
        }


class _Cell(LearnedGeometry):
    def build(self, input_shape: Any) -> None:
        super().build(input_shape)  # type: ignore[misc]
        self._place_neurons(self.recurrent_kernel)  # type: ignore[attr-defined]


class _Layer(LearnedGeometry):
    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        super().build(sequences_shape, initial_state_shape)  # type: ignore[misc]
        self._place_neurons(self.cell.recurrent_kernel)  # type: ignore[attr-defined]


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliSimpleRNNCell(_Cell, keras.layers.SimpleRNNCell):
    """`keras.layers.SimpleRNNCell` whose neurons learn their places on a manifold.

    Args:
        units: Number of neurons.
        **kwargs: Arguments of `LearnedGeometry` and of Keras's cell.

    Example:

    >>> import keras, keras_moduli as km
    >>> cells = [km.layers.ModuliSimpleRNNCell(8, manifold="sphere") for _ in range(2)]
    >>> layer = keras.layers.RNN(keras.layers.StackedRNNCells(cells))
    """

    gates = 1


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliGRUCell(_Cell, keras.layers.GRUCell):
    """`keras.layers.GRUCell` whose neurons learn their places on a manifold.

    Args:
        units: Number of neurons.
        **kwargs: Arguments of `LearnedGeometry` and of Keras's cell.
    """

    gates = 3


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliLSTMCell(_Cell, keras.layers.LSTMCell):
    """`keras.layers.LSTMCell` whose neurons learn their places on a manifold.

    Args:
        units: Number of neurons.
        **kwargs: Arguments of `LearnedGeometry` and of Keras's cell.
    """

    gates = 4


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliSimpleRNN(_Layer, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` whose neurons learn their places on a manifold.

    Args:
        units: Number of neurons.
        **kwargs: Arguments of `LearnedGeometry` and of Keras's layer.

    Example:

    >>> import keras, keras_moduli as km
    >>> layer = km.layers.ModuliSimpleRNN(32, manifold="torus", strength=1e-3)
    >>> layer.build((None, 10, 4))
    >>> tuple(layer.embedding.shape)
    (32, 2)
    """

    gates = 1


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliGRU(_Layer, keras.layers.GRU):
    """`keras.layers.GRU` whose neurons learn their places on a manifold.

    Args:
        units: Number of neurons.
        **kwargs: Arguments of `LearnedGeometry` and of Keras's layer.
    """

    gates = 3


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliLSTM(_Layer, keras.layers.LSTM):
    """`keras.layers.LSTM` whose neurons learn their places on a manifold.

    Args:
        units: Number of neurons.
        **kwargs: Arguments of `LearnedGeometry` and of Keras's layer.
    """

    gates = 4


def shared_embedding(name: str, value: Any) -> NeuronEmbedding:
    """`value` as a `NeuronEmbedding`, from itself or its config."""
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if not isinstance(value, NeuronEmbedding):
        raise TypeError(
            f"`{name}` must be a keras_moduli.layers.NeuronEmbedding. "
            f"Received: {name}={value!r}"
        )
    return value


def shared_config(embedding: NeuronEmbedding) -> dict[str, Any]:
    """The config of an embedding, by which a saved model knows it again."""
    config = keras.saving.serialize_keras_object(embedding)
    return _keras_private.mark_shared(config, embedding)
