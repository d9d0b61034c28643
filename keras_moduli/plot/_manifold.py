"""Manifolds, by balls around a point."""

from typing import Any

import numpy as np
from keras import ops

from keras_moduli import inhibitors, manifolds
from keras_moduli.manifolds import Manifold
from keras_moduli.plot import _style
from keras_moduli.plot._inhibitor import inhibitor as draw_inhibitor
from keras_moduli.plot._layouts import lay_out
from keras_moduli.plot._neurons import draw_points, frame, prepare

Axes = Any

_POINTS, _RINGS = 1200, 8


def manifold(manifold: Any, *, ax: Axes = None) -> Axes:
    """Draws a manifold by its distances: random points, in bands around one of them.

    A band of one color holds the points that are about as far from the one marked by a
    cross. Axes are those of `km.plot.neurons`.

    Args:
        manifold: A `keras_moduli.manifolds.Manifold` or its name.
        ax: Axes of matplotlib to draw into; by default those of a new figure. Axes of a
            plane are replaced by such of space where a sphere is drawn.

    Returns:
        The axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If the name is unknown.

    Examples:
        >>> import keras_moduli as km
        >>> ax = km.plot.manifold("klein_bottle")
        >>> [float(limit) for limit in ax.get_xlim()]
        [0.0, 10.0]
    """
    drawn = manifolds.get(manifold)
    points = _sample(drawn)
    center = _choose_center(points)
    distances = ops.convert_to_numpy(
        drawn.distance(points.astype(np.float32), points[center].astype(np.float32))
    )
    layout = lay_out(drawn, points)
    with _style.drawing(ax, size=(4.2, 3.6), space=True) as ax:
        ax = prepare(ax, layout)
        draw_points(ax, layout, distances, "distance from ×")
        dots = ax.collections[-1]
        colormap = _style.load("matplotlib").colormaps[_style.SEQUENTIAL]
        dots.set_cmap(colormap.resampled(_RINGS))
        dots.set_clim(0, distances.max())
        ax.scatter(
            *layout.points[[center]].T, marker="x", s=60, color=_style.ACCENT, zorder=4
        )
        frame(ax, layout)
        ax.set_title(type(drawn).__name__)
    return ax


def gallery() -> Any:
    """Draws all registered manifolds and inhibitors that need no arguments.

    Returns:
        The matplotlib figure: a panel for each manifold, then one for each inhibitor,
        over the distances of the torus.

    Raises:
        ImportError: If matplotlib is not installed.

    Examples:
        >>> import keras_moduli as km
        >>> figure = km.plot.gallery()
        >>> len([ax for ax in figure.axes if ax.get_title(loc="left")]) > 12
        True
    """
    shapes = _make_all(manifolds)
    costs = _make_all(inhibitors)
    pyplot = _style.load("matplotlib.pyplot")
    rows = -(-len(shapes) // 3) + -(-len(costs) // 3)
    with pyplot.rc_context(_style.SETTINGS):
        figure = pyplot.figure(figsize=(10.5, 3.1 * rows))
        grid = figure.add_gridspec(rows, 3)
        for number, shape in enumerate(shapes):
            manifold(shape, ax=figure.add_subplot(grid[number]))
        first = 3 * -(-len(shapes) // 3)
        for number, cost in enumerate(costs):
            draw_inhibitor(cost, "torus", ax=figure.add_subplot(grid[first + number]))
    return figure


def _make_all(family: Any) -> list[Any]:
    """Returns one of each class of a family that has a name and defaults."""
    made: dict[type, Any] = {}
    for name in family.names():
        try:
            one = family.get(name)
        except ValueError:  # it has no defaults
            continue
        made.setdefault(type(one), one)
    return list(made.values())


def _sample(drawn: Manifold) -> Any:
    if isinstance(drawn, manifolds.FiniteMetric):
        return drawn.sample(drawn.size)
    return drawn.sample(_POINTS)


def _choose_center(points: Any) -> int:
    """Returns a point near the middle of all, so that balls are seen from all sides."""
    middle = np.median(points, axis=0)
    return int(np.argmin(((points - middle) ** 2).sum(axis=-1)))
