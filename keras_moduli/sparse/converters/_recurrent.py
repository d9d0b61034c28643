"""What recurrent layers of one cell have in common when they are converted."""

import abc
from collections.abc import Callable
from typing import Any

import keras

from keras_moduli.connectivity._layout import BlockLayout
from keras_moduli.sparse._cells import Cell
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse._layers import BlockSparseDense, BlockSparseRNN
from keras_moduli.sparse._orders import list_orders, permute_columns, permute_neurons
from keras_moduli.sparse._plan import PlanRow
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

# Up to so many the product of the inputs is faster inside the loop than before it.
_FEW_FEATURES = 64
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
    """A layer of one cell, to `BlockSparseRNN`; each kind of cell says what differs."""

    @abc.abstractmethod
    def refuse(self, cell: Any) -> str:
        """Returns why a cell has no fast form, or nothing."""

    @abc.abstractmethod
    def make_cell(self, cell: Any, layout: BlockLayout, **arguments: Any) -> Cell:
        """Returns the fast form of a cell.

        Args:
            cell: Keras's.
            layout: Of the recurrent kernel.
            **arguments: Those that all fast cells take.
        """

    @abc.abstractmethod
    def load_bias(self, bias: Array, new_cell: Any) -> Array:
        """Returns the bias of the inputs, after a recurrent one is given to the cell."""

    def kernels(self, layer: Any) -> dict[str, Variable]:
        """Returns both kernels, the recurrent one first."""
        return list_cell_kernels(layer.cell)

    def choose(self, layer: Any, costs: CostModel) -> dict[str, Choice]:
        """Returns the fastest blocks, in the order of neurons that suits the states."""
        return self.choose_cell(layer.cell, costs, list_orders)

    def build(self, layer: Any, rows: Rows) -> BlockSparseRNN:
        """Returns a `BlockSparseRNN`."""
        cell = layer.cell
        if reason := self.refuse(cell):
            raise ValueError(f"Layer {layer.name!r} has no fast form: {reason}.")
        projection = _make_projection(cell, rows["kernel"])
        before_loop = cell.kernel.shape[0] > _FEW_FEATURES
        inside, outside = (None, projection) if before_loop else (projection, None)
        new_cell = self.build_cell(cell, rows, inside)
        return BlockSparseRNN(
            new_cell, outside, _find_order(rows), **take_arguments(layer)
        )

    def load(self, layer: Any, new: Any, rows: Rows) -> None:
        """Assigns blocks and biases, in the order of the new layer's neurons."""
        projection = new.projection or new.cell.projection
        self.load_cell(layer.cell, new.cell, projection, rows, new.order)

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

    def build_cell(
        self, cell: Any, rows: Rows, projection: keras.layers.Layer | None
    ) -> Cell:
        """Returns the fast form of a cell, with a layer for its inputs, or without."""
        return self.make_cell(
            cell,
            rows["recurrent_kernel"].layout or _hold_whole(cell.recurrent_kernel),
            projection=projection,
            activation=cell.activation,
            use_bias=cell.use_bias,
            name=cell.name,
            dtype=cell.dtype_policy,
            trainable=cell.trainable,
        )

    def build_whole_cell(self, cell: Any, rows: Rows) -> Cell:
        """Returns the fast form of a cell that multiplies its inputs."""
        return self.build_cell(cell, rows, _make_projection(cell, rows["kernel"]))

    def load_cell(
        self, cell: Any, new: Cell, projection: Any, rows: Rows, order: Any
    ) -> None:
        """Gives a fast cell, and the layer of its inputs, their weights.

        Args:
            cell: Keras's.
            new: Its fast form.
            projection: The layer of its inputs.
            rows: Of both kernels.
            order: That of its neurons, None for as it is.
        """
        row, kernel = rows["recurrent_kernel"], cell.recurrent_kernel
        recurrent = permute_neurons(to_array(kernel), order)
        is_whole = row.layout is None
        blocks = new.layout.pack(recurrent) if is_whole else pack(row, recurrent)
        transfer(new.blocks, kernel, blocks)
        inputs = permute_columns(to_array(cell.kernel), order)
        if rows["kernel"].layout is None:
            transfer(projection.kernel, cell.kernel, inputs)
        else:
            transfer(projection.blocks, cell.kernel, pack(rows["kernel"], inputs))
        if cell.use_bias:
            bias = permute_columns(to_array(cell.bias), order)
            transfer(projection.bias, cell.bias, self.load_bias(bias, new))
            if new.bias is not None:
                new.bias.trainable = cell.bias.trainable


def list_cell_kernels(cell: Any) -> dict[str, Variable]:
    """Returns both kernels of a cell, the recurrent one first."""
    return {"recurrent_kernel": cell.recurrent_kernel, "kernel": cell.kernel}


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
    return costs.choose(permuted, recurrent.permutation, recurrent.order)


def _make_projection(cell: Any, row: PlanRow) -> keras.layers.Layer:
    settings = {
        "use_bias": cell.use_bias,
        "dtype": cell.dtype_policy,
        "trainable": cell.trainable,
    }
    if row.layout is None:
        return keras.layers.Dense(cell.kernel.shape[1], **settings)
    return BlockSparseDense(row.layout, **settings)


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
