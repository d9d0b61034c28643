"""What is left of a model: a table of its zeros, to print and to compute with."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli._table import Printable, Table
from keras_moduli.connectivity import find_kernel, get_dense_shape
from keras_moduli.pruning import Skipped, list_skipped, prunable_variables
from keras_moduli.pruning._selection import Select
from keras_moduli.regularizers import find_regularizer
from keras_moduli.report._labels import label_variables


@dataclass(frozen=True)
class SparsityRow:
    """One weight matrix.

    Attributes:
        path: Path of the variable.
        label: The path without what every path repeats: the model, and a layer's own
            cell.
        shape: Its shape; that of the dense kernel where only blocks of it exist.
        size: Number of weights that exist, those of whole blocks.
        zeros: Number of those that are exactly zero.
        distance: Mean geodesic distance that the others span; None where the variable
            has no penalty by distance, or no weight left.
        distance_before: The same mean over all weights.
        dense_size: Number of weights of the dense kernel; None where it exists.
        dense_zeros: Number of those that are zero or do not exist; None likewise.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> row = km.sparsity(model).rows[0]
        >>> row.shape, row.size, row.sparsity
        ((4, 2), 8, 0.0)
    """

    path: str
    label: str
    shape: tuple[int, ...]
    size: int
    zeros: int
    distance: float | None = None
    distance_before: float | None = None
    dense_size: int | None = None
    dense_zeros: int | None = None

    @property
    def sparsity(self) -> float:
        """Fraction of the weights that are exactly zero."""
        return self.zeros / self.size if self.size else 0.0

    @property
    def dense_sparsity(self) -> float:
        """Fraction of the dense kernel that is zero, or does not exist."""
        if not self.dense_size or self.dense_zeros is None:
            return self.sparsity
        return self.dense_zeros / self.dense_size

    def to_dict(self) -> dict[str, Any]:
        """Returns the row as a dictionary of plain values."""
        fractions = ("sparsity", "dense_sparsity")
        return asdict(self) | {name: getattr(self, name) for name in fractions}


@dataclass(frozen=True, repr=False)
class SparsityReport(Printable):
    """The sparsity of a model, matrix by matrix. Prints as a table.

    Attributes:
        rows: One `SparsityRow` for each matrix.
        skipped: The other weights, each a `keras_moduli.pruning.Skipped` with the reason
            why it is left alone.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> report = km.sparsity(model)
        >>> report.total.zeros, [row.reason for row in report.skipped]
        (0, ['bias'])
    """

    rows: tuple[SparsityRow, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def total(self) -> SparsityRow:
        """All matrices together."""
        size, zeros = sum(r.size for r in self.rows), sum(r.zeros for r in self.rows)
        row = SparsityRow("total", "total", (), size, zeros)
        if not self._has_blocks():
            return row
        return replace(
            row,
            dense_size=sum(r.dense_size or r.size for r in self.rows),
            dense_zeros=sum(
                r.zeros if r.dense_zeros is None else r.dense_zeros for r in self.rows
            ),
        )

    def _has_blocks(self) -> bool:
        return any(row.dense_size is not None for row in self.rows)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the rows as dictionaries of plain values, for `csv`, `json`, pandas."""
        return [row.to_dict() for row in self.rows]

    def to_table(self) -> Table:
        """Returns what is printed."""
        has_distance = any(row.distance is not None for row in self.rows)
        has_blocks = self._has_blocks()
        headings = ["matrix", "shape", "weights", "zeros", "sparsity"]
        headings += ["zero of\ndense"] * has_blocks
        headings += ["mean\ndistance", "before\npruning"] * has_distance
        cells = [
            _format_cells(row, has_blocks)[: len(headings)]
            for row in (*self.rows, self.total)
        ]
        return Table(headings, cells, self._explain_left_alone(), has_total=True)

    def _explain_left_alone(self) -> tuple[str, ...]:
        """One line for each reason, with how many weights it covers and which."""
        lines = []
        for reason in sorted({row.reason for row in self.skipped}):
            alike = [row for row in self.skipped if row.reason == reason]
            size = sum(math.prod(row.shape) for row in alike)
            names = ", ".join(row.label for row in alike[:4])
            more = f" and {len(alike) - 4} more" * (len(alike) > 4)
            lines.append(f"left alone, {reason}: {size:,} weights ({names}{more})")
        return tuple(lines)


def sparsity(model: keras.Model, *, select: Select = None) -> SparsityReport:
    """Reports how sparse a model is, matrix by matrix.

    Args:
        model: A built Keras model.
        select: What to report, as in `MagnitudePruning`; by default what that prunes by
            default.

    Returns:
        A `SparsityReport`: `print` shows a table, `rows` and `to_dicts()` hold the data.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the model is not built, or nothing is selected.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> km.sparsity(model).total.size
        8
    """
    variables = prunable_variables(model, select)
    labels = dict(
        zip(map(id, model.weights), label_variables(model, model.weights), strict=True)
    )
    rows = tuple(_describe(v, labels[id(v)]) for v in variables)
    chosen = {id(v) for v in variables}
    others = [v for v in model.weights if id(v) not in chosen and math.prod(v.shape) > 1]
    left = zip(list_skipped(model, variables), others, strict=True)
    return SparsityReport(
        rows, tuple(row._replace(label=labels[id(v)]) for row, v in left)
    )


def _describe(variable: Any, label: str) -> SparsityRow:
    kept = ops.convert_to_numpy(variable.value) != 0
    zeros = int(kept.size - np.count_nonzero(kept))
    shape = get_dense_shape(variable)
    row = SparsityRow(variable.path, label, shape, kept.size, zeros)
    exist: Any = True
    if (blocks := find_kernel(variable)) is not None:
        exist = blocks.inside
        kept, size = kept & exist, math.prod(shape)
        zeros = size - int(np.count_nonzero(kept))
        row = replace(row, dense_size=size, dense_zeros=zeros)
    regularizer = find_regularizer(variable)
    if regularizer is None or not kept.any():
        return row
    distances = regularizer.distances(kept.shape)
    distances = regularizer.spread(distances, kept.shape)
    means = [
        float(distances.mean(where=mask, dtype=np.float64)) for mask in (kept, exist)
    ]
    return replace(row, distance=means[0], distance_before=means[1])


def _format_cells(row: SparsityRow, has_blocks: bool) -> list[str]:
    distances = (row.distance, row.distance_before)
    return [
        row.label,
        " × ".join(map(str, row.shape)),
        f"{row.size:,}",
        f"{row.zeros:,}",
        f"{row.sparsity:.2%}",
        *([f"{row.dense_sparsity:.2%}"] if has_blocks else []),
        *("" if value is None else f"{value:.2f}" for value in distances),
    ]
