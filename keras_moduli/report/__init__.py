"""What is left of a model, and where its neurons are."""

from keras_moduli.report._geometry import GeometryReport, GeometryRow, geometry
from keras_moduli.report._sparsity import SparsityReport, SparsityRow, sparsity

__all__ = [
    "GeometryReport",
    "GeometryRow",
    "SparsityReport",
    "SparsityRow",
    "geometry",
    "sparsity",
]
