"""Learned geometry for the kernels of any layer."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import keras

from keras_moduli import _checks, _keras_arguments
from keras_moduli._registry import PACKAGE
from keras_moduli.connectivity import get_dense_shape
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.layers._embedding import (
    NAMED_BY_0_1_0,
    NeuronEmbedding,
    get_embedding,
    resolve_manifold,
    serialize_embedding,
)
from keras_moduli.layers._learned import DISPERSION
from keras_moduli.layers._placement import LearnedPlacement, attach
from keras_moduli.layers._shortcuts import HasCost, HasLayer
from keras_moduli.layers._sparse_recurrent import SparseRNN
from keras_moduli.manifolds import Manifold
from keras_moduli.regularizers import Cost
from keras_moduli.regularizers._cost import take_options

_ROLES = ("input", "output", "query", "value")
_ARGUMENTS = ("input_embedding", "output_embedding")
# Options of a cost that follow from each kernel, and those of recurrent kernels alone.
_OF_A_KERNEL = ("gates", "input_axes", "communicability", "permute_seed")


@dataclasses.dataclass(frozen=True)
class Connection:
    """A kernel, and which neurons it connects.

    Attributes:
        kernel: The weight.
        inputs: Role of the sending neurons, of `_ROLES`.
        outputs: Role of the receiving neurons.
        input_axes: How many leading axes of the kernel are inputs.
        gates: How many gates share the positions, along the last axis.
        taps: How many positions of a convolution share them, along the first axes.
    """

    kernel: Any
    inputs: str = "input"
    outputs: str = "output"
    input_axes: int = 1
    gates: int = 1
    taps: int = 1

    @property
    def sizes(self) -> tuple[int, int]:
        """Number of neurons on each side."""
        shape = get_dense_shape(self.kernel)
        inputs = math.prod(shape[: self.input_axes]) // self.taps
        return inputs, math.prod(shape[self.input_axes :]) // self.gates


@keras.saving.register_keras_serializable(PACKAGE)
class Moduli(HasCost, HasLayer, keras.layers.Wrapper):
    """Gives the kernels of a layer learned geometry.

    Each set of neurons that the layer connects has its positions: `input_embedding` and
    `output_embedding` for `Dense`, `EinsumDense` and convolutions, whose taps share them;
    those of the features and of the units for a recurrent layer; and for
    `MultiHeadAttention` also `query_embedding`, where queries and keys meet, and
    `value_embedding`. Every kernel adds

        strength · [ Σⱼₖ f(d(xⱼ, yₖ))·|wⱼₖ|^power + dispersion·f(r)·(Σ |w|^power)·D ]

    as in `LearnedGeometry`. `manifold` is where the neurons live, and `recurrent_kernel`
    that of the layer.

    Args:
        layer: The layer to wrap.
        manifold: Where its neurons live: a name, or a `Manifold`. By default that of the
            given embeddings, or `"euclidean"`.
        inhibitor: f: a name, or an `Inhibitor`; `"diffusion"` by default.
        strength: Factor of the penalty, finite and at least 0; 3e-5 by default.
        input_embedding: A `NeuronEmbedding` to share with the layer whose outputs these
            inputs are. It brings its manifold.
        output_embedding: One to share with the layers that take the outputs.
        embedding_seed: Seed of the first positions, of which each set of neurons has its
            own stream.
        embedding_trainable: Whether the positions are learned.
        weight_name: Name of the weights that hold them, as in `NeuronEmbedding`.
        power: Power of |w|, an integer from 1, the default, to 64.
        reduction: `"sum"`, the default, or `"mean"` over the entries of each kernel.
        dispersion: At least 0, as in `LearnedGeometry`; 3 by default.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        TypeError: If the layer, when it is built, has no kernel that is known.
        ValueError: If an argument is out of range, neurons do not fit an embedding,
            manifolds differ, or the layer has an `order` of its neurons.

    Examples:
        >>> import keras, keras_moduli as km
        >>> hidden = km.layers.NeuronEmbedding("euclidean")
        >>> model = keras.Sequential([
        ...     keras.Input((16,)),
        ...     km.layers.Moduli(keras.layers.Dense(32), output_embedding=hidden),
        ...     km.layers.Moduli(keras.layers.Dense(4), input_embedding=hidden),
        ... ])
        >>> len(model.losses)
        5
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        manifold: str | Manifold | None = None,
        inhibitor: str | Inhibitor = "diffusion",
        strength: float = 3e-5,
        *,
        input_embedding: NeuronEmbedding | None = None,
        output_embedding: NeuronEmbedding | None = None,
        embedding_seed: int = 0,
        embedding_trainable: bool = True,
        weight_name: str = "embedding",
        **kwargs: Any,
    ) -> None:
        options = {"dispersion": DISPERSION, **take_options(kwargs, *_OF_A_KERNEL)}
        super().__init__(**_keras_arguments.check(super().__init__, layer, **kwargs))
        self.supports_masking = layer.supports_masking
        # One attribute for each set of neurons: Keras saves attributes by their names,
        # the entries of a dictionary by their order.
        self.input_embedding = self.output_embedding = None
        self.query_embedding = self.value_embedding = None
        embeddings = {
            "input_embedding": get_embedding("input_embedding", input_embedding),
            "output_embedding": get_embedding("output_embedding", output_embedding),
        }
        given = {name: e for name, e in embeddings.items() if e is not None}
        self._given = list(given)
        for name, embedding in given.items():
            self._hold(name, embedding)
        self.cost = Cost(
            resolve_manifold(manifold, embeddings), inhibitor, strength, **options
        )
        self.embedding_seed = _checks.seed("embedding_seed", embedding_seed)
        self.embedding_trainable = _checks.boolean(
            "embedding_trainable", embedding_trainable
        )
        self.weight_name = _checks.label("weight_name", weight_name)

    def build(
        self, inputs_shape: Any, value_shape: Any = None, key_shape: Any = None
    ) -> None:
        """Builds the layer, and places the neurons of its kernels."""
        if not self.layer.built:
            shapes = [inputs_shape, value_shape, key_shape]
            self.layer.build(*[shape for shape in shapes if shape is not None])
        if isinstance(self.layer, SparseRNN) and self.layer.order is not None:
            raise ValueError(
                f"`order` of layer {self.layer.name!r} numbers its neurons anew, so that "
                "the positions that they share with other layers would be of others. "
                "Leave it out."
            )
        for connection in find_connections(self.layer):
            self._attach(connection)
        self.built = True

    def call(self, inputs: Any, value: Any = None, key: Any = None, **kwargs: Any) -> Any:
        """Calls the layer. Attention takes `value` and `key` too, others only inputs."""
        others = {"value": value, "key": key}
        given = {name: x for name, x in others.items() if x is not None}
        return self.layer(inputs, **given, **kwargs)

    def compute_output_shape(
        self, inputs_shape: Any, value_shape: Any = None, key_shape: Any = None
    ) -> Any:
        """The output shape of the layer."""
        shapes = [inputs_shape, value_shape, key_shape]
        given = [shape for shape in shapes if shape is not None]
        return self.layer.compute_output_shape(*given)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The output mask of the layer."""
        return self.layer.compute_mask(inputs, previous_mask)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        options = self.cost.get_config()
        return {
            **super().get_config(),
            **{k: value for k, value in options.items() if k not in _OF_A_KERNEL},
            "embedding_seed": self.embedding_seed,
            "embedding_trainable": self.embedding_trainable,
            "weight_name": self.weight_name,
            **self._serialize_embeddings(),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Rebuilds the layer from what `get_config` returned."""
        if not isinstance(config, dict) or "layer" not in config:
            raise ValueError(
                "`config` must be what `get_config` of a Moduli returned, with the config"
                f" of its `layer`. Received: config={config!r}"
            )
        layer = _keras_arguments.make("layer", config["layer"], custom_objects)
        return cls(**(NAMED_BY_0_1_0 | config | {"layer": layer}))

    def _hold(self, name: str, embedding: NeuronEmbedding) -> None:
        setattr(self, name, embedding)
        embedding.holders += 1

    def _serialize_embeddings(self) -> dict[str, Any]:
        """Returns the configs of those that were given, to this layer or to others."""
        held = {name: getattr(self, name) for name in _ARGUMENTS}
        return {
            name: serialize_embedding(embedding)
            for name, embedding in held.items()
            if name in self._given or (embedding is not None and embedding.holders > 1)
        }

    def _attach(self, connection: Connection) -> None:
        roles = (connection.inputs, connection.outputs)
        inputs, outputs = map(self._place, roles, connection.sizes)
        cost = dataclasses.replace(
            self.cost, gates=connection.gates, input_axes=connection.input_axes
        )
        placement = LearnedPlacement(inputs, outputs, connection.taps)
        attach(connection.kernel, cost, placement)

    def _place(self, role: str, units: int) -> NeuronEmbedding:
        name = f"{role}_embedding"
        if getattr(self, name) is None:
            embedding = NeuronEmbedding(
                self.cost.manifold,
                seed=self.embedding_seed + _ROLES.index(role),
                trainable=self.embedding_trainable,
                weight_name=self.weight_name,
                name=role,
            )
            self._hold(name, embedding)
        embedding = getattr(self, name)
        embedding.build_for(units)
        return embedding


def find_connections(layer: keras.layers.Layer) -> Iterator[Connection]:
    """Yields the kernels of a built layer, with which neurons they connect.

    Raises:
        TypeError: If the layer is of no kind that is known.
    """
    layers = keras.layers
    if isinstance(layer, layers.MultiHeadAttention):
        yield Connection(layer.query_dense.kernel, "input", "query")
        yield Connection(layer.key_dense.kernel, "input", "query")
        yield Connection(layer.value_dense.kernel, "input", "value")
        kernel = layer.output_dense.kernel
        yield Connection(kernel, "value", "output", input_axes=2)
    elif isinstance(layer, layers.RNN) and hasattr(layer.cell, "recurrent_kernel"):
        kernel = layer.cell.recurrent_kernel
        units, width = get_dense_shape(kernel)
        gates = width // units
        yield Connection(layer.cell.kernel, gates=gates)
        yield Connection(kernel, "output", "output", gates=gates)
    elif isinstance(layer, layers.EinsumDense):
        yield Connection(layer.kernel, input_axes=_count_input_axes(layer.equation))
    elif isinstance(layer, layers.Dense):
        yield Connection(layer.kernel)
    elif isinstance(layer, layers.Conv1D | layers.Conv2D | layers.Conv3D):
        rank = len(layer.kernel.shape)
        taps = math.prod(layer.kernel.shape[: rank - 2])
        yield Connection(layer.kernel, input_axes=rank - 1, taps=taps)
    else:
        raise TypeError(
            "Moduli wraps Dense, EinsumDense, Conv1D to Conv3D, MultiHeadAttention and "
            f"recurrent layers of one cell. Received: layer={layer!r}"
        )


def count_summed_axes(equation: str) -> int:
    """Returns how many leading axes of an einsum's kernel are summed over.

    0 if its inputs do not stand first, and its outputs after them.
    """
    operands, result = equation.replace("...", "").split("->")
    kernel = operands.split(",")[1]
    summed = [label not in result for label in kernel]
    axes = sum(summed)
    return axes if all(summed[:axes]) and axes < len(kernel) else 0


def _count_input_axes(equation: str) -> int:
    axes = count_summed_axes(equation)
    if axes == 0:
        raise ValueError(
            "Moduli needs an EinsumDense whose kernel has its inputs first, then its "
            f"outputs. Received: equation={equation!r}"
        )
    return axes
