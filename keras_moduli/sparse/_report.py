"""The text of a plan."""

from collections.abc import Sequence
from typing import Any

from keras_moduli._table import Table

_HEADINGS = ["layer", "weight", "kernel", "zeros", "blocks", "density", "order", "speed"]


def make_table(rows: Sequence[Any]) -> Table:
    """Returns a table of plan rows, with why kernels stay dense below it."""
    reasons = [
        f"{row.layer} {row.name} stays dense: {row.reason}" for row in rows if row.reason
    ]
    return Table(_HEADINGS, [_format_cells(row) for row in rows], tuple(reasons))


def _format_cells(row: Any) -> list[str]:
    return [
        row.layer,
        row.name,
        " × ".join(map(str, row.kernel)),
        f"{row.zeros:.1%}",
        "dense" if row.block is None else " × ".join(map(str, row.block)),
        f"{row.density:.1%}",
        row.order,
        f"{row.speed:.1f}",
    ]
