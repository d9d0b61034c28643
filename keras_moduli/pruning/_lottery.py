"""Lottery tickets: the mask of a pruned network, with other weights."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _checks
from keras_moduli.pruning import _geometry
from keras_moduli.pruning._selection import Select, prunable_variables


class _FixedMask(keras.constraints.Constraint):
    """Multiplies by a mask that never changes, which a compiled step may then freeze."""

    def __init__(self, mask: Any, inner: Any) -> None:
        self.mask = mask
        self.inner = inner

    def __call__(self, weight: Any) -> Any:
        weight = weight if self.inner is None else self.inner(weight)
        return ops.where(self.mask, ops.convert_to_tensor(weight), 0.0)


def lottery_ticket(
    model: keras.Model,
    seed: int = 0,
    *,
    rewind: keras.Model | Sequence[Any] | None = None,
    select: Select = None,
) -> keras.Model:
    """Returns a new model with the zeros of a pruned one, and fresh weights elsewhere.

    It tells what a mask is worth apart from the weights that it was found with. The zeros
    are held while the new model trains, by a constraint on each kernel; a copy that was
    saved and loaded again needs the callback `KeepZeros` for that. Learned positions of
    neurons are those of the pruned model; other weights (biases, norms) are fresh.

    Args:
        model: A pruned model: built, and such that Keras can save it.
        seed: Of the fresh weights, which depend on the initializers of the layers.
        rewind: The weights to start from in place of fresh ones: a model of the same
            architecture, or what its `get_weights()` returned, such as before training.
        select: Which weights have masks, as in `MagnitudePruning`.

    Returns:
        A new model, compiled as `model` is, with an optimizer that knows nothing yet.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If it has no zeros, or `rewind` has other shapes.

    Example:

    >>> import keras, numpy as np, keras_moduli as km
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> model.set_weights([np.eye(4, 3), np.zeros(3)])
    >>> ticket = km.lottery_ticket(model, seed=1)
    >>> km.sparsity(ticket).total.zeros
    9

    Source: Frankle and Carbin, "The lottery ticket hypothesis", 2019.
    """
    seed = _checks.seed("seed", seed)
    masks = _find_masks(model, select)
    ticket = _clone(model, seed)
    if rewind is not None:
        _rewind(ticket, rewind)
    _copy_positions(model, ticket)
    for i, mask in masks.items():
        _hold(ticket.weights[i], mask)
    return ticket


def _find_masks(model: keras.Model, select: Select) -> dict[int, Any]:
    """Returns what is not zero in each chosen weight, by its index."""
    indices = _find_indices(model, prunable_variables(model, select))
    masks = {i: ops.convert_to_numpy(model.weights[i].value) != 0 for i in indices}
    if all(mask.all() for mask in masks.values()):
        raise ValueError(
            f"Model {model.name!r} has no zeros that a ticket could keep. Prune it "
            "first, with `MagnitudePruning` in `fit`."
        )
    return masks


def _copy_positions(model: keras.Model, ticket: keras.Model) -> None:
    for i in _find_indices(model, _geometry.list_embeddings(model)):
        # Through NumPy: on JAX two variables must not share a buffer that a step donates.
        ticket.weights[i].assign(ops.convert_to_numpy(model.weights[i].value))


def _hold(weight: Any, mask: Any) -> None:
    # All zeros: initialized so, as in `MaskState.adopt_zeros`.
    if mask.any():
        weight.assign(ops.where(mask, weight.value, 0.0))
        weight.constraint = _FixedMask(mask, weight.constraint)


def _find_indices(model: keras.Model, variables: Sequence[Any]) -> list[int]:
    wanted = {id(variable) for variable in variables}
    return [i for i, weight in enumerate(model.weights) if id(weight) in wanted]


def _clone(model: keras.Model, seed: int) -> keras.Model:
    """Returns the model as its file would describe it, with other seeds."""
    config = keras.saving.serialize_keras_object(model)
    _reseed(config, np.random.RandomState(seed))
    fresh = keras.saving.deserialize_keras_object(config)
    shapes = [[tuple(w.shape) for w in m.weights] for m in (model, fresh)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"Model {model.name!r} cannot be made anew from its config: "
            f"{len(shapes[0])} weights became {len(shapes[1])}. A subclassed model needs "
            "`get_config`, and layers that build all their weights in `build`."
        )
    return fresh


def _reseed(config: Any, rng: np.random.RandomState) -> None:
    """Gives every initializer in a config a seed of its own."""
    if isinstance(config, dict):
        inner = config.get("config") or {}
        if config.get("module") == "keras.initializers" and "seed" in inner:
            inner["seed"] = int(rng.randint(2**31))
        for value in config.values():
            _reseed(value, rng)
    elif isinstance(config, list | tuple):
        for value in config:
            _reseed(value, rng)


def _rewind(ticket: keras.Model, rewind: Any) -> None:
    weights = rewind.get_weights() if isinstance(rewind, keras.Model) else list(rewind)
    shapes = [tuple(np.shape(weight)) for weight in weights]
    wanted = [tuple(weight.shape) for weight in ticket.weights]
    if shapes != wanted:
        raise ValueError(
            "`rewind` must hold the weights of the same architecture, as "
            f"`model.get_weights()` returns them. Expected shapes {wanted}. "
            f"Received: {shapes}"
        )
    ticket.set_weights(weights)
