"""Where the neurons on both sides of a kernel are."""

import abc
import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_moduli import _checks, manifolds
from keras_moduli._repr import write_call
from keras_moduli.manifolds import Manifold

Tensor = Any
Array = NDArray[np.float64]


class Positions(NamedTuple):
    """The positions of a kernel's neurons.

    Attributes:
        inputs: Points of the sending neurons, (m, ambient_dim).
        outputs: Points of the receiving neurons, (n, ambient_dim); the same object as
            `inputs` if they are the same neurons.
        taps: How many inputs of the kernel share each sending neuron, as those of a
            convolution: the kernel has taps · m inputs.
        learned: Whether gradients flow into the points.
        ramp: The share of the strength that is in force.

    Examples:
        >>> import keras_moduli as km
        >>> positions = km.regularizers.FixedPlacement("torus").positions(8, 8)
        >>> positions.inputs.shape, positions.learned
        ((8, 2), False)
    """

    inputs: Tensor
    outputs: Tensor
    taps: int = 1
    learned: bool = False
    ramp: Tensor = 1.0


class Placement(abc.ABC):
    """Answers where the neurons on both sides of a kernel are.

    Attributes:
        square: Whether inputs and outputs are the same neurons.
        embeddings: The layers that own the positions; none if they are fixed.
        taps: How many inputs of the kernel share each sending neuron.

    Examples:
        >>> import keras_moduli as km
        >>> layer = km.layers.ModuliSimpleRNN(8)
        >>> layer.build((None, 5, 2))
        >>> regularizer = km.regularizers.find_regularizer(layer.recurrent_kernel)
        >>> isinstance(regularizer.placement, km.regularizers.Placement)
        True
    """

    taps = 1
    square: bool
    embeddings: tuple[Any, ...]

    @abc.abstractmethod
    def positions(self, inputs: int, outputs: int) -> Positions:
        """Returns the positions for a kernel of so many `inputs` and `outputs`."""

    @abc.abstractmethod
    def assign(self, points: Array) -> None:
        """Moves the neurons, the same on both sides, to `points` (n, ambient_dim)."""

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""


class FixedPlacement(Placement):
    """Points that are drawn once, or given.

    Args:
        manifold: A name, or a `keras_moduli.manifolds.Manifold`.
        seed: Seed of the points, `manifold.sample(n, seed)`; 0 by default.
        output_seed: Seed of a second set, for the outputs; None, the default, if these
            are the neurons that the inputs are.
        embedding: Points to use instead, of shape (n, ambient_dim).
        output_embedding: Points to use for the outputs.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If a seed is out of range, points are of another shape or not finite,
            or `output_seed` and `output_embedding` are both given.

    Examples:
        >>> import keras_moduli as km
        >>> placement = km.regularizers.FixedPlacement("torus", output_seed=1)
        >>> placement.positions(8, 4).outputs.shape
        (4, 2)
    """

    embeddings = ()

    def __init__(
        self,
        manifold: Manifold,
        seed: int = 0,
        output_seed: int | None = None,
        embedding: ArrayLike | None = None,
        output_embedding: ArrayLike | None = None,
    ) -> None:
        self.manifold = manifolds.get(manifold)
        self.seed = _checks.seed("seed", seed)
        self.output_seed = _checks.optional(_checks.seed, "output_seed", output_seed)
        self.embedding = _checks.optional(self._check_points, "embedding", embedding)
        self.output_embedding = _checks.optional(
            self._check_points, "output_embedding", output_embedding
        )
        if output_seed is not None and output_embedding is not None:
            raise ValueError(
                "Pass `output_seed` or `output_embedding`, not both: each places the "
                "outputs."
            )
        self.square = output_seed is None and output_embedding is None

    def __repr__(self) -> str:
        return write_call(self)

    def positions(self, inputs: int, outputs: int) -> Positions:
        """Returns the given points, or `manifold.sample(n, seed)`."""
        x = self._place("embedding", self.embedding, inputs, self.seed)
        if self.square:
            return Positions(x, x)
        given, seed = self.output_embedding, self.output_seed
        return Positions(x, self._place("output_embedding", given, outputs, seed))

    def assign(self, points: Array) -> None:
        """Takes other points, as if they had been given."""
        self.embedding = self._check_points("embedding", points)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        return {
            "seed": self.seed,
            "output_seed": self.output_seed,
            "embedding": _as_list(self.embedding),
            "output_embedding": _as_list(self.output_embedding),
        }

    def _check_points(self, name: str, points: ArrayLike) -> Array:
        array = _checks.array(points, name)
        expected = self.manifold.ambient_dim
        if array.ndim != 2 or array.shape[1] != expected or not len(array):
            raise ValueError(
                f"`{name}` must be of shape (n, {expected}) on {self.manifold!r}. "
                f"Received: {name}.shape={array.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"`{name}` must be finite.")
        return array

    def _place(self, name: str, given: Array | None, n: int, seed: int | None) -> Array:
        if given is None:
            return _sample(self.manifold, n, seed)
        if len(given) != n:
            raise ValueError(
                f"`{name}` must hold one point for each of the kernel's {n} neurons, "
                f"shape ({n}, {self.manifold.ambient_dim}). "
                f"Received: {name}.shape={given.shape}"
            )
        return given


@functools.lru_cache(maxsize=64)
def _sample(manifold: Manifold, n: int, seed: int) -> Array:
    points = manifold.sample(n, seed) if n else np.zeros((0, manifold.ambient_dim))
    points.setflags(write=False)
    return points


def _as_list(points: Array | None) -> list[list[float]] | None:
    return None if points is None else points.tolist()
