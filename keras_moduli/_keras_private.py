"""Every name that Keras does not promise, each with why nothing public does.

`tests/test_keras_private.py` has a test for each, which fails when Keras changes it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import keras
from keras.src.backend.common import global_state
from keras.src.saving import serialization_lib

Variable = Any
T = TypeVar("T")


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


def iterate_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yields a layer and all that are inside of it, which only models show."""
    yield from layer._flatten_layers()


def describe(layer: Any, parts: Iterable[Any]) -> tuple[dict[str, Any], list[Any]]:
    """Returns the config of a layer, and which of some layers it describes inside.

    Each of those is marked, so that `read_config` knows it again.
    """
    known = {id(part): part for part in parts}
    with serialization_lib.ObjectSharingScope():
        configs = {key: {"module": ""} for key in known}
        global_state.set_global_attribute(_CONFIGS, configs)
        config = layer.get_config()
    return config, [known[key] for key in _find_marks(config) if key in known]


def read_config(function: Callable[..., T], config: Any, made: dict[int, Any]) -> T:
    """Returns what a function makes of a config, in which marked objects are given.

    Args:
        function: `from_config` of a class, or the class.
        config: Its argument, or arguments if it is a class.
        made: The objects, by the addresses of those that they take the place of.
    """
    with serialization_lib.ObjectSharingScope():
        global_state.set_global_attribute(_OBJECTS, dict(made))
        return function(**config) if isinstance(function, type) else function(config)


_CONFIGS = "shared_objects/id_to_config_map"
_OBJECTS = "shared_objects/id_to_obj_map"


def _find_marks(config: Any) -> Iterator[int]:
    if isinstance(config, list | tuple):
        for value in config:
            yield from _find_marks(value)
    elif isinstance(config, dict) and "shared_object_id" in config:
        yield config["shared_object_id"]
    elif isinstance(config, dict):
        yield from _find_marks(list(config.values()))


def get_compile_arguments(model: keras.Model) -> dict[str, Any]:
    """Returns what `compile` was called with: `get_compile_config` has only its names."""
    return dict(model._compile_config.config)


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
