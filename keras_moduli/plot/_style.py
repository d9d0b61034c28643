"""How all figures look: one place for colors, sizes and axes."""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

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
def drawing(ax: Axes = None, size: tuple[float, float] = (4.2, 3.4)) -> Iterator[Axes]:
    """Gives the axes that were given, or new ones, in the style of all figures.

    Args:
        ax: Axes of matplotlib, or None for those of a new figure.
        size: Of a new figure, in inches.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `ax` is no axes.
    """
    pyplot = load("matplotlib.pyplot")
    if ax is not None and not isinstance(ax, load("matplotlib.axes").Axes):
        raise TypeError(f"`ax` must be the axes of a matplotlib figure. Received: {ax!r}")
    with pyplot.rc_context(SETTINGS):
        if ax is None:
            ax = pyplot.figure(figsize=size).add_subplot()
        yield ax


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
