"""Masks that hold inside the compiled step, on every backend."""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _keras_private
from keras_moduli.pruning._marks import apply_mask, free, unmark
from keras_moduli.pruning._ranking import Mask

Variable = Any


class _Masked(keras.constraints.Constraint):
    """Masks a weight, before and after the constraint that it has anyway.

    Before, since a norm is that of what is left; after, since nothing else may come back.
    The running means of the weight are masked beside it: an optimizer updates them before
    it applies constraints, with what the weight would be without.
    """

    def __init__(
        self, state: "MaskState", mask: Variable, inner: Any, averages: list[Variable]
    ) -> None:
        self.state = state
        self.mask = mask
        self.inner = inner
        self.averages = averages

    def __call__(self, weight: Any) -> Any:
        if _keras_private.is_frozen(self.mask):
            raise ValueError(_describe_frozen(self.state))
        if self.inner is not None:
            weight = unmark(self.inner(apply_mask(weight, self.mask.value)))
        for average in self.averages:
            average.assign(apply_mask(average, self.mask.value))
        return apply_mask(weight, self.mask.value)


def _describe_frozen(state: "MaskState") -> str:
    return (
        f"The masks are state of optimizer {state.optimizer.name!r}, and another one, or "
        "a step that was compiled before they were, applies these updates, in which they "
        "would never change. Call `attach(model, optimizer)` with the optimizer that the "
        "step applies, before its `variables` are read."
    )


class MaskState:
    """Masks in force on some weights: held by the optimizer, applied after each step.

    On JAX a compiled step sees only the trainable and the optimizer's variables while
    it applies updates, and on TensorFlow it is traced once: a mask in any other place is
    silently frozen. So masks are variables of the optimizer that does the updates.

    Args:
        variables: The weights.
        optimizer: The optimizer of these, built, and perhaps of others.
        on_change: Called when the masks are in place, and when they are gone.

    Attributes:
        is_final: Whether they are what the run prunes to.
    """

    def __init__(
        self,
        variables: Sequence[Variable],
        optimizer: Any,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.variables = list(variables)
        self.optimizer = optimizer
        self.is_final = False
        self._is_active = True
        self._on_change = on_change
        self._chain = list(_keras_private.iterate_optimizers(optimizer))
        slots = _keras_private.list_slots(optimizer, self.variables)
        self.masks = [self._add_mask(variable) for variable in variables]
        self._averages = [
            [s for s in own if _keras_private.is_average(s)] for own in slots
        ]
        self._moments = [
            [s for s in own if not _keras_private.is_average(s)] for own in slots
        ]
        for variable, mask, averages in self._iterate():
            variable.constraint = _Masked(self, mask, variable.constraint, averages)
        for part in self._chain:
            _hide(part, self)
        self._on_change()

    def _add_mask(self, variable: Variable) -> Variable:
        return self._chain[-1].add_variable(
            shape=variable.shape,
            initializer="ones",
            dtype="bool",
            layout=_keras_private.get_sharding(variable),
            name=f"{variable.path.replace('/', '_')}_mask",
        )

    def numpy(self) -> list[Mask]:
        """Returns the masks as arrays, true for what is kept."""
        return [np.array(ops.convert_to_numpy(mask.value)) for mask in self.masks]

    def assign(self, masks: Sequence[Mask], *, reset_moments: bool) -> None:
        """Puts other masks in force.

        Args:
            masks: Arrays, true for what is kept.
            reset_moments: Whether the optimizer forgets what it knows of weights that
                come back. Of those that go it does not, since regrowth reads it.
        """
        before = self.numpy()
        for i, (old, new) in enumerate(zip(before, masks, strict=True)):
            if (old == new).all():
                continue
            self.masks[i].assign(new)
            if (back := new & ~old).any():
                moments = self._moments[i] if reset_moments else []
                for state in (self.variables[i], *self._averages[i], *moments):
                    state.assign(free(state, back))
        self.apply()

    def apply(self) -> None:
        """Zeroes the masked weights now; the step does so from the next update on."""
        for variable, mask, averages in self._iterate():
            for state in (variable, *averages):
                state.assign(apply_mask(state, mask.value))

    def count_strays(self) -> int:
        """Returns how many masked weights are not zero: somebody has put them there."""
        return self.count_strays_of([v.value for v in self.variables])

    def count_strays_of(self, weights: Sequence[Any]) -> int:
        """Returns the same for other values of these weights."""
        return sum(
            int(np.count_nonzero(ops.convert_to_numpy(weight)[~mask]))
            for weight, mask in zip(weights, self.numpy(), strict=True)
        )

    def release(self) -> None:
        """Takes the masks off again. The weights keep their zeros."""
        if not self._is_active:
            return
        self._is_active = False
        for variable in self.variables:
            variable.constraint = variable.constraint.inner
        for part in self._chain:
            _unhide(part, self)
        self.untrack()
        self._on_change()

    def _iterate(self) -> Iterator[tuple[Variable, Variable, list[Variable]]]:
        """Yields each weight with its mask and its moving averages."""
        return zip(self.variables, self.masks, self._averages, strict=True)

    def untrack(self) -> None:
        """Takes the masks off the optimizer's list of variables."""
        _keras_private.untrack(self._chain[-1], self.masks)

    def track(self) -> None:
        """Puts them on it again."""
        _keras_private.track(self._chain[-1], self.masks)


def find_masks(variables: Iterable[Variable]) -> list[MaskState]:
    """Returns the masks in force on some weights, each state once."""
    constraints = [variable.constraint for variable in variables]
    states = [c.state for c in constraints if isinstance(c, _Masked)]
    return list({id(state): state for state in states}.values())


def _hide(optimizer: Any, state: MaskState) -> None:
    """Makes an optimizer save and load its own variables only.

    Otherwise Keras drops the whole state on loading, because the counts differ.
    """
    if not hasattr(optimizer.save_own_variables, "hidden"):
        hidden: list[MaskState] = []
        for name in ("save_own_variables", "load_own_variables"):
            setattr(optimizer, name, _wrap(hidden, getattr(optimizer, name)))
    optimizer.save_own_variables.hidden.append(state)


def _unhide(optimizer: Any, state: MaskState) -> None:
    hidden = optimizer.save_own_variables.hidden
    hidden.remove(state)
    if not hidden:
        del optimizer.save_own_variables, optimizer.load_own_variables


def _wrap(hidden: list[MaskState], method: Callable[[Any], Any]) -> Any:
    @functools.wraps(method)
    def wrapper(store: Any) -> Any:
        for state in hidden:
            state.untrack()
        try:
            return method(store)
        finally:
            for state in hidden:  # in the order that a compiled step has them in
                state.track()

    wrapper.hidden = hidden  # type: ignore[attr-defined]
    return wrapper
