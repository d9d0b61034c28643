"""What layers and cells whose neurons learn their positions add to Keras's own."""

from typing import Any, ClassVar

from keras_moduli import _checks, _keras_arguments
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.layers._embedding import (
    NeuronEmbedding,
    get_embedding,
    resolve_manifold,
    serialize_embedding,
)
from keras_moduli.layers._placement import LearnedPlacement, attach
from keras_moduli.layers._shortcuts import HasCost
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

    Examples:
        >>> import keras, keras_moduli as km
        >>> make = [km.layers.ModuliSimpleRNN, km.layers.ModuliGRUCell]
        >>> all(issubclass(cls, km.layers.LearnedGeometry) for cls in make)
        True
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
        super().__init__(
            **_keras_arguments.check(super().__init__, units, *args, **kwargs)
        )
        embedding = get_embedding("embedding", embedding)
        manifold = resolve_manifold(manifold, {"embedding": embedding})
        self.neurons = embedding or NeuronEmbedding(
            manifold,
            seed=_checks.seed("embedding_seed", embedding_seed),
            initializer=_keras_arguments.resolve(
                "embedding_initializer", embedding_initializer
            ),
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
