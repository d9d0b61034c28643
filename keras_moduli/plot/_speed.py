"""What a conversion to fast layers is expected to gain."""

from typing import Any

import keras
import numpy as np

from keras_moduli.plot import _style
from keras_moduli.sparse import SparsePlan
from keras_moduli.sparse import plan as make_plan

Axes = Any


def speed(plan: Any, *, ax: Axes = None) -> Axes:
    """Draws how many times faster the product of each kernel is expected to be.

    Args:
        plan: What `km.sparse.plan` returned, or a built Keras model.
        ax: Axes of matplotlib to draw into; by default those of a new figure.

    Returns:
        The axes: one bar for each kernel; those that stay dense end at 1.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `plan` is neither.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 2)), keras.layers.GRU(8)])
        >>> ax = km.plot.speed(km.sparse.plan(model))
        >>> ax.get_xlabel()
        'times as fast as dense, expected'
    """
    if isinstance(plan, keras.Model):
        plan = make_plan(plan)
    if not isinstance(plan, SparsePlan):
        raise TypeError(
            f"`plan` must be that of `km.sparse.plan`, or a model. Received: {plan!r}"
        )
    rows, places = plan.rows, np.arange(len(plan.rows))
    speeds = np.array([row.speed for row in rows])
    with _style.drawing(ax, size=(5.6, 0.6 + 0.42 * max(len(rows), 2))) as ax:
        colors = [_style.PALE if row.block is None else _style.SECOND for row in rows]
        ax.barh(places, speeds, height=0.6, color=colors)
        for place, row in zip(places, rows, strict=True):
            text = "stays dense" if row.block is None else _describe(row)
            ax.text(row.speed, place, f" {text}", va="center", fontsize=8)
        ax.axvline(1.0, color=_style.INK, linewidth=0.8, linestyle=":")
        ax.set_yticks(places, [f"{row.layer} {row.name}" for row in rows])
        ax.set_xlim(0, 1.9 * max(speeds.max(initial=1.0), 1.0))
        ax.set(xlabel="times as fast as dense, expected")
        ax.invert_yaxis()
    return ax


def _describe(row: Any) -> str:
    return f"{row.speed:.1f}×, {row.density:.0%} in {row.block[0]} × {row.block[1]}"
