"""What is left of a model: a table of its zeros, to print and to compute with."""

import math
import textwrap
from dataclasses import asdict, dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _checks
from keras_moduli._table import table
from keras_moduli.pruning import Skipped, prunable_variables, skipped
from keras_moduli.pruning._selection import Select, label
from keras_moduli.regularizers import find_regularizer

__all__ = [
    "GeometryReport",
    "GeometryRow",
    "SparsityReport",
    "SparsityRow",
    "geometry",
    "sparsity",
]


@dataclass(frozen=True)
class SparsityRow:
    """One weight matrix.

    Attributes:
        path: Path of the variable.
        label: The path without what every path repeats: the model, and a layer's own
            cell.
        shape: Its shape.
        size: Number of weights.
        zeros: Number of those that are exactly zero.
        distance: Mean geodesic distance that the others span; None where the variable
            has no penalty by distance, or no weight left.
        distance_before: The same mean over all weights.
    """

    path: str
    label: str
    shape: tuple[int, ...]
    size: int
    zeros: int
    distance: float | None = None
    distance_before: float | None = None

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
        skipped: The other weights, each a `keras_moduli.pruning.Skipped` with the reason
            why it is left alone.
    """

    rows: tuple[SparsityRow, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def total(self) -> SparsityRow:
        """All matrices together."""
        size = sum(row.size for row in self.rows)
        return SparsityRow(
            "total", "total", (), size, sum(row.zeros for row in self.rows)
        )

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as dictionaries of plain values, for `csv`, `json` or pandas."""
        return [row.to_dict() for row in self.rows]

    def __str__(self) -> str:
        has_distance = any(row.distance is not None for row in self.rows)
        headings = ["matrix", "shape", "weights", "zeros", "sparsity"]
        headings += ["mean\ndistance", "before\npruning"] * has_distance
        cells = [_cells(row)[: len(headings)] for row in (*self.rows, self.total)]
        return "\n".join(
            [table(headings, cells, section_before_last=True), *self._left_alone()]
        )

    def _left_alone(self) -> list[str]:
        """One line for each reason, with how many weights it covers and which."""
        lines = []
        for reason in sorted({row.reason for row in self.skipped}):
            found = [row for row in self.skipped if row.reason == reason]
            size = sum(math.prod(row.shape) for row in found)
            names = ", ".join(row.label for row in found[:4])
            more = f" and {len(found) - 4} more" * (len(found) > 4)
            line = f"left alone, {reason}: {size:,} weights ({names}{more})"
            lines += textwrap.wrap(line, 100, subsequent_indent="    ")
        return lines

    def __repr__(self) -> str:
        return str(self)


def sparsity(model: keras.Model, *, select: Select = None) -> SparsityReport:
    """How sparse a model is, matrix by matrix.

    Args:
        model: A built Keras model.
        select: What to report, as in `MagnitudePruning`; by default what that prunes by
            default.

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
    variables = prunable_variables(model, select)
    rows = tuple(_row(v, label(v.path, model)) for v in variables)
    left = tuple(
        row._replace(label=label(row.path, model)) for row in skipped(model, variables)
    )
    return SparsityReport(rows, left)


def _row(variable: Any, label: str) -> SparsityRow:
    nonzero = ops.convert_to_numpy(variable.value) != 0
    zeros = int(nonzero.size - np.count_nonzero(nonzero))
    row = SparsityRow(variable.path, label, tuple(variable.shape), nonzero.size, zeros)
    regularizer = find_regularizer(variable)
    if regularizer is None or not nonzero.any():
        return row
    distances = regularizer.distances(row.shape)[:, None, :]
    kept = nonzero.reshape(regularizer.layout(row.shape))
    mean = float((distances * kept).sum(dtype=np.float64) / kept.sum())
    return replace(row, distance=mean, distance_before=float(distances.mean()))


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


@dataclass(frozen=True)
class GeometryRow:
    """The geometry of one weight matrix.

    Attributes:
        path: Path of the variable.
        label: The path without what every path repeats: the model, and a layer's own
            cell.
        manifold: Where its neurons live.
        learned: Whether their positions are learned.
        spread: Their mean distance relative to that of random positions: 1 is well
            spread, 0 a point.
        flat: Fraction of the pairs that feel no force: a tenth more or less of distance
            changes their cost by less than 1 % of its range.
    """

    path: str
    label: str
    manifold: str
    learned: bool
    spread: float
    flat: float

    @property
    def verdict(self) -> str:
        """`"collapsed"`, `"saturated"` or `"fine"`."""
        if self.learned and self.spread < _COLLAPSED:
            return "collapsed"
        return "saturated" if self.flat > _SATURATED else "fine"

    @property
    def advice(self) -> str:
        """What to change, or an empty string."""
        return _ADVICE[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """The row as a dictionary of plain values."""
        return asdict(self) | {"verdict": self.verdict}


_COLLAPSED, _SATURATED = 0.25, 0.9
_ADVICE = {
    "fine": "",
    "collapsed": "its neurons have crumpled together. Raise `dispersion` (the default is "
    "3, 0 has none), or lower `strength` until the weights have learned.",
    "saturated": "nearly all pairs of neurons are so far apart that the cost is flat and "
    "nothing pulls. Choose the length of the inhibitor by the manifold, as with "
    "`DifferenceOfGaussians.for_density(manifold, 0.1)`, or use `'diffusion'`.",
}


@dataclass(frozen=True)
class GeometryReport:
    """The geometry of a model, matrix by matrix. Prints as a table.

    Attributes:
        rows: One `GeometryRow` for each matrix that has a geometry.
    """

    rows: tuple[GeometryRow, ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """The rows as dictionaries of plain values."""
        return [row.to_dict() for row in self.rows]

    def __str__(self) -> str:
        headings = ["matrix", "manifold", "positions", "spread", "flat", "verdict"]
        cells = [
            [
                row.label,
                row.manifold,
                "learned" if row.learned else "fixed",
                f"{row.spread:.2f}",
                f"{row.flat:.0%}",
                row.verdict,
            ]
            for row in self.rows
        ]
        advice = {f"{row.verdict}: {row.advice}" for row in self.rows if row.advice}
        return "\n".join([table(headings, cells), *sorted(advice)])

    def __repr__(self) -> str:
        return str(self)


def geometry(model: keras.Model) -> GeometryReport:
    """Where the neurons of a model are: spread, collapsed, or beyond any force.

    Args:
        model: A built Keras model.

    Returns:
        A `GeometryReport`: `print` shows a table, `rows` and `to_dicts()` hold the data.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model is not built, or no weight of it has a geometry.

    Example:

    >>> import keras, keras_moduli as km
    >>> model = keras.Sequential([keras.Input((5, 2)), km.layers.ModuliSimpleRNN(32)])
    >>> km.geometry(model).rows[0].verdict
    'fine'
    """
    _checks.built_model(model)
    chosen = [v for v in model.trainable_variables if find_regularizer(v) is not None]
    if not chosen:
        raise ValueError(
            f"There is no weight of model {model.name!r} with a geometry. Use "
            "`ModuliRegularizer` or a layer of `keras_moduli.layers`."
        )
    return GeometryReport(tuple(_geometry_row(v, label(v.path, model)) for v in chosen))


def _geometry_row(variable: Any, label: str) -> GeometryRow:
    regularizer = find_regularizer(variable)
    assert regularizer is not None
    cost = regularizer.cost
    distances = regularizer.distances(variable.shape)
    random = cost.manifold.natural_length(0.5)
    learned = any(e.trainable for e in regularizer.placement.embeddings)
    return GeometryRow(
        variable.path,
        label,
        repr(cost.manifold),
        learned,
        float(np.median(distances)) / random,
        _flat_fraction(cost.inhibitor, distances),
    )


def _flat_fraction(inhibitor: Any, distances: Any) -> float:
    def cost(d: Any) -> Any:
        return ops.convert_to_numpy(inhibitor(np.square(d).astype(np.float32)))

    # Up to what most pairs reach: one neuron far out makes no inhibitor flat.
    grid = cost(np.linspace(0.0, np.quantile(distances, 0.95), 2000))
    change = np.abs(cost(1.05 * distances) - cost(0.95 * distances))
    return float(np.mean(change <= 0.01 * (grid.max() - grid.min())))
