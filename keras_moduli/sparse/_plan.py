"""The plan of a conversion: a value that is printed, edited, and executed."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Self

from keras_moduli import _checks
from keras_moduli._table import Printable, Table
from keras_moduli.connectivity._layout import BlockLayout
from keras_moduli.sparse._orders import AS_IT_IS
from keras_moduli.sparse._report import make_table

_BY_HAND = "left dense by hand"


@dataclass(frozen=True)
class PlanRow:
    """What becomes of one kernel. `dataclasses.replace(row, block=None)` leaves it dense.

    Attributes:
        layer: Name of the layer that holds it; of a layer inside another with a slash.
        name: Which of the layer's kernels it is, such as `"recurrent_kernel"`.
        kernel: Its shape.
        zeros: Fraction of it that is zero.
        block: (b, c) if it becomes block-sparse, None if it stays dense.
        density: Fraction of the kernel that its blocks hold; 1 if it stays dense.
        order: The order of its neurons: `"as it is"`, `"embedding"`, or
            `"reverse Cuthill-McKee"`.
        speed: How many times faster its product is expected to be.
        reason: Why it stays dense, or empty.
        layout: Where its blocks are; None if it stays dense.
        permutation: The order itself: the k-th neuron inside is neuron `permutation[k]`
            outside. None for as it is.

    Raises:
        TypeError: If an attribute is of the wrong type.
        ValueError: If `layout` is not one of the blocks of `block` and of a kernel of
            that shape, or `permutation` not one of its neurons.

    Examples:
        >>> import keras_moduli as km
        >>> km.sparse.PlanRow("dense", "kernel", (64, 32), zeros=0.9).reason
        'left dense by hand'
    """

    layer: str
    name: str
    kernel: tuple[int, ...]
    zeros: float
    block: tuple[int, int] | None = None
    density: float = 1.0
    order: str = AS_IT_IS
    speed: float = 1.0
    reason: str = ""
    layout: BlockLayout | None = field(default=None, repr=False)
    permutation: tuple[int, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._set("kernel", _checks.shape("kernel", self.kernel))
        if self.block is None:
            dense = {"layout": None, "permutation": None, "order": AS_IT_IS}
            numbers = {"density": 1.0, "speed": 1.0, "reason": self.reason or _BY_HAND}
            for name, value in (dense | numbers).items():
                self._set(name, value)
            return
        self._set("block", _checks.pair("block", self.block, "(16, 64), or None"))
        if not isinstance(self.layout, BlockLayout | None):
            raise TypeError(
                f"`layout` must be a BlockLayout or None. Received: {self.layout!r}"
            )
        if self.layout is None or self.layout.block != self.block:
            held = None if self.layout is None else self.layout.block
            raise ValueError(
                f"`block` of {self.layer} {self.name} must be the block of `layout`, "
                f"{held}, or None to leave it dense. Received: block={self.block}. For "
                f"other blocks take the row of `km.sparse.plan(model, {self.block})`."
            )
        matrix = (self.layout.rows, self.layout.columns)
        fits = {self.kernel, self.kernel[::-1]}  # kernels may have their outputs first
        if len(self.kernel) == 2 and matrix not in fits:
            raise ValueError(
                f"`layout` of {self.layer} {self.name} must be one of a kernel "
                f"{self.kernel}. Received: {self.layout.rows} × {self.layout.columns}"
            )
        self._set("density", self.layout.density)
        self._set("reason", "")
        if self.permutation is not None:
            self._set("permutation", self._check_permutation(self.permutation))

    def _check_permutation(self, permutation: Any) -> tuple[int, ...]:
        checked = tuple(map(int, permutation))
        units = len(checked)
        if sorted(checked) != list(range(units)) or not units or self.kernel[-1] % units:
            raise ValueError(
                f"`permutation` of {self.layer} {self.name} must be one of all its "
                f"neurons. Received: {units} numbers for a kernel of {self.kernel}"
            )
        return checked

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def to_dict(self) -> dict[str, Any]:
        """Returns the row as a dictionary of plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Returns the row of which `to_dict` made the `values`."""
        layout = values.get("layout")
        return cls(**(values | {"layout": layout and BlockLayout(**layout)}))


@dataclass(frozen=True, repr=False)
class SparsePlan(Printable):
    """What `sparsify` does to a model, kernel by kernel. Prints as a table.

    `keras_moduli.sparse.plan` makes it, and `sparsify(model, plan)` executes its rows,
    as they are or as `dataclasses.replace` has edited them.

    Attributes:
        rows: One `PlanRow` for each kernel of the model, in the order of its layers.
        batch_size: Number of sequences at once that the choices are made for.
        tolerance: As in `sparsify`.

    Raises:
        TypeError: If a row is not a `PlanRow`, or a number is none.
        ValueError: If `batch_size` is below 1, or `tolerance` not above 0.

    Examples:
        >>> import dataclasses, keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 8)), keras.layers.SimpleRNN(16)])
        >>> plan = km.sparse.plan(model, block=(8, 8))
        >>> plan.rows[0].name, plan.rows[0].block
        ('recurrent_kernel', (8, 8))
        >>> rows = [plan.rows[0], dataclasses.replace(plan.rows[1], block=None)]
        >>> fast = km.sparsify(model, dataclasses.replace(plan, rows=rows))
    """

    rows: tuple[PlanRow, ...]
    batch_size: int = 1
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        rows = tuple(self.rows)
        if strange := [row for row in rows if not isinstance(row, PlanRow)]:
            raise TypeError(f"`rows` must be of PlanRow. Received: {strange[0]!r}")
        checked = {
            "rows": rows,
            "batch_size": _checks.integer("batch_size", self.batch_size, minimum=1),
            "tolerance": _checks.positive("tolerance", self.tolerance),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def to_table(self) -> Table:
        """Returns what is printed."""
        return make_table(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Returns the plan as a dictionary of plain values, which JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Returns the plan of which `to_dict` made the `values`."""
        rows = tuple(PlanRow.from_dict(row) for row in values["rows"])
        return cls(**(values | {"rows": rows}))
