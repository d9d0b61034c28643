"""Regularizers: a penalty by distance, for any kernel of any Keras layer."""

from keras_moduli.regularizers._base import DistancePenalty, find_regularizer
from keras_moduli.regularizers._blocks import BlockPenalty, charge_blocks
from keras_moduli.regularizers._controls import matched_l1
from keras_moduli.regularizers._cost import Cost, KernelLayout
from keras_moduli.regularizers._moduli import ModuliRegularizer
from keras_moduli.regularizers._placement import FixedPlacement, Placement, Positions

__all__ = [
    "BlockPenalty",
    "Cost",
    "DistancePenalty",
    "FixedPlacement",
    "KernelLayout",
    "ModuliRegularizer",
    "Placement",
    "Positions",
    "charge_blocks",
    "find_regularizer",
    "matched_l1",
]
