"""Pruning in `model.fit`."""

import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_moduli import _checks, schedules
from keras_moduli.pruning._held import HeldMasks
from keras_moduli.pruning._ranking import Variable, prunable_variables

# The paper's runs prune to the last epoch, end broken and need extra epochs.
_PRUNING_SHARE = 0.75


class MagnitudePruning(keras.callbacks.Callback):
    """Sets the smallest weights to zero, more of them as training goes on.

    At the start of each epoch e from `begin` to `end` the weights of smallest magnitude
    among *all* chosen kernels are set to zero, in number

        round(sparsity · schedule((e − begin) / (end − begin)) · N)

    out of N, ties included, but never the last weight of a kernel. They stay exactly
    zero through every optimizer step until more are pruned. Exact zeros that a kernel
    has when training starts count as pruned, so that a resumed run goes on with its
    masks.

    The masks are state of the optimizer while `fit` runs and constraints of the pruned
    weights, beside any constraint that these have. Afterwards both are as they were,
    and a saved file holds nothing but ordinary weights.

    Args:
        sparsity: Fraction of zeros at the end, in [0, 1).
        schedule: `"cubic"`, `"linear"` (the paper's), `"constant"`, `"one_shot"`, a
            `keras_moduli.schedules.Schedule`, or a function of progress in [0, 1].
        begin: Epoch at which pruning starts, counted from 0.
        end: Epoch at whose start the final sparsity is reached. By default after three
            quarters of all epochs, so that the network recovers at its final mask.
        select: Function of a variable (with `path`, `name`, `shape`) that is true for
            those to prune. By default every kernel, recurrent kernel and embedding
            matrix, and never a bias, a norm's scale or the placement of neurons.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of range; when training starts, if the model
            is not compiled, or nothing is selected.

    Example:

    >>> import keras, numpy as np, keras_moduli as km
    >>> model = keras.Sequential([keras.layers.SimpleRNN(16), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> x, y = np.ones((8, 5, 2), "float32"), np.ones((8, 1), "float32")
    >>> pruning = km.MagnitudePruning(0.9)
    >>> history = model.fit(x, y, epochs=4, callbacks=[pruning], verbose=0)
    >>> km.sparsity(model).total.zeros  # round(0.9 · 304)
    274

    Source: Zhu and Gupta, "To prune, or not to prune", 2017; the global ranking and the
    linear schedule from Mackey et al., 2024.
    """

    def __init__(
        self,
        sparsity: float = 0.9,
        *,
        schedule: str | Callable[[float], float] = "cubic",
        begin: int = 0,
        end: int | None = None,
        select: Callable[[Variable], bool] | None = None,
    ) -> None:
        super().__init__()
        self.sparsity = _checks.real("sparsity", sparsity, minimum=0.0)
        if self.sparsity >= 1:
            raise ValueError(
                "`sparsity` is the fraction of weights set to zero, in [0, 1): 0.9 for "
                f"90 %. Received: sparsity={sparsity!r}"
            )
        self.schedule = schedules.get(schedule)
        self.begin = _checks.integer("begin", begin, minimum=0)
        self.end = end
        if end is not None:
            self.end = _checks.integer("end", end, minimum=0)
            if self.end < self.begin:
                raise ValueError(
                    "`end` must not be before `begin`. "
                    f"Received: begin={begin}, end={end}"
                )
        if select is not None and not callable(select):
            raise TypeError(
                "`select` must be a function of a variable, such as "
                "`lambda v: v.name == 'recurrent_kernel'`. "
                f"Received: select={select!r}"
            )
        self.select = select
        self._held: HeldMasks | None = None

    def set_model(self, model: keras.Model) -> None:
        """Attaches the masks; `fit` calls this before it compiles its step."""
        super().set_model(model)
        self._scheduled = 0.0
        if self._held is not None:
            return
        if model.built or keras.backend.backend() != "tensorflow":
            self._attach()
        else:
            model.train_function = self._build_then_train

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Settles when pruning ends."""
        epochs = self.params["epochs"]
        self._last = self.end
        if self._last is None:
            self._last = max(self.begin, int(_PRUNING_SHARE * epochs))
        if self._last >= epochs:
            warnings.warn(
                f"The final sparsity is reached at the start of epoch {self._last} "
                f"(counted from 0), which a run of {epochs} epochs never begins. Train "
                "longer or lower `begin` and `end`.",
                stacklevel=2,
            )
        elif self._last == 0 and self.sparsity > 0:
            warnings.warn(
                "All pruning happens before the first step of training. Train for more "
                "epochs so that weights are ranked after they have learned.",
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prunes to what the schedule wants for this epoch."""
        if epoch >= self.begin:
            self._scheduled = self.sparsity * self._fraction(epoch)
            self._prune()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the fraction of zeros as `logs["sparsity"]`."""
        if logs is not None and self._held is not None:
            logs["sparsity"] = self._held.sparsity

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Leaves the weights pruned and the optimizer as it was."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def _attach(self) -> None:
        variables = prunable_variables(self._model, self.select)
        self._held = HeldMasks(self._model, variables)

    def _prune(self) -> None:
        _ = self.model  # JAX: writes the compiled step's state back to the model
        if self._held is not None:
            self._held.prune(self._scheduled)

    def _build_then_train(self, iterator: Any) -> Any:
        """The first train function on TensorFlow, where `fit` builds inside the step."""
        inputs = keras.utils.unpack_x_y_sample_weight(iterator.element_spec)[0]
        self._model(keras.tree.map_structure(_symbolic, inputs))
        self._attach()
        self._prune()
        return self._model.train_function(iterator)

    def _fraction(self, epoch: int) -> float:
        assert self._last is not None
        if epoch >= self._last:
            return float(self.schedule(1.0))
        return float(self.schedule((epoch - self.begin) / (self._last - self.begin)))


def _symbolic(spec: Any) -> keras.KerasTensor:
    return keras.KerasTensor(spec.shape, keras.backend.standardize_dtype(spec.dtype))
