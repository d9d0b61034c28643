"""How each kind of layer becomes a fast one: one file for each kind."""

from keras_moduli.sparse.converters._base import (
    Converter,
    find_converter,
    list_kernels,
    name_kind,
    pack,
    register_converter,
    to_array,
)
from keras_moduli.sparse.converters._dense import DenseConverter
from keras_moduli.sparse.converters._gru import GRUConverter
from keras_moduli.sparse.converters._lstm import LSTMConverter
from keras_moduli.sparse.converters._simple_rnn import SimpleRNNConverter

__all__ = [
    "Converter",
    "DenseConverter",
    "GRUConverter",
    "LSTMConverter",
    "SimpleRNNConverter",
    "find_converter",
    "list_kernels",
    "name_kind",
    "pack",
    "register_converter",
    "to_array",
]
