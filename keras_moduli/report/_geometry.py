"""Where the neurons of a model are: a table, to print and to compute with."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _checks
from keras_moduli._table import Printable, Table
from keras_moduli.connectivity import find_kernel
from keras_moduli.regularizers import find_regularizer
from keras_moduli.report._labels import label_variables


@dataclass(frozen=True)
class GeometryRow:
    """The geometry of one weight matrix.

    Attributes:
        path: Path of the variable.
        label: The path without what every path repeats: the model, and a layer's own
            cell.
        manifold: Where its neurons live.
        learned: Whether their positions are learned.
        spread: Their median distance relative to that of random positions: 1 is well
            spread, 0 a point; NaN if a position is not finite.
        flat: Fraction of the pairs that feel no force: a tenth more or less of distance
            changes their cost by less than 1 % of its range. Where only blocks of a
            kernel exist, those are its pairs.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 2)), km.layers.ModuliSimpleRNN(8)])
        >>> row = km.geometry(model).rows[0]
        >>> row.manifold, row.learned, row.verdict
        ('Euclidean(dim=3)', True, 'fine')
    """

    path: str
    label: str
    manifold: str
    learned: bool
    spread: float
    flat: float

    @property
    def verdict(self) -> str:
        """`"collapsed"`, `"saturated"`, `"not finite"` or `"fine"`."""
        if not math.isfinite(self.spread):
            return "not finite"
        if self.learned and self.spread < _COLLAPSED:
            return "collapsed"
        return "saturated" if self.flat > _SATURATED else "fine"

    @property
    def advice(self) -> str:
        """What to change, or an empty string."""
        return _ADVICE[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """Returns the row as a dictionary of plain values."""
        return asdict(self) | {"verdict": self.verdict}


_COLLAPSED, _SATURATED = 0.25, 0.9
_NEURONS = 1024  # of which the distances of all pairs are measured at once
_ADVICE = {
    "fine": "",
    "not finite": "some positions are NaN or infinite: training has diverged. Lower the "
    "learning rate or type `clipnorm=1.0` in the optimizer; "
    "`keras.callbacks.TerminateOnNaN()` stops `fit` where it happens.",
    "collapsed": "its neurons have crumpled together. Raise `dispersion` (the default is "
    "3, 0 has none), or lower `strength` until the weights have learned.",
    "saturated": "nearly all pairs of neurons are so far apart that the cost is flat and "
    "nothing pulls. Choose the length of the inhibitor by the manifold, as with "
    "`DifferenceOfGaussians.for_density(manifold, 0.1)`, or use `'diffusion'`.",
}


@dataclass(frozen=True, repr=False)
class GeometryReport(Printable):
    """The geometry of a model, matrix by matrix. Prints as a table.

    Attributes:
        rows: One `GeometryRow` for each matrix that has a geometry.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 2)), km.layers.ModuliSimpleRNN(8)])
        >>> [row["verdict"] for row in km.geometry(model).to_dicts()]
        ['fine']
    """

    rows: tuple[GeometryRow, ...]

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns the rows as dictionaries of plain values."""
        return [row.to_dict() for row in self.rows]

    def to_table(self) -> Table:
        """Returns what is printed."""
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
        return Table(headings, cells, tuple(sorted(advice)))


def geometry(model: keras.Model) -> GeometryReport:
    """Reports where the neurons of a model are: spread, collapsed, or beyond any force.

    Args:
        model: A built Keras model.

    Returns:
        A `GeometryReport`: `print` shows a table, `rows` and `to_dicts()` hold the data.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the model is not built, or no weight of it has a geometry.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 2)), km.layers.ModuliSimpleRNN(32)])
        >>> km.geometry(model).rows[0].verdict
        'fine'
    """
    _checks.built_model(model)
    priced = [v for v in model.trainable_variables if find_regularizer(v) is not None]
    chosen = [v for v in priced if 0 not in v.shape]
    if not chosen:
        raise ValueError(_explain_none(model))
    labels = label_variables(model, chosen)
    return GeometryReport(tuple(map(_describe, chosen, labels)))


def _explain_none(model: keras.Model) -> str:
    kernels = map(find_kernel, model.trainable_variables)
    if any(k is not None and hasattr(k.connectivity, "locate") for k in kernels):
        return (
            f"No weight of model {model.name!r} costs by distance: its neurons are where "
            "their `connectivity` puts them. `km.placement(model)` has their positions, "
            "`km.plot.overview(model)` draws them."
        )
    return (
        f"There is no weight of model {model.name!r} with a geometry. Use "
        "`ModuliRegularizer` or a layer of `keras_moduli.layers`."
    )


def _describe(variable: Any, label: str) -> GeometryRow:
    regularizer = find_regularizer(variable)
    assert regularizer is not None
    cost = regularizer.cost
    distances = regularizer.distances(variable.shape)
    apart, blocks = distances, find_kernel(variable)
    positions = regularizer.positions(variable.shape)
    is_finite = all(np.isfinite(points).all() for points in positions)
    if blocks is not None:  # which connect near neurons, perhaps, of any that there are
        apart = _measure_some(cost.manifold, *positions)
        distances = distances[blocks.inside]
    random = cost.manifold.natural_length(0.5)
    learned = any(e.trainable for e in regularizer.placement.embeddings)
    return GeometryRow(
        variable.path,
        label,
        repr(cost.manifold),
        learned,
        float(np.median(apart)) / random if is_finite else math.nan,
        _measure_flatness(cost.inhibitor, distances),
    )


def _measure_some(manifold: Any, inputs: Any, outputs: Any) -> Any:
    """Returns distances of pairs of neurons, of all or of evenly chosen ones."""
    x, y = (
        np.asarray(points[:: -(-len(points) // _NEURONS)], np.float32)
        for points in (inputs, outputs)
    )
    return ops.convert_to_numpy(manifold.distance(x[:, None], y[None]))


def _measure_flatness(inhibitor: Any, distances: Any) -> float:
    def cost(d: Any) -> Any:
        return ops.convert_to_numpy(inhibitor(np.square(d).astype(np.float32)))

    # Up to what most pairs reach: one neuron far out makes no inhibitor flat.
    grid = cost(np.linspace(0.0, np.quantile(distances, 0.95), 2000))
    change = np.abs(cost(1.05 * distances) - cost(0.95 * distances))
    return float(np.mean(change <= 0.01 * (grid.max() - grid.min())))
