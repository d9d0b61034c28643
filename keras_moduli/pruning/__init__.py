"""Pruning by magnitude in `model.fit`, with masks that hold inside the compiled step."""

from keras_moduli.pruning._callback import MagnitudePruning
from keras_moduli.pruning._ranking import magnitude_masks, prunable_variables

__all__ = ["MagnitudePruning", "magnitude_masks", "prunable_variables"]
