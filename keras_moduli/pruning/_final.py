"""Callbacks of Keras that count from the final sparsity on."""

from typing import Any

import keras

from keras_moduli._repr import write_call
from keras_moduli.pruning._masks import find_masks


class AtFinalSparsity(keras.callbacks.Callback):
    """Lets a callback see those epochs only that end at the final sparsity.

    While `MagnitudePruning` still takes weights away, each epoch has another model, and
    the best of them all is mostly one that is not sparse yet. Around
    `keras.callbacks.EarlyStopping`, `ModelCheckpoint` or `ReduceLROnPlateau` this makes
    "best" mean the best at the final sparsity, and `patience` count from there.

    Args:
        callback: A `keras.callbacks.Callback`. Its `on_epoch_end` and
            `on_train_batch_end` are called when all masks in force are final, what else
            it does as ever. `KeepZeros` holds masks that are final from the start.

    Raises:
        TypeError: If it is not a callback of Keras.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model.compile("adam", "mse")
        >>> x, y = np.ones((8, 4)), np.ones((8, 3))
        >>> stopping = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
        >>> callbacks = [km.MagnitudePruning(0.5), km.AtFinalSparsity(stopping)]
        >>> history = model.fit(x, y, epochs=8, callbacks=callbacks, verbose=0)
        >>> stopping.best_epoch >= 6, km.sparsity(model).total.zeros
        (True, 6)
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        super().__init__()
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(
                "`callback` must be a keras.callbacks.Callback, such as "
                f"`EarlyStopping(...)`. Received: callback={callback!r}"
            )
        self.callback = callback
        self._pruned: Any = None

    def __repr__(self) -> str:
        return write_call(self)

    def set_params(self, params: dict[str, Any]) -> None:
        """Passes them on."""
        super().set_params(params)
        self.callback.set_params(params)

    def set_model(self, model: keras.Model) -> None:
        """Passes it on."""
        super().set_model(model)
        self._pruned = model
        self.callback.set_model(model)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Passes it on."""
        self.callback.on_train_begin(logs)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Passes it on."""
        self.callback.on_train_end(logs)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Passes it on."""
        self.callback.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Passes it on at the final sparsity."""
        if self._is_final():
            self.callback.on_epoch_end(epoch, logs)

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Passes it on."""
        self.callback.on_train_batch_begin(batch, logs)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Passes it on at the final sparsity."""
        if self._is_final():
            self.callback.on_train_batch_end(batch, logs)

    def _is_final(self) -> bool:
        states = find_masks(self._pruned.weights)
        return all(state.is_final for state in states)
