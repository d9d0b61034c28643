"""Every name that Keras does not promise, each with why nothing public does.

`tests/test_keras_private.py` has a test for each, which fails when Keras changes it.
"""

import contextvars
import inspect
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import keras
from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import get_stateless_scope
from keras.src.models.functional import Functional
from keras.src.saving import serialization_lib

Variable = Any
T = TypeVar("T")

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
    # TensorFlow exports no list that anything was taken out of. So another, set as Keras
    # sets the first: while nothing tracks what is set.
    tracker = optimizer._tracker
    del optimizer._tracker
    optimizer._variables = list(optimizer._variables)
    optimizer._tracker = tracker
    is_variable, _ = tracker.config["variables"]
    tracker.config["variables"] = (is_variable, optimizer._variables)


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


class Call(NamedTuple):
    """One call in the graph of a model.

    Attributes:
        operation: What is called: a layer, a model, or an operation of `keras.ops`.
        args: Positional arguments, with symbolic tensors.
        kwargs: Keyword arguments likewise.
        outputs: The symbolic tensors that it gives, flat.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Any]


def find_call(tensor: Any) -> Call:
    """Returns the call that made a symbolic tensor.

    A Functional model shows its operations, and not what it calls them on.
    """
    operation, index, _ = tensor._keras_history
    node = operation._inbound_nodes[index]
    return Call(operation, node.arguments.args, node.arguments.kwargs, node.outputs)


def find_mask(tensor: Any) -> Any:
    """Returns the mask that a symbolic tensor brings along, or None.

    Layers hand masks on beside their outputs, and nothing public shows them.
    """
    return getattr(tensor, "_keras_mask", None)


def is_graph(model: Any) -> bool:
    """Whether calling an object does nothing but evaluate the graph of a model.

    The class of Functional models has no public name.
    """
    kinds = [kind for kind in (keras.Sequential, Functional) if isinstance(model, kind)]
    names = ("call", "__call__")
    return bool(kinds) and all(
        getattr(type(model), name) is getattr(kinds[0], name) for name in names
    )


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


def find_callback_list() -> Any:
    """Returns the list of callbacks that is calling one of them just now, or None.

    `fit` keeps it to itself, and a callback knows nothing of the others.
    """
    own = inspect.currentframe()
    # Its own frame would hold itself, and all frames above, until garbage is collected.
    frame = None if own is None else own.f_back
    del own
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList):
            return caller
        frame = frame.f_back
    return None


def is_fitting(wanted: Any) -> bool:
    """Returns whether a `fit`, in any thread, is using a list of callbacks just now.

    The list itself may outlive its `fit`: a notebook keeps the traceback of an exception.
    """
    frames: dict[int, Any] = sys._current_frames()
    # Its own frame would hold itself, as in `find_callback_list`.
    frames[threading.get_ident()] = frames[threading.get_ident()].f_back
    return wanted is not None and any(_use(f, wanted) for f in frames.values())


def _use(frame: Any, callbacks: Any) -> bool:
    while frame is not None:
        values = frame.f_locals
        if values.get("self") is callbacks:  # before `fit` has it
            return True
        if frame.f_code.co_name == "fit" and values.get("callbacks") is callbacks:
            return True
        frame = frame.f_back
    return False


def is_frozen(variable: Variable) -> bool:
    """Whether a compiled step that is being traced would take a value for ever.

    In JAX's scopes what is none of the state of the step is a constant of it.
    """
    scope = get_stateless_scope()
    return scope is not None and scope.get_current_value(variable) is None


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


def get_compile_arguments(model: keras.Model) -> dict[str, Any]:
    """Returns what `compile` was called with: `get_compile_config` has only its names."""
    return dict(model._compile_config.config)


def iterate_optimizers(optimizer: Any) -> Iterator[Any]:
    """Yields an optimizer and those that it wraps, the one that does the updates last."""
    while optimizer is not None:
        yield optimizer
        optimizer = getattr(optimizer, "inner_optimizer", None)


def find_optimizer(optimizer: Any, variable: Variable) -> Any:
    """Returns the optimizer that updates a variable, of those that share the work."""
    *_, last = iterate_optimizers(optimizer)
    for part in getattr(last, "optimizers", ()):
        if _find_index(part, variable) is not None:
            return part
    return last


def iterate_slots(optimizer: Any, variable: Variable) -> Iterator[Variable]:
    """Yields the state that an optimizer keeps for a variable: momenta, averages.

    Keras's optimizers hold their slots in lists, which each names differently, with an
    entry for each variable that they train, in the order of these.
    """
    index = _find_index(optimizer, variable)
    if index is None:
        return
    length, own = (
        len(optimizer._trainable_variables),
        {id(v) for v in optimizer.variables},
    )
    for slots in list(vars(optimizer).values()):
        if isinstance(slots, list) and len(slots) == length:
            slot = slots[index]
            if id(slot) in own and slot.shape == variable.shape:
                yield slot


def _find_index(optimizer: Any, variable: Variable) -> int | None:
    trained = enumerate(optimizer._trainable_variables)
    return next((i for i, other in trained if other is variable), None)


def is_average(slot: Variable) -> bool:
    """Whether a slot is the moving average of its variable, rather than a momentum."""
    return bool(slot.path.endswith("_average"))


def is_momentum(slot: Variable) -> bool:
    """Whether a slot is a running mean of gradients."""
    return bool(slot.path.endswith(("_momentum", "_m")))
