"""Sparse recurrent networks for Keras 3, by geometry.

Read it in this order: neurons live on `manifolds`, `inhibitors` price distances,
`penalties` and `regularizers` make kernels pay and `layers` learn the places, `schedules`
and `pruning` remove what does not pay, `report` shows what is left, and `callbacks` move
the geometry while a model trains.
"""

from keras_moduli import (
    callbacks,
    inhibitors,
    layers,
    manifolds,
    penalties,
    pruning,
    regularizers,
    report,
    schedules,
)
from keras_moduli._version import __version__
from keras_moduli.callbacks import (
    GeometryMonitor,
    GeometrySchedule,
    NeuronSwap,
    embedding_optimizer,
)
from keras_moduli.pruning import MagnitudePruning
from keras_moduli.regularizers import ModuliRegularizer, matched_l1
from keras_moduli.report import geometry, sparsity

__all__ = [
    "GeometryMonitor",
    "GeometrySchedule",
    "MagnitudePruning",
    "ModuliRegularizer",
    "NeuronSwap",
    "__version__",
    "callbacks",
    "embedding_optimizer",
    "geometry",
    "inhibitors",
    "layers",
    "manifolds",
    "matched_l1",
    "penalties",
    "pruning",
    "regularizers",
    "report",
    "schedules",
    "sparsity",
]
