"""Regularizers: a penalty by distance, for any kernel of any Keras layer."""

from keras_moduli.regularizers._base import KernelPenalty, geometry_of
from keras_moduli.regularizers._fixed import ModuliRegularizer, matched_l1

__all__ = ["KernelPenalty", "ModuliRegularizer", "geometry_of", "matched_l1"]
