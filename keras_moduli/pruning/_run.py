"""One run of pruning, which callbacks and custom training loops drive."""

from typing import Any

import keras

from keras_moduli.pruning._clock import StepClock
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
        rule: What is pruned of these.
        timeline: When, and how much; its end is fixed by the time of `update`.

    Attributes:
        masks: The masks in force, None before `attach` and after `release`.
        position: The latest epoch or step that `fit` has reached.
        clock: What counts the steps of an epoch in `fit`, where steps matter.
    """

    def __init__(
        self,
        model: keras.Model,
        select: Select,
        rule: Rule | None = None,
        timeline: Timeline | None = None,
    ) -> None:
        self.model = model
        self.select = select
        self.rule = rule
        self.timeline = timeline
        self.masks: MaskState | None = None
        self.position = 0
        self.clock: StepClock | None = None
        self._targets = Targets([], [])
        self._has_started = False
        self._last = -1  # position of the latest update that was done

    def attach(self, optimizer: Any = None) -> MaskState:
        """Puts masks in force that let everything pass, and returns them.

        Args:
            optimizer: What trains the model; None for what it is compiled with.

        Raises:
            ValueError: If there is no optimizer, or the rule does not suit the model.
        """
        model = self.model
        optimizer = optimizer or getattr(model, "optimizer", None)
        if optimizer is None:
            raise ValueError(
                f"Model {model.name!r} has no optimizer, which holds the masks. Call "
                "`model.compile(optimizer, loss)` first."
            )
        if self.rule is None:
            variables = prunable_variables(model, self.select)
        else:
            self._targets = self.rule.find_targets(model)
            variables = self._targets.variables
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        if self.rule is not None:
            self.rule.compute_potentials(optimizer, variables, 0)  # raises if it cannot
        self.masks = MaskState(variables, optimizer, self._recompile)
        return self.masks

    def is_due(self, position: int) -> bool:
        """Returns whether `update` would change something. Touches nothing.

        Args:
            position: Epochs or steps done so far.
        """
        return not self._has_started or self._find_update(position) is not None

    def update(self, position: int) -> bool:
        """Masks what is due at a position, and returns whether anything was due.

        The first update takes exact zeros for what an earlier run has pruned.

        Args:
            position: Epochs or steps done so far.
        """
        if not self.is_due(position):
            return False
        assert self.masks is not None
        is_first, self._has_started = not self._has_started, True
        if is_first:
            self.masks.adopt_zeros()
        update = self._find_update(position)
        if update is not None:
            # A resumed run has exchanged weights before, unless it is due just now.
            self._prune(update, exchange=not is_first or update.position == position)
            self._last = update.position
        return True

    def release(self) -> None:
        """Takes the masks off again. The weights keep their zeros."""
        if self.masks is not None:
            self.masks.release()
        self.masks = None

    def _find_update(self, position: int) -> Update | None:
        """Returns the latest update that a position wants, unless it was done."""
        update = None if self.timeline is None else self.timeline.at(position)
        return update if update is not None and update.position > self._last else None

    def _prune(self, update: Update, *, exchange: bool) -> None:
        assert self.masks is not None
        assert self.rule is not None
        state, targets = self.masks, self._targets
        potentials = []
        if exchange:
            potentials = self.rule.compute_potentials(
                state.optimizer, state.variables, update.position
            )
        masks = self.rule.compute_masks(targets, state.numpy(), update, potentials)
        state.assign(masks, reset_moments=self.rule.reset_moments)

    def _recompile(self) -> None:
        if getattr(self.model, "compiled", False):
            self.model.make_train_function(force=True)
