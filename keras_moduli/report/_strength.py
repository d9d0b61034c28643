"""How strong a penalty should be."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli.regularizers import find_regularizer
from keras_moduli.report._labels import label_variables

Array = NDArray[Any]


def suggest_strength(
    model: keras.Model, x: Any, y: Any, *, share: float = 3.0
) -> dict[str, float]:
    """Returns the strengths at which the penalty is a multiple of what can be learned.

    What a strength adds to the loss depends on inhibitor, unit of distance, neurons and
    weights. Relative to the loss of the best constant output, which is what there is to
    learn, it does not. Call this once on a model as it is initialized, and build the
    model again with what it returns.

    Args:
        model: A built and compiled model with a geometry, of any strength above 0.
        x: A batch of inputs, as for `model.evaluate`.
        y: Its targets.
        share: All penalties by distance before training, in units of that loss of the
            batch; 3 by default. Raise it while masks are wide and the error allows; of
            learned positions repulsion counts too.

    Returns:
        The strength of each weight, by the labels of `km.geometry`; of several weights
        each gets an equal part of the share.

    Raises:
        TypeError: If `model` is not a Keras model, or `x` or `y` no batch of arrays.
        ValueError: If the model is not built or compiled or has no penalty, or no loss
            above 0 is left of a constant, or weights are not finite or too large.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> def make(strength):
        ...     regularizer = km.ModuliRegularizer("torus", "diffusion", strength)
        ...     layer = keras.layers.SimpleRNN(16, recurrent_regularizer=regularizer)
        ...     model = keras.Sequential([keras.Input((5, 2)), layer])
        ...     model.compile("adam", "mse")
        ...     return model
        >>> x, y = np.ones((32, 5, 2)), np.random.normal(size=(32, 16))
        >>> (strength,) = km.suggest_strength(make(1e-3), x, y).values()
        >>> model = make(strength)
    """
    share = _checks.positive("share", share)
    variables = _checks.built_model(model).trainable_variables
    chosen = [v for v in variables if find_regularizer(v) and 0 not in v.shape]
    _check(model, chosen)
    _check_batch(x, y)
    labels = label_variables(model, chosen)
    part = share * _compute_loss(model, x, y) / len(chosen)
    rows = zip(labels, chosen, strict=True)
    return {label: _scale(variable, label, part) for label, variable in rows}


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
    _checks.finite_weights(chosen, "A strength is chosen by what weights cost,")


def _check_batch(x: Any, y: Any) -> None:
    """Refuses data sets, generators and lists of numbers."""
    leaves = [*keras.tree.flatten(x), *keras.tree.flatten(y)]
    odd = [leaf for leaf in leaves if leaf is not None and not hasattr(leaf, "shape")]
    if odd or x is None or y is None:
        kinds = [type(one).__name__ for one in (x, y)]
        raise TypeError(
            "`x` and `y` must be one batch of arrays, or lists or dictionaries of "
            f"arrays. Received: x of type {kinds[0]}, y of type {kinds[1]}. Of a data "
            "set type `x, y = next(iter(dataset))` first, of a list `np.array(y)`."
        )


def _align(y: Any, outputs: Any) -> list[Any]:
    """Returns the target of each output; None where there is none."""
    if isinstance(y, dict) and isinstance(outputs, dict):
        names = keras.tree.flatten({name: name for name in outputs})
        return [y.get(name) for name in names]
    return keras.tree.flatten(y)


def _convert(target: Any) -> Any:
    return None if target is None else ops.convert_to_tensor(target)


def _compute_loss(model: keras.Model, x: Any, y: Any) -> float:
    """Returns the least loss of outputs that do not depend on the input.

    What an untrained model outputs is one of the candidates, for losses of which none of
    the others is the best.
    """
    outputs = model.predict(x, batch_size=_count_rows(x), verbose=0)
    targets, flat = _align(y, outputs), keras.tree.flatten(outputs)
    added = sum(float(ops.convert_to_numpy(one)) for one in model.losses)

    def measure(answers: list[Any]) -> float:
        tensors = [ops.convert_to_tensor(np.asarray(one, "float32")) for one in answers]
        packed = keras.tree.pack_sequence_as(outputs, tensors)
        given = keras.tree.map_structure(_convert, y)
        loss = model.compute_loss(y=given, y_pred=packed, training=False)
        return float(ops.convert_to_numpy(loss)) - added

    best = measure(flat)
    best = best if np.isfinite(best) else np.inf  # as of logarithms of negative outputs
    if len(targets) == len(flat):
        for place, target in enumerate(targets):  # losses of outputs add up
            if target is None:
                continue
            for constant in _list_constants(np.asarray(target), flat[place].shape):
                answers = [*flat[:place], constant, *flat[place + 1 :]]
                loss = measure(answers)
                if loss < best:
                    best, flat = loss, answers
    _check_reference(best, added)
    return best


def _count_rows(x: Any) -> int:
    leaves = [leaf for leaf in keras.tree.flatten(x) if leaf is not None]
    return int(leaves[0].shape[0])


def _check_reference(loss: float, added: float) -> None:
    """Keras adds penalties to a loss in float32, of which the loss has to be left."""
    lost = np.finfo("float32").eps * abs(added) > 1e-3 * abs(loss)
    if not np.isfinite(loss) or loss <= 0 or lost:
        raise ValueError(
            f"A constant output has a loss of {loss:g} on this batch, beside penalties "
            f"of {added:g}, of which no share can be taken. Pass a batch whose targets "
            "differ, compile with a loss that is 0 where outputs are the targets, or "
            "build the model with a smaller strength, such as 1e-5."
        )


def _list_constants(target: Array, shape: tuple[int, ...]) -> list[Array]:
    """Returns mean, median and log-odds of the targets, in the shape of the outputs.

    The mean is the best constant of squared errors and of cross-entropies, the median of
    absolute errors, logarithms and log-odds that of logits.
    """
    if target.size * shape[-1] == np.prod(shape) and target.shape != shape:
        rows = _encode(target.ravel(), shape[-1])
    elif target.shape == shape:
        rows = target.reshape(-1, shape[-1]).astype("float64")
    else:
        return []
    if not len(rows):
        return []
    mean = rows.mean(axis=0)
    constants = [mean, np.median(rows, axis=0)]
    if (mean >= 0).all() and (mean <= 1).all():
        inner = np.clip(mean, 1e-6, 1 - 1e-6)
        constants += [np.log(inner), np.log(inner / (1 - inner))]
    return [np.broadcast_to(one, shape) for one in constants]


def _encode(targets: Array, count: int) -> Array:
    """Returns rows of one target each, or of the shares of each class."""
    if count == 1:
        return targets[:, None].astype("float64")
    known = np.isin(targets, np.arange(count))  # others are ignored, or are no classes
    return np.eye(count)[targets[known].astype(int)]


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
