"""What a callback changes in a model for one training, and gives back after it."""

import weakref
from collections.abc import Callable
from typing import Any

import keras

from keras_moduli import _keras_private


class Lease:
    """Something that a callback has changed in a model, for as long as one `fit` lasts.

    Keras calls `on_train_end` only if no exception ends the training before. So a lease
    ends by whatever comes first: `end()`; the end of the exception, when Python lets go
    of the callbacks of that `fit`; the start of any other training of the model, by
    `train_on_batch` too.

    Args:
        model: The model.
        give_back: Called once, when the lease ends.
    """

    def __init__(self, model: keras.Model, give_back: Callable[[], object]) -> None:
        self._guard = _get_guard(model)
        self._guard.end_if_over()
        self._guard = _get_guard(model)
        self._give_back: Callable[[], object] | None = give_back
        self._guard.leases.append(self)
        self._callbacks: Callable[[], Any] | None = None
        callbacks = _keras_private.find_callback_list()
        if callbacks is not None:
            self._callbacks = weakref.ref(callbacks)
            weakref.finalize(callbacks, self.end).atexit = False

    def is_of_present_fit(self) -> bool:
        """Returns whether its `fit` goes on, as far as anybody knows."""
        if self._give_back is None or self._guard.is_over():
            return False
        return self._callbacks is None or _keras_private.is_fitting(self._callbacks())

    def end(self) -> None:
        """Gives back what was changed, unless that was done."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            self._guard.forget(self)
            give_back()


class _Guard:
    """`make_train_function` of a model with leases: all training starts by calling it."""

    def __init__(self, model: keras.Model) -> None:
        self.leases: list[Lease] = []
        self._model = model
        self._make = model.make_train_function
        self._fit = identify_fit(model)

    def __call__(self, force: bool = False) -> Any:
        self.end_if_over()
        return self._make(force)

    def is_over(self) -> bool:
        return self._fit is not identify_fit(self._model)

    def end_if_over(self) -> None:
        for lease in list(self.leases):
            if not lease.is_of_present_fit():
                lease.end()

    def forget(self, lease: Lease) -> None:
        self.leases.remove(lease)
        if not self.leases and vars(self._model).get("make_train_function") is self:
            del self._model.make_train_function


def identify_fit(model: keras.Model) -> Any:
    """Returns what is another object in each `fit`: where that records its history."""
    return getattr(model, "history", None)


def _get_guard(model: keras.Model) -> _Guard:
    guard = model.make_train_function
    if not isinstance(guard, _Guard):
        guard = _Guard(model)
        model.make_train_function = guard
    return guard
