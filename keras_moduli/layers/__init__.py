"""Layers: Keras's own, whose neurons learn where they are."""

from keras_moduli.layers._embedding import NeuronEmbedding
from keras_moduli.layers._penalty import neuron_embeddings
from keras_moduli.layers._recurrent import (
    LearnedGeometry,
    ModuliGRU,
    ModuliGRUCell,
    ModuliLSTM,
    ModuliLSTMCell,
    ModuliSimpleRNN,
    ModuliSimpleRNNCell,
)
from keras_moduli.layers._wrapper import Moduli

__all__ = [
    "LearnedGeometry",
    "Moduli",
    "ModuliGRU",
    "ModuliGRUCell",
    "ModuliLSTM",
    "ModuliLSTMCell",
    "ModuliSimpleRNN",
    "ModuliSimpleRNNCell",
    "NeuronEmbedding",
    "neuron_embeddings",
]
