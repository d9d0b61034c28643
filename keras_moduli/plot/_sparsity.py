"""How sparse each weight matrix is."""

from typing import Any

import keras
import numpy as np

from keras_moduli.plot import _style
from keras_moduli.report import SparsityReport
from keras_moduli.report import sparsity as report_sparsity

Axes = Any


def sparsity(report: Any, *, ax: Axes = None) -> Axes:
    """Draws how many weights each matrix has, and how many of them are left.

    Args:
        report: What `km.sparsity` returned, or a built Keras model.
        ax: Axes of matplotlib to draw into; by default those of a new figure.

    Returns:
        The axes: two bars for each matrix, on a logarithmic axis.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `report` is neither.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 2)), keras.layers.GRU(8)])
        >>> ax = km.plot.sparsity(km.sparsity(model))
        >>> ax.get_xlabel()
        'weights'
    """
    if isinstance(report, keras.Model):
        report = report_sparsity(report)
    if not isinstance(report, SparsityReport):
        raise TypeError(
            f"`report` must be that of `km.sparsity`, or a model. Received: {report!r}"
        )
    rows = report.rows
    sizes = np.array([row.dense_size or row.size for row in rows])
    left = np.array([row.size - row.zeros for row in rows])
    places = np.arange(len(rows))
    with _style.drawing(ax, size=(5.6, 0.6 + 0.42 * max(len(rows), 2))) as ax:
        ax.barh(places, sizes, height=0.7, color=_style.PALE, label="weights")
        ax.barh(places, left, height=0.4, color=_style.SECOND, label="not zero")
        for place, row, size in zip(places, rows, sizes, strict=True):
            text = f" {row.dense_sparsity:.1%} zeros"
            ax.text(size, place, text, va="center", fontsize=8)
        ax.set_yticks(places, [row.label for row in rows])
        ax.set_xscale("log")
        ax.set_xlim(max(0.5, 0.5 * min(left.clip(min=1))), 12 * sizes.max())
        ax.set(xlabel="weights")
        ax.invert_yaxis()
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return ax
