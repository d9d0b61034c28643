"""What happens to the geometry while a model trains, and what is seen of it."""

from keras_moduli.callbacks._monitor import GeometryMonitor
from keras_moduli.callbacks._optimizer import embedding_optimizer
from keras_moduli.callbacks._plot import PlotGeometry
from keras_moduli.callbacks._schedule import GeometrySchedule
from keras_moduli.callbacks._swap import NeuronSwap
from keras_moduli.callbacks._tensorboard import TensorBoardGeometry

__all__ = [
    "GeometryMonitor",
    "GeometrySchedule",
    "NeuronSwap",
    "PlotGeometry",
    "TensorBoardGeometry",
    "embedding_optimizer",
]
