"""What recurrent layers of one cell have in common when they are converted."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

from keras_moduli.connectivity._layout import BlockLayout
from keras_moduli.layers._sparse_cell import SparseCell
from keras_moduli.layers._sparse_recurrent import SparseRNN
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse._orders import list_orders, permute_columns, permute_neurons
from keras_moduli.sparse.converters._base import (
    Array,
    Converter,
    Rows,
    Variable,
    pack,
    to_array,
    transfer,
)

Orders = Callable[[Any, Array], dict[str, Any]]

_RNN_ARGUMENTS = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "unroll",
    "zero_output_for_mask",
    "name",
    "dtype",
    "trainable",
)


class RecurrentConverter(Converter):
    """A layer of one cell, to its sparse form; each kind of cell says which that is.

    Attributes:
        sparse_class: Of the layers that it makes.
    """

    sparse_class: ClassVar[type[SparseRNN]]

    @abc.abstractmethod
    def refuse(self, cell: Any) -> str:
        """Returns why a cell has no fast form, or nothing."""

    def kernels(self, layer: Any) -> dict[str, Variable]:
        """Returns both kernels, the recurrent one first."""
        return list_cell_kernels(layer.cell)

    def choose(self, layer: Any, costs: CostModel) -> dict[str, Choice]:
        """Returns the fastest blocks, in the order of neurons that suits the states."""
        if reason := _explain_dtypes(layer):
            return dict.fromkeys(self.kernels(layer), Choice(None, reason))
        return self.choose_cell(layer.cell, costs, list_orders)

    def build(self, layer: Any, rows: Rows) -> SparseRNN:
        """Returns a layer of the sparse class."""
        cell = layer.cell
        if reason := self.refuse(cell) or _explain_dtypes(layer):
            raise ValueError(f"Layer {layer.name!r} has no fast form: {reason}.")
        return self.sparse_class(
            **_take_cell_arguments(cell, rows),
            order=_find_order(rows),
            cell_name=cell.name,
            **take_arguments(layer),
        )

    def load(self, layer: Any, new: Any, rows: Rows) -> None:
        """Assigns blocks and biases, in the order of the new layer's neurons."""
        if new.cell.trainable != layer.cell.trainable:
            new.cell.trainable = layer.cell.trainable
        self.load_cell(layer.cell, new.cell, rows, new.order)

    def sample_shape(self, layer: Any) -> tuple[int, ...] | None:
        """Returns the shape of sequences; none if a call would change the states."""
        return None if layer.stateful else (2, 3, layer.cell.kernel.shape[0])

    def choose_cell(
        self, cell: Any, costs: CostModel, list_orders: Orders
    ) -> dict[str, Choice]:
        """Returns what becomes of the kernels of a cell.

        Args:
            cell: Keras's.
            costs: As in `choose`.
            list_orders: Returns the orders of its neurons to choose from, by name.
        """
        if reason := self.refuse(cell):
            return dict.fromkeys(list_cell_kernels(cell), Choice(None, reason))
        recurrent = _choose_recurrent(cell.recurrent_kernel, costs, list_orders)
        if recurrent.layout is None:
            inputs = Choice(None, "its layer's recurrent kernel stays dense")
        else:
            inputs = _choose_inputs(to_array(cell.kernel), recurrent, costs)
        return {"recurrent_kernel": recurrent, "kernel": inputs}

    def build_cell(self, cell: Any, rows: Rows) -> SparseCell:
        """Returns the sparse form of a cell."""
        return self.sparse_class.cell_class(
            **_take_cell_arguments(cell, rows),
            name=cell.name,
            dtype=cell.dtype_policy,
            trainable=cell.trainable,
        )

    def load_cell(self, cell: Any, new: Any, rows: Rows, order: Any) -> None:
        """Gives a sparse cell its weights.

        Args:
            cell: Keras's.
            new: Its sparse form.
            rows: Of both kernels.
            order: That of its neurons, None for as it is.
        """
        row, kernel = rows["recurrent_kernel"], cell.recurrent_kernel
        recurrent = permute_neurons(to_array(kernel), order)
        is_whole = row.layout is None
        blocks = _hold_whole(kernel).pack(recurrent) if is_whole else pack(row, recurrent)
        transfer(new.recurrent_kernel, kernel, blocks)
        row = rows["kernel"]
        inputs = permute_columns(to_array(cell.kernel), order)
        inputs = inputs if row.layout is None else pack(row, inputs)
        transfer(new.kernel, cell.kernel, inputs)
        if cell.use_bias:
            transfer(new.bias, cell.bias, permute_columns(to_array(cell.bias), order))


def list_cell_kernels(cell: Any) -> dict[str, Variable]:
    """Returns both kernels of a cell, the recurrent one first."""
    return {"recurrent_kernel": cell.recurrent_kernel, "kernel": cell.kernel}


def _explain_dtypes(layer: Any) -> str:
    """Returns why a sparse layer, which has one dtype, is no form of a layer."""
    own, other = layer.cell.dtype_policy.name, layer.dtype_policy.name
    return "" if own == other else f"its cell computes in {own}, and itself in {other}"


def take_arguments(layer: Any) -> dict[str, Any]:
    """Returns the arguments that any recurrent layer takes, as a layer has them."""
    config = layer.get_config()
    return {name: config[name] for name in _RNN_ARGUMENTS if name in config}


def _choose_recurrent(kernel: Any, costs: CostModel, list_orders: Orders) -> Choice:
    weights = to_array(kernel)
    choices = [
        costs.choose(permute_neurons(weights, permutation), permutation, order)
        for order, permutation in list_orders(kernel, weights).items()
    ]
    return max(choices, key=lambda choice: choice.speed)


def _choose_inputs(kernel: Array, recurrent: Choice, costs: CostModel) -> Choice:
    if costs.block is not None and min(kernel.shape) < min(costs.block):
        rows, columns = kernel.shape
        return Choice(None, f"a kernel of {rows} × {columns} is smaller than the block")
    permuted = permute_columns(kernel, recurrent.permutation)
    choice = costs.choose(permuted, recurrent.permutation, recurrent.order)
    if choice.layout is not None and choice.layout.density >= 1:
        return Choice(None, "no block of it is empty")
    return choice


def _take_cell_arguments(cell: Any, rows: Rows) -> dict[str, Any]:
    """Returns the arguments of a sparse cell that do what a cell does in prediction."""
    gated = {"recurrent_activation": getattr(cell, "recurrent_activation", None)}
    return {
        "units": cell.units,
        "activation": cell.activation,
        "use_bias": cell.use_bias,
        "connectivity": rows["recurrent_kernel"].layout
        or _hold_whole(cell.recurrent_kernel),
        "input_connectivity": rows["kernel"].layout,
        **(gated if hasattr(cell, "recurrent_activation") else {}),
    }


def _hold_whole(kernel: Any) -> BlockLayout:
    """Returns the layout of a kernel that stays dense beside one that does not."""
    rows, columns = kernel.shape
    return BlockLayout(rows, columns, (rows, columns), ((0,),))


def _find_order(rows: Rows) -> tuple[int, ...] | None:
    """Returns the order of the neurons in which the rows' blocks are."""
    orders = {row.permutation for row in rows.values() if row.block is not None}
    if len(orders) > 1:
        row = rows["recurrent_kernel"]
        raise ValueError(
            f"The kernels of layer {row.layer!r} are planned in two orders of its "
            "neurons. Take both rows from one plan."
        )
    return orders.pop()
