"""Zeros that are held, while a pruned model trains on."""

from typing import Any

import keras

from keras_moduli.pruning import _fit
from keras_moduli.pruning._run import Run
from keras_moduli.pruning._selection import Select, check_select


class KeepZeros(keras.callbacks.Callback):
    """Holds what is zero at zero while a pruned model trains on, and prunes nothing.

    Args:
        select: As in `MagnitudePruning`.

    Raises:
        TypeError: If `select` is of the wrong type.
        ValueError: When training starts, if the model is not compiled, or a selection
            matches nothing.

    Example:

    >>> import keras, numpy as np, keras_moduli as km
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> model.set_weights([np.eye(4, 3), np.zeros(3)])
    >>> model.compile("adam", "mse")
    >>> x, y = np.ones((8, 4)), np.ones((8, 3))
    >>> history = model.fit(x, y, callbacks=[km.KeepZeros()], verbose=0)
    >>> km.sparsity(model).total.zeros
    9
    """

    def __init__(self, select: Select = None) -> None:
        super().__init__()
        self.select = check_select(select)
        self._run: Any = None  # all that is remembered of a run

    def set_model(self, model: keras.Model) -> None:
        """Attaches the masks; `fit` calls this before it compiles its step."""
        super().set_model(model)
        self._release()
        self._run = Run(model, self.select)
        _fit.set_up(self._run)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Marks that training has started."""
        _fit.start(self._run)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Takes what is zero for masked, once."""
        _fit.update(self, self._run, epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the fraction of zeros and the penalty by distance."""
        _fit.report(self._run, self.model, logs)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Takes the masks off. The weights keep their zeros."""
        self._release()

    def _release(self) -> None:
        if self._run is not None:
            self._run.release()
        self._run = None
