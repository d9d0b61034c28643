"""Manifolds: where the neurons live, and how far apart they are.

Every manifold is frozen data with a `squared_distance` on `keras.ops` whose gradients
are finite everywhere. Formulas: Mackey et al., "Geometric sparsification in recurrent
neural networks", 2024, and the textbook forms that are exact to rounding.
"""

from keras_moduli.manifolds import _composite, _curved, _finite, _flat
from keras_moduli.manifolds._base import Manifold, get, names, register
from keras_moduli.manifolds._composite import *
from keras_moduli.manifolds._curved import *
from keras_moduli.manifolds._finite import *
from keras_moduli.manifolds._flat import *

__all__ = ["Manifold", "get", "names", "register"]
__all__ += _composite.__all__
__all__ += _finite.__all__
__all__ += _curved.__all__
__all__ += _flat.__all__
