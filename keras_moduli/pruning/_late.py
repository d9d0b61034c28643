"""Models that `fit` builds inside of their first step, as TensorFlow does.

Masks are variables of the optimizer and must be there when the step is compiled, so that
such a step is put off until the model is built and the masks are attached.
"""

from collections.abc import Callable
from typing import Any

import keras

from keras_moduli import _backend

Action = Callable[[], object]


def attach_when_built(model: keras.Model, attach: Action, catch_up: Action) -> None:
    """Attaches masks at once, or as soon as `fit` has built the model.

    To be called by `set_model` of a callback. All callbacks of one `fit` attach before
    any of them catches up.

    Args:
        model: The model of the callback.
        attach: Puts masks in force.
        catch_up: Called if that was late, with the masks in force: updates them to the
            position that the run has reached by then.
    """
    if model.built or not _backend.builds_inside_step():
        attach()
        return
    late = model.train_function
    if not isinstance(late, _BuildingStep) or late.fit is not _identify_fit(model):
        late = model.train_function = _BuildingStep(model)
    late.waiting.append((attach, catch_up))


class _BuildingStep:
    """The first train function of a model: builds it, attaches masks, and steps aside.

    It is called at most once, and forgets who waits if its `fit` broke off before.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.fit = _identify_fit(model)
        self.waiting: list[tuple[Action, Action]] = []

    def __call__(self, iterator: Any) -> Any:
        model, model.train_function = self.model, None
        if self.fit is _identify_fit(model):
            _build(model, iterator)
            for attach, _ in self.waiting:
                attach()
            for _, catch_up in self.waiting:
                catch_up()
        model.make_train_function()
        return model.train_function(iterator)


def _identify_fit(model: keras.Model) -> Any:
    """Returns what is another object in each `fit`: where that records its history."""
    return getattr(model, "history", None)


def _build(model: keras.Model, iterator: Any) -> None:
    inputs = keras.utils.unpack_x_y_sample_weight(iterator.element_spec)[0]
    model(keras.tree.map_structure(_make_symbolic, inputs))


def _make_symbolic(spec: Any) -> keras.KerasTensor:
    return keras.KerasTensor(spec.shape, keras.backend.standardize_dtype(spec.dtype))
