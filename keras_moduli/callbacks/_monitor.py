"""Warnings of learned geometry that goes wrong."""

import warnings

import keras

from keras_moduli import _checks
from keras_moduli._repr import write_call
from keras_moduli.report import geometry


class GeometryMonitor(keras.callbacks.Callback):
    """Warns when a learned geometry collapses or feels no force, and says what to change.

    Looks at `keras_moduli.geometry(model)` at the end of epochs, and puts the spread of
    each embedding into the logs, relative to random positions: 1 is well spread.

    Args:
        frequency: Look every so many epochs, at least 1, the default.

    Raises:
        TypeError: If `frequency` is no integer.
        ValueError: If it is below 1; when training starts, if no weight of the model has
            a geometry; at the first look, if the model is only built in the first step.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> layer = km.layers.ModuliSimpleRNN(8, name="rnn")
        >>> model = keras.Sequential([keras.Input((5, 2)), layer])
        >>> model.compile("adam", "mse")
        >>> x, y = np.zeros((4, 5, 2)), np.zeros((4, 8))
        >>> monitor = km.GeometryMonitor()
        >>> history = model.fit(x, y, verbose=0, callbacks=[monitor]).history
        >>> [key for key in history if key.startswith("spread")]
        ['spread rnn/recurrent_kernel']
    """

    def __init__(self, frequency: int = 1) -> None:
        super().__init__()
        self.frequency = _checks.integer("frequency", frequency, minimum=1)
        self._told: set[tuple[str, str]] = set()

    def __repr__(self) -> str:
        return write_call(self)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Checks that there is something to look at."""
        if _checks.has_weights(self.model):
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
