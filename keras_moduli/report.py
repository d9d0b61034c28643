"""What is left of a model: a table of its zeros, to print and to compute with."""

import io
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli.pruning import prunable_variables
from keras_moduli.regularizers import geometry_of

__all__ = ["SparsityReport", "SparsityRow", "sparsity"]


@dataclass(frozen=True)
class SparsityRow:
    """One weight matrix.

    Attributes:
        path: Path of the variable.
        shape: Its shape.
        size: Number of weights.
        zeros: Number of those that are exactly zero.
        distance: Mean geodesic distance that the others span; None where the variable
            has no penalty by distance, or no weight left.
        distance_before: The same mean over all weights.
    """

    path: str
    shape: tuple[int, ...]
    size: int
    zeros: int
    distance: float | None = None
    distance_before: float | None = None

    @property
    def label(self) -> str:
        """The path without what every path repeats: the model, and a layer's own cell."""
        path = self.path.partition("/")[2] or self.path
        return re.sub(r"(?<![^/])(\w+)/\1_cell/", r"\1/", path)

    @property
    def sparsity(self) -> float:
        """Fraction of the weights that are exactly zero."""
        return self.zeros / self.size

    def to_dict(self) -> dict[str, Any]:
        """The row as a dictionary of plain values."""
        return asdict(self) | {"sparsity": self.sparsity}


@dataclass(frozen=True)
class SparsityReport:
    """The sparsity of a model, matrix by matrix. Prints as a table.

    Attributes:
        rows: One `SparsityRow` for each matrix.
    """

    rows: tuple[SparsityRow, ...]

    @property
    def total(self) -> SparsityRow:
        """All matrices together."""
        size = sum(row.size for row in self.rows)
        return SparsityRow("total", (), size, sum(row.zeros for row in self.rows))

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as dictionaries of plain values, for `csv`, `json` or pandas."""
        return [row.to_dict() for row in self.rows]

    def __str__(self) -> str:
        # Keras itself needs rich, for `model.summary()`.
        from rich.console import Console
        from rich.table import Table

        table = Table()
        table.add_column("matrix", overflow="fold")
        headings = ["shape", "weights", "zeros", "sparsity"]
        has_distance = any(row.distance is not None for row in self.rows)
        headings += ["mean\ndistance", "before\npruning"] * has_distance
        for heading in headings:
            table.add_column(heading, justify="right")
        for row in (*self.rows, self.total):
            table.add_row(*_cells(row)[: 1 + len(headings)])
        table.rows[len(self.rows) - 1].end_section = True
        file = io.StringIO()
        Console(file=file, width=100).print(table)
        return file.getvalue().rstrip()

    def __repr__(self) -> str:
        return str(self)


def sparsity(
    model: keras.Model, *, select: Callable[[Any], bool] | None = None
) -> SparsityReport:
    """How sparse a model is, matrix by matrix.

    Args:
        model: A built Keras model.
        select: Function of a variable that is true for those to report. By default the
            ones that `MagnitudePruning` prunes by default.

    Returns:
        A `SparsityReport`: `print` shows a table, `rows` and `to_dicts()` hold the data.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model is not built, or nothing is selected.

    Example:

    >>> import keras, keras_moduli as km
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> km.sparsity(model).total.size
    8
    """
    return SparsityReport(tuple(map(_row, prunable_variables(model, select))))


def _row(variable: Any) -> SparsityRow:
    nonzero = ops.convert_to_numpy(variable.value) != 0
    zeros = int(nonzero.size - np.count_nonzero(nonzero))
    row = SparsityRow(variable.path, tuple(variable.shape), nonzero.size, zeros)
    regularizer = geometry_of(variable)
    if regularizer is None or not nonzero.any():
        return row
    distances = regularizer.distances(row.shape)[:, None, :]
    kept = nonzero.reshape(regularizer.layout(row.shape))
    mean = float((distances * kept).sum(dtype=np.float64) / kept.sum())
    return SparsityRow(
        row.path, row.shape, row.size, zeros, mean, float(distances.mean())
    )


def _cells(row: SparsityRow) -> list[str]:
    distances = (row.distance, row.distance_before)
    return [
        row.label,
        " × ".join(map(str, row.shape)),
        f"{row.size:,}",
        f"{row.zeros:,}",
        f"{row.sparsity:.2%}",
        *("" if value is None else f"{value:.2f}" for value in distances),
    ]
