"""Rewiring: blocks of sparse layers move while these train."""

from keras_moduli.rewiring._callback import Rewire

__all__ = ["Rewire"]
