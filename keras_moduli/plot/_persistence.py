"""The topology of neurons or of states: how many pieces, loops and voids."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli.plot import _style
from keras_moduli.plot._target import check_places
from keras_moduli.report import Placement, placement

Array = NDArray[Any]
Axes = Any

_MOST_POINTS = 256  # the time of voids grows with a high power of it
_MOST_DISTANT = 2048  # among which those are sought
_MOST_BARS = 20  # of each dimension
_NAMES = ("pieces", "loops", "voids")


def persistence(
    states: Any,
    dims: Sequence[int] = (0, 1, 2),
    kernel: str | None = None,
    *,
    kind: str = "barcode",
    ax: Axes = None,
) -> Axes:
    """Draws persistent homology: what holes points have, and from which scale to which.

    A ring has one long bar among the loops, a sphere one among the voids, a torus two
    loops and one void. Short bars are noise.

    Args:
        states: An array of points (n, d), such as the states of a layer, at Euclidean
            distances; or a built model or layer, or a `km.placement`, of whose neurons
            the geodesic distances are taken: of learned ones those with connections.
        dims: Which dimensions: 0, pieces; 1, loops; 2, voids.
        kernel: Name of a layer or weight matrix, where a model has several.
        kind: `"barcode"`, a bar from birth to death of each feature; or `"diagram"`, a
            dot for each, its death over its birth.
        ax: Axes of matplotlib to draw into; by default those of a new figure.

    Returns:
        The axes. Of more than 256 points as many are taken, each the farthest from those
        before it.

    Raises:
        ImportError: If matplotlib or ripser is not installed.
        TypeError: If `states` does not hold numbers.
        ValueError: If `dims` or `kind` is another, `states` is not of that shape or not
            finite, or there is no geometry or no position is finite.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        >>> ring = np.column_stack([np.cos(angle), np.sin(angle)])
        >>> ax = km.plot.persistence(ring, (1,))
        >>> ax.get_title(loc="left")
        'persistent homology of 40 points'
    """
    _checks.choice("kind", kind, ("barcode", "diagram"))
    _check_dims(dims)
    distances = _spread_out(_measure(states, kernel))
    intervals = compute(distances, dims)
    with _style.drawing(ax, size=(4.4, 3.6)) as ax:
        draw = _draw_bars if kind == "barcode" else draw_dots
        draw(ax, intervals, _find_end(intervals, distances))
        ax.set_title(f"persistent homology of {len(distances):,} points")
    return ax


def _find_end(intervals: dict[int, Array], distances: Array) -> float:
    """Returns where the axis ends: a little beyond all that ends."""
    ends = [float(part[np.isfinite(part)].max(initial=0)) for part in intervals.values()]
    return 1.1 * max(ends) or float(distances.max())


def _check_dims(dims: Sequence[int]) -> None:
    some = hasattr(dims, "__len__") and len(dims) > 0
    if not some or not set(dims) <= {0, 1, 2}:
        raise ValueError(
            f"`dims` must be some of 0, 1 and 2, such as (1,). Received: dims={dims!r}"
        )


def _measure(states: Any, kernel: str | None) -> Array:
    """Returns the distances between all points, (n, n)."""
    if isinstance(states, keras.Layer):
        states = placement(states, kernel)
    if isinstance(states, Placement):
        where = check_places(states).positions
        if states.learned and len(states.connections):
            where = where[states.connected]
        where = where[np.isfinite(where).all(axis=1)]
        points = _thin(where)
        table = np.asarray(
            keras.ops.convert_to_numpy(states.manifold.pairwise(points.astype("float32")))
        )
        return np.maximum(table, table.T).astype(np.float64)
    points = _checks.array(states, "states")
    if points.ndim != 2 or len(points) < 2:
        raise ValueError(
            "`states` must be points of shape (n, d), at least two; flatten batches and "
            f"time. Received: states.shape={points.shape}"
        )
    if not np.isfinite(points).all():
        raise ValueError("`states` must be finite, and holds NaN or infinity.")
    points = _thin(points)
    squares = (points**2).sum(axis=1)
    table = squares[:, None] + squares - 2 * points @ points.T
    np.fill_diagonal(table, 0.0)
    return np.sqrt(table.clip(min=0.0))


def _thin(points: Array) -> Array:
    """Returns every k-th point, so that all distances between them fit in memory."""
    return points[:: -(-len(points) // _MOST_DISTANT)]


def _spread_out(distances: Array) -> Array:
    """Returns the distances of points each of which is the farthest from those before."""
    if len(distances) <= _MOST_POINTS:
        return distances
    chosen, nearest = [0], distances[0].copy()
    while len(chosen) < _MOST_POINTS:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, distances[chosen[-1]])
    return distances[np.ix_(chosen, chosen)]


def compute(distances: Array, dims: Sequence[int]) -> dict[int, Array]:
    """Returns births and deaths (features, 2) of each dimension, the longest first."""
    found = _style.load("ripser").ripser(
        distances, maxdim=max(dims), distance_matrix=True
    )["dgms"]
    return {dim: _sort(found[dim]) for dim in sorted(set(dims))}


def _sort(intervals: Array) -> Array:
    lengths = intervals[:, 1] - intervals[:, 0]
    return intervals[np.argsort(-lengths, kind="stable")]


def _draw_bars(ax: Axes, chosen: dict[int, Array], longest: float) -> None:
    """Draws the longest bars of each dimension, an endless one up to the right edge."""
    place, names = 0, {}
    for dim, intervals in chosen.items():
        shown = intervals[:_MOST_BARS]
        births, deaths = shown[:, 0], np.minimum(shown[:, 1], longest)
        places = place + np.arange(len(shown))
        ax.barh(places, deaths - births, 0.8, left=births, color=_style.COLORS[dim])
        hidden = len(intervals) - len(shown)
        count = f"{len(shown)} of {len(intervals)}" if hidden else f"{len(shown)}"
        names[place + max(len(shown) - 1, 0) / 2] = f"{_NAMES[dim]}\n({count})"
        place += max(len(shown), 1) + 2
    ax.set_yticks(list(names), list(names.values()))
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel="distance at which a feature is born and dies")
    ax.set(xlim=(0, longest * 1.02), ylim=(place - 1, -1))


def draw_dots(
    ax: Axes, chosen: dict[int, Array], longest: float, size: float = 16
) -> None:
    """Draws a dot for each feature, death over birth; an endless one at the top."""
    ax.plot([0, longest], [0, longest], color=_style.PALE, linewidth=1)
    for dim, intervals in chosen.items():
        births, deaths = intervals[:, 0], np.minimum(intervals[:, 1], longest)
        ax.scatter(births, deaths, s=size, color=_style.COLORS[dim], label=_NAMES[dim])
    ax.set(xlabel="birth, distance", ylabel="death, distance", aspect="equal")
    ax.legend(loc="lower right")
