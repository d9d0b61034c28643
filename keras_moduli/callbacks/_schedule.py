"""Strength that grows and positions that freeze while a model trains."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_moduli import _checks, _keras_private, schedules
from keras_moduli._repr import write_call
from keras_moduli._training import Lease
from keras_moduli.layers import NeuronEmbedding, find_embeddings


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

    Examples:
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

    def __repr__(self) -> str:
        return write_call(self)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Checks that there is something to schedule, and notes how it is."""
        if not _checks.has_weights(self.model):
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


def _assign_all(values: list[tuple[Any, float]]) -> None:
    for variable, value in values:
        variable.assign(value)


def _read(variable: Any) -> float:
    # Not its `value`: of scalars on several devices NumPy makes no array.
    return float(ops.convert_to_numpy(variable))
