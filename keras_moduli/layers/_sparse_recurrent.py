"""What recurrent layers that are sparse from the first step have in common."""

import inspect
import operator
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_moduli import _backend, _checks, _keras_arguments
from keras_moduli.connectivity._layout import to_columns, to_rows
from keras_moduli.layers._shortcuts import HasCell, HasConnectivity
from keras_moduli.layers._sparse_cell import SparseCell

Tensor = Any

# Of Keras's recurrent layers; all other arguments are the cell's.
_LAYER_ARGUMENTS = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "unroll",
    "zero_output_for_mask",
    "activity_regularizer",
    "name",
    "autocast",
)
_SHARED = ("dtype", "trainable")


class SparseRNN(HasCell, HasConnectivity, keras.layers.RNN):
    """What recurrent layers with a sparse cell have in common.

    Args:
        units: Number of neurons.
        *args: Those of Keras's cell.
        connectivity: Of the recurrent kernel.
        input_connectivity: Of the kernel of the inputs; None for a dense one.
        order: Permutation of the neurons: the k-th inside, in whose order the blocks are,
            is neuron `order[k]` outside, in outputs and in states that are given or
            returned. None for none.
        **kwargs: Those of Keras's cell and layer, and `cell_name`, the cell's.
    """

    cell_class: ClassVar[type[SparseCell]]
    cell: Any

    def __init__(
        self,
        units: int,
        *args: Any,
        connectivity: Any = None,
        input_connectivity: Any = None,
        order: Any = None,
        **kwargs: Any,
    ) -> None:
        of_layer = {k: kwargs.pop(k) for k in _LAYER_ARGUMENTS if k in kwargs}
        shared = {k: kwargs.pop(k) for k in _SHARED if k in kwargs}
        kwargs.pop("use_cudnn", None)  # there is no such kernel: as Keras's "auto"
        cell = self.cell_class(
            units,
            *args,
            connectivity=connectivity,
            input_connectivity=input_connectivity,
            name=kwargs.pop("cell_name", "cell"),
            **kwargs,
            **shared,
        )
        super().__init__(
            **_keras_arguments.check(super().__init__, cell, **of_layer, **shared)
        )
        self.input_spec = keras.layers.InputSpec(ndim=3)
        self.order = check_order(order, units)

    def build(self, sequences_shape: Any, initial_state_shape: Any = None) -> None:
        """Builds the cell, for so many features and no others."""
        super().build(sequences_shape, initial_state_shape)
        self.input_spec = keras.layers.InputSpec(ndim=3, axes={-1: sequences_shape[-1]})

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Any = None,
        training: bool = False,
    ) -> Any:
        """Returns what `keras.layers.RNN` returns."""
        if initial_state is not None:
            initial_state = keras.tree.map_structure(self._sort, initial_state)
        outputs = super().call(sequences, initial_state, mask=mask, training=training)
        return keras.tree.map_structure(self.unsort, outputs)

    def inner_loop(
        self, sequences: Tensor, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        """Runs the loop over time, with the batch in columns."""
        batch, states = sequences.shape[0], keras.tree.flatten(initial_state)
        _check_states(states, batch, self.cell.units)
        states = [to_columns(s, batch) for s in states]
        mask = mask[0] if isinstance(mask, list | tuple) else mask
        step = self.cell.make_step(batch, states[0], training)
        sequences = self.cell.drop_inputs(sequences, training)
        is_dense = self.cell.kernel_indices is None
        is_plain = not isinstance(sequences, list)
        if is_plain and _backend.multiplies_in_loop(
            sequences.shape[-1], batch, is_dense, step
        ):
            step = self.cell.project_first(step, batch)
            inputs = to_steps(sequences, batch)
        elif is_plain and is_dense and not _backend.is_known_to_be_one(batch):
            inputs = self.cell.project_steps(sequences)
        else:
            inputs = to_steps(self.cell.project(sequences), batch)
        output, outputs, states = _backend.run_steps(
            step,
            inputs,
            states,
            mask=None if mask is None else _mask_steps(mask, batch),
            zero_output=self.zero_output_for_mask,
            go_backwards=self.go_backwards,
            all_outputs=self.return_sequences,
            unroll=self.unroll,
        )
        rows = [to_rows(state, batch) for state in states]
        return to_rows(output, batch), from_steps(outputs, batch), rows

    def _sort(self, x: Tensor) -> Tensor:
        if self.order is None:
            return x
        return _backend.take(x, np.array(self.order), axis=-1)

    def unsort(self, x: Tensor) -> Tensor:
        """Returns x (..., units) in the order of neurons that callers know."""
        if self.order is None:
            return x
        return _backend.take(x, np.argsort(self.order), axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        config = super().get_config()
        del config["cell"]
        cell = self.cell.get_config()
        if (name := cell.pop("name")) != "cell":
            cell["cell_name"] = name
        regularizer = keras.regularizers.serialize(self.activity_regularizer)
        order = {} if self.order is None else {"order": self.order}
        return {**cell, **config, "activity_regularizer": regularizer, **order}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Rebuilds the layer from what `get_config` returned."""
        with keras.saving.custom_object_scope(custom_objects or {}):
            return cls(**config)


def _check_states(states: list[Tensor], batch: Any, units: int) -> None:
    for state in states:
        rows, width = state.shape
        if width != units or (isinstance(batch, int) and rows not in (batch, None)):
            raise ValueError(
                f"A state must be of shape ({batch}, {units}), a row for each sequence. "
                f"Received a state of shape {tuple(state.shape)}"
            )


def check_order(order: Any, units: int) -> list[int] | None:
    """Returns the order of neurons as Python ints, or None."""
    if order is None:
        return None
    wanted = f"`order` must be a permutation of {units} neurons. Received"
    try:
        if any(isinstance(i, bool) for i in order):
            raise TypeError
        numbers = [operator.index(i) for i in order]
    except TypeError:
        raise TypeError(f"{wanted}: order={_checks.shorten(order)}") from None
    if len(numbers) != units or sorted(numbers) != list(range(units)):
        raise ValueError(
            f"{wanted} {len(numbers)} entries, {len(set(numbers))} different ones, from "
            f"{_checks.shorten(min(numbers, default=None))} to "
            f"{_checks.shorten(max(numbers, default=None))}"
        )
    return numbers


def to_steps(x: Tensor, batch: Any) -> Tensor:
    """Returns sequences (batch, time, n) as columns of each step (time, n, batch)."""
    is_one = _backend.is_known_to_be_one(batch)
    return x[0] if is_one else ops.transpose(x, (1, 2, 0))


def from_steps(x: Tensor, batch: Any) -> Tensor:
    """Returns the inverse of `to_steps`."""
    is_one = _backend.is_known_to_be_one(batch)
    return x[None] if is_one else ops.transpose(x, (2, 0, 1))


def _mask_steps(mask: Tensor, batch: Any) -> Tensor:
    mask = ops.cast(mask, "bool")
    if _backend.is_known_to_be_one(batch):
        return ops.transpose(mask)  # (time, 1)
    return ops.transpose(mask)[:, None, :]


def _delegate(name: str) -> property:
    return property(lambda layer: getattr(layer.cell, name))


def has_cell(cell: type[SparseCell]) -> Any:
    """Returns a class decorator: layers of a cell have its arguments as attributes."""

    def decorate(cls: Any) -> Any:
        cls.cell_class = cell
        for base in cell.__bases__:  # SparseCell and Keras's
            parameters = inspect.signature(base).parameters
            for name, argument in parameters.items():
                is_named = argument.kind in (
                    argument.POSITIONAL_OR_KEYWORD,
                    argument.KEYWORD_ONLY,
                )
                if is_named and name not in ("self", "seed"):
                    setattr(cls, name, _delegate(name))
        return cls

    return decorate
