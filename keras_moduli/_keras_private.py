"""Every name that Keras does not promise, each with why nothing public does.

`tests/test_keras_private.py` has a test for each, which fails when Keras changes it.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import keras
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
