"""Sparse recurrent networks for Keras 3, by geometry.

Read it in this order: neurons live on `manifolds`, `inhibitors` price distances,
`penalties` and `regularizers` make kernels pay, `schedules` and `pruning` remove what
does not, and `report` shows what is left.
"""

from keras_moduli import (
    inhibitors,
    manifolds,
    penalties,
    pruning,
    regularizers,
    report,
    schedules,
)
from keras_moduli._version import __version__
from keras_moduli.pruning import MagnitudePruning
from keras_moduli.regularizers import ModuliRegularizer, matched_l1
from keras_moduli.report import sparsity

__all__ = [
    "MagnitudePruning",
    "ModuliRegularizer",
    "__version__",
    "inhibitors",
    "manifolds",
    "matched_l1",
    "penalties",
    "pruning",
    "regularizers",
    "report",
    "schedules",
    "sparsity",
]
