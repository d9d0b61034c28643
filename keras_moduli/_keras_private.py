"""Every name that Keras does not promise, each with why nothing public does.

`tests/test_keras_private.py` has a test for each, which fails when Keras changes it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import keras

Variable = Any

_PROJECTIONS = {
    "query": "_query_dense",
    "key": "_key_dense",
    "gate": "_gate_dense",
    "value": "_value_dense",
    "attention_output": "_output_dense",
}


def get_sharding(variable: Variable) -> Any:
    """Returns how a variable is laid out over devices, for one that goes with it.

    `keras.distribution` has layouts by path, and none of a variable.
    """
    return getattr(variable, "_layout", None)


def track(optimizer: Any, variables: Iterable[Variable]) -> None:
    """Appends variables to those of an optimizer, as `add_variable` did."""
    for variable in variables:
        optimizer._track_variable(variable)


def untrack(optimizer: Any, variables: Iterable[Variable]) -> None:
    """Takes variables off those of an optimizer: there is `add_variable`, no remove."""
    for variable in variables:
        optimizer._untrack_variable(variable)


def iterate_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yields a layer and all that are inside of it, which only models show."""
    yield from layer._flatten_layers()


def get_projections(attention: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """Returns the projections of an attention layer by name, as they come in its weights.

    Not all are public: of `MultiHeadAttention` the gate is not, of `GroupQueryAttention`
    none is.
    """
    found = {name: getattr(attention, key, None) for name, key in _PROJECTIONS.items()}
    return {name: part for name, part in found.items() if part is not None}


def replace_projection(
    attention: keras.layers.Layer, name: str, new: keras.layers.Layer
) -> None:
    """Puts a layer in the place of a projection, whose weights are its no longer."""
    attribute = _PROJECTIONS[name]
    attention._tracker.untrack(getattr(attention, attribute))
    setattr(attention, attribute, new)


def count_calls(layer: keras.layers.Layer) -> int:
    """Returns in how many places of a graph a layer is called.

    A Functional model shows its layers, and not how often it calls each.
    """
    return len(layer._inbound_nodes)


def mark_shared(config: dict[str, Any], shared: Any) -> dict[str, Any]:
    """Marks a config as that of an object which several layers of a model hold.

    Keras marks the second object that holds a shared one, and the first only if nobody
    has copied its config in the meantime, which Keras itself does.
    """
    return config | {"shared_object_id": id(shared)}


def iterate_optimizers(optimizer: Any) -> Iterator[Any]:
    """Yields an optimizer and those that it wraps, the one that does the updates last."""
    while optimizer is not None:
        yield optimizer
        optimizer = getattr(optimizer, "inner_optimizer", None)


def find_optimizer(optimizer: Any, variable: Variable) -> Any:
    """Returns the optimizer that updates a variable."""
    *_, last = iterate_optimizers(optimizer)
    for part in getattr(last, "optimizers", ()):
        if next(iterate_slots(part, variable), None) is not None:
            return part
    return last


def iterate_slots(optimizer: Any, variable: Variable) -> Iterator[Variable]:
    """Yields the state that an optimizer keeps for a variable: momenta, averages.

    Keras's optimizers hold slots in lists of their own, which each names differently;
    what they share is how `add_variable_from_reference` makes paths.
    """
    prefix = variable.path.replace("/", "_") + "_"
    for state in optimizer.variables:
        is_number = "float" in keras.backend.standardize_dtype(state.dtype)
        if (
            is_number  # a mask is none
            and state.shape == variable.shape
            and state.path.split("/")[-1].startswith(prefix)
        ):
            yield state


def is_average(slot: Variable) -> bool:
    """Whether a slot is the moving average of its variable, rather than a momentum."""
    return bool(slot.path.endswith("_average"))


def is_momentum(slot: Variable) -> bool:
    """Whether a slot is a running mean of gradients."""
    return bool(slot.path.endswith(("_momentum", "_m")))
