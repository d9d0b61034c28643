"""What optimizers keep of a variable, and the optimizers inside of others."""

from collections.abc import Iterable, Iterator, Sequence
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
    """Takes variables off those of an optimizer: there is `add_variable`, no remove.

    All at once: `_untrack_variable` looks each of them up from the start.
    """
    gone = {id(variable) for variable in variables}
    # TensorFlow exports no list that anything was taken out of. So another, set as Keras
    # sets the first: while nothing tracks what is set.
    tracker = optimizer._tracker
    del optimizer._tracker
    optimizer._variables = [v for v in optimizer._variables if id(v) not in gone]
    optimizer._tracker = tracker
    is_variable, _ = tracker.config["variables"]
    tracker.config["variables"] = (is_variable, optimizer._variables)
    tracker.stored_ids["variables"] -= gone


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
    yield from _choose_slots(variable, iterate_state(optimizer, variable))


def list_slots(optimizer: Any, variables: Sequence[Variable]) -> list[list[Variable]]:
    """Returns that of many variables, each from the optimizer that updates it.

    In one pass over all: of each by itself the time would grow with their square.
    """
    *_, last = iterate_optimizers(optimizer)
    states: dict[int, list[Variable]] = {}
    for part in (last, *reversed(getattr(last, "optimizers", ()))):
        if hasattr(part, "_trainable_variables"):
            states |= _index_states(part)
    return [list(_choose_slots(v, states.get(id(v), ()))) for v in variables]


def iterate_state(optimizer: Any, variable: Variable) -> Iterator[Variable]:
    """Yields the state that an optimizer keeps for a variable: momenta, averages."""
    yield from _index_states(optimizer).get(id(variable), ())


def _choose_slots(variable: Variable, states: Iterable[Variable]) -> Iterator[Variable]:
    return (state for state in states if state.shape == variable.shape)


def _index_states(optimizer: Any) -> dict[int, list[Variable]]:
    """Returns the state of each variable, by the `id` of the variable.

    Keras's optimizers hold their slots in lists, which each names differently, with an
    entry for each variable that they train, in the order of these.
    """
    trained, own = optimizer._trainable_variables, {id(v) for v in optimizer.variables}
    values = list(vars(optimizer).values())
    lists = [v for v in values if isinstance(v, list) and len(v) == len(trained)]
    return {
        id(variable): [slots[i] for slots in lists if id(slots[i]) in own]
        for i, variable in enumerate(trained)
    }


def _find_index(optimizer: Any, variable: Variable) -> int | None:
    trained = enumerate(optimizer._trainable_variables)
    return next((i for i, other in trained if other is variable), None)


def is_average(slot: Variable) -> bool:
    """Whether a slot is the moving average of its variable, rather than a momentum."""
    return bool(slot.path.endswith("_average"))


def is_momentum(slot: Variable) -> bool:
    """Whether a slot is a running mean of gradients."""
    return bool(slot.path.endswith(("_momentum", "_m")))
