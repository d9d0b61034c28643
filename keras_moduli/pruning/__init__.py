"""Pruning in `model.fit`, with masks that hold inside the compiled step."""

from keras_moduli.pruning._callback import KeepZeros, MagnitudePruning
from keras_moduli.pruning._lottery import lottery_ticket
from keras_moduli.pruning._ranking import magnitude_masks
from keras_moduli.pruning._regrowth import SET, Regrowth, RigL
from keras_moduli.pruning._scopes import erdos_renyi_kernel
from keras_moduli.pruning._selection import Skipped, prunable_variables, skipped

__all__ = [
    "SET",
    "KeepZeros",
    "MagnitudePruning",
    "Regrowth",
    "RigL",
    "Skipped",
    "erdos_renyi_kernel",
    "lottery_ticket",
    "magnitude_masks",
    "prunable_variables",
    "skipped",
]
