"""A run of pruning in `model.fit`, as the callbacks drive it."""

import abc
from typing import Any

import keras

from keras_moduli._training import Lease
from keras_moduli.pruning import _endings, _geometry
from keras_moduli.pruning._late import attach_when_built
from keras_moduli.pruning._masks import find_masks
from keras_moduli.pruning._run import Run
from keras_moduli.pruning._selection import prunable_variables


class FitRun:
    """A run that lasts as long as one `fit`, and gives back what it has changed after it.

    Made in `set_model`: before `fit` compiles its step. `evaluate` and `predict` call
    that too, and know nothing of training.

    Args:
        run: The run.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.has_started = False
        self._position = 0  # the latest epoch or step that was reached
        self._bests: list[_endings.Best] = []
        self._lease = Lease(run.model, self._give_back)
        try:
            self._forget_late = attach_when_built(run.model, self._attach, self._catch_up)
        except Exception:
            self._forget_late = lambda: None
            self._lease.end()
            raise

    def is_going_on(self) -> bool:
        """Returns whether the training has started, and is still this one."""
        return self.has_started and self._lease.is_of_present_fit()

    def start(self) -> None:
        """Marks that training has started."""
        self.has_started = True

    def update(self, callback: keras.callbacks.Callback, position: int) -> None:
        """Changes masks if a position wants it, before an epoch or a step starts."""
        self._position = position
        run = self.run
        if run.masks is not None and run.is_due(position):
            _ = callback.model  # JAX: writes the compiled step's state back to the model
            self._update(position)

    def report(self, logs: dict[str, float] | None) -> None:
        """Logs the fraction of zeros and the penalty by distance, in `on_epoch_end`."""
        if logs is None or self.run.masks is None:
            return
        weights = self.run.model.weights  # of frozen layers too: they have their masks
        masks = [mask for state in find_masks(weights) for mask in state.numpy()]
        kept, size = sum(int(m.sum()) for m in masks), sum(m.size for m in masks)
        logs["sparsity"] = 1.0 - kept / size
        penalty = _geometry.compute_penalty(self.run.model.trainable_variables)
        if penalty is not None:
            logs["penalty"] = penalty

    def end(self) -> None:
        """Says how the run has ended, and takes the masks off."""
        if self.run.masks is not None:
            _endings.warn(self.run, self._bests)
        self._lease.end()

    def abandon(self) -> None:
        """Takes the masks off."""
        self._lease.end()

    def _attach(self) -> None:
        self._refuse_overlaps()
        self.run.attach()

    def _catch_up(self) -> None:
        self._update(self._position)

    def _update(self, position: int) -> None:
        self.run.update(position)
        masks = self.run.masks
        if masks is not None and masks.is_final and not self._bests:
            self._bests = _endings.list_bests()

    def _give_back(self) -> None:
        self._forget_late()
        self.run.release()

    def _refuse_overlaps(self) -> None:
        chosen = prunable_variables(self.run.model, self.run.select)
        taken = {id(v) for state in find_masks(chosen) for v in state.variables}
        if taken:
            raise ValueError(
                "Two MagnitudePruning callbacks select the same weights: "
                f"{[v.path for v in chosen if id(v) in taken]}. Make their `select` "
                "disjoint; take masks off that were attached by hand, with `release()`."
            )


class FitCallback(keras.callbacks.Callback, abc.ABC):
    """A callback that drives a run in `fit`, and leaves a model alone elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._fit: Any = None  # all that is remembered of a training

    @abc.abstractmethod
    def make_run(self, model: keras.Model) -> Run:
        """Returns a run of a `model`, not attached yet."""

    def set_model(self, model: keras.Model) -> None:
        """Attaches the masks; `fit` calls this before it compiles its step."""
        if self._fit is not None and self._fit.is_going_on():
            return  # `evaluate` in the midst of it
        super().set_model(model)
        self.abandon()
        self._fit = FitRun(self.make_run(model))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the fraction of zeros and the penalty by distance."""
        self.get_fit().report(logs)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Leaves the weights pruned and the optimizer as it was."""
        fit, self._fit = self._fit, None
        if fit is not None:
            fit.end()

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Leaves the model alone: `evaluate` trains nothing."""
        if self._fit is not None and not self._fit.has_started:
            self.abandon()

    def on_predict_begin(self, logs: dict[str, float] | None = None) -> None:
        """Leaves the model alone: `predict` trains nothing."""
        self.on_test_begin()

    def get_fit(self) -> FitRun:
        """Returns the training that is going on.

        Raises:
            ValueError: If there is none.
        """
        if self._fit is None:
            raise ValueError(
                f"{type(self).__name__} has no model. Pass it to "
                "`model.fit(callbacks=[...])`, or call `set_model(model)` before."
            )
        return self._fit

    def abandon(self) -> None:
        """Takes the masks off, of a training that has not come to its end."""
        fit, self._fit = self._fit, None
        if fit is not None:
            fit.abandon()
