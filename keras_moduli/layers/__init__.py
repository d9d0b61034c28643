"""Layers: Keras's own, whose neurons learn their positions."""

from keras_moduli.layers._embedding import NeuronEmbedding
from keras_moduli.layers._learned import LearnedGeometry
from keras_moduli.layers._placement import LearnedPlacement, find_embeddings
from keras_moduli.layers._recurrent import (
    ModuliGRU,
    ModuliGRUCell,
    ModuliLSTM,
    ModuliLSTMCell,
    ModuliSimpleRNN,
    ModuliSimpleRNNCell,
)
from keras_moduli.layers._sparse_cells import (
    SparseGRUCell,
    SparseLSTMCell,
    SparseSimpleRNNCell,
)
from keras_moduli.layers._sparse_dense import SparseDense
from keras_moduli.layers._sparse_layers import (
    SparseGRU,
    SparseLSTM,
    SparseSimpleRNN,
)
from keras_moduli.layers._wrapper import Moduli

__all__ = [
    "LearnedGeometry",
    "LearnedPlacement",
    "Moduli",
    "ModuliGRU",
    "ModuliGRUCell",
    "ModuliLSTM",
    "ModuliLSTMCell",
    "ModuliSimpleRNN",
    "ModuliSimpleRNNCell",
    "NeuronEmbedding",
    "SparseDense",
    "SparseGRU",
    "SparseGRUCell",
    "SparseLSTM",
    "SparseLSTMCell",
    "SparseSimpleRNN",
    "SparseSimpleRNNCell",
    "find_embeddings",
]
