"""The penalty by geometry and its controls, all of one mean cost.

A control is a function of a setting, registered by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

import keras_moduli as km

from .geometry import (
    compute_costs,
    make_manifold,
    make_moduli,
    scale_strength,
    shape_kernel,
)

if TYPE_CHECKING:
    from .settings import Experiment

Control = Callable[["Experiment"], Any]
CONTROLS: dict[str, Control] = {}


def register(name: str) -> Callable[[Control], Control]:
    """Makes a decorator that gives a control its name."""

    def keep(control: Control) -> Control:
        CONTROLS[name] = control
        return control

    return keep


def make_penalty(setting: Experiment) -> Any:
    """Makes the penalty on the recurrent kernel, or the control in its place."""
    return CONTROLS[setting.control](setting)


@register("geometry")
def charge_distances(setting: Experiment) -> km.ModuliRegularizer:
    """Makes the penalty by geometry."""
    return make_moduli(setting, scale_strength(setting))


@register("none")
def charge_nothing(setting: Experiment) -> None:
    """Makes no penalty."""


@register("l1")
def charge_weights(setting: Experiment) -> Any:
    """Makes L1 of the same mean cost."""
    return km.matched_l1(charge_distances(setting), shape_kernel(setting))


@register("permuted")
def permute_coefficients(setting: Experiment) -> km.ModuliRegularizer:
    """Makes the penalty with the same coefficients at random connections."""
    placement = {"permute_seed": setting.seed}
    return make_moduli(setting, scale_strength(setting, **placement), **placement)


@register("rows")
def permute_rows(setting: Experiment) -> km.ModuliRegularizer:
    """Makes the penalty of an embedding whose rows are in random order."""
    order = np.random.RandomState(setting.seed).permutation(setting.units)
    points = make_manifold(setting).sample(setting.units, setting.seed)
    placement = {"embedding": points[order]}
    return make_moduli(setting, scale_strength(setting, **placement), **placement)


@register("random")
def draw_costs(setting: Experiment) -> keras.regularizers.Regularizer:
    """Makes a penalty of no geometry, with the histogram of the geometry's costs."""
    costs = draw_symmetric(compute_costs(setting), setting.seed)
    return RandomCosts(costs, setting.strength)


def draw_symmetric(costs: np.ndarray, seed: int) -> np.ndarray:
    """Draws a symmetric table of costs from another table."""
    drawn = np.random.RandomState(seed).choice(costs.ravel(), costs.shape)
    upper = np.triu(drawn, 1)
    return upper + upper.T + np.diag(np.diag(drawn))


@keras.saving.register_keras_serializable("experiments")
class RandomCosts(keras.regularizers.Regularizer):
    """Costs of no geometry: strength · mean(costs · |w|) / mean(costs)."""

    def __init__(self, costs: Any, strength: float) -> None:
        self.costs, self.strength = np.asarray(costs, "float32"), strength

    def __call__(self, kernel: Any) -> Any:
        gates = kernel.shape[-1] // len(self.costs)
        by_gates = keras.ops.reshape(kernel, (len(self.costs), gates, -1))
        share = self.strength / float(self.costs.mean())
        costs = keras.ops.convert_to_tensor(self.costs)
        return share * km.penalties.penalty(by_gates, costs, reduction="mean")

    def get_config(self) -> dict[str, Any]:
        return {"costs": self.costs.tolist(), "strength": self.strength}
