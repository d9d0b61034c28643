"""Where the neurons of a weight matrix are, and what connects them, as arrays."""

import functools
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli.connectivity import find_kernel
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.manifolds import Manifold
from keras_moduli.regularizers import find_regularizer
from keras_moduli.report._connections import (
    Connections,
    choose_matrix,
    connect,
    describe,
    list_matrices,
)

Array = NDArray[Any]
Variable = Any

_MOST_DISTANCES = 2**28  # of float32, 1 GiB
_MOST_PAIRS = 2**20  # of which a histogram tells no more


@dataclass(frozen=True, eq=False, repr=False)
class Placement:
    """The geometry of one weight matrix, as arrays.

    Attributes:
        path: Path of the variable.
        label: The path without what every path repeats.
        manifold: Where its neurons live.
        inhibitor: What its connections cost by distance; None if they cost nothing and
            only their connectivity follows the manifold.
        learned: Whether positions are learned.
        input_positions: Points of the neurons that send, (m, ambient_dim).
        positions: Points of the neurons that receive, (n, ambient_dim); the same array
            if they are the same neurons.
        connections: The weights that are not zero.

    Examples:
        >>> import keras_moduli as km
        >>> layer = km.layers.ModuliSimpleRNN(8, manifold="circle")
        >>> layer.build((None, 5, 2))
        >>> placement = km.placement(layer)
        >>> placement.is_recurrent, placement.order.shape, placement.distances.shape
        (True, (8,), (8, 8))
        >>> placement.sample_distances().shape
        (64,)
    """

    path: str
    label: str
    manifold: Manifold
    inhibitor: Inhibitor | None
    learned: bool
    input_positions: Array
    positions: Array
    connections: Connections

    @property
    def is_recurrent(self) -> bool:
        """Whether the neurons that send are those that receive."""
        return self.input_positions is self.positions

    @functools.cached_property
    def order(self) -> NDArray[np.intp]:
        """The permutation of shape (n,) that sorts the receiving neurons in space."""
        return self.manifold.order(self.positions)

    @functools.cached_property
    def input_order(self) -> NDArray[np.intp]:
        """The permutation of shape (m,) that sorts the sending neurons in space."""
        if self.is_recurrent:
            return self.order
        return self.manifold.order(self.input_positions)

    @functools.cached_property
    def distances(self) -> Array:
        """The geodesic distances between all neurons, (m, n).

        Raises:
            ValueError: If they would take more than 1 GiB; `spans` has those of the
                connections alone.
        """
        m, n = len(self.input_positions), len(self.positions)
        if m * n > _MOST_DISTANCES:
            raise ValueError(
                f"{m:,} × {n:,} distances do not fit in 1 GiB. `placement.spans` has "
                "those that connections span, `placement.sample_distances()` some of "
                "all pairs."
            )
        x, y = (p.astype(np.float32) for p in (self.input_positions, self.positions))
        return np.array(ops.convert_to_numpy(self.manifold.pairwise(x, y)))

    @functools.cached_property
    def spans(self) -> Array:
        """The geodesic distance that each connection spans, (connections,)."""
        return self._measure(self.connections.inputs, self.connections.outputs)

    @functools.cached_property
    def connected_inputs(self) -> NDArray[np.intp]:
        """The sending neurons that have a connection, sorted: at most (m,)."""
        return self.connected if self.is_recurrent else np.unique(self.connections.inputs)

    @functools.cached_property
    def connected(self) -> NDArray[np.intp]:
        """The receiving neurons that have a connection, sorted: at most (n,).

        Of a recurrent matrix, those that send or receive. Where positions are learned,
        the other neurons are only repelled, so that their positions mean nothing.
        """
        ends = self.connections.outputs
        if self.is_recurrent:
            ends = np.concatenate([ends, self.connections.inputs])
        return np.unique(ends)

    def sample_distances(self, pairs: int = _MOST_PAIRS, seed: int = 0) -> Array:
        """Returns distances of pairs of neurons: what connections span by chance.

        Of positions that are learned, those of neurons that have a connection.

        Args:
            pairs: How many, at random; all pairs if there are no more.
            seed: Of the choice.

        Returns:
            Array of shape (pairs,), float32.
        """
        pairs = _checks.integer("pairs", pairs, minimum=1)
        x, y = np.arange(len(self.input_positions)), np.arange(len(self.positions))
        if self.learned and len(self.connections):
            x, y = self.connected_inputs, self.connected
        m, n = len(x), len(y)
        if m * n <= pairs:
            return self._measure(np.repeat(x, n), np.tile(y, m))
        rng = np.random.RandomState(_checks.seed("seed", seed))
        return self._measure(x[rng.randint(m, size=pairs)], y[rng.randint(n, size=pairs)])

    def _measure(self, inputs: Array, outputs: Array) -> Array:
        x, y = (p.astype(np.float32) for p in (self.input_positions, self.positions))
        distances = np.empty(len(inputs), np.float32)
        for start in range(0, len(inputs), _MOST_PAIRS):
            part = slice(start, start + _MOST_PAIRS)
            measured = self.manifold.distance(x[inputs[part]], y[outputs[part]])
            distances[part] = ops.convert_to_numpy(measured)
        return distances

    def __repr__(self) -> str:
        return f"<Placement of {self.label} on {self.manifold!r}: {self.connections!r}>"


def placement(model: keras.Model | keras.Layer, kernel: str | None = None) -> Placement:
    """Returns where the neurons of a weight matrix are, and its connections, as arrays.

    Args:
        model: A built Keras model or layer.
        kernel: Name of a layer, or of a weight matrix as `km.geometry` and `km.sparsity`
            print it. By default the first that has a geometry.

    Returns:
        A `Placement`: `positions`, `order`, `distances`, `connections`, `spans`.

    Raises:
        TypeError: If `model` is neither a model nor a layer.
        ValueError: If it is not built, there is no such matrix, or it has no geometry.

    Examples:
        >>> import keras, keras_moduli as km
        >>> regularizer = km.ModuliRegularizer("torus", "diffusion")
        >>> layer = keras.layers.SimpleRNN(32, recurrent_regularizer=regularizer)
        >>> model = keras.Sequential([keras.Input((5, 2)), layer])
        >>> placement = km.placement(model)
        >>> placement.positions.shape, placement.distances.shape
        ((32, 2), (32, 32))
        >>> placement.spans.shape  # nothing is pruned yet
        (1024,)
    """
    matrices = list_matrices(model)
    known = [label for v, label in matrices if has_geometry(v)]
    if not known:
        raise ValueError(
            f"{describe(model)} has no weight with a geometry. Use `ModuliRegularizer`, "
            "a layer of `keras_moduli.layers` that learns positions, or a `connectivity` "
            "on a manifold. `km.plot.matrix` and `km.plot.sparsity` need none "
            "(in a shell: --kind matrix)."
        )
    name = known[0] if kernel is None else kernel
    variable, label = choose_matrix(matrices, name, prefer=has_geometry)
    if label not in known:
        raise ValueError(f"{label} has no geometry. Those that have one: {known}")
    return describe_placement(variable, label)


def has_geometry(variable: Variable) -> bool:
    """Whether the neurons of a weight are on a manifold."""
    if find_regularizer(variable) is not None:
        return True
    blocks = find_kernel(variable)
    return blocks is not None and hasattr(blocks.connectivity, "locate")


def describe_placement(variable: Variable, label: str) -> Placement:
    """Returns the placement of a weight that has a geometry."""
    regularizer = find_regularizer(variable)
    if regularizer is not None:
        inputs, outputs = regularizer.positions(variable.shape)
        manifold, inhibitor = regularizer.cost.manifold, regularizer.cost.inhibitor
        learned = any(e.trainable for e in regularizer.placement.embeddings)
        inputs = outputs if regularizer.placement.square else inputs
    else:
        kernel = find_kernel(variable)
        assert kernel is not None
        manifold, inhibitor, learned = kernel.connectivity.manifold, None, False
        inputs, outputs = kernel.connectivity.locate(
            kernel.rows, kernel.columns // kernel.gates
        )
    links = connect(variable, len(inputs))
    return Placement(
        variable.path, label, manifold, inhibitor, learned, inputs, outputs, links
    )
