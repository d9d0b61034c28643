"""Which layers to make sparse, in which blocks and in which order of their neurons."""

import importlib.util
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli._table import draw_table
from keras_moduli.layers import Moduli
from keras_moduli.regularizers import find_regularizer
from keras_moduli.sparse._blocks import BlockLayout

Array = NDArray[Any]
Order = NDArray[np.intp]

BLOCKS = [(b, c) for b in (64, 32, 16, 8, 4) for c in (8, 16, 32, 64, 128) if c >= b]
# Of those that are as fast the first is taken, the one with the fewest blocks.
# A block-sparse product costs what its weights cost, a share more because the matrices
# are small, for one vector and for 32, and the gather of its inputs, which the outputs of
# a block share: so many outputs' worth. Fitted to times of blocks from 4 × 4 to 64 × 128
# on all backends; blocks of four outputs are slower than dense ones.
_SMALL = (0.15, 1.0)
_GATHER = 26.0
_WORTH_IT = 1.2
_SMALLEST = 100_000
_ADVICE = "prune it with `MagnitudePruning(block=..., balanced=True)`"


@dataclass(frozen=True)
class PlanRow:
    """What becomes of one layer.

    Attributes:
        layer: Its name; of a layer inside another with a slash.
        kernel: Shape of the kernel that decides: recurrent, or of a dense layer.
        zeros: Fraction of that kernel that is zero.
        block: (b, c) if it becomes block-sparse, None if it stays dense.
        density: Fraction of the kernel that its blocks hold; 1 if it stays dense.
        order: The order of its neurons: `"as it is"`, `"embedding"`, or
            `"reverse Cuthill-McKee"`.
        speed: How many times faster its product is expected to be.
        reason: Why it stays dense, or empty.
    """

    layer: str
    kernel: tuple[int, int]
    zeros: float
    block: tuple[int, int] | None
    density: float
    order: str
    speed: float
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """The row as a dictionary of plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Plan:
    """What `sparsify` does to a model, layer by layer. Prints as a table.

    Attributes:
        rows: One `PlanRow` for each recurrent and dense layer.
    """

    rows: tuple[PlanRow, ...]

    def __str__(self) -> str:
        headings = ["layer", "kernel", "zeros", "blocks", "density", "order", "speed"]
        cells = [
            [
                row.layer,
                " × ".join(map(str, row.kernel)),
                f"{row.zeros:.1%}",
                "dense" if row.block is None else " × ".join(map(str, row.block)),
                f"{row.density:.1%}",
                row.order,
                f"{row.speed:.1f}",
            ]
            for row in self.rows
        ]
        reasons = [
            f"{row.layer} stays dense: {row.reason}" for row in self.rows if row.reason
        ]
        return "\n".join([draw_table(headings, cells), *reasons])

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Choice:
    """How one kernel is made sparse: `layout` is None where it stays dense."""

    layout: BlockLayout | None
    order: Order | None = None
    order_name: str = "as it is"
    speed: float = 1.0
    reason: str = ""


def plan(
    model: keras.Model,
    block: tuple[int, int] | None = None,
    *,
    batch_size: int = 1,
) -> Plan:
    """What `sparsify` would do to a model.

    Args:
        model: As in `sparsify`.
        block: As in `sparsify`.
        batch_size: As in `sparsify`.

    Returns:
        A `Plan`: `print` shows a table, `rows` holds the data.

    Example:

    >>> import keras, keras_moduli as km
    >>> model = keras.Sequential([keras.Input((5, 2)), keras.layers.SimpleRNN(16)])
    >>> km.sparse.plan(model).rows[0].reason
    'a kernel of 16 × 16 is too small to gain'
    """
    block, batch_size = checked(block, batch_size)
    rows = []
    for name, layer in convertible(_checks.built_model(model)):
        choice = choose(layer, block, batch_size)
        kernel = deciding_kernel(layer)
        weights = ops.convert_to_numpy(kernel.value)
        rows.append(
            PlanRow(
                name,
                tuple(kernel.shape),
                float((weights == 0).mean()),
                None if choice.layout is None else choice.layout.block,
                1.0 if choice.layout is None else choice.layout.density,
                choice.order_name,
                choice.speed,
                choice.reason,
            )
        )
    return Plan(tuple(rows))


def convertible(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """The recurrent and dense layers of a model, with their names."""
    for layer in model.layers:
        inner = [layer]
        if isinstance(layer, keras.Model):
            yield from ((f"{layer.name}/{n}", part) for n, part in convertible(layer))
            continue
        if isinstance(layer, keras.layers.Bidirectional):
            inner = [layer.forward_layer, layer.backward_layer]
        for part in inner:
            if deciding_kernel(part) is not None:
                name = part.name if part is layer else f"{layer.name}/{part.name}"
                yield name, part


def cell_of(layer: Any) -> Any:
    """The cell of a recurrent layer of one cell, if it is one of Keras's or ours."""
    cell = getattr(layer, "cell", None)
    known = (keras.layers.SimpleRNNCell, keras.layers.GRUCell, keras.layers.LSTMCell)
    return cell if isinstance(cell, known) else None


def dense_of(layer: Any) -> Any:
    """The `Dense` that a layer is or wraps, or None."""
    inner = layer.layer if isinstance(layer, Moduli) else layer
    return inner if type(inner) is keras.layers.Dense else None


def deciding_kernel(layer: Any) -> Any:
    """The kernel whose zeros decide: recurrent, or of a dense layer; else None."""
    if (cell := cell_of(layer)) is not None:
        return cell.recurrent_kernel
    return None if (dense := dense_of(layer)) is None else dense.kernel


def choose(layer: Any, block: Any, batch_size: int) -> Choice:
    """The fastest form of a layer's deciding kernel, by what it would cost."""
    kernel = deciding_kernel(layer)
    weights = ops.convert_to_numpy(kernel.value)
    cell = cell_of(layer)
    if getattr(cell, "reset_after", True) is False:
        return Choice(None, reason="a GRU with `reset_after=False` has two products")
    orders: dict[str, Order | None] = {"as it is": None}
    if cell is not None:
        orders |= neuron_orders(kernel, weights)
    choices = [
        choose_layout(permuted(weights, order), block, batch_size, order, name)
        for name, order in orders.items()
    ]
    return max(choices, key=lambda choice: choice.speed)


def choose_layout(
    weights: Array,
    block: tuple[int, int] | None,
    batch_size: int,
    order: Order | None = None,
    name: str = "as it is",
) -> Choice:
    """The fastest blocks of a matrix in one order of its neurons."""
    rows, columns = weights.shape
    if block is None and rows * columns < _SMALLEST:
        return Choice(None, reason=f"a kernel of {rows} × {columns} is too small to gain")
    blocks = BLOCKS if block is None else [block]
    layouts = [BlockLayout.of(weights != 0, shape) for shape in blocks]
    best = max(layouts, key=lambda layout: expected_speed(layout, batch_size))
    speed = expected_speed(best, batch_size)
    if block is None and best.density >= 1:
        return Choice(None, reason=f"no block of it is empty; {_ADVICE}")
    if block is None and speed < _WORTH_IT:
        return Choice(
            None,
            reason=f"its zeros leave {best.density:.0%} of its weights in the best "
            f"blocks, {best.block[0]} × {best.block[1]}; {_ADVICE}",
        )
    return Choice(best, order, name, speed)


def expected_speed(layout: BlockLayout, batch_size: int) -> float:
    """Time of the dense product over that of the blocks."""
    share = min(1.0, (batch_size - 1) / 31)
    small = _SMALL[0] + share * (_SMALL[1] - _SMALL[0])
    return 1.0 / (layout.density * (1.0 + small + _GATHER / layout.block[1]))


def neuron_orders(kernel: Any, weights: Array) -> dict[str, Order]:
    """Orders of the neurons that may bring connected ones together."""
    penalty = find_regularizer(kernel)
    if penalty is not None:
        points = penalty.positions(kernel.shape)[0]
        return {"embedding": penalty.cost.manifold.order(points)}
    if importlib.util.find_spec("scipy") is None:
        return {}
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    linked = (weights != 0).reshape(len(weights), -1, len(weights)).any(axis=1)
    graph = csr_matrix(linked | linked.T)
    return {"reverse Cuthill-McKee": reverse_cuthill_mckee(graph, symmetric_mode=True)}


def permuted(kernel: Array, order: Order | None) -> Array:
    """A recurrent kernel (n, gates · n) with its neurons in another order."""
    if order is None:
        return kernel
    return columns_permuted(kernel[order], order)


def columns_permuted(array: Array, order: Order | None) -> Array:
    """What each gate has for each neuron, along the last axis, in another order."""
    if order is None:
        return array
    gated = array.reshape(*array.shape[:-1], -1, len(order))
    return gated[..., order].reshape(array.shape)


def checked(block: Any, batch_size: Any) -> tuple[tuple[int, int] | None, int]:
    """The arguments of `sparsify`."""
    batch_size = _checks.integer("batch_size", batch_size, minimum=1)
    if block is None:
        return None, batch_size
    return _checks.pair("block", block, "(16, 64), or None to choose"), batch_size
