"""Objects that several layers hold, in configs and copies."""

import contextvars
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import keras
from keras.src.backend.common import global_state
from keras.src.saving import serialization_lib

T = TypeVar("T")


def mark_shared(config: dict[str, Any], shared: Any) -> dict[str, Any]:
    """Marks a config as that of an object which several layers of a model hold.

    Keras marks the second object that holds a shared one, by its address, and the first
    only if nobody has copied its config in the meantime, which Keras itself does. Here
    the mark is a number within the call that saves or clones a model, and none without
    one: a config is a value.
    """
    if _copies.get():
        return config
    config = {key: value for key, value in config.items() if key != _MARK}
    scope = _find_sharing()
    if shared is None or scope is None or scope.loads:
        return config
    number, _ = scope.marked.setdefault(id(shared), (len(scope.marked), shared))
    return config | {_MARK: number}


def deserialize_shared(config: dict[str, Any]) -> Any:
    """Returns the object of a config: one for each mark within a call of Keras.

    Keras looks marks up in `load_model`, and neither in `clone_model` nor `from_config`.
    """
    scope = None if _copies.get() else _find_sharing()
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


def describe(layer: Any, parts: Iterable[Any]) -> tuple[dict[str, Any], list[Any]]:
    """Returns the config of a layer, and which of some layers it describes inside.

    Each of those is marked, so that `read_config` knows it again.
    """
    known = {id(part): part for part in parts}
    with serialization_lib.ObjectSharingScope():
        configs = {key: {"module": ""} for key in known}
        global_state.set_global_attribute(_CONFIGS, configs)
        config = _run_as_copy(layer.get_config)
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
        if isinstance(function, type):
            return _run_as_copy(function, **config)
        return _run_as_copy(function, config)


_copies = contextvars.ContextVar("copies", default=False)


def _run_as_copy(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Calls a function with the marks of `describe`, not those of `mark_shared`."""
    token = _copies.set(True)
    try:
        return function(*args, **kwargs)
    finally:
        _copies.reset(token)


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
