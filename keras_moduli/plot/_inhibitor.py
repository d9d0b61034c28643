"""What connections cost by distance."""

from typing import Any

import numpy as np
from keras import ops

from keras_moduli import inhibitors, manifolds
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.manifolds import Manifold
from keras_moduli.plot import _style
from keras_moduli.plot._target import find_cost

Axes = Any

_NEURONS = 512


def inhibitor(
    inhibitor: Any, manifold: Any = None, kernel: str | None = None, *, ax: Axes = None
) -> Axes:
    """Draws the cost of a connection by its distance, over the distances that there are.

    Where the curve is flat nothing pulls: most pairs of neurons should lie where it is
    steep.

    Args:
        inhibitor: An inhibitor or its name; or a built model or layer, whose cost is
            drawn on its manifold.
        manifold: A manifold or its name, of which the distances among 512 random points
            are drawn behind the curve; None for the curve alone.
        kernel: Name of a layer or weight matrix, where a model has several.
        ax: Axes of matplotlib to draw into; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If a name is unknown, or the model has no geometry.

    Examples:
        >>> import keras_moduli as km
        >>> ax = km.plot.inhibitor("dog", "torus")
        >>> ax.get_ylabel()
        'cost of |w| = 1'
    """
    if not isinstance(inhibitor, str | dict | Inhibitor):
        cost = find_cost(inhibitor, kernel)
        inhibitor, manifold = cost.inhibitor, manifold or cost.manifold
    inhibitor = inhibitors.get(inhibitor)
    manifold = None if manifold is None else manifolds.get(manifold)
    distances = None if manifold is None else _sample_distances(manifold)
    longest = 10.0 if distances is None else float(distances.max())
    grid = np.linspace(0.0, longest, 400)
    costs = ops.convert_to_numpy(inhibitor(np.square(grid).astype(np.float32)))
    with _style.drawing(ax) as ax:
        if distances is not None:
            _draw_behind(ax, distances, costs.max())
        ax.plot(grid, costs, color=_style.ACCENT, linewidth=2)
        ax.set(xlim=(0, longest), ylim=(0, 1.08 * max(costs.max(), 1e-12)))
        where = "" if manifold is None else f" on {type(manifold).__name__}"
        ax.set(xlabel=f"distance{where}", ylabel="cost of |w| = 1")
        behind = "" if manifold is None else "\ngray: how many pairs are so far apart"
        ax.set_title(f"{type(inhibitor).__name__}{behind}")
    return ax


def _sample_distances(manifold: Manifold) -> Any:
    points = manifold.sample(_NEURONS).astype(np.float32)
    table = ops.convert_to_numpy(manifold.pairwise(points))
    return table[np.triu_indices(len(points), 1)]


def _draw_behind(ax: Axes, distances: Any, height: float) -> None:
    """Draws a histogram, its peak at half the height of the curve."""
    counts, edges = np.histogram(distances, 40)
    scaled = 0.5 * max(height, 1e-12) * counts / counts.max()
    ax.stairs(scaled, edges, fill=True, color=_style.PALE)
