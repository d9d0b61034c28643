"""Inhibitors: what a connection costs by the distance that it spans.

An inhibitor is a function f ≥ 0 of distance, written on the *squared* distance, of
which all but `Identity` are smooth functions. Source of the forms: Mackey et al.,
"Geometric sparsification in recurrent neural networks", 2024.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

from keras import ops

from keras_moduli import _checks, manifolds
from keras_moduli._inhibitor import Inhibitor, _registry, get, names, register
from keras_moduli.manifolds import Manifold
from keras_moduli.numerics import sqrt

__all__ = [
    "Constant",
    "DifferenceOfGaussians",
    "Diffusion",
    "Gaussian",
    "Identity",
    "Inhibitor",
    "Ripple",
    "get",
    "names",
    "register",
]

Tensor = Any


@_registry.register("constant")
@dataclass(frozen=True)
class Constant(Inhibitor):
    """f(d) = a: no geometry, that is plain L1 or L2.

    Args:
        value: a, at least 0.

    Raises:
        TypeError: If `value` is not a number.
        ValueError: If it is not finite, or below 0.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.inhibitors.Constant(0.5)(4.0))
        0.5
    """

    value: float = 1.0

    def __post_init__(self) -> None:
        self._set(value=_checks.real("value", self.value, minimum=0.0))

    def compute_cost(self, squared_distance: Tensor) -> Tensor:
        costs = ops.full_like(squared_distance, self.value)
        return ops.where(ops.isnan(squared_distance), squared_distance, costs)


@_registry.register("identity")
@dataclass(frozen=True)
class Identity(Inhibitor):
    """f(d) = d: wire length.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.inhibitors.Identity()(4.0))
        2.0
    """

    def compute_cost(self, squared_distance: Tensor) -> Tensor:
        return sqrt(squared_distance)


@_registry.register("diffusion")
@dataclass(frozen=True)
class Diffusion(Inhibitor):
    """f(d) = d², the paper's "diffusion".

    Examples:
        >>> import keras_moduli as km
        >>> float(km.inhibitors.Diffusion()(4.0))
        4.0
    """

    def compute_cost(self, squared_distance: Tensor) -> Tensor:
        return squared_distance


@_registry.register("gaussian")
@dataclass(frozen=True)
class Gaussian(Inhibitor):
    """f(d) = a·exp(−d²/w): near connections are expensive, far ones free.

    Args:
        amplitude: a, above 0; the authors' scripts use 100.
        width: w, above 0, in squared units of distance.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If one is not finite, or not above 0.

    Examples:
        >>> import keras_moduli as km
        >>> gaussian = km.inhibitors.Gaussian(amplitude=2.0)
        >>> float(gaussian(0.0)), float(gaussian(1e4))
        (2.0, 0.0)
    """

    amplitude: float = 1.0
    width: float = 3.0

    def __post_init__(self) -> None:
        self._set(
            amplitude=_checks.positive("amplitude", self.amplitude),
            width=_checks.positive("width", self.width),
        )

    @classmethod
    def for_density(
        cls, manifold: str | Manifold, density: float = 0.1, amplitude: float = 1.0
    ) -> Self:
        """The width at which a fraction of all pairs is far enough to be cheap.

        Args:
            manifold: Where the neurons live.
            density: Fraction of pairs that cost less than half the amplitude, in (0, 1).
            amplitude: a.

        Returns:
            An inhibitor of that width.
        """
        far = 1 - _checks.fraction("density", density)
        length = manifolds.get(manifold).natural_length(far)
        return cls(amplitude, length**2 / math.log(2))

    def compute_cost(self, squared_distance: Tensor) -> Tensor:
        return self.amplitude * ops.exp(-squared_distance / self.width)


@_registry.register("dog", "difference_of_gaussians")
@dataclass(frozen=True)
class DifferenceOfGaussians(Inhibitor):
    """f(d) = b − a·(exp(−d²/σ₂) − exp(−d²/σ₁)): cheapest at one short distance.

    The bracket peaks at d = √(ln(σ₂/σ₁) / (1/σ₁ − 1/σ₂)), which is `cheapest_distance`.

    Args:
        amplitude: a, above 0; the authors' scripts use 100.
        wide: σ₂, in squared units of distance.
        narrow: σ₁, above 0 and below `wide`.
        baseline: `"amplitude"` for b = a, as published; `"peak"` for b = a·peak, with
            which the cheapest distance costs 0. The authors' scripts subtract from the
            largest value present, which lets the zero level drift while a geometry is
            learned; the closed form does not.

    Raises:
        TypeError: If a number is none.
        ValueError: If one is not finite, or not above 0, `narrow` is not below `wide`,
            or `baseline` is neither of the two.

    Examples:
        >>> import keras_moduli as km
        >>> dog = km.inhibitors.DifferenceOfGaussians(baseline="peak")
        >>> round(dog.cheapest_distance, 4)
        0.8879
    """

    amplitude: float = 1.0
    wide: float = 5.0
    narrow: float = 0.25
    baseline: str = "amplitude"

    def __post_init__(self) -> None:
        self._set(
            amplitude=_checks.positive("amplitude", self.amplitude),
            wide=_checks.positive("wide", self.wide),
            narrow=_checks.positive("narrow", self.narrow),
            baseline=_checks.choice("baseline", self.baseline, ("amplitude", "peak")),
        )
        if self.narrow >= self.wide:
            raise ValueError(
                "`narrow` must be below `wide`. "
                f"Received: narrow={self.narrow!r}, wide={self.wide!r}"
            )

    @classmethod
    def for_density(
        cls,
        manifold: str | Manifold,
        density: float = 0.1,
        amplitude: float = 1.0,
        baseline: str = "amplitude",
    ) -> Self:
        """The widths, 20 to 1 as published, at which a fraction of all pairs is cheap.

        Args:
            manifold: Where the neurons live.
            density: Fraction of pairs that save more than half of the most that can be
                saved, in (0, 1).
            amplitude: a.
            baseline: As above.

        Returns:
            An inhibitor of those widths.

        Examples:
            >>> import keras_moduli as km
            >>> six = km.manifolds.Torus(6)
            >>> 25 < km.inhibitors.DifferenceOfGaussians.for_density(six).wide < 35
            True
        """
        length = manifolds.get(manifold).natural_length(density)
        published = cls()
        # The narrow Gaussian has vanished where the wide one is down to half the peak.
        half = published.wide * math.log(2 / published._peak)
        scale = length**2 / half
        return cls(amplitude, published.wide * scale, published.narrow * scale, baseline)

    @property
    def cheapest_distance(self) -> float:
        """The distance at which a connection costs least."""
        rate_difference = 1 / self.narrow - 1 / self.wide
        return math.sqrt(math.log(self.wide / self.narrow) / rate_difference)

    @property
    def _level(self) -> float:
        return self.amplitude * (1.0 if self.baseline == "amplitude" else self._peak)

    @property
    def _peak(self) -> float:
        square = self.cheapest_distance**2
        return math.exp(-square / self.wide) - math.exp(-square / self.narrow)

    def compute_cost(self, squared_distance: Tensor) -> Tensor:
        bracket = ops.exp(-squared_distance / self.wide) - ops.exp(
            -squared_distance / self.narrow
        )
        return self._level - self.amplitude * bracket


@_registry.register("ripple")
@dataclass(frozen=True)
class Ripple(Inhibitor):
    """f(d) = (a/2)·(1 + cos(ω·d)), the paper's "ripple" or "sinusoid".

    Args:
        amplitude: a, above 0; the authors' scripts use 100.
        frequency: ω, above 0, in radians per unit of distance.

    Raises:
        TypeError: If an argument is not a number.
        ValueError: If one is not finite, or not above 0.

    Examples:
        >>> import keras_moduli as km
        >>> ripple = km.inhibitors.Ripple()
        >>> float(ripple(0.0)), round(float(ripple((3.14159 / 2) ** 2)), 4)
        (1.0, 0.0)
    """

    amplitude: float = 1.0
    frequency: float = 2.0

    def __post_init__(self) -> None:
        self._set(
            amplitude=_checks.positive("amplitude", self.amplitude),
            frequency=_checks.positive("frequency", self.frequency),
        )

    @classmethod
    def for_density(
        cls, manifold: str | Manifold, density: float = 0.1, amplitude: float = 1.0
    ) -> Self:
        """The frequency whose first trough is as far as a fraction of all pairs reaches.

        Args:
            manifold: Where the neurons live.
            density: Fraction of pairs nearer than the first trough, in (0, 1).
            amplitude: a.

        Returns:
            An inhibitor of that frequency.
        """
        length = manifolds.get(manifold).natural_length(density)
        return cls(amplitude, math.pi / length)

    def compute_cost(self, squared_distance: Tensor) -> Tensor:
        wave = ops.cos(self.frequency * sqrt(squared_distance))
        return self.amplitude / 2 * (1.0 + wave)
