"""One run of pruning, which callbacks and custom training loops drive."""

import warnings
from typing import Any

import keras

from keras_moduli.pruning._clock import count_iterations
from keras_moduli.pruning._marks import Reading
from keras_moduli.pruning._masks import MaskState
from keras_moduli.pruning._rule import Rule, Targets
from keras_moduli.pruning._selection import Select, prunable_variables
from keras_moduli.pruning._timeline import Timeline, Update


class Run:
    """All that is remembered from the start of a run to its end.

    `attach` puts masks in force, `update` changes them as a position wants, `release`
    takes them off. Without a rule a run holds what is zero when it starts, and no more.

    Args:
        model: The model, which is built by the time of `attach`.
        select: Which weights have masks.
        zeros: Which zeros that the weights have at the start count as masked.
        rule: What is pruned of these.
        timeline: When, and how much; its end is fixed by the time of `update`.

    Attributes:
        masks: The masks in force, None before `attach` and after `release`.
        latest: The latest update of the masks that was done.
    """

    def __init__(
        self,
        model: keras.Model,
        select: Select,
        zeros: str | None = None,
        rule: Rule | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        self.model = model
        self.select = select
        self.zeros = zeros
        self.rule = rule
        self.timeline = timeline
        self.masks: MaskState | None = None
        self.latest: Update | None = None
        self._targets = Targets([], [])
        self._is_model_s = False  # whether the optimizer is the model's own
        self._has_started = False

    def attach(self, optimizer: Any = None) -> MaskState:
        """Puts masks in force that let everything pass, and returns them.

        Args:
            optimizer: What trains the model; None for what it is compiled with.

        Raises:
            TypeError: If it is not an optimizer of Keras.
            ValueError: If there is no optimizer, or the rule does not suit the model.
        """
        self._is_model_s = optimizer is None
        optimizer = _check_optimizer(self.model, optimizer)
        if self.rule is None:
            variables = prunable_variables(self.model, self.select)
        else:
            self._targets = self.rule.find_targets(self.model)
            variables = self._targets.variables
        if not optimizer.built:
            optimizer.build(self.model.trainable_variables)
        if self.rule is not None:
            self.rule.compute_potentials(optimizer, variables, 0)  # raises if it cannot
        self.masks = MaskState(variables, optimizer, self._recompile)
        return self.masks

    def is_due(self, position: int) -> bool:
        """Returns whether `update` would change something. Touches nothing.

        Args:
            position: Epochs or steps done so far.

        Raises:
            ValueError: If the model was compiled anew, with another optimizer.
        """
        if self._is_model_s and self.model.optimizer is not self._in_force().optimizer:
            raise ValueError(
                f"Model {self.model.name!r} was compiled after the masks were attached, "
                "and its new optimizer does not hold them. Call `model.compile(...)` "
                "before `attach(model)`."
            )
        return not self._has_started or self._find_update(position) is not None

    def update(self, position: int) -> bool:
        """Masks what is due at a position, and returns whether anything was due.

        The first update takes zeros for what an earlier run has pruned.

        Args:
            position: Epochs or steps done so far.
        """
        if not self.is_due(position):
            return False
        is_first, self._has_started = not self._has_started, True
        if is_first:
            self._adopt_zeros()
        update = self._find_update(position)
        if update is not None:
            # A resumed run has exchanged weights before, unless it is due just now.
            self._prune(update, exchange=not is_first or update.position == position)
            self.latest = update
        return True

    def release(self) -> None:
        """Takes the masks off again. The weights keep their zeros."""
        if self.masks is not None:
            self.masks.release()
        self.masks = None

    def _in_force(self) -> MaskState:
        if self.masks is None:
            raise ValueError(
                f"No masks are in force on model {self.model.name!r}: they were taken "
                "off. Pass the callback to `fit`, or call `attach(model)` again."
            )
        return self.masks

    def _adopt_zeros(self) -> None:
        masks = self._in_force()
        reading = Reading(masks.variables)
        zeros = self.zeros or self._choose_zeros(reading)
        masks.assign(reading.get_masks(zeros), reset_moments=False)
        masks.is_final = self.rule is None

    def _choose_zeros(self, reading: Reading) -> str:
        """Returns which zeros count where the user has not said it, and says so."""
        holds = self.rule is None
        if reading.doubtful:
            warnings.warn(
                "Zeros are taken for masks which the weights' own constraints may have "
                f"written, as -0.0: {reading.describe_doubtful()}. Pass `zeros='none'` "
                "to `MagnitudePruning` to let them learn, `zeros='marked'` if they are.",
                stacklevel=2,
            )
        if reading.has_marks:
            # What has come back and not moved yet is neither marked nor worth a word.
            regrows = self.rule is not None and self.rule.regrow is not None
            says_so, taken, told = not regrows, "marked", "not taken"
        else:
            goes_on = count_iterations(self._in_force().optimizer) > 0
            says_so, taken, told = holds or goes_on, "all", "taken"
        if not reading.unmarked or not says_so:
            return "marked"
        warnings.warn(
            f"Exact zeros that no pruning has marked are {told} for masks: "
            f"{reading.describe_unmarked()}. Pass `zeros='all'` to hold them at zero, "
            "`zeros='marked'` to let them learn, or leave kernels out by `select`.",
            stacklevel=2,
        )
        return taken

    def _find_update(self, position: int) -> Update | None:
        """Returns the latest update that a position wants, unless it was done."""
        update = None if self.timeline is None else self.timeline.at(position)
        if update is None or (self.latest and update.position <= self.latest.position):
            return None
        return update

    def _prune(self, update: Update, *, exchange: bool) -> None:
        assert self.rule is not None
        state, targets = self._in_force(), self._targets
        potentials = []
        if exchange:
            potentials = self.rule.compute_potentials(
                state.optimizer, state.variables, update.position
            )
        masks = self.rule.compute_masks(targets, state.numpy(), update, potentials)
        state.assign(masks, reset_moments=self.rule.reset_moments)
        state.is_final = update.progress == 1

    def _recompile(self) -> None:
        if getattr(self.model, "compiled", False):
            self.model.make_train_function(force=True)


def _check_optimizer(model: keras.Model, optimizer: Any) -> Any:
    optimizer = getattr(model, "optimizer", None) if optimizer is None else optimizer
    if optimizer is None:
        raise ValueError(
            f"Model {model.name!r} has no optimizer, which holds the masks. Call "
            "`model.compile(optimizer, loss)` first."
        )
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            "`optimizer` must be the keras.optimizers.Optimizer whose `apply` trains the "
            "model, the object itself: it holds the masks. "
            f"Received: optimizer={optimizer!r}"
        )
    return optimizer
