"""Pictures of a geometry and of what is sparse, by matplotlib.

Each function takes a model, and the name of a layer or weight matrix if it has several,
or what it draws; draws into `ax`, or a new figure; and returns the axes, so that all that
matplotlib can do is left to you. Install what they need by
`pip install "keras-moduli[viz]"`.
"""

from keras_moduli.plot._distances import distances
from keras_moduli.plot._history import history
from keras_moduli.plot._inhibitor import inhibitor
from keras_moduli.plot._manifold import gallery, manifold
from keras_moduli.plot._matrix import matrix
from keras_moduli.plot._neurons import neurons
from keras_moduli.plot._overview import overview
from keras_moduli.plot._persistence import persistence
from keras_moduli.plot._sparsity import sparsity
from keras_moduli.plot._speed import speed

__all__ = [
    "distances",
    "gallery",
    "history",
    "inhibitor",
    "manifold",
    "matrix",
    "neurons",
    "overview",
    "persistence",
    "sparsity",
    "speed",
]
