"""What optimizers hold inside."""

from collections.abc import Iterator
from typing import Any

import keras


def chain(optimizer: Any) -> Iterator[Any]:
    """The optimizer and those that it wraps, the one that does the updates last."""
    while optimizer is not None:
        yield optimizer
        optimizer = getattr(optimizer, "inner_optimizer", None)


def of_variable(optimizer: Any, variable: Any) -> Any:
    """The optimizer that updates a variable."""
    *_, last = chain(optimizer)
    for part in getattr(last, "optimizers", ()):
        if next(slots(part, variable), None) is not None:
            return part
    return last


def slots(optimizer: Any, variable: Any) -> Iterator[Any]:
    """The state that an optimizer keeps for a variable: momenta, averages."""
    prefix = variable.path.replace("/", "_") + "_"
    for state in optimizer.variables:
        is_number = "float" in keras.backend.standardize_dtype(state.dtype)
        if (
            is_number  # a mask is none
            and state.shape == variable.shape
            and state.path.split("/")[-1].startswith(prefix)
        ):
            yield state
