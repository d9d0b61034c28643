"""What happens to the geometry while a model trains."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _checks, _keras_private, schedules
from keras_moduli._registry import PACKAGE
from keras_moduli._training import Lease
from keras_moduli.layers import NeuronEmbedding, find_embeddings
from keras_moduli.layers._embedding import holds_positions
from keras_moduli.regularizers import find_regularizer
from keras_moduli.regularizers._assignment import NeuronSet, find_neuron_sets
from keras_moduli.report import geometry

__all__ = ["GeometryMonitor", "GeometrySchedule", "NeuronSwap", "embedding_optimizer"]


def embedding_optimizer(
    optimizer: str | keras.optimizers.Optimizer, learning_rate: float = 0.01
) -> keras.optimizers.Optimizer:
    """Returns an optimizer that learns positions of neurons at a rate of their own.

    Args:
        optimizer: For everything else: a Keras optimizer or its name.
        learning_rate: Of the Adam that moves neurons, in units of the coordinates.

    Returns:
        A `keras.optimizers.MultiOptimizer`. Weight decay does not reach the
        positions.

    Example:

    >>> import keras, keras_moduli as km
    >>> model = keras.Sequential([keras.Input((5, 2)), km.layers.ModuliGRU(8)])
    >>> model.compile(km.embedding_optimizer("adamw", 0.05), "mse")
    """
    rate = _checks.positive("learning_rate", learning_rate)
    adam = keras.optimizers.Adam(rate, name="embedding_adam")
    default = _get_optimizer(optimizer)
    return keras.optimizers.MultiOptimizer(_EmbeddingMap(default, {_POSITIONS: adam}))


def _get_optimizer(identifier: Any) -> keras.optimizers.Optimizer:
    is_known = isinstance(identifier, str | dict | keras.optimizers.Optimizer)
    if not identifier or not is_known:
        raise TypeError(
            "`optimizer` must be a Keras optimizer or its name, such as 'adam'. "
            f"Received: optimizer={identifier!r}"
        )
    return keras.optimizers.get(identifier)


_POSITIONS = "positions"


@keras.saving.register_keras_serializable(PACKAGE)
class _EmbeddingMap(keras.optimizers.OptimizerMap):
    """Knows the weights that hold positions for what they are, whatever their names."""

    def __call__(self, variable: Any) -> keras.optimizers.Optimizer:
        if holds_positions(variable):
            return self[_POSITIONS]
        return self.default_optimizer


class GeometrySchedule(keras.callbacks.Callback):
    """Ramps the strength of learned geometry, and freezes the positions of neurons.

    Both act inside the compiled step, which is not compiled again, and both are taken
    back when training ends, by an exception too: in a later `fit` without this callback
    all of the strength is in force, and positions learn.

    Args:
        ramp: Schedule of the strength over the epochs `begin` to `end`: a name such as
            `"linear"`, a function of progress, or None to leave the strength alone.
        begin: Epoch at which the ramp starts, counted from 0.
        end: Epoch from which the full strength is in force. Needed with `ramp`.
        freeze: Epoch from whose start on the positions of neurons stay as they are.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of range; when training starts, if no layer of
            the model learns geometry, or the model is not built.

    Example:

    >>> import keras_moduli as km
    >>> callback = km.GeometrySchedule(ramp="linear", end=5, freeze=20)
    """

    def __init__(
        self,
        ramp: str | Callable[[float], float] | None = None,
        *,
        begin: int = 0,
        end: int | None = None,
        freeze: int | None = None,
    ) -> None:
        super().__init__()
        self.ramp = None if ramp is None else schedules.get(ramp)
        self.begin = _checks.integer("begin", begin, minimum=0)
        if ramp is not None and end is None:
            raise ValueError(
                "`ramp` needs `end`, the epoch from which the full strength is in "
                "force. Received: end=None"
            )
        from_begin = functools.partial(_checks.integer, minimum=self.begin)
        self.end = _checks.optional(from_begin, "end", end)
        from_0 = functools.partial(_checks.integer, minimum=0)
        self.freeze = _checks.optional(from_0, "freeze", freeze)
        self._lease: Any = None  # of what is to be taken back

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Checks that there is something to schedule, and notes how it is."""
        if _is_unbuilt(self.model):
            raise ValueError(
                f"Model {self.model.name!r} is not built, and TensorFlow would build it "
                "only after the first epoch has been scheduled. Give it a `keras.Input`, "
                "or call `model.build(input_shape)` first."
            )
        before = [
            (variable, _read(variable))
            for embedding in self._find_embeddings()
            for variable in (embedding.ramp, embedding.plasticity)
        ]
        self._lease = Lease(self.model, lambda: _assign_all(before))

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Sets strength and plasticity back to what they were when training began."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.end()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Sets the strength and the plasticity of this epoch."""
        for embedding in self._find_embeddings():
            if self.ramp is not None:
                embedding.ramp.assign(float(self.ramp(self._compute_progress(epoch))))
            if self.freeze is not None:
                self._set_plasticity(embedding, frozen=epoch >= self.freeze)

    def _find_embeddings(self) -> list[NeuronEmbedding]:
        embeddings = find_embeddings(self.model)
        if not embeddings:
            raise ValueError(
                f"Model {self.model.name!r} has no learned geometry to schedule. Use a "
                "layer of keras_moduli.layers."
            )
        return embeddings

    def _compute_progress(self, epoch: int) -> float:
        assert self.end is not None
        if epoch >= self.end:
            return 1.0
        return max(0.0, (epoch - self.begin) / (self.end - self.begin))

    def _set_plasticity(self, embedding: NeuronEmbedding, *, frozen: bool) -> None:
        if frozen and _read(embedding.plasticity) > 0:
            optimizer = _keras_private.find_optimizer(
                self.model.optimizer, embedding.embedding
            )
            for state in _keras_private.iterate_slots(optimizer, embedding.embedding):
                state.assign(ops.zeros_like(state.value))  # momentum would drift on
            if getattr(optimizer, "weight_decay", None):
                warnings.warn(
                    "Weight decay goes on moving frozen neurons. Compile with "
                    "`keras_moduli.embedding_optimizer(...)`, which keeps it off them.",
                    stacklevel=2,
                )
        embedding.plasticity.assign(0.0 if frozen else 1.0)


def _is_unbuilt(model: keras.Model | None) -> bool:
    return model is not None and not model.weights


def _assign_all(values: list[tuple[Any, float]]) -> None:
    for variable, value in values:
        variable.assign(value)


def _read(variable: Any) -> float:
    return float(ops.convert_to_numpy(variable.value))


class GeometryMonitor(keras.callbacks.Callback):
    """Warns when a learned geometry collapses or feels no force, and says what to change.

    Looks at `keras_moduli.geometry(model)` at the end of epochs, and puts the spread of
    each embedding into the logs, relative to random positions: 1 is well spread.

    Args:
        frequency: Look every so many epochs.

    Raises:
        ValueError: When training starts, if no weight of the model has a geometry; at the
            first look, if the model is only built in the first step.
    """

    def __init__(self, frequency: int = 1) -> None:
        super().__init__()
        self.frequency = _checks.integer("frequency", frequency, minimum=1)
        self._told: set[tuple[str, str]] = set()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Checks that there is something to look at."""
        if not _is_unbuilt(self.model):
            geometry(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Looks, logs and warns, once for each trouble."""
        if (epoch + 1) % self.frequency:
            return
        for row in geometry(self.model).rows:
            if logs is not None:
                logs[f"spread {row.label}"] = row.spread
            if row.advice and (row.label, row.verdict) not in self._told:
                self._told.add((row.label, row.verdict))
                warnings.warn(f"{row.label} is {row.verdict}: {row.advice}", stacklevel=2)


class NeuronSwap(keras.callbacks.Callback):
    """Swaps the positions of neurons where that lowers the penalty. Touches no weight.

    For placements that gradients do not move: `ModuliRegularizer`, and layers with
    `embedding_trainable=False`, on a `FiniteMetric` too. Pairs of neurons trade
    positions, the best first, until no swap helps. With a `ModuliRegularizer`, whose
    positions are constants of the compiled step, each round of swaps compiles it again.

    Args:
        frequency: Swap at the end of every so many epochs.
        sweeps: At most so many rounds over all neurons each time.

    Raises:
        ValueError: When training starts, if no recurrent kernel has a geometry.

    Source: the neuron swaps of Liu, Gan and Tegmark, "Seeing is believing:
    brain-inspired modular training for mechanistic interpretability", 2023.
    """

    def __init__(self, frequency: int = 1, *, sweeps: int = 10) -> None:
        super().__init__()
        self.frequency = _checks.integer("frequency", frequency, minimum=1)
        self.sweeps = _checks.integer("sweeps", sweeps, minimum=1)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Checks that there are neurons to swap."""
        if not _is_unbuilt(self.model):
            _find_swappable(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Swaps, and reports how many neurons moved as `logs["swapped"]`."""
        if (epoch + 1) % self.frequency:
            return
        swapped = self.swap(self.model)
        if logs is not None:
            logs["swapped"] = float(swapped)

    def swap(self, model: keras.Model) -> int:
        """Swaps neurons now, in a model that need not be training.

        Args:
            model: A built model.

        Returns:
            How many neurons have a new position.
        """
        moved = sum(map(self._swap_neurons_of, _find_swappable(model)))
        if moved and model.train_function is not None:
            model.make_train_function(force=True)
        return moved

    def _swap_neurons_of(self, neurons: NeuronSet) -> int:
        """Moves a set of neurons, and returns how many have a new position."""
        order = neurons.improve(self.sweeps)
        regularizer = find_regularizer(neurons.inner[0])
        assert regularizer is not None
        points, _ = regularizer.positions(neurons.inner[0].shape)
        moved = int((order != np.arange(len(order))).sum())
        if moved:
            regularizer.placement.assign(points[order])
        return moved


def _find_swappable(model: keras.Model) -> list[NeuronSet]:
    """Returns the sets of neurons that can be swapped, or says why none can be."""
    found = find_neuron_sets(_checks.built_model(model))
    if not found:
        raise ValueError(
            f"Model {model.name!r} has no neurons to swap: no kernel from a set of "
            "neurons to itself has a ModuliRegularizer or a layer of "
            "keras_moduli.layers."
        )
    for neurons in found:
        sizes = {kernel.path: kernel.shape[0] for kernel in neurons.inner}
        if len(set(sizes.values())) > 1:
            raise ValueError(
                "One ModuliRegularizer places layers of different sizes, whose neurons "
                "have no places to trade. Give each layer a ModuliRegularizer of its "
                f"own. Received: neurons {sizes}"
            )
    return found
