"""How far connections reach."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_moduli.plot import _style
from keras_moduli.plot._target import check_places, find_placement
from keras_moduli.report import Placement

Array = NDArray[Any]
Axes = Any


def distances(model: Any, kernel: str | None = None, *, ax: Axes = None) -> Axes:
    """Draws the distances that connections span, against those of all pairs of neurons.

    What connections span by chance is what all pairs span: a mask follows the geometry
    as far as the two histograms differ.

    Args:
        model: A built Keras model or layer, or a `km.placement`.
        kernel: Name of a layer, or of a weight matrix as `km.geometry` prints it. By
            default the first that has a geometry.
        ax: Axes of matplotlib to draw into; by default those of a new figure.

    Returns:
        The axes.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no geometry, or no weight is left, or none of which both
            ends are at finite positions.

    Examples:
        >>> import keras, keras_moduli as km
        >>> layer = km.layers.ModuliSimpleRNN(32, manifold="circle")
        >>> model = keras.Sequential([keras.Input((5, 2)), layer])
        >>> ax = km.plot.distances(model)
        >>> ax.get_xlabel()
        'distance on Circle'
    """
    placed = check_places(find_placement(model, kernel))
    chance, spans, lost = _measure(placed)
    bins = np.linspace(0.0, max(chance.max(), spans.max(), 1e-12), 31)
    with _style.drawing(ax) as ax:
        _draw(ax, chance, bins, "all pairs", color=_style.PALE)
        _draw(
            ax, spans, bins, "connections", color=_style.ACCENT, histtype="step", lw=1.6
        )
        ax.set(xlabel=f"distance on {type(placed.manifold).__name__}", ylabel="density")
        told = f", {lost:,} spans are not finite" if lost else ""
        ax.set_title(f"{placed.label}\n{placed.connections.sparsity:.1%} zeros{told}")
        ax.set_ylim(0, 1.25 * ax.get_ylim()[1])  # room for the legend
        ax.legend(loc="upper right")
    return ax


def _measure(placed: Placement) -> tuple[Array, Array, int]:
    """Returns finite distances of pairs and of connections, and how many are not."""
    if not len(placed.connections):
        raise ValueError(f"No weight of {placed.label} is left: all are zero.")
    chance, spans = placed.sample_distances(), placed.spans
    finite = spans[np.isfinite(spans)]
    if not len(finite):
        raise ValueError(
            f"No connection of {placed.label} has two ends at finite positions: training "
            "has diverged. Train from an earlier file, with a smaller learning rate."
        )
    return chance[np.isfinite(chance)], finite, len(spans) - len(finite)


def _draw(ax: Axes, values: Any, bins: Any, name: str, **style: Any) -> None:
    label = f"{name}, mean {values.mean():.2f}"
    ax.hist(values, bins, density=True, label=label, **style)
