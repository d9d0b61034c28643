"""Sparse recurrent networks for Keras 3, by geometry.

Read it in this order: neurons live on `manifolds`, `inhibitors` price distances,
`connectivity` says which blocks a kernel has from the start, `penalties` and
`regularizers` make kernels pay and `layers` learn positions, `schedules` and `pruning`
remove what does not pay, `rewiring` moves blocks that learn little, `sparse` makes what
is left fast, `report` tells what it is and `plot` draws it, `callbacks` move the geometry
while a model trains, and `compression` makes small files of what is sparse.
"""

from keras_moduli import (
    callbacks,
    compression,
    connectivity,
    inhibitors,
    layers,
    manifolds,
    numerics,
    penalties,
    plot,
    pruning,
    regularizers,
    report,
    rewiring,
    schedules,
    sparse,
)
from keras_moduli._version import __version__
from keras_moduli.callbacks import (
    GeometryMonitor,
    GeometrySchedule,
    NeuronSwap,
    embedding_optimizer,
)
from keras_moduli.compression import load_compressed, save_compressed
from keras_moduli.pruning import (
    AtFinalSparsity,
    KeepZeros,
    MagnitudePruning,
    lottery_ticket,
)
from keras_moduli.regularizers import ModuliRegularizer, matched_l1
from keras_moduli.report import geometry, placement, sparsity, suggest_strength
from keras_moduli.rewiring import Rewire
from keras_moduli.sparse import densify, sparsify

__all__ = [
    "AtFinalSparsity",
    "GeometryMonitor",
    "GeometrySchedule",
    "KeepZeros",
    "MagnitudePruning",
    "ModuliRegularizer",
    "NeuronSwap",
    "Rewire",
    "__version__",
    "callbacks",
    "compression",
    "connectivity",
    "densify",
    "embedding_optimizer",
    "geometry",
    "inhibitors",
    "layers",
    "load_compressed",
    "lottery_ticket",
    "manifolds",
    "matched_l1",
    "numerics",
    "penalties",
    "placement",
    "plot",
    "pruning",
    "regularizers",
    "report",
    "rewiring",
    "save_compressed",
    "schedules",
    "sparse",
    "sparsify",
    "sparsity",
    "suggest_strength",
]
