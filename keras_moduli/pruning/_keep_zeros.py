"""Zeros that are held, while a pruned model trains on."""

import keras

from keras_moduli import _checks
from keras_moduli._repr import write_call
from keras_moduli.pruning._fit import FitCallback
from keras_moduli.pruning._marks import ZEROS
from keras_moduli.pruning._run import Run
from keras_moduli.pruning._selection import Select, check_select


class KeepZeros(FitCallback):
    """Holds what is pruned at zero while a model trains on, and prunes nothing.

    Args:
        select: As in `MagnitudePruning`.
        zeros: `"marked"`: what pruning has masked, which it writes as -0.0, is held;
            other zeros learn. `"all"`: every exact zero is held. By default `"marked"`,
            or `"all"` where nothing is marked, as after `set_weights`; a warning says so
            wherever there are zeros that no pruning has marked.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: When training starts, if the model is not compiled, or a selection
            matches nothing.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model.set_weights([np.eye(4, 3), np.zeros(3)])
        >>> model.compile("adam", "mse")
        >>> x, y = np.ones((8, 4)), np.ones((8, 3))
        >>> keep = km.KeepZeros(zeros="all")
        >>> history = model.fit(x, y, callbacks=[keep], verbose=0)
        >>> km.sparsity(model).total.zeros
        9
    """

    def __init__(self, select: Select = None, *, zeros: str | None = None) -> None:
        super().__init__()
        self.select = check_select(select)
        self.zeros = None if zeros is None else _checks.choice("zeros", zeros, ZEROS[:2])

    def __repr__(self) -> str:
        return write_call(self)

    def make_run(self, model: keras.Model) -> Run:
        """Returns a run that holds zeros."""
        return Run(model, self.select, self.zeros)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Marks that training has started."""
        self.get_fit().start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Takes what is zero for masked, once."""
        self.get_fit().update(self, epoch)
