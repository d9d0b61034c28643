"""Where the neurons of a hidden state are, as weights."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _checks, manifolds
from keras_moduli._registry import PACKAGE
from keras_moduli.manifolds import Manifold

Tensor = Any


@keras.saving.register_keras_serializable(PACKAGE)
class NeuronEmbedding(keras.layers.Layer):
    """The places of one set of neurons on a manifold, learned by default.

    Layers with learned geometry make one of their own, unless given one: a set of
    neurons that two layers touch, as the outputs of one and the inputs of the next, is
    one `NeuronEmbedding` passed to both, which gives a deep network one geometry.

    The points stay on the manifold under any optimizer by a constraint, which projects
    them after each update. Distances project too, so that their gradients are tangent and
    a point that a moving average has pulled off costs what its projection does.

    Args:
        manifold: A name such as `"euclidean"`, or a `keras_moduli.manifolds.Manifold`.
        seed: Seed of the first places, `manifold.sample(units, seed)`.
        initializer: A Keras initializer to use instead, or its name. What it returns is
            projected to the manifold.
        trainable: Whether the places are learned. A `FiniteMetric` cannot be.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        ValueError: If the places are to be learned and the manifold has no gradients.

    Example:

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
        **kwargs: Any,
    ) -> None:
        self.manifold = manifolds.get(manifold)
        if trainable and not self.manifold.learnable:
            raise ValueError(
                f"The distances of {self.manifold!r} have no gradients, so places on it "
                "cannot be learned. Pass `embedding_trainable=False` (`trainable=False` "
                "to NeuronEmbedding) and the callback `keras_moduli.NeuronSwap()`, which "
                "swaps neurons instead."
            )
        super().__init__(trainable=trainable, **kwargs)
        self.seed = _checks.seed("seed", seed)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes the points.

        Args:
            input_shape: `(units,)`.
        """
        units = _checks.integer("units", input_shape[0], minimum=1)
        self.points = self.add_weight(
            name="points",
            shape=(units, self.manifold.ambient_dim),
            initializer=self._first_places,
            constraint=_OnManifold(self.manifold),
            trainable=self.trainable,
            dtype="float32",  # half precision cannot tell neighbors apart
            autocast=False,
        )
        # 1 while the places learn, 0 while they are frozen: a weight, so that a callback
        # can change it without a new compilation.
        self.plasticity = self._constant_weight("plasticity")
        # How much of the strength is in force, for ramps.
        self.ramp = self._constant_weight("ramp")
        self.points.regularizer = _FrozenKernels()

    def build_for(self, units: int) -> None:
        """Builds for a layer with this many neurons.

        Raises:
            ValueError: If it was built for another number.
        """
        if not self.built:
            self.build((units,))
        if self.points.shape[0] != units:
            raise ValueError(
                f"NeuronEmbedding {self.name!r} places {self.points.shape[0]} neurons, "
                f"not {units}. Layers share one only for the same neurons."
            )

    def places(self) -> Tensor:
        """The points, whose gradient vanishes while they are frozen."""
        points = ops.convert_to_tensor(self.points)
        still = ops.stop_gradient(points)
        return still + ops.convert_to_tensor(self.plasticity) * (points - still)

    def charge(self, kernel: Any, penalty: Any) -> None:
        """Notes a kernel whose penalty depends on these places."""
        self.points.regularizer.charged.append((kernel, penalty))

    def get_config(self) -> dict[str, Any]:
        """The arguments as plain Python values."""
        return {
            **super().get_config(),
            "manifold": keras.saving.serialize_keras_object(self.manifold),
            "seed": self.seed,
            "initializer": keras.initializers.serialize(self.initializer),
        }

    def _first_places(self, shape: tuple[int, ...], dtype: Any = None) -> Tensor:
        if self.initializer is None:
            points = self.manifold.sample(shape[0], self.seed)
            return ops.convert_to_tensor(points.astype(np.float32))
        return self.manifold.project(self.initializer(shape, dtype=dtype))

    def _constant_weight(self, name: str) -> Any:
        return self.add_weight(
            name=name,
            shape=(),
            initializer="ones",
            trainable=False,
            dtype="float32",
            autocast=False,
        )


class _FrozenKernels:
    """The penalties of kernels that do not learn, for places that do.

    Keras evaluates the regularizers of trainable weights only.
    """

    def __init__(self) -> None:
        self.charged: list[tuple[Any, Any]] = []

    def __call__(self, points: Tensor) -> Tensor:
        frozen = [
            penalty(kernel) for kernel, penalty in self.charged if not kernel.trainable
        ]
        return sum(frozen, ops.zeros((), "float32"))


@keras.saving.register_keras_serializable(PACKAGE)
class _OnManifold(keras.constraints.Constraint):
    def __init__(self, manifold: Any) -> None:
        self.manifold = manifolds.get(manifold)

    def __call__(self, points: Tensor) -> Tensor:
        return self.manifold.project(ops.convert_to_tensor(points))

    def get_config(self) -> dict[str, Any]:
        return {"manifold": keras.saving.serialize_keras_object(self.manifold)}
