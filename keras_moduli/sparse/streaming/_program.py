"""A model at one time step, as a list of calls."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from keras_moduli.sparse.streaming._values import Held, Result, Step, Tensor, Value


@dataclass
class Program:
    """A model at one time step.

    Attributes:
        steps: What is called, in order.
        outputs: The values of the model's outputs.
        structure: How the model returns them.
        stateful: The `id` of each stateful layer that is called.
    """

    steps: list[Step] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    structure: Any = None
    stateful: set[int] = field(default_factory=set)
    _slots: Iterator[int] = field(default_factory=itertools.count)

    def __repr__(self) -> str:
        return f"<Program of {len(self.steps)} steps>"

    def get_initial_states(self, batch_size: int) -> list[Any]:
        """Returns the states before the first time step."""
        return [step.get_initial_state(batch_size) for step in self.steps]

    def run(self, x: Tensor, states: list[Any]) -> tuple[Any, list[Any]]:
        """Returns the outputs of one time step, and the next states."""
        held: dict[int, Held] = {0: (x, None)}
        new = []
        for step, state in zip(self.steps, states, strict=True):
            made, after = step.run([held[slot] for slot in step.reads], state)
            held.update(zip(step.writes, made, strict=True))
            new.append(after)
        tensors = [held[value.slot][0] for value in self.outputs]
        if isinstance(self.structure, keras.KerasTensor):
            return tensors[0], new
        return keras.tree.pack_sequence_as(self.structure, tensors), new

    def add_value(self, tensor: Any, is_sequence: bool, is_masked: bool) -> Value:
        """Returns a new value, of the shape and type of a symbolic tensor."""
        shape, dtype = tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype)
        return Value(next(self._slots), shape, dtype, is_sequence, is_masked)

    def add_step(self, result: Result, reads: list[Value], tensors: Any) -> list[Value]:
        """Appends a step; returns the values of the symbolic tensors that it gives."""
        pairs = zip(tensors, result.kinds, strict=True)
        writes = [self.add_value(tensor, *kind) for tensor, kind in pairs]
        read, written = (tuple(v.slot for v in values) for values in (reads, writes))
        self.steps.append(Step(result.run, read, written, result.get_initial_state))
        return writes
