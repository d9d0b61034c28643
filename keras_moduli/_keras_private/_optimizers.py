"""What optimizers keep of a variable, and the optimizers inside of others."""

from collections.abc import Iterable, Iterator
from typing import Any

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
    # TensorFlow exports no list that anything was taken out of. So another, set as Keras
    # sets the first: while nothing tracks what is set.
    tracker = optimizer._tracker
    del optimizer._tracker
    optimizer._variables = list(optimizer._variables)
    optimizer._tracker = tracker
    is_variable, _ = tracker.config["variables"]
    tracker.config["variables"] = (is_variable, optimizer._variables)


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
    """Yields the state that an optimizer keeps for each entry of a variable."""
    for slot in iterate_state(optimizer, variable):
        if slot.shape == variable.shape:
            yield slot


def iterate_state(optimizer: Any, variable: Variable) -> Iterator[Variable]:
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
            if id(slot) in own:
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
