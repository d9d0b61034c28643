"""Where neurons are, as weights."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_moduli import _checks, _keras_arguments, _keras_private, manifolds
from keras_moduli._registry import PACKAGE
from keras_moduli.manifolds import Manifold
from keras_moduli.regularizers import DistancePenalty

Tensor = Any

# Files of version 0.1.0 name no weight; their optimizers know positions by this name.
NAMED_BY_0_1_0 = {"weight_name": "points"}


@keras.saving.register_keras_serializable(PACKAGE)
class NeuronEmbedding(keras.layers.Layer):
    """The positions of one set of neurons on a manifold, learned by default.

    The positions are the rows of the weight `embedding`, (units, ambient_dim). Layers
    with learned geometry make a `NeuronEmbedding` of their own, unless given one: a set
    of neurons that two layers touch, as the outputs of one and the inputs of the next, is
    one `NeuronEmbedding` passed to both, which gives a deep network one geometry.

    Positions stay on the manifold under any optimizer by a constraint, which projects
    them after each update. Distances project too, so that their gradients are tangent and
    a point that a moving average has pulled off costs what its projection does.

    Args:
        manifold: A name such as `"euclidean"`, or a `keras_moduli.manifolds.Manifold`.
        seed: Seed of the first positions, `manifold.sample(units, seed)`.
        initializer: A Keras initializer to use instead, or its name. What it returns is
            projected to the manifold.
        trainable: Whether the positions are learned. A `FiniteMetric` cannot be.
        weight_name: Name of the weight, the last part of its path.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If `seed` is out of range, or the positions are to be learned and the
            manifold has no gradients.

    Examples:
        >>> import keras, keras_moduli as km
        >>> neurons = km.layers.NeuronEmbedding("sphere")
        >>> first = km.layers.Moduli(keras.layers.Dense(32), output_embedding=neurons)
        >>> second = km.layers.Moduli(keras.layers.Dense(8), input_embedding=neurons)
    """

    def __init__(
        self,
        manifold: str | Manifold = "euclidean",
        *,
        seed: int = 0,
        initializer: Any = None,
        trainable: bool = True,
        weight_name: str = "embedding",
        **kwargs: Any,
    ) -> None:
        arguments = _keras_arguments.check(
            super().__init__, trainable=trainable, **kwargs
        )
        self.manifold = manifolds.get(manifold)
        if arguments["trainable"] and not self.manifold.learnable:
            raise ValueError(
                f"The distances of {self.manifold!r} have no gradients, so positions on "
                "it cannot be learned. Pass `embedding_trainable=False` "
                "(`trainable=False` to NeuronEmbedding) and the callback "
                "`keras_moduli.NeuronSwap()`, which swaps neurons instead."
            )
        super().__init__(**arguments)
        self.seed = _checks.seed("seed", seed)
        self.initializer = _keras_arguments.resolve("initializer", initializer)
        self.weight_name = _checks.label("weight_name", weight_name)
        self.holders = 0  # layers that have it

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Builds the weight `embedding`.

        Args:
            input_shape: `(units,)`.
        """
        units = _checks.integer("units", input_shape[0], minimum=1)
        self.embedding = self.add_weight(
            name=self.weight_name,
            shape=(units, self.manifold.ambient_dim),
            initializer=self._draw_positions,
            constraint=_OnManifold(self.manifold),
            trainable=self.trainable,
            dtype="float32",  # half precision cannot tell neighbors apart
            autocast=False,
        )
        # 1 while the positions learn, 0 while they are frozen: a weight, so that a
        # callback can change it without a new compilation.
        self.plasticity = self._add_constant("plasticity")
        # How much of the strength is in force, for ramps.
        self.ramp = self._add_constant("ramp")
        self.embedding.regularizer = _FrozenKernels()

    def build_for(self, units: int) -> None:
        """Builds for a layer with this many neurons, `units`.

        Raises:
            ValueError: If it was built for another number.
        """
        if not self.built:
            self.build((units,))
        if (placed := self.embedding.shape[0]) != units:
            raise ValueError(
                f"NeuronEmbedding {self.name!r} places {placed} neurons, not {units}. "
                "Layers share one only for the same neurons."
            )

    def positions(self) -> Tensor:
        """Returns the points (units, ambient_dim), without gradients while frozen."""
        points = ops.convert_to_tensor(self.embedding)
        still = ops.stop_gradient(points)
        return still + ops.convert_to_tensor(self.plasticity) * (points - still)

    def charge(self, kernel: Any, regularizer: DistancePenalty) -> None:
        """Notes a `kernel` with a `regularizer` that depends on these positions."""
        self.embedding.regularizer.charged.append((kernel, regularizer))

    def get_config(self) -> dict[str, Any]:
        """The arguments as plain Python values."""
        return {
            **super().get_config(),
            "manifold": keras.saving.serialize_keras_object(self.manifold),
            "seed": self.seed,
            "initializer": keras.initializers.serialize(self.initializer),
            "weight_name": self.weight_name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Rebuilds the layer from what `get_config` returned."""
        return cls(**(NAMED_BY_0_1_0 | config))

    def _draw_positions(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        if self.initializer is None:
            points = self.manifold.sample(shape[0], self.seed)
            return ops.convert_to_tensor(points.astype(np.float32))
        return self.manifold.project(self.initializer(shape, dtype=dtype))

    def _add_constant(self, name: str) -> Any:
        return self.add_weight(
            name=name,
            shape=(),
            initializer="ones",
            trainable=False,
            dtype="float32",
            autocast=False,
        )


class _FrozenKernels:
    """The penalties of kernels that do not learn, for positions that do.

    Keras evaluates the regularizers of trainable weights only.
    """

    def __init__(self) -> None:
        self.charged: list[tuple[Any, DistancePenalty]] = []

    def __call__(self, points: Tensor) -> Tensor:
        floatx = keras.config.floatx()
        frozen = [
            ops.cast(regularizer.penalty(kernel), floatx)
            for kernel, regularizer in self.charged
            if not kernel.trainable
        ]
        return sum(frozen, ops.zeros((), floatx))


@keras.saving.register_keras_serializable(PACKAGE)
class _OnManifold(keras.constraints.Constraint):
    def __init__(self, manifold: Any) -> None:
        self.manifold = manifolds.get(manifold)

    def __call__(self, points: Tensor) -> Tensor:
        return self.manifold.project(ops.convert_to_tensor(points))

    def get_config(self) -> dict[str, Any]:
        return {"manifold": keras.saving.serialize_keras_object(self.manifold)}


def holds_positions(variable: Any) -> bool:
    """Whether a variable is the weight of a `NeuronEmbedding`."""
    return isinstance(getattr(variable, "constraint", None), _OnManifold)


def get_embedding(name: str, value: Any) -> NeuronEmbedding | None:
    """Returns a `NeuronEmbedding` from itself or its config, or None of None."""
    if isinstance(value, dict):
        try:
            value = _keras_private.deserialize_shared(value)
        except Exception as error:  # whatever a config of somebody else's can raise
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(
                f"`{name}` must be a NeuronEmbedding, or the config of one. "
                f"Received: {name}={_checks.shorten(value)} ({error})"
            ) from error
    if value is not None and not isinstance(value, NeuronEmbedding):
        raise TypeError(
            f"`{name}` must be a keras_moduli.layers.NeuronEmbedding. "
            f"Received: {name}={_checks.shorten(value)}"
        )
    return value


def serialize_embedding(embedding: NeuronEmbedding) -> dict[str, Any]:
    """Returns the config of an embedding, by which a saved model knows it again.

    The same whether it is built or not: the layer that holds it builds it.
    """
    config = dict(keras.saving.serialize_keras_object(embedding))
    config.pop("build_config", None)
    is_shared = embedding.holders > 1
    return _keras_private.mark_shared(config, embedding if is_shared else None)


def resolve_manifold(
    manifold: str | dict[str, Any] | Manifold | None,
    embeddings: dict[str, NeuronEmbedding | None],
) -> Manifold:
    """Returns the manifold that is meant: that of the given embeddings, if there are any.

    Args:
        manifold: What the user typed, or None.
        embeddings: What the user passed, by the names of the arguments.

    Raises:
        ValueError: If they are not all the same.
    """
    given = {name: e.manifold for name, e in embeddings.items() if e is not None}
    if not given:
        return manifolds.get("euclidean" if manifold is None else manifold)
    name, first = next(iter(given.items()))
    for other, its_manifold in given.items():
        if its_manifold != first:
            raise ValueError(
                "The neurons on both sides of a kernel must live on one manifold. "
                f"Received: {name} on {first!r} and {other} on {its_manifold!r}"
            )
    if manifold is not None and manifolds.get(manifold) != first:
        raise ValueError(
            f"`{name}` brings its manifold; leave `manifold` out. Received: "
            f"manifold={manifolds.get(manifold)!r} and one on {first!r}"
        )
    return first
