"""Regularizers: a penalty by distance, for any kernel of any Keras layer."""

from keras_moduli.regularizers._controls import matched_l1
from keras_moduli.regularizers._cost import Cost, KernelLayout
from keras_moduli.regularizers._moduli import ModuliRegularizer, find_regularizer
from keras_moduli.regularizers._placement import FixedPlacement, Placement, Positions

__all__ = [
    "Cost",
    "FixedPlacement",
    "KernelLayout",
    "ModuliRegularizer",
    "Placement",
    "Positions",
    "find_regularizer",
    "matched_l1",
]
