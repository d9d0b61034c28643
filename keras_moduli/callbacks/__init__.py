"""What happens to the geometry while a model trains."""

from keras_moduli.callbacks._monitor import GeometryMonitor
from keras_moduli.callbacks._optimizer import embedding_optimizer
from keras_moduli.callbacks._schedule import GeometrySchedule
from keras_moduli.callbacks._swap import NeuronSwap

__all__ = ["GeometryMonitor", "GeometrySchedule", "NeuronSwap", "embedding_optimizer"]
