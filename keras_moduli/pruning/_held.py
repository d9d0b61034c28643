"""Masks that hold inside the compiled step, on every backend."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _optimizers as optimizers
from keras_moduli.pruning._ranking import Mask, Variable, magnitude_masks


class _Masked(keras.constraints.Constraint):
    """Multiplies by a mask, after the constraint that the weight has anyway."""

    def __init__(self, mask: Variable, inner: Callable[[Any], Any] | None) -> None:
        self.mask = mask
        self.inner = inner

    def __call__(self, weight: Any) -> Any:
        weight = weight if self.inner is None else self.inner(weight)
        return _masked(weight, self.mask)


def _masked(weight: Any, mask: Variable) -> Any:
    return ops.where(mask.value, ops.convert_to_tensor(weight), 0.0)


class HeldMasks:
    """Masks in force on a model: held by its optimizer, applied after each step.

    On JAX a compiled step sees only the trainable and the optimizer's variables while
    it applies updates, and on TensorFlow it is traced once: a mask in any other place is
    silently frozen. So masks are variables of the optimizer that does the updates.
    """

    def __init__(self, model: keras.Model, variables: list[Variable]) -> None:
        self.model = model
        self.variables = variables
        optimizer = _built_optimizer(model)
        _release_stale(model.trainable_variables)
        self.chain = list(optimizers.chain(optimizer))
        self.owner = self.chain[-1]
        self.masks = [self._add_mask(variable) for variable in variables]
        for variable, mask in zip(variables, self.masks, strict=True):
            variable.constraint = _Masked(mask, variable.constraint)
            variable.constraint.held = self
        for part in self.chain:
            _save_without_masks(part, self)
        self.apply()
        model.make_train_function(force=True)

    def _add_mask(self, variable: Variable) -> Variable:
        mask = self.owner.add_variable(
            shape=variable.shape,
            initializer="ones",
            dtype="bool",
            layout=getattr(variable, "_layout", None),
            name=f"{variable.path.replace('/', '_')}_mask",
        )
        nonzero = ops.convert_to_numpy(variable.value) != 0
        # Pruning always keeps a weight, so a kernel of nothing but zeros is one that was
        # initialized so, and must be let learn.
        if nonzero.any():
            mask.assign(nonzero)
        return mask

    @property
    def sparsity(self) -> float:
        """The fraction of weights that are masked."""
        kept = sum(int(mask.sum()) for mask in self._numpy_masks())
        return 1.0 - kept / self._size

    @property
    def _size(self) -> int:
        return sum(int(np.prod(variable.shape)) for variable in self.variables)

    def _numpy_masks(self) -> list[Mask]:
        return [ops.convert_to_numpy(mask.value) for mask in self.masks]

    def prune(self, sparsity: float) -> None:
        """Masks more weights, until the given fraction is zero."""
        weights = [ops.convert_to_numpy(variable.value) for variable in self.variables]
        zeros = round(sparsity * self._size)
        masks = magnitude_masks(weights, self._numpy_masks(), zeros)
        for variable, new in zip(self.masks, masks, strict=True):
            variable.assign(new)
        self.apply()

    def apply(self) -> None:
        """Zeroes the masked weights now; the step does so from the next update on."""
        for variable, mask in zip(self.variables, self.masks, strict=True):
            variable.assign(_masked(variable, mask))

    def release(self) -> None:
        """Takes the masks off again. The weights keep their zeros."""
        self.apply()  # a moving average, written back at the end of fit, undoes them
        for variable in self.variables:
            variable.constraint = variable.constraint.inner
        for part in self.chain:
            del part.save_own_variables, part.load_own_variables
        self._untrack()
        self.model.make_train_function(force=True)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Takes the masks off the optimizer's list of variables for a moment."""
        self._untrack()
        try:
            yield
        finally:
            for mask in self.masks:
                self.owner._track_variable(mask)

    def _untrack(self) -> None:
        # Keras has no public way to take a variable off an optimizer; `hidden` and this
        # are the only places that know the private one.
        for mask in self.masks:
            self.owner._untrack_variable(mask)


def _built_optimizer(model: keras.Model) -> Any:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ValueError(
            f"Model {model.name!r} has no optimizer, which holds the masks. Call "
            "`model.compile(optimizer, loss)` first."
        )
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return optimizer


def _release_stale(variables: Iterable[Variable]) -> None:
    """Takes off what a `fit` that was interrupted has left behind."""
    for variable in variables:
        if isinstance(variable.constraint, _Masked):
            variable.constraint.held.release()


def _save_without_masks(optimizer: Any, held: HeldMasks) -> None:
    """Saves and loads the optimizer's own variables only.

    Otherwise Keras drops the whole state on loading, because the counts differ.
    """

    def without_masks(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(store: Any) -> Any:
            with held.hidden():
                return method(store)

        return wrapper

    optimizer.save_own_variables = without_masks(optimizer.save_own_variables)
    optimizer.load_own_variables = without_masks(optimizer.load_own_variables)
