"""Lottery tickets: the mask of a pruned network, with other weights."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _checks, _copies, _keras_private
from keras_moduli._rebuild import Rebuild, build_copies, carry_flags
from keras_moduli.connectivity import find_kernel
from keras_moduli.pruning import _geometry
from keras_moduli.pruning._marks import Reading, apply_mask
from keras_moduli.pruning._selection import Select, prunable_variables


class _FixedMask(keras.constraints.Constraint):
    """Masks for ever, which a compiled step may then freeze, and as `_Masked` does."""

    def __init__(self, mask: Any, inner: Any) -> None:
        self.mask = mask
        self.inner = inner

    def __call__(self, weight: Any) -> Any:
        if self.inner is not None:
            weight = self.inner(apply_mask(weight, self.mask))
        return apply_mask(weight, self.mask)


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
    neurons, weights of frozen layers and what layers have adapted to are kept; other
    weights (biases, norms) are fresh.

    Args:
        model: A built model. The mask is what pruning has marked; where that is nothing,
            as after `set_weights`, all exact zeros, with a warning.
        seed: Of the fresh weights, which depend on the initializers of the layers.
        rewind: The weights to start from in place of fresh ones: a model of the same
            architecture, or what its `get_weights()` returned, such as before training.
        select: Which weights have masks, as in `MagnitudePruning`.

    Returns:
        A new model, compiled as `model` is, with an optimizer that knows nothing yet.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If it has no zeros, or no `get_config`, or `rewind` other shapes.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> model.set_weights([np.where(np.eye(4, 3), 1, -0.0), np.zeros(3)])
        >>> ticket = km.lottery_ticket(model, seed=1)
        >>> km.sparsity(ticket).total.zeros
        9

    Source: Frankle and Carbin, "The lottery ticket hypothesis", 2019.
    """
    seed = _checks.seed("seed", seed)
    masks = _find_masks(model, select)
    ticket, weights = _make_fresh(model, seed)
    if rewind is not None:
        _rewind(ticket, rewind)
    _keep_geometry(model, weights, rewind)
    for variable, mask in masks:
        _hold(weights[id(variable)], mask)
    return ticket


def _keep_geometry(model: keras.Model, weights: dict[int, Any], rewind: Any) -> None:
    """Puts neurons, and blocks, where they are in the model of which it is a ticket."""
    for positions in _geometry.list_embeddings(model):
        _copies.copy_value(positions, weights[id(positions)])
    for blocks in filter(None, map(find_kernel, model.weights)):
        _keep_places(blocks.indices, weights[id(blocks.indices)], rewind)


def _find_masks(model: keras.Model, select: Select) -> list[tuple[Any, Any]]:
    """Returns the chosen weights, with what is not zero in each."""
    chosen = prunable_variables(model, select)
    reading = Reading(chosen)
    masks = reading.get_masks("marked" if reading.has_marks else "all")
    if all(mask.all() for mask in masks):
        raise ValueError(
            f"Model {model.name!r} has no zeros that a ticket could keep. Prune it "
            "first, with `MagnitudePruning` in `fit`."
        )
    if not reading.has_marks:
        warnings.warn(
            "No zero of the model is marked as pruned, so all exact zeros are taken for "
            f"the mask: {reading.describe_unmarked()}. If some are none, leave their "
            "weights out by `select`, or prune by `MagnitudePruning`, which marks what "
            "it prunes.",
            stacklevel=3,
        )
    return list(zip(chosen, masks, strict=True))


def _keep_places(old: Any, new: Any, rewind: Any) -> None:
    """Lets blocks lie where the masks found them."""
    places = ops.convert_to_numpy(old)
    if rewind is not None and (places != ops.convert_to_numpy(new)).any():
        raise ValueError(
            f"Blocks have moved since `rewind`, as {old.path!r} says, so that it has no "
            "weights for some of them. Leave it out, for fresh weights."
        )
    new.assign(places)


def _hold(weight: Any, mask: Any) -> None:
    if not mask.all():
        weight.assign(apply_mask(weight.value, mask))
        weight.constraint = _FixedMask(mask, weight.constraint)


def _make_fresh(model: keras.Model, seed: int) -> tuple[keras.Model, dict[int, Any]]:
    """Returns a new model with fresh weights, and each by the address of the old one.

    What is no weight that trains is that of the model: what layers have adapted to, words
    that they know, and layers that are frozen.
    """
    rebuild = Rebuild(edit=_Reseed(seed), keep_classes=True)
    ticket = rebuild(model)
    inside = build_copies(rebuild)
    carry_flags(rebuild)
    for old, new in inside:
        if hasattr(old, "adapt") or not old.trainable:
            _copies.carry_state(old, new)
            _copies.carry_values(old, new)
    pairs = [
        pair for layers in rebuild.copied for pair in _copies.pair_variables(*layers)
    ]
    _compile_alike(model, ticket)
    return ticket, {id(old): new for old, new in pairs}


def _compile_alike(model: keras.Model, ticket: keras.Model) -> None:
    if not model.compiled:
        return
    if type(model).compile is not keras.Model.compile:
        ticket.compile_from_config(model.get_compile_config())
        return
    arguments = _keras_private.get_compile_arguments(model)
    for name in ("optimizer", "metrics", "weighted_metrics"):
        copied = keras.tree.map_structure(_copies.copy_object, arguments[name])
        arguments[name] = copied
    ticket.compile(**arguments)
    ticket.optimizer.build(ticket.trainable_variables)


class _Reseed:
    """Gives every initializer in a config a seed of its own."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)

    def __call__(self, config: Any, name: str = "") -> None:
        """Changes a config in place, which is the value of a name in another."""
        if isinstance(config, list | tuple):
            for value in config:
                self(value, name)
        if not isinstance(config, dict):
            return
        inner = config.get("config")
        is_one = config.get("module") == "keras.initializers" or "initializer" in name
        if is_one and isinstance(inner, dict) and "seed" in inner:
            inner["seed"] = int(self.random.randint(2**31))
        for key, value in config.items():
            self(value, str(key) if "class_name" not in config else name)


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
    for layer in _keras_private.iterate_layers(ticket):
        if hasattr(layer, "adapt"):  # which computes by what it has made of its weights
            _copies.carry_state(layer, layer)
