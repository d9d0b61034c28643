"""What a penalty by distance can be asked, whatever form its kernel has."""

import abc
from typing import Any, final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli.regularizers._cost import Cost, KernelLayout
from keras_moduli.regularizers._placement import Placement

Tensor = Any
Array = NDArray[np.float64]


class DistancePenalty(keras.regularizers.Regularizer, abc.ABC):
    """What the connections of a kernel cost by the distances that they span.

    Attributes:
        cost: What connections cost.
        placement: Where the neurons are.
        beside: Another regularizer of the same kernel, or None.

    Examples:
        >>> import keras_moduli as km
        >>> penalty: km.regularizers.DistancePenalty = km.ModuliRegularizer("circle")
        >>> penalty.coefficients((8, 8)).shape, penalty.positions((8, 8))[0].shape
        ((8, 8), (8, 1))
    """

    cost: Cost
    placement: Placement
    beside: Any

    @final
    def __call__(self, kernel: Tensor) -> Tensor:
        """Returns the penalty of a kernel: a scalar of the type of losses, `floatx()`.

        Raises:
            ValueError: If the shape of the kernel does not fit the arguments.
        """
        # TensorFlow adds no losses of different types.
        floatx = keras.config.floatx()
        penalty = ops.cast(self.penalty(kernel), floatx)
        if self.beside is None:
            return penalty
        return penalty + ops.cast(self.beside(kernel), floatx)

    @abc.abstractmethod
    def penalty(self, kernel: Tensor) -> Tensor:
        """Returns the penalty by distance alone.

        Args:
            kernel: The weight, of the shape that it has.

        Returns:
            Scalar tensor, in float32 or better.
        """

    @abc.abstractmethod
    def layout(self, shape: tuple[int, ...]) -> KernelLayout:
        """Returns how a kernel of this `shape` flattens to (inputs, gates, outputs).

        Raises:
            ValueError: If the shape leaves that open; the message names the argument.
        """

    @abc.abstractmethod
    def positions(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Returns where the input and output neurons of a kernel are.

        Args:
            shape: Shape of the weight.

        Returns:
            Two NumPy arrays of points, of shape (neurons, ambient_dim); the same points
            twice if both are the same neurons.
        """

    @abc.abstractmethod
    def coefficients(self, shape: tuple[int, ...]) -> Array:
        """Returns what each connection of a kernel costs per |w|^power, unscaled.

        Args:
            shape: Shape of the weight.

        Returns:
            NumPy array of shape (inputs, outputs), the same for every gate, or that of
            blocks; without the strength, and without communicability, which depends on
            the weights.
        """

    @abc.abstractmethod
    def distances(self, shape: tuple[int, ...]) -> Array:
        """Returns the geodesic distance that each connection of a kernel spans.

        Args:
            shape: Shape of the weight.

        Returns:
            NumPy array of shape (inputs, outputs), the same for every gate, or that of
            blocks.
        """

    @abc.abstractmethod
    def spread(self, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Returns values of connections as one for each weight.

        Args:
            values: What `coefficients` or `distances` returned, or an array of its shape.
            shape: Shape of the weight.

        Returns:
            NumPy array of the weight's shape.
        """


def find_regularizer(variable: Any) -> DistancePenalty | None:
    """Returns the penalty by distance of a weight, if it has one, fixed or learned.

    Args:
        variable: A `keras.Variable`.

    Examples:
        >>> import keras, keras_moduli as km
        >>> layer = km.layers.ModuliSimpleRNN(8, manifold="sphere")
        >>> layer.build((None, 5, 2))
        >>> km.regularizers.find_regularizer(layer.recurrent_kernel).cost.manifold
        Sphere(dim=2, radius=5.0)
    """
    regularizer = getattr(variable, "regularizer", None)
    return regularizer if isinstance(regularizer, DistancePenalty) else None
