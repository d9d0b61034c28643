"""From cells that are stacked to the same stack with fast ones among them."""

from collections.abc import Iterator
from typing import Any, ClassVar

import keras

from keras_moduli.layers._sparse_cell import SparseCell
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse._orders import AS_IT_IS
from keras_moduli.sparse.converters._base import (
    Array,
    Converter,
    Kind,
    Rows,
    Variable,
    find_kind,
    list_matrices,
    register_converter,
)
from keras_moduli.sparse.converters._recurrent import (
    RecurrentConverter,
    list_cell_kernels,
    take_arguments,
)
from keras_moduli.sparse.version_0_1 import Cell


@register_converter
class StackedConverter(Converter):
    """`RNN` over `StackedRNNCells`: each cell by itself, with its neurons as they are."""

    kinds: ClassVar[tuple[Kind, ...]] = (
        (keras.layers.RNN, keras.layers.StackedRNNCells),
    )

    def kernels(self, layer: Any) -> dict[str, Variable]:
        """Returns those of each cell, by its place in the stack."""
        kernels: dict[str, Variable] = {}
        for prefix, cell in _iterate_cells(layer):
            own = list_matrices(cell) if _find(cell) is None else list_cell_kernels(cell)
            kernels |= {f"{prefix}{name}": kernel for name, kernel in own.items()}
        return kernels

    def choose(self, layer: Any, costs: CostModel) -> dict[str, Choice]:
        """Returns the fastest blocks of each cell's kernels."""
        if reason := _explain_stack(layer):
            return dict.fromkeys(self.kernels(layer), Choice(None, reason))
        choices: dict[str, Choice] = {}
        for prefix, cell in _iterate_cells(layer):
            converter = _find(cell)
            if converter is None:
                own = dict.fromkeys(list_matrices(cell), Choice(None, _explain(cell)))
            else:
                own = converter.choose_cell(cell, costs, _keep_order)
            choices |= {f"{prefix}{name}": choice for name, choice in own.items()}
        return choices

    def build(self, layer: Any, rows: Rows) -> keras.layers.RNN:
        """Returns Keras's layer over Keras's stack, with fast cells in it."""
        if reason := _explain_stack(layer):
            raise ValueError(f"Layer {layer.name!r} has no fast form: {reason}.")
        new_cells: dict[int, Any] = {}
        for prefix, cell in _iterate_cells(layer):
            own = _select(rows, prefix)
            converter = _find(cell)
            if converter is None or not _has_blocks(own):
                new_cells[id(cell)] = type(cell).from_config(cell.get_config())
                continue
            if reason := converter.refuse(cell):
                raise ValueError(f"Cell {cell.name!r} has no fast form: {reason}.")
            new_cells[id(cell)] = converter.build_cell(cell, own)
        stack = layer.cell
        new_stack = keras.layers.StackedRNNCells(
            [new_cells[id(cell)] for cell in stack.cells],
            name=stack.name,
            dtype=stack.dtype_policy,
            trainable=stack.trainable,
        )
        return keras.layers.RNN(new_stack, **take_arguments(layer))

    def load(self, layer: Any, new: Any, rows: Rows) -> None:
        """Gives each cell its weights."""
        new_cells = dict(zip(map(id, layer.cell.cells), new.cell.cells, strict=True))
        for prefix, cell in _iterate_cells(layer):
            own, new_cell = _select(rows, prefix), new_cells[id(cell)]
            converter = _find(cell)
            if converter is None or not _has_blocks(own):
                new_cell.set_weights(cell.get_weights())
                continue
            converter.load_cell(cell, new_cell, own, None)

    def sample_shape(self, layer: Any) -> None:
        """Returns None: cells of any kind may take inputs of any kind."""


def _iterate_cells(layer: Any) -> Iterator[tuple[str, Any]]:
    """Yields each cell once, with what the names of its kernels begin with."""
    seen: set[int] = set()
    for i, cell in enumerate(layer.cell.cells):
        if id(cell) not in seen and isinstance(cell, keras.layers.Layer):
            yield f"cell_{i}/", cell
        seen.add(id(cell))


def _explain_stack(layer: Any) -> str:
    """Returns why no cell of a stack can be replaced, or nothing."""
    for cell in layer.cell.cells:
        if not isinstance(cell, keras.layers.Layer):
            return f"its cell {type(cell).__name__} is not a layer"
    return ""


def _find(cell: Any) -> RecurrentConverter | None:
    """Returns the converter of a layer of exactly this cell, if it knows cells."""
    converter = find_kind((keras.layers.RNN, type(cell)))
    return converter if isinstance(converter, RecurrentConverter) else None


def _explain(cell: Any) -> str:
    if isinstance(cell, SparseCell | Cell):
        return "its cell is block-sparse already"
    return f"no fast form of {type(cell).__name__} is known"


def _keep_order(kernel: Any, weights: Array) -> dict[str, Any]:
    """Returns that neurons stay in order: other cells, and callers, know them by it."""
    return {AS_IT_IS: None}


def _select(rows: Rows, prefix: str) -> Rows:
    """Returns the rows of one cell."""
    return {
        name.removeprefix(prefix): row
        for name, row in rows.items()
        if name.startswith(prefix)
    }


def _has_blocks(rows: Rows) -> bool:
    return any(row.block is not None for row in rows.values())
