"""How strong a penalty should be."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _checks
from keras_moduli.regularizers import find_regularizer
from keras_moduli.report._labels import label_variables


def suggest_strength(
    model: keras.Model, x: Any, y: Any, *, share: float = 0.3
) -> dict[str, float]:
    """Returns the strengths at which the penalty is a share of the task's loss.

    A strength means little by itself: what 1e-3 adds to the loss depends on the
    inhibitor, on the unit of distance, on the number of neurons and on their weights.
    What it adds relative to the loss of the task, before training, does not. Call this
    once on a model as it is initialized, and build the model again with what it returns.

    Args:
        model: A built and compiled model with a geometry, of any strength above 0.
        x: A batch of inputs, as for `model.evaluate`.
        y: Its targets.
        share: All penalties by distance relative to the loss of the batch without any,
            which a model has before training. Raise it while masks are wide and the
            error allows; what a constant output would take off that loss counts too.

    Returns:
        The strength of each weight, by the labels of `km.geometry`; of several weights
        each gets an equal part of the share.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If it is not built or compiled, has no geometry or no penalty, or no
            finite loss above 0.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> def make(strength):
        ...     regularizer = km.ModuliRegularizer("torus", "diffusion", strength)
        ...     layer = keras.layers.SimpleRNN(16, recurrent_regularizer=regularizer)
        ...     model = keras.Sequential([keras.Input((5, 2)), layer])
        ...     model.compile("adam", "mse")
        ...     return model
        >>> x, y = np.ones((32, 5, 2)), np.ones((32, 16))
        >>> (strength,) = km.suggest_strength(make(1e-3), x, y).values()
        >>> model = make(strength)
    """
    share = _checks.positive("share", share)
    variables = _checks.built_model(model).trainable_variables
    chosen = [v for v in variables if find_regularizer(v) is not None]
    _check(model, chosen)
    labels = label_variables(model, chosen)
    loss = _compute_loss(model, x, y)
    return {
        label: _scale(variable, label, share * loss / len(chosen))
        for label, variable in zip(labels, chosen, strict=True)
    }


def _check(model: keras.Model, chosen: list[Any]) -> None:
    if not chosen:
        raise ValueError(
            f"There is no weight of model {model.name!r} with a geometry. Use "
            "`ModuliRegularizer` or a layer of `keras_moduli.layers`."
        )
    if not model.compiled:
        raise ValueError(
            f"Model {model.name!r} is not compiled, so that it has no loss. Type "
            "`model.compile(optimizer, loss)` first."
        )


def _compute_loss(model: keras.Model, x: Any, y: Any) -> float:
    """Returns the loss of a batch without what the model adds to it."""
    total = model.evaluate(x, y, verbose=0, return_dict=True)["loss"]
    added = sum(float(ops.convert_to_numpy(one)) for one in model.losses)
    loss = float(total) - added
    if not np.isfinite(loss) or loss <= 0:
        raise ValueError(
            f"The loss of this batch without penalties is {loss:g}, of which no share "
            "can be taken. Pass a batch whose loss is above 0."
        )
    return loss


def _scale(variable: Any, label: str, wanted: float) -> float:
    regularizer = find_regularizer(variable)
    assert regularizer is not None
    penalty = float(ops.convert_to_numpy(regularizer.penalty(variable.value)))
    if penalty <= 0:
        raise ValueError(
            f"The penalty of {label} is {penalty:g}, which no factor makes larger. Build "
            "the model with a strength above 0, such as 1e-3."
        )
    return regularizer.cost.strength * wanted / penalty
