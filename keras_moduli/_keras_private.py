"""Every name that Keras does not promise, each with why nothing public does.

`tests/test_keras_private.py` has a test for each, which fails when Keras changes it.
"""

import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

Variable = Any


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

    Keras marks the second object that holds a shared one, by its address, and the first
    only if nobody has copied its config in the meantime, which Keras itself does. Here
    the mark is a number within the call that saves or clones a model, and none without
    one: a config is a value.
    """
    config = {key: value for key, value in config.items() if key != _MARK}
    scope = _find_sharing()
    if scope is None or scope.loads:
        return config
    number, _ = scope.marked.setdefault(id(shared), (len(scope.marked), shared))
    return config | {_MARK: number}


def deserialize_shared(config: dict[str, Any]) -> Any:
    """Returns the object of a config: one for each mark within a call of Keras.

    Keras looks marks up in `load_model`, and neither in `clone_model` nor `from_config`.
    """
    scope = _find_sharing()
    if scope is None or _MARK not in config:
        return keras.saving.deserialize_keras_object(config)
    if config[_MARK] not in scope.made:
        made = keras.saving.deserialize_keras_object(config)
        scope.made[config[_MARK]] = made
    return scope.made[config[_MARK]]


_MARK = "shared_object_id"
_SCOPE = "keras_moduli_sharing"
_OF_MODELS = ("keras.src.models.", "keras.src.saving.")
_LOADING = ("load", "from_", "deserialize", "model_from_")


@dataclass
class _Sharing:
    """What is shared within one call of Keras that saves, loads or clones a model.

    Attributes:
        loads: Whether it takes marks that another call has made.
        marked: Number and object, by the address of the object, which lives as long.
        made: Objects by their numbers.
    """

    loads: bool
    marked: dict[int, tuple[int, Any]] = field(default_factory=dict)
    made: dict[int, Any] = field(default_factory=dict)


def _find_sharing() -> _Sharing | None:
    """Returns what the outermost call of Keras's models and saving shares, if one runs.

    Keras tells layers nothing about the model that they are cloned for. It is kept with
    the frame of that call, so that it ends when the call does, in whatever way.
    """
    outermost, frame = None, inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_OF_MODELS):
            outermost = frame
        frame = frame.f_back
    if outermost is None:
        return None
    scope = _Sharing(loads=outermost.f_code.co_name.startswith(_LOADING))
    found: _Sharing = outermost.f_locals.setdefault(_SCOPE, scope)
    return found


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
