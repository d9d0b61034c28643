"""Turning a pruned model into one that is really faster."""

from keras_moduli.sparse._blocks import BlockLayout
from keras_moduli.sparse._cells import (
    BlockSparseGRUCell,
    BlockSparseLSTMCell,
    BlockSparseSimpleRNNCell,
)
from keras_moduli.sparse._convert import sparsify
from keras_moduli.sparse._layers import BlockSparseDense, BlockSparseRNN
from keras_moduli.sparse._plan import Plan, PlanRow, plan
from keras_moduli.sparse._stream import Stream

__all__ = [
    "BlockLayout",
    "BlockSparseDense",
    "BlockSparseGRUCell",
    "BlockSparseLSTMCell",
    "BlockSparseRNN",
    "BlockSparseSimpleRNNCell",
    "Plan",
    "PlanRow",
    "Stream",
    "plan",
    "sparsify",
]
