"""Models that `fit` builds inside of their first step, as TensorFlow does.

Masks are variables of the optimizer and must be there when the step is compiled, so that
such a step is put off until the model is built and the masks are attached.
"""

from collections.abc import Callable
from typing import Any

import keras

from keras_moduli import _backend, _checks
from keras_moduli._training import identify_fit

Action = Callable[[], object]


def attach_when_built(model: keras.Model, attach: Action, catch_up: Action) -> Action:
    """Attaches masks at once, or as soon as `fit` has built the model.

    To be called by `set_model` of a callback. All callbacks of one `fit` attach before
    any of them catches up.

    Args:
        model: The model of the callback.
        attach: Puts masks in force.
        catch_up: Called if that was late, with the masks in force: updates them to the
            position that the run has reached by then.

    Returns:
        What takes that back if the model is never built.
    """
    if _checks.is_built(model) or not _backend.builds_inside_step():
        attach()
        return lambda: None
    late = model.train_function
    if not isinstance(late, _BuildingStep) or late.fit is not identify_fit(model):
        late = model.train_function = _BuildingStep(model)
    late.waiting.append((attach, catch_up))
    return late.forget


class _BuildingStep:
    """The first train function of a model: builds it, attaches masks, and steps aside.

    It is called at most once, and taken off again if its `fit` broke off before.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.fit = identify_fit(model)
        self.waiting: list[tuple[Action, Action]] = []

    def __call__(self, iterator: Any) -> Any:
        model, model.train_function = self.model, None
        waiting, self.waiting = self.waiting, []
        _build(model, iterator)
        for attach, _ in waiting:
            attach()
        for _, catch_up in waiting:
            catch_up()
        model.make_train_function()
        return model.train_function(iterator)

    def forget(self) -> None:
        """Steps aside without having been called."""
        if self.model.train_function is self:
            self.model.train_function = None


def _build(model: keras.Model, iterator: Any) -> None:
    inputs = keras.utils.unpack_x_y_sample_weight(iterator.element_spec)[0]
    model(keras.tree.map_structure(_make_symbolic, inputs))


def _make_symbolic(spec: Any) -> keras.KerasTensor:
    return keras.KerasTensor(spec.shape, keras.backend.standardize_dtype(spec.dtype))
