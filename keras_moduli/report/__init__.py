"""What is left of a model, and where its neurons are."""

from keras_moduli.report._connections import Connections
from keras_moduli.report._geometry import GeometryReport, GeometryRow, geometry
from keras_moduli.report._placement import Placement, placement
from keras_moduli.report._sparsity import SparsityReport, SparsityRow, sparsity
from keras_moduli.report._strength import suggest_strength

__all__ = [
    "Connections",
    "GeometryReport",
    "GeometryRow",
    "Placement",
    "SparsityReport",
    "SparsityRow",
    "geometry",
    "placement",
    "sparsity",
    "suggest_strength",
]
