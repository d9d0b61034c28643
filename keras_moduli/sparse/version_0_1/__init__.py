"""The block-sparse layers of version 0.1, whose files still load.

`sparsify` makes `keras_moduli.layers.SparseDense` and its like now. These keep their
names, configs and weights; they are no part of the interface.
"""

from keras_moduli.sparse.version_0_1._cells import (
    BlockSparseGRUCell,
    BlockSparseLSTMCell,
    BlockSparseSimpleRNNCell,
    Cell,
)
from keras_moduli.sparse.version_0_1._layers import BlockSparseDense, BlockSparseRNN

__all__ = [
    "BlockSparseDense",
    "BlockSparseGRUCell",
    "BlockSparseLSTMCell",
    "BlockSparseRNN",
    "BlockSparseSimpleRNNCell",
    "Cell",
]
