"""Manifolds made of others."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _backend, _checks
from keras_moduli.manifolds._base import Array, Manifold, Tensor, get, register

__all__ = ["Product"]


class _Equal(NamedTuple):
    """Equal factors of a product, k of them with d coordinates each.

    Attributes:
        factor: One of them.
        columns: Where their coordinates are, (k, d).
        weights: Of each, (k,).
    """

    factor: Manifold
    columns: NDArray[np.intp]
    weights: Array

    def take(self, points: Tensor) -> Tensor:
        """Returns their coordinates (..., k, d)."""
        taken = _take(points, self.columns.ravel())
        return ops.reshape(taken, (*ops.shape(points)[:-1], *self.columns.shape))

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns their share of the squared distance."""
        parts = self.factor.compute_squared_distance(self.take(x), self.take(y))
        return ops.sum(ops.cast(self.weights, parts.dtype) * parts, axis=-1)


def _take(points: Tensor, columns: NDArray[np.intp]) -> Tensor:
    """Returns some coordinates, without a gather where they lie side by side."""
    first, last = int(columns[0]), int(columns[-1])
    if np.array_equal(columns, np.arange(first, last + 1)):
        return points[..., first : last + 1]
    return _backend.take(points, columns, axis=-1)


@register("product")
@dataclass(frozen=True)
class Product(Manifold):
    """A product of manifolds: d² = Σₖ wₖ dₖ².

    A point is the concatenation of one point of each factor.

    Args:
        factors: Manifolds or their names, at least one, and at most 16 different ones,
            products inside and their factors counted: equal ones are computed at once.
        weights: wₖ, one number above 0 for each factor; 1 by default.

    Raises:
        TypeError: If `factors` is no list of manifolds, or `weights` none of numbers.
        ValueError: If there is no factor, there are more than 4097 coordinates in all, or
            the weights are not as many as factors, finite and above 0.

    Examples:
        >>> import keras_moduli as km
        >>> mixed = km.manifolds.Product(["sphere", km.manifolds.Torus()])
        >>> mixed.ambient_dim
        5
    """

    factors: tuple[Manifold, ...]
    weights: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.factors, str) or not isinstance(self.factors, Sequence):
            raise TypeError(
                "`factors` must be a list of manifolds or their names, such as "
                f"['circle', 'sphere']. Received: factors={_checks.shorten(self.factors)}"
            )
        try:
            self._set(factors=tuple(get(factor) for factor in self.factors))
        except (TypeError, ValueError) as error:
            raise type(error)(f"`factors` must hold manifolds: {error}") from None
        if not self.factors:
            raise ValueError("`factors` must name at least one manifold.")
        if (count := _count_formulas(self) - 1) > _checks.MOST_FACTORS:
            raise ValueError(
                f"`factors` must be at most {_checks.MOST_FACTORS} different manifolds, "
                "products inside and theirs counted: type Torus(n, periods) for many "
                f"circles, and no product of one factor. Received: {count}"
            )
        if self.ambient_dim > _checks.MOST_DIMENSIONS + 1:
            raise ValueError(
                f"`factors` must have at most {_checks.MOST_DIMENSIONS + 1} coordinates "
                f"in all. Received: {self.ambient_dim}"
            )
        if self.weights is None:
            return
        if isinstance(self.weights, np.ndarray):
            self._set(weights=self.weights.tolist())
        if not isinstance(self.weights, Sequence):
            raise TypeError(
                "`weights` must be a list of numbers, one for each factor. "
                f"Received: weights={_checks.shorten(self.weights)}"
            )
        if len(self.weights) != len(self.factors):
            raise ValueError(
                f"`weights` must hold one number for each of the {len(self.factors)} "
                f"factors. Received: weights={_checks.shorten(self.weights)}"
            )
        self._set(weights=tuple(_checks.positive("weights", w) for w in self.weights))

    @property
    def ambient_dim(self) -> int:
        return sum(factor.ambient_dim for factor in self.factors)

    @property
    def learnable(self) -> bool:  # type: ignore[override]
        """Whether those of all factors have gradients."""
        return all(factor.learnable for factor in self.factors)

    def _parts(self, points: Any) -> list[Any]:
        ends = np.cumsum([factor.ambient_dim for factor in self.factors])
        starts = [0, *ends[:-1]]
        return [points[..., a:b] for a, b in zip(starts, ends, strict=True)]

    @cached_property
    def _groups(self) -> list[_Equal]:
        weights = self.weights or (1.0,) * len(self.factors)
        columns = self._parts(np.arange(self.ambient_dim))
        groups: dict[Manifold, list[int]] = {}
        for number, factor in enumerate(self.factors):
            groups.setdefault(factor, []).append(number)
        return [
            _Equal(
                factor,
                np.stack([columns[k] for k in numbers]),
                np.array([weights[k] for k in numbers]),
            )
            for factor, numbers in groups.items()
        ]

    def project(self, points: Tensor) -> Tensor:
        parts = []
        for equal in self._groups:
            part = equal.factor.project(equal.take(points))
            shape = (*ops.shape(points)[:-1], equal.columns.size)
            parts.append(ops.reshape(part, shape))
        order = np.concatenate([equal.columns.ravel() for equal in self._groups])
        return _take(ops.concatenate(parts, axis=-1), np.argsort(order))

    def compute_squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        return sum(equal.compute_squared_distance(x, y) for equal in self._groups)

    def draw(self, n: int, rng: np.random.RandomState) -> Array:
        return np.hstack([factor.draw(n, rng) for factor in self.factors])

    def chart(self, points: Array) -> Array:
        parts = zip(self.factors, self._parts(points), strict=True)
        return np.hstack([factor.chart(x) for factor, x in parts])


def _count_formulas(manifold: Manifold) -> int:
    """Returns how many formulas a distance takes."""
    if not isinstance(manifold, Product):
        return 1
    return 1 + sum(map(_count_formulas, dict.fromkeys(manifold.factors)))
