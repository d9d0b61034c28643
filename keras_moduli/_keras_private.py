"""Every name that Keras does not promise, each with why nothing public does.

`tests/test_keras_private.py` has a test for each, which fails when Keras changes it.
"""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras
from keras.src.backend.common.stateless_scope import get_stateless_scope
from keras.src.models.functional import Functional

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

    Keras marks the second object that holds a shared one, and the first only if nobody
    has copied its config in the meantime, which Keras itself does.
    """
    return config | {"shared_object_id": id(shared)}


def iterate_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields a model and all layers in it, also cells and layers inside of layers.

    `model.layers` has the outermost only.
    """
    yield from model._flatten_layers()


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


def is_frozen(variable: Variable) -> bool:
    """Whether a compiled step that is being traced would take a value for ever.

    In JAX's scopes what is none of the state of the step is a constant of it.
    """
    scope = get_stateless_scope()
    return scope is not None and scope.get_current_value(variable) is None


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
