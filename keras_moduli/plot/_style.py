"""How all figures look: one place for colors, sizes and axes."""

import contextlib
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_moduli import _files

Axes = Any

# Okabe and Ito's colors, which people of all kinds of color vision tell apart.
INK, ACCENT, SECOND, THIRD, PALE = "#1f2a44", "#d55e00", "#0072b2", "#009e73", "#c9ced9"
COLORS = [SECOND, ACCENT, THIRD, "#cc79a7", "#e69f00", "#56b4e9", INK]
SEQUENTIAL = "viridis"
CYCLIC = "twilight"  # its ends are one color, as those of an angle
DIVERGING = "RdBu_r"

SETTINGS = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "savefig.bbox": "tight",
    "svg.fonttype": "none",
    "svg.hashsalt": "keras_moduli",  # the same file of the same figure
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 8,
    "ytick.color": INK,
    "ytick.labelsize": 8,
}


def load(module: str) -> Any:
    """Returns a module of the extra `viz`.

    Raises:
        ImportError: If it is not installed; it says what to type.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"This figure needs {module.split('.')[0]}. Type: "
            'pip install "keras-moduli[viz]"'
        ) from error


@contextlib.contextmanager
def drawing(
    ax: Axes = None, size: tuple[float, float] = (4.2, 3.4), *, space: bool = False
) -> Iterator[Axes]:
    """Gives the axes that were given, or new ones, in the style of all figures.

    Args:
        ax: Axes of matplotlib, or None for those of a new figure.
        size: Of a new figure, in inches.
        space: Whether axes in three dimensions will do.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `ax` is no axes.
        ValueError: If it has three dimensions and must not.
    """
    pyplot = load("matplotlib.pyplot")
    if ax is not None and not isinstance(ax, load("matplotlib.axes").Axes):
        raise TypeError(f"`ax` must be the axes of a matplotlib figure. Received: {ax!r}")
    if ax is not None and not space:
        check_plane(ax)
    with pyplot.rc_context(SETTINGS):
        if ax is None:
            ax = pyplot.figure(figsize=size).add_subplot()
        yield ax


@contextlib.contextmanager
def panels(
    rows: int, columns: int, size: tuple[float, float], **options: Any
) -> Iterator[Any]:
    """Gives an array of axes (rows, columns) of a new figure, in the style of all.

    Args:
        rows: Of panels.
        columns: Of panels.
        size: Of the figure, in inches; 7 are the width of a page.
        **options: Of `matplotlib.pyplot.subplots`.
    """
    pyplot = load("matplotlib.pyplot")
    with pyplot.rc_context(SETTINGS):
        yield pyplot.subplots(rows, columns, figsize=size, squeeze=False, **options)[1]


def save(figure: Any, path: Any) -> None:
    """Writes a figure to a file, the same one for the same figure, and closes it."""
    with load("matplotlib").rc_context(SETTINGS):
        dated = str(path).endswith((".svg", ".pdf"))
        write(figure, path, metadata={"Date": None} if dated else None)
    load("matplotlib.pyplot").close(figure)


def write(figure: Any, path: str | os.PathLike[str], **options: Any) -> Path:
    """Writes a figure in place of a file; returns where to.

    Args:
        figure: The figure.
        path: Where to; by default a format is that of matplotlib's settings.
        **options: Of `figure.savefig`.
    """
    path = Path(path)
    if not path.suffix:
        suffix = load("matplotlib").rcParams["savefig.format"]
        path = path.with_name(f"{path.name}.{suffix}")
    with _files.replace(path) as file:
        figure.savefig(file, format=path.suffix[1:], **options)
    return path


def draw_band(
    ax: Axes,
    x: Any,
    values: Any,
    color: str,
    quantiles: tuple[float, float] = (0.0, 1.0),
    **style: Any,
) -> None:
    """Draws the median of some runs as a line in a band, by default of all.

    Args:
        ax: Axes.
        x: Where, (n,).
        values: For each place those of all runs.
        color: Of line and band.
        quantiles: From which of the values to which the band reaches.
        **style: Of the line.
    """
    levels = (quantiles[0], 0.5, quantiles[1])
    lows, middles, highs = np.array([np.quantile(runs, levels) for runs in values]).T
    ax.fill_between(x, lows, highs, color=color, alpha=0.18, linewidth=0)
    ax.plot(x, middles, color=color, **{"linewidth": 1.5} | style)


def check_plane(ax: Axes) -> None:
    """Refuses axes in three dimensions."""
    if ax.name == "3d":
        raise ValueError("`ax` must have two axes, x and y. Received: projection='3d'")


def replace_by_3d(ax: Axes) -> Axes:
    """Returns axes of space in the place of axes of a plane."""
    if ax.name == "3d":
        return ax
    load("mpl_toolkits.mplot3d")
    figure, place = ax.figure, ax.get_subplotspec()
    ax.remove()
    if place is None:
        return figure.add_axes(ax.get_position(), projection="3d")
    return figure.add_subplot(place, projection="3d")


def hide_ticks(ax: Axes) -> None:
    """Removes ticks and frame of axes that have no units."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(True)
        spine.set_color(PALE)
