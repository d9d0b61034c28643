"""A model as a function of one time step: what a `Stream` runs."""

from keras_moduli.sparse.streaming._program import Program
from keras_moduli.sparse.streaming._walk import trace_model

__all__ = ["Program", "trace_model"]
