"""Structures: what is pruned at once, single weights, blocks, or n out of m."""

import abc
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli._registry import Configuration, Registry

__all__ = [
    "Blocks",
    "NofM",
    "Structure",
    "Units",
    "Weights",
    "get",
    "names",
    "register",
]

Array = NDArray[Any]


class Units(NamedTuple):
    """What a matrix is pruned by.

    Attributes:
        scores: How important each unit is, of shape (units,): −1 if it is masked,
            infinite if it stays.
        sizes: Weights of each unit; None if each is one weight, in the matrix's order.
        labels: The unit of each weight, in the matrix's order; None likewise.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> halves = km.pruning.structures.Units(
        ...     scores=np.array([0.1, 0.9]), sizes=np.array([2, 2]),
        ...     labels=np.array([0, 0, 1, 1]),
        ... )
        >>> halves.spread(np.array([False, True])).tolist()
        [False, False, True, True]
    """

    scores: Array
    sizes: Array | None = None
    labels: Array | None = None

    def spread(self, keep: Array) -> Array:
        """Returns which weights belong to units to `keep`, (units,) to (weights,)."""
        return keep if self.labels is None else keep[self.labels]


class Structure(Configuration, abc.ABC):
    """How a matrix (inputs, outputs) is divided into the units that pruning removes.

    Attributes:
        final_sparsity: The fraction of zeros at the end, if the structure prescribes it.

    Examples:
        To write your own, make a frozen dataclass of it and define the two methods:

        >>> import dataclasses, keras, numpy as np, keras_moduli as km
        >>> @keras.saving.register_keras_serializable("docs")
        ... @dataclasses.dataclass(frozen=True)
        ... class Rows(km.pruning.structures.Structure):
        ...     def check(self, shape):
        ...         pass
        ...     def compute_units(self, scores, mask):
        ...         means = np.where(mask.any(1), (scores * mask).mean(1), -1.0)
        ...         sizes = np.full(*scores.shape)
        ...         labels = np.repeat(np.arange(len(scores)), scores.shape[1])
        ...         return km.pruning.structures.Units(means, sizes, labels)
        >>> Rows().compute_units(np.eye(2), np.ones((2, 2), bool)).scores.tolist()
        [0.5, 0.5]
    """

    final_sparsity: float | None = None

    @abc.abstractmethod
    def check(self, shape: tuple[int, int]) -> None:
        """Raises a ValueError if a matrix of this `shape` cannot be divided."""

    @abc.abstractmethod
    def compute_units(self, scores: Array, mask: Array) -> Units:
        """Returns the units of a matrix.

        Args:
            scores: How important each weight is, of shape (inputs, outputs); not
                negative.
            mask: True for the weights that are not masked yet, of the same shape.
        """


def _adapt(value: Any) -> Structure | None:
    if not isinstance(value, tuple | list):
        return None
    return Blocks(_checks.pair("structure", value, "(16, 64)"))


_registry = Registry(
    "structure",
    Structure,  # type: ignore[type-abstract]
    _adapt,
    also="a pair such as (16, 64), which is blocks of 16 inputs and 64 outputs",
)
names = _registry.names
register = _registry.register


def get(identifier: Any) -> Structure:
    """Returns a structure from its name, its configuration, a pair, or itself.

    Args:
        identifier: `"weights"`, a config made by `keras.saving`, a `Structure`, or a pair
            (b, c), which stands for `Blocks((b, c), balanced=True)`.

    Raises:
        TypeError: If `identifier` is none of these.
        ValueError: If the name is unknown, or a number is out of range.

    Examples:
        >>> import keras_moduli as km
        >>> km.pruning.structures.get((16, 64))
        Blocks(shape=(16, 64), balanced=True, pad=False)
    """
    return _registry.get(identifier)


@_registry.register("weights")
@dataclass(frozen=True)
class Weights(Structure):
    """Each weight by itself.

    Examples:
        >>> import keras_moduli as km
        >>> km.MagnitudePruning(0.9, structure=km.pruning.Weights()).rule.structure
        Weights()
    """

    def check(self, shape: tuple[int, int]) -> None:
        """Any matrix will do."""

    def compute_units(self, scores: Array, mask: Array) -> Units:
        """One unit a weight."""
        return Units(np.where(mask, scores, -1.0).ravel())


@_registry.register("n_of_m")
@dataclass(frozen=True)
class NofM(Structure):
    """Of every m consecutive inputs to an output, n stay: the final sparsity is 1 − n/m.

    Args:
        n: How many stay, at least 1.
        m: Of how many, more than `n`.
        pad: Whether the last group of a kernel may be smaller.

    Raises:
        TypeError: If `n` or `m` is no integer, or `pad` no boolean.
        ValueError: If `n` is below 1, or not below `m`.

    Examples:
        >>> import keras_moduli as km
        >>> km.pruning.NofM(2, 4).final_sparsity
        0.5

    Source: Mishra et al., "Accelerating sparse deep neural networks", 2021, for 2:4.
    """

    n: int
    m: int
    pad: bool = False

    def __post_init__(self) -> None:
        self._set(
            n=_checks.integer("n", self.n, minimum=1),
            m=_checks.integer("m", self.m, minimum=2),
            pad=_checks.boolean("pad", self.pad),
        )
        if self.n >= self.m:
            raise ValueError(
                "`n` must be below `m`: of m consecutive inputs n stay, as in "
                f"NofM(2, 4). Received: n={self.n}, m={self.m}"
            )
        self._set(final_sparsity=1.0 - self.n / self.m)

    def check(self, shape: tuple[int, int]) -> None:
        """The inputs must fall into groups."""
        _check_divides(shape, (self.m, 1), self.pad)

    def compute_units(self, scores: Array, mask: Array) -> Units:
        """One unit a weight, of which the best of each group stay."""
        scores = np.where(mask, scores, -1.0)
        rows, columns = scores.shape
        m = min(self.m, rows)  # of one group, which may be smaller
        padded = np.full((-(-rows // m) * m, columns), -2.0)
        padded[:rows] = scores
        groups = padded.reshape(-1, m, columns)
        best = np.argsort(-groups, axis=1, kind="stable")[:, : self.n]
        stays = np.zeros(groups.shape, bool)
        np.put_along_axis(stays, best, True, axis=1)
        stays = stays.reshape(padded.shape)[:rows] & (scores >= 0)
        return Units(np.where(stays, np.inf, scores).ravel())


@_registry.register("blocks")
@dataclass(frozen=True)
class Blocks(Structure):
    """Blocks of b inputs and c outputs at once, by their root mean square.

    All axes of a kernel but the last count as inputs; of `EinsumDense` and attention,
    those that are summed over. If balanced, a unit is one block
    of *every* column of blocks: the best of each, the second best of each, and so on. So
    each output keeps equally many blocks, which is what makes a product of dense blocks
    of it, and what the fast layers of `keras_moduli` need.

    Args:
        shape: (b, c); with (1, 1) and balanced, each output keeps equally many weights.
        balanced: Whether every column of blocks keeps equally many.
        pad: Whether the last blocks of a kernel may be smaller.

    Raises:
        TypeError: If `shape` is no pair of integers, or another argument no boolean.
        ValueError: If a number is below 1.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> scores = np.ones((8, 8))
        >>> len(km.pruning.Blocks((4, 2)).compute_units(scores, scores > 0).scores)
        2

    Source: Narang, Undersander and Diamos, "Block-sparse recurrent neural networks",
    2017.
    """

    shape: tuple[int, int]
    balanced: bool = True
    pad: bool = False

    def __post_init__(self) -> None:
        self._set(
            shape=_checks.pair("shape", self.shape, "(16, 64)"),
            balanced=_checks.boolean("balanced", self.balanced),
            pad=_checks.boolean("pad", self.pad),
        )

    def check(self, shape: tuple[int, int]) -> None:
        """The blocks must divide the matrix."""
        _check_divides(shape, self.shape, self.pad)

    def compute_units(self, scores: Array, mask: Array) -> Units:
        """One unit a block, or a row of equally good blocks."""
        rows, columns = scores.shape
        height, width = self.shape
        across = -(-columns // width)
        down = -(-rows // height)
        block_rows = np.arange(rows) // height
        block_columns = np.arange(columns) // width
        labels = (block_rows[:, None] * across + block_columns[None, :]).ravel()
        if self.balanced:
            blocks = _group(scores, mask, labels, down * across)
            order = np.argsort(-blocks.reshape(down, across), axis=0, kind="stable")
            rank = np.empty_like(order)
            np.put_along_axis(rank, order, np.arange(down)[:, None], axis=0)
            labels = rank.ravel()[labels]
        count = down if self.balanced else down * across
        sizes = np.bincount(labels, minlength=count)
        return Units(_group(scores, mask, labels, count), sizes, labels)


def _group(scores: Array, mask: Array, labels: Array, count: int) -> Array:
    """Returns the root mean square of each group's scores, −1 where all is masked."""
    kept = mask.ravel()
    values = np.where(kept, scores.ravel(), 0.0).astype(np.float64)
    exponents = _find_exponents(values, labels, count)
    if exponents.any():
        values = np.ldexp(values, -exponents[labels])
    sums = np.bincount(labels, np.square(values), minlength=count)
    means = np.sqrt(sums / np.bincount(labels, minlength=count))
    means = np.ldexp(means, exponents)
    return np.where(np.bincount(labels, kept, minlength=count) > 0, means, -1.0)


def _find_exponents(values: Array, labels: Array, count: int) -> Array:
    """Returns powers of 2 to divide groups by, some of whose squares float64 lacks."""
    largest, positive = np.zeros(count), values[values > 0]
    if positive.size and not 1e-140 < positive.min() <= positive.max() < 1e140:
        np.maximum.at(largest, labels, values)
    return np.frexp(largest)[1]


def _check_divides(shape: tuple[int, int], unit: tuple[int, int], pad: bool) -> None:
    if not pad and any(size % part for size, part in zip(shape, unit, strict=True)):
        raise ValueError(
            f"{unit[0]} × {unit[1]} does not divide a matrix of {shape[0]} × {shape[1]} "
            "(inputs × outputs). Pass `pad=True` to it to let the "
            "last ones be smaller, choose others, or leave the matrix out by `select`."
        )
