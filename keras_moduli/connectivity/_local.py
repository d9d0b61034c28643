"""Connections between what is near, by the geometry of the neurons."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from keras_moduli import _backend, _checks, manifolds
from keras_moduli.connectivity._assignment import Edges, fill
from keras_moduli.connectivity._base import Balanced, _registry, make_grid

Array = NDArray[Any]

_MOST_OF_A_BLOCK = 64  # neurons among which its center is sought
_SIZES = (2**12, 2**16, 2**20)
_PAIRS_AT_ONCE = _SIZES[-1]
_MOST_TRIES = 16


class OnManifold(Balanced):
    """Balanced, by where neurons are on a manifold."""

    manifold: manifolds.Manifold
    seed: int

    @final
    def locate(self, rows: int, units: int) -> tuple[Array, Array]:
        """Returns the points of the inputs and of the neurons of a kernel.

        Args:
            rows: Number of inputs.
            units: Number of neurons.

        Returns:
            Two arrays (rows, ambient_dim) and (units, ambient_dim); the same if there
            are as many.

        Raises:
            ValueError: If the manifold has another number of elements.
        """
        for name, count in (("outputs", units), ("inputs", rows)):
            _check_size(self.manifold, name, count)
        outputs = self.manifold.sample(units, self.seed)
        if rows == units:
            return outputs, outputs
        return self.manifold.sample(rows, (self.seed + 1) % 2**32), outputs

    def measure(self, rows: int, units: int) -> Array:
        """Returns d² between the blocks of `rows` inputs and `units` neurons, (R, J)."""
        return measure_between(self.manifold, *self.locate(rows, units), self.block)


@_registry.register("local")
@dataclass(frozen=True)
class Local(OnManifold):
    """Each block of neurons to its nearest ones on a manifold.

    Neurons are `manifold.sample(units, seed)`, which neighbors in space stand beside
    each other in; so many in a row form a block. The distance of two blocks is that of
    their centers, the neurons of the least squared distance to the others of the block.
    Inputs that are not the neurons are `manifold.sample(rows, seed + 1)`, or lie where
    the neurons lie if there are as many.

    Args:
        manifold: A `keras_moduli.manifolds.Manifold` or its name.
        density: Fraction of the kernel that is there, in (0, 1]: a whole number of
            blocks in each column.
        block: (b, c): blocks of b inputs and c outputs, which divide the kernel.
        seed: Of the neurons' positions, in [0, 2³²).

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; from `connect`, if there is no such kernel.

    Examples:
        >>> import keras_moduli as km
        >>> rule = km.connectivity.Local("circle", density=3 / 8, block=(8, 8))
        >>> rule.connect(64, 64, recurrent=True).indices[:4]
        ((0, 1, 7), (0, 1, 2), (1, 2, 3), (2, 3, 4))

    Source: M. Khona, S. Chandra, J. J. Ma and I. R. Fiete, "Winning the lottery with
    neural connectivity constraints", Neural Computation (2023).
    """

    manifold: manifolds.Manifold
    density: float
    block: tuple[int, int] = (16, 64)
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(
            manifold=manifolds.get(self.manifold),
            seed=_checks.seed("seed", self.seed),
        )

    def rank(self, rows: int, units: int, recurrent: bool) -> Array:
        return self.measure(rows, units)


@_registry.register("small_world")
@dataclass(frozen=True)
class SmallWorld(OnManifold):
    """As `Local`, but some of the blocks off the diagonal join what lies anywhere.

    Of a fraction of the blocks the inputs are exchanged among them at random, so that
    rows and columns have as many as before.

    Args:
        manifold: A `keras_moduli.manifolds.Manifold` or its name.
        density: Fraction of the kernel that is there, in (0, 1]: a whole number of
            blocks in each column.
        block: (b, c): blocks of b inputs and c outputs, which divide the kernel.
        long_range: Fraction of the blocks off the diagonal, in [0, 1], that is put at
            random.
        seed: Of positions and of what is random, in [0, 2³²).

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; from `connect`, if there is no such kernel.

    Examples:
        >>> import keras_moduli as km
        >>> rule = km.connectivity.SmallWorld("torus", 1 / 8, (16, 16), long_range=0.25)
        >>> rule.connect(512, 512, recurrent=True).density
        0.125

    Source: D. J. Watts and S. H. Strogatz, "Collective dynamics of 'small-world'
    networks", Nature 393 (1998); here all degrees stay.
    """

    manifold: manifolds.Manifold
    density: float
    block: tuple[int, int] = (16, 64)
    long_range: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set(
            manifold=manifolds.get(self.manifold),
            long_range=_checks.real("long_range", self.long_range, minimum=0.0),
            seed=_checks.seed("seed", self.seed),
        )
        if self.long_range > 1:
            raise ValueError(
                "`long_range` must be at most 1. "
                f"Received: long_range={self.long_range!r}"
            )

    def rank(self, rows: int, units: int, recurrent: bool) -> Array:
        rank = self.measure(rows, units)
        grid = make_grid(rows, units, self.block, recurrent)
        taken = fill(rank, grid, grid.count_blocks(self.density))
        edges = Edges(taken, grid.diagonal, rank)
        rng = np.random.RandomState(self.seed)
        moved = round(self.long_range * len(edges.rows))
        _shuffle(edges, rng.permutation(len(edges.rows))[:moved], rng)
        return np.where(taken, -1, rank)


def _shuffle(edges: Edges, slots: Array, rng: np.random.RandomState) -> None:
    """Exchanges the inputs of blocks among them, where no block would be there twice."""
    for first in slots.tolist():
        for second in slots[rng.randint(len(slots), size=_MOST_TRIES)].tolist():
            if edges.can_exchange(first, second):
                edges.exchange(first, second)
                break


def measure_between(
    manifold: manifolds.Manifold, inputs: Array, outputs: Array, block: tuple[int, int]
) -> Array:
    """Returns d² between the centers of blocks of inputs and of outputs, (R, J).

    Of single precision: what differs by the rounding of doubles is the same.

    Args:
        manifold: Where they lie.
        inputs: Points (rows, d).
        outputs: Points (units, d).
        block: (b, c).
    """
    x = _find_centers(manifold, inputs, block[0])
    y = _find_centers(manifold, outputs, block[1])
    return _in_parts(lambda part: _measure(manifold, x[:, None], part).T, y, len(x)).T


def _find_centers(manifold: manifolds.Manifold, points: Array, size: int) -> Array:
    """Returns of each block the neuron that is nearest to the others."""
    blocks = points.reshape(-1, size, points.shape[-1])
    blocks = blocks[:, :: -(-size // _MOST_OF_A_BLOCK)]

    def choose(part: Array) -> Array:
        squares = _measure(manifold, part[:, :, None], part[:, None])
        squares = squares + squares.transpose(0, 2, 1)  # symmetric to the last bit
        return squares.sum(axis=-1, dtype=np.float64).argmin(axis=-1)

    centers = _in_parts(choose, blocks, blocks.shape[1] ** 2)
    return blocks[np.arange(len(blocks)), centers]


def _measure(manifold: manifolds.Manifold, x: Array, y: Array) -> Array:
    x, y = np.broadcast_arrays(x, y)
    shape, pairs = x.shape[:-1], math.prod(x.shape[:-1])
    # JAX compiles for each size: so there are few of them.
    sizes = [size // _count_pairs(x) for size in _SIZES]
    size = next((size for size in sizes if size >= pairs), pairs)
    x, y = (
        np.resize(points.reshape(pairs, -1), (size, points.shape[-1]))
        for points in (x, y)
    )
    measured = _backend.compute_outside_of_trace(
        lambda: _backend.compute_in_float64(manifold.compute_squared_distance, x, y)
    )
    return measured[:pairs].astype(np.float32).reshape(shape)


def _in_parts(function: Callable[[Array], Array], array: Array, pairs: int) -> Array:
    """Returns a function of an array, of as many rows at once as memory should hold."""
    size = max(1, _PAIRS_AT_ONCE // (pairs * _count_pairs(array)))
    starts = range(0, len(array), size)
    return np.concatenate([function(array[k : k + size]) for k in starts])


def _count_pairs(points: Array) -> int:
    """Returns how many pairs of few coordinates take the memory of one of these."""
    count: int = max(1, points.shape[-1] // 4)
    return count


def _check_size(manifold: manifolds.Manifold, name: str, count: int) -> None:
    if isinstance(manifold, manifolds.FiniteMetric) and manifold.size != count:
        raise ValueError(
            f"The FiniteMetric has {manifold.size} elements, the kernel {count} {name}: "
            f"each neuron is an element. Type a FiniteMetric of {count} × {count} "
            f"distances, or a kernel of {manifold.size} {name}."
        )
