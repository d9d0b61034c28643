"""Turning a pruned model into a faster one."""

from keras_moduli.connectivity._layout import BlockLayout
from keras_moduli.sparse._attention import (
    BlockSparseGroupQueryAttention,
    BlockSparseMultiHeadAttention,
)
from keras_moduli.sparse._convert import sparsify
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse._densify import densify
from keras_moduli.sparse._einsum import BlockSparseEinsumDense
from keras_moduli.sparse._plan import PlanRow, SparsePlan
from keras_moduli.sparse._planner import plan
from keras_moduli.sparse._stream import Stream
from keras_moduli.sparse.converters import Converter, pack, register_converter

__all__ = [
    "BlockLayout",
    "BlockSparseEinsumDense",
    "BlockSparseGroupQueryAttention",
    "BlockSparseMultiHeadAttention",
    "Choice",
    "Converter",
    "CostModel",
    "PlanRow",
    "SparsePlan",
    "Stream",
    "densify",
    "pack",
    "plan",
    "register_converter",
    "sparsify",
]
