"""Neurons where they are, and the strongest of their connections."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from keras_moduli import _checks
from keras_moduli.plot import _style
from keras_moduli.plot._layouts import Layout, lay_out
from keras_moduli.plot._target import check_places, find_placement
from keras_moduli.report import Placement

Array = NDArray[Any]
Axes = Any

_MOST_NEURONS, _MOST_EDGES = 2048, 2000  # beyond, a picture shows less, not more


def neurons(
    model: Any,
    kernel: str | None = None,
    *,
    color: ArrayLike | None = None,
    period: float | None = None,
    edges: float = 0.25,
    ax: Axes = None,
) -> Axes:
    """Draws the neurons of a weight matrix where they are on their manifold.

    The flat torus, Klein bottle and Möbius strip are rectangles whose edges are glued:
    lines that leave on one side come back on the other. The sphere is drawn in space; of
    Rⁿ and others two principal axes, with their share of the variance. Where positions
    are learned, neurons that have no connection are left out.

    Args:
        model: A built Keras model or layer, or a `km.placement`.
        kernel: Name of a layer, or of a weight matrix as `km.geometry` prints it. By
            default the first that has a geometry.
        color: One number for each neuron, of shape (n,), such as what it responds to.
        period: Of `color`, such as 360 for degrees: the colors are those of a circle.
        edges: Fraction of the connections between neurons that is drawn, the strongest,
            in [0, 1]; at most 2,000.
        ax: Axes to draw into, which a sphere replaces by axes of space.

    Returns:
        The axes.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `color` does not hold numbers, or `edges` or `period` is none.
        ValueError: If there is no geometry, no position is finite, or `color` or
            `period` is out of range.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 2)), km.layers.ModuliGRU(32)])
        >>> ax = km.plot.neurons(model)
        >>> len(ax.collections[-1].get_offsets())  # dots
        32
    """
    placed = check_places(find_placement(model, kernel))
    size = len(_list_points(placed))
    colors = None if color is None else _check_colors(color, size, period)
    with _style.drawing(ax, size=(4.2, 4.2), space=True) as ax:
        return _draw(ax, placed, colors, period, _check_share(edges))


def _draw(
    ax: Axes, placed: Placement, colors: Array | None, period: float | None, share: float
) -> Axes:
    shown = _choose_points(placed)
    lines, strength = _choose_edges(placed, shown, share)
    layout = lay_out(placed.manifold, _list_points(placed)[shown])
    ax = prepare(ax, layout)
    draw_lines(ax, layout, *lines, strength)
    draw_points(ax, layout, None if colors is None else colors[shown], period=period)
    frame(ax, layout)
    ax.set_title(_describe(placed, shown, len(lines[0])))
    return ax


def prepare(ax: Axes, layout: Layout) -> Axes:
    """Returns axes of as many dimensions as points have, with the surface, if any."""
    if layout.points.shape[1] == 3:
        ax = _style.replace_by_3d(ax)
    else:
        _style.check_plane(ax)
    if layout.surface is not None:
        ax.plot_surface(*layout.surface, color=_style.PALE, alpha=0.25, linewidth=0)
    return ax


def draw_points(
    ax: Axes,
    layout: Layout,
    colors: Array | None,
    label: str = "",
    period: float | None = None,
) -> None:
    """Draws one dot for each point, on top of all else."""
    size = float(np.clip(14 * 512 / len(layout.points), 3, 14))
    plain = {"color": _style.INK, "linewidths": 0} if colors is None else {}
    if colors is not None:  # some colors of a circle are pale
        plain = {"edgecolors": _style.INK, "linewidths": 0.3 * (period is not None)}
        size *= 2 if period is not None else 1
    dots = ax.scatter(
        *layout.points.T,
        c=colors,
        cmap=None if colors is None else _choose_palette(period),
        vmin=None if colors is None or period is None else 0.0,
        vmax=None if colors is None else period,
        s=size,
        zorder=3,
        **plain,
    )
    if colors is not None:
        ax.figure.colorbar(dots, ax=ax, shrink=0.75, label=label)


def draw_lines(
    ax: Axes, layout: Layout, inputs: Array, outputs: Array, strength: Array
) -> None:
    """Draws the shortest paths between points, the stronger the darker."""
    if not len(inputs):
        return
    kind = "mpl_toolkits.mplot3d.art3d" if layout.points.shape[1] == 3 else None
    collections = _style.load(kind or "matplotlib.collections")
    make = collections.Line3DCollection if kind else collections.LineCollection
    order = np.argsort(strength, kind="stable")  # the strongest on top
    for part in np.array_split(order, min(4, len(order))):
        alpha = 0.25 + 0.5 * strength[part].mean() / max(strength.max(), 1e-30)
        paths = layout.join(inputs[part], outputs[part])
        lines = make(list(paths), colors=_style.ACCENT, linewidths=0.8, alpha=alpha)
        if kind:
            ax.add_collection3d(lines)
        else:
            ax.add_collection(lines, autolim=True)


def frame(ax: Axes, layout: Layout) -> None:
    """Sets limits, labels and equal scales."""
    names = ("x", "y", "z")[: layout.points.shape[1]]
    for name, label in zip(names, layout.labels, strict=True):
        ax.set(**{f"{name}label": label})
    if layout.limits is not None:
        for name, (low, high) in zip(names, layout.limits, strict=True):
            ax.set(**{f"{name}lim": (low, high)})
            if len(names) == 3:
                ax.set(**{f"{name}ticks": [low, 0, high]})
    ax.set_aspect("equal")
    if layout.is_glued:
        for spine in ax.spines.values():
            spine.set_visible(True)
    if layout.limits is None:
        ax.margins(0.05)


def _list_points(placed: Placement) -> Array:
    """Returns the points of all neurons: the sending ones first if they are others."""
    if placed.is_recurrent:
        return placed.positions
    return np.concatenate([placed.input_positions, placed.positions])


def _choose_palette(period: float | None) -> str:
    return _style.SEQUENTIAL if period is None else _style.CYCLIC


def _choose_points(placed: Placement) -> Array:
    """Returns the neurons that are drawn: those that have a place, or some of them."""
    senders = len(placed.input_positions) * (not placed.is_recurrent)
    shown = np.arange(senders + len(placed.positions))
    if placed.learned and len(placed.connections):
        outputs = senders + placed.connected
        shown = np.union1d(placed.connected_inputs if senders else outputs, outputs)
    shown = shown[_have_place(placed)[shown]]
    return shown[:: -(-len(shown) // _MOST_NEURONS)]


def _have_place(placed: Placement) -> Array:
    """Whether the position of each neuron is finite."""
    return np.logical_and.reduce(np.isfinite(_list_points(placed)), axis=1)


def _choose_edges(
    placed: Placement, shown: Array, share: float
) -> tuple[tuple[Array, Array], Array]:
    """Returns the ends of the strongest connections, and their strengths."""
    links = placed.connections
    inputs = links.inputs
    outputs = links.outputs
    if not placed.is_recurrent:
        outputs = outputs + len(placed.input_positions)
    count = max(placed.connections.inputs.max(initial=0), outputs.max(initial=0)) + 1
    number = np.full(max(count, int(shown.max()) + 1), -1)
    number[shown] = np.arange(len(shown))
    inputs, outputs = number[inputs], number[outputs]
    apart = (inputs != outputs) & (inputs >= 0) & (outputs >= 0)
    inputs, outputs, strength = (
        values[apart] for values in (inputs, outputs, _measure(links.weights))
    )
    most = min(round(share * len(strength)), _MOST_EDGES)
    strongest = np.argsort(strength, kind="stable")[len(strength) - most :]
    return (inputs[strongest], outputs[strongest]), strength[strongest]


def _measure(weights: Array) -> Array:
    """Returns how strong connections are; one that is not finite is of the strongest."""
    strength = np.abs(weights.astype(np.float32))
    finite = np.isfinite(strength)
    return np.where(finite, strength, strength[finite].max(initial=0.0))


def _check_share(edges: Any) -> float:
    share = _checks.real("edges", edges, minimum=0.0)
    if share > 1:
        raise ValueError(f"`edges` must be at most 1. Received: edges={edges!r}")
    return share


def _check_colors(color: ArrayLike, n: int, period: float | None) -> Array:
    colors = np.asarray(color)
    if colors.shape != (n,):
        raise ValueError(
            f"`color` must hold one number for each of {n} neurons. Received: "
            f"color.shape={colors.shape}"
        )
    if period is not None:
        colors = np.mod(colors, _checks.positive("period", period))
    return colors


def _describe(placed: Placement, shown: Array, edges: int) -> str:
    size = len(_list_points(placed))
    where = "learned on" if placed.learned else "on"
    name = type(placed.manifold).__name__
    count = f"{len(shown):,}" if len(shown) == size else f"{len(shown):,} of {size:,}"
    links = f"\nthe strongest {edges:,} connections" if edges else ""
    if odd := np.count_nonzero(~np.isfinite(placed.connections.weights)):
        links += f"\n{odd:,} weights are not finite"
    if lost := np.count_nonzero(~_have_place(placed)):
        links += f"\n{lost:,} positions are not finite"
    return f"{count} neurons {where} {name}{links}"
