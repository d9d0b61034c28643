"""What the pictures of benchmarks share, and speed-ups over dense layers.

    python benchmarks/pictures.py

draws docs/images/speed_up_inference.svg and speed_up_training.svg from docs/results.
"""

import pathlib
from collections.abc import Callable
from typing import Any

from harness import ROOT, Row

from examples.experiments.records import read
from keras_moduli.plot import _style

NAMES = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
COLORS = dict(zip(NAMES, _style.COLORS, strict=False))
OWN, FASTEST = "over Keras's dense layer", "over the fastest dense runtime"
AT_THE_EDGE = ("axes fraction", "data")
Times = dict[str, float]  # how often a dense layer takes as long, by `OWN` and `FASTEST`
Curves = dict[tuple[str, str], dict[int, float]]  # of backend and contestant, by units


def main() -> None:
    images = ROOT / "docs" / "images"
    results = ROOT / "docs" / "results"
    draw_inference(read(results / "inference.csv"), images / "speed_up_inference.svg")
    draw_training(read(results / "training_speed.csv"), images / "speed_up_training.svg")


def draw_inference(rows: list[Row], picture: pathlib.Path) -> None:
    """Speed-up of a SimpleRNN against units, a panel for each batch."""

    def select(batch: str) -> Curves:
        curves: Curves = {}
        for row in rows:
            key = row["timing"], row["layer"], row["batch"]
            if key == ("in turns", "SimpleRNN", batch):
                times = {OWN: row["against own"], FASTEST: row["against fastest"]}
                add(curves, row, {name: float(time) for name, time in times.items()})
        return curves

    titles = {"one sequence": "1", "32 sequences": "32"}
    draw_panels({title: select(batch) for title, batch in titles.items()}, picture)


def draw_training(rows: list[Row], picture: pathlib.Path) -> None:
    """Speed-up of a step against units, a panel for each cell."""

    def select(cell: str) -> Curves:
        curves: Curves = {}
        dense: dict[tuple[str, str], Times] = {}
        for row in rows:
            if row["cell"] == cell and row["contestant"].startswith("dense"):
                found = dense.setdefault((row["backend"], row["units"]), {})
                found[row["contestant"]] = float(row["over sparse"])
        for (backend, units), times in dense.items():
            shown = {OWN: times["dense, Keras"], FASTEST: min(times.values())}
            add(curves, {"backend": backend, "units": units}, shown)
        return curves

    draw_panels({cell: select(cell) for cell in ("SimpleRNN", "GRU", "LSTM")}, picture)


def add(curves: Curves, row: Row, times: Times) -> None:
    """Adds the times of a row to the curves of its backend."""
    for name, time in times.items():
        curves.setdefault((row["backend"], name), {})[int(row["units"])] = time


def draw_panels(panels: dict[str, Curves], picture: pathlib.Path) -> None:
    """A panel for each title, and what the lines mean above them."""
    size, shared = (7.0, 3.2), {"sharey": True}
    with _style.panels(1, len(panels), size, **shared) as axes:
        for axis, (title, curves) in zip(axes[0], panels.items(), strict=True):
            axis.set_title(title)
            draw_curves(axis, curves)
        axes[0, 0].set_ylabel("speed-up, times as fast as dense")
        scale_times(axes[0])
        figure = axes[0, 0].figure
        figure.legend(*list_names(), loc="outside upper left", ncols=5)
        _style.save(figure, picture)


def draw_curves(axis: Any, curves: Curves) -> None:
    """A line for each backend, dashed below it where a runtime beats Keras's layer."""
    for (backend, name), points in curves.items():
        places, times = zip(*sorted(points.items()), strict=True)
        style = {"color": COLORS[backend], "marker": "o", "markersize": 3.5}
        if name == OWN:
            axis.plot(places, times, **style)
        elif times != tuple(curves[backend, OWN][units] for units in places):
            axis.plot(places, times, **style, linestyle="--", markerfacecolor="white")
    axis.axhline(1, color=_style.INK, linewidth=1)
    corner = {"xytext": (-2, -10), "textcoords": "offset points", "ha": "right"}
    axis.annotate("as fast as dense", (1, 1), xycoords=AT_THE_EDGE, fontsize=8, **corner)
    units = sorted({units for points in curves.values() for units in points})
    scale(axis.xaxis, axis.set_xscale, units)
    axis.set_xlim(units[0] / 1.15, units[-1] * 1.15)
    axis.set_xlabel("units")


def scale_times(axes: Any) -> None:
    """Scales the speed-ups of all panels, which share an axis."""
    low = min(axis.dataLim.y0 for axis in axes)
    high = max(axis.dataLim.y1 for axis in axes)
    steps = [0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200]
    ticks = [step for step in steps if low / 1.05 < step < 1.05 * high]
    scale(axes[0].yaxis, axes[0].set_yscale, ticks)
    axes[0].set_ylim(low / 1.5, high * 1.3)


def scale(axis: Any, set_scale: Callable[[str], None], ticks: list[float]) -> None:
    """Makes an axis logarithmic, with plain numbers at some places alone."""
    set_scale("log")
    axis.set_ticks(ticks, [f"{tick:,g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def list_names() -> tuple[list[Any], list[str]]:
    """The lines of a legend: a color for each backend, a style for each contestant."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=color) for color in COLORS.values()]
    styles = [Line2D([], [], color=_style.INK, ls=style) for style in ("-", "--")]
    return lines + styles, [*NAMES.values(), OWN, FASTEST]


if __name__ == "__main__":
    main()
