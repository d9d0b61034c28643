"""Connectivity: which blocks a kernel has before there are weights."""

from keras_moduli.connectivity._base import (
    Balanced,
    Connectivity,
    get,
    names,
    register,
)
from keras_moduli.connectivity._constraint import adapt_constraint
from keras_moduli.connectivity._given import FromMask, Permuted
from keras_moduli.connectivity._kernel import (
    BlockKernel,
    find_kernel,
    get_dense_shape,
)
from keras_moduli.connectivity._layout import BlockLayout
from keras_moduli.connectivity._local import Local, SmallWorld
from keras_moduli.connectivity._plain import Banded, Random

__all__ = [
    "Balanced",
    "Banded",
    "BlockKernel",
    "BlockLayout",
    "Connectivity",
    "FromMask",
    "Local",
    "Permuted",
    "Random",
    "SmallWorld",
    "adapt_constraint",
    "find_kernel",
    "get",
    "get_dense_shape",
    "names",
    "register",
]
