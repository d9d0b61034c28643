"""The manifold, the inhibitor and the penalty that a setting names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras_moduli as km

if TYPE_CHECKING:
    from .settings import Experiment

# Besides the names of the library, the placements of Mackey et al.
PLACEMENTS: dict[str, Callable[[], km.manifolds.Manifold]] = {
    "6-torus": lambda: km.manifolds.Torus(6),
    "3-sphere": lambda: km.manifolds.Sphere(3, radius=10.0),
    "r9": lambda: km.manifolds.Euclidean(9),
    "sphere x torus": lambda: km.manifolds.Product(
        [km.manifolds.Sphere(), km.manifolds.Torus()]
    ),
}
GATES = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}


def list_manifolds() -> list[str]:
    """Lists the names that a setting may give to its manifold."""
    return [*km.manifolds.names(), *PLACEMENTS]


def list_inhibitors() -> list[str]:
    """Lists the names that a setting may give to its inhibitor."""
    return km.inhibitors.names()


def make_manifold(setting: Experiment) -> km.manifolds.Manifold:
    """Makes the manifold that the neurons live on."""
    if setting.manifold in PLACEMENTS:
        return PLACEMENTS[setting.manifold]()
    return km.manifolds.get(setting.manifold)


def make_inhibitor(setting: Experiment) -> km.inhibitors.Inhibitor:
    """Makes the inhibitor, its length tied to the manifold unless `density` is 0.

    The difference of Gaussians is 0 where it is cheapest, as in the authors' scripts.
    """
    cls = type(km.inhibitors.get(setting.inhibitor))
    is_dog = cls is km.inhibitors.DifferenceOfGaussians
    arguments = {"baseline": "peak"} if is_dog else {}
    if setting.density and hasattr(cls, "for_density"):
        return cls.for_density(make_manifold(setting), setting.density, **arguments)
    return cls(**arguments)


def make_moduli(
    setting: Experiment, strength: float, **placement: Any
) -> km.ModuliRegularizer:
    """Makes the penalty of this strength, a mean over the recurrent kernel."""
    return km.ModuliRegularizer(
        make_manifold(setting),
        make_inhibitor(setting),
        strength,
        reduction="mean",
        gates=GATES[setting.cell],
        seed=setting.seed,
        **placement,
    )


def compute_costs(setting: Experiment, **placement: Any) -> Any:
    """Computes what unit weights of the recurrent kernel cost at strength 1."""
    return make_moduli(setting, 1.0, **placement).coefficients(shape_kernel(setting))


def scale_strength(setting: Experiment, **placement: Any) -> float:
    """Computes at which strength a unit weight costs `setting.strength` on average."""
    return setting.strength / float(compute_costs(setting, **placement).mean())


def shape_kernel(setting: Experiment) -> tuple[int, int]:
    """Computes the shape of the recurrent kernel."""
    return setting.units, GATES[setting.cell] * setting.units
