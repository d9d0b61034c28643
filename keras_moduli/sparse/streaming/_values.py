"""What a tensor of a model's graph is at one time step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

Tensor = Any
# A tensor of one time step, without the axis of time, and its mask (batch,) or None.
Held = tuple[Tensor, Tensor]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]  # of a call
Run = Callable[[list[Held], Any], tuple[list[Held], Any]]


class RefusalError(ValueError):
    """Says why one call of a graph has no place in a Stream, for whom knows its name."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the graph of a model.

    Attributes:
        slot: Where steps put it.
        shape: In the model.
        dtype: Likewise.
        is_sequence: Whether it has an entry for each time step, along its second axis.
            If not, it depends on the whole sequence so far, and is held as it is.
        is_masked: Whether it has a mask over time.
    """

    slot: int
    shape: tuple[int | None, ...]
    dtype: str
    is_sequence: bool
    is_masked: bool = False

    @property
    def rank(self) -> int:
        """Number of axes in the model."""
        return len(self.shape)


@dataclass(frozen=True)
class Step:
    """One call of the graph, at one time step.

    Attributes:
        run: Takes what it reads, and its state; returns what it writes, and the next.
        reads: Slots.
        writes: Slots.
        get_initial_state: Returns the state before the first step, for a batch size.
    """

    run: Run
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    get_initial_state: Callable[[int], Any] = lambda batch_size: []


@dataclass(frozen=True)
class Result:
    """How a call runs on one time step.

    Attributes:
        run: As that of a `Step`.
        kinds: Of each output, whether it is a sequence, and whether it has a mask.
        get_initial_state: As that of a `Step`.
    """

    run: Run
    kinds: tuple[tuple[bool, bool], ...]
    get_initial_state: Callable[[int], Any] = lambda batch_size: []


def fill(template: Arguments, tensors: list[Tensor]) -> Arguments:
    """Returns arguments with tensors where a template has values, in their order."""
    rest = iter(tensors)
    filled: Arguments = keras.tree.map_structure(
        lambda leaf: next(rest) if isinstance(leaf, Value) else leaf, template
    )
    return filled


def add_time(x: Tensor) -> Tensor:
    """Returns a sequence of one step."""
    return None if x is None else ops.expand_dims(x, 1)


def remove_time(x: Tensor) -> Tensor:
    """Returns the one step of a sequence."""
    return None if x is None else x[:, 0]


def check_axes(axes: Any, rank: int) -> None:
    """Raises unless axes are known, and neither that of time nor of the batch."""
    axes = [axes] if isinstance(axes, int) else axes
    if axes is None or any(axis % rank < 2 for axis in axes):
        raise RefusalError("it works along the axis of time or of the batch")


def check_constant(value: Any, rank: int) -> None:
    """Raises if an array, broadcast to `rank` axes, differs from time step to step."""
    shape = getattr(value, "shape", None)
    shape = np.shape(value) if shape is None else tuple(shape)
    if len(shape) >= rank - 1 and shape[len(shape) - rank + 1] != 1:
        raise RefusalError(f"it has a constant of shape {shape}, with an axis of time")


def check_rank(values: list[Value], *, at_least: int = 2) -> int:
    """Returns the number of axes, which must be the same for all."""
    ranks = {value.rank for value in values}
    if len(ranks) != 1:
        raise RefusalError(
            "it joins tensors of different ranks, and so time with other axes"
        )
    (rank,) = ranks
    if rank < at_least:
        raise RefusalError(
            f"its input has {rank} axes, the last of which is time, and it works along it"
        )
    return rank


def is_plain(layer: Any, values: list[Value]) -> bool:
    """Whether `layer.call` does all that calling the layer does: no cast, no int8."""
    dtype = keras.backend.standardize_dtype(layer.compute_dtype)
    return (
        dtype == layer.variable_dtype
        and getattr(layer, "quantization_mode", None) is None
        and all(v.dtype == dtype or "float" not in v.dtype for v in values)
    )
