"""Pruning in `model.fit`, with masks that hold inside the compiled step.

What is pruned at once are `structures`, which weights compete `scopes`, what they are
ranked by `scores`, and what comes back `regrowth`; each of these families has `get`,
`names` and `register`.
"""

from keras_moduli.pruning import regrowth, scopes, scores, structures
from keras_moduli.pruning._callback import MagnitudePruning
from keras_moduli.pruning._final import AtFinalSparsity
from keras_moduli.pruning._keep_zeros import KeepZeros
from keras_moduli.pruning._lottery import lottery_ticket
from keras_moduli.pruning._ranking import magnitude_masks
from keras_moduli.pruning._selection import Skipped, list_skipped, prunable_variables
from keras_moduli.pruning._timeline import Timeline
from keras_moduli.pruning.regrowth import SET, Regrowth, RigL
from keras_moduli.pruning.scopes import erdos_renyi_kernel
from keras_moduli.pruning.structures import Blocks, NofM, Weights

__all__ = [
    "SET",
    "AtFinalSparsity",
    "Blocks",
    "KeepZeros",
    "MagnitudePruning",
    "NofM",
    "Regrowth",
    "RigL",
    "Skipped",
    "Timeline",
    "Weights",
    "erdos_renyi_kernel",
    "list_skipped",
    "lottery_ticket",
    "magnitude_masks",
    "prunable_variables",
    "regrowth",
    "scopes",
    "scores",
    "structures",
]
