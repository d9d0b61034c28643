"""Draws a table of experiments: error against sparsity, or against epochs.

    python -m examples.experiments.report.figures navigation --output picture.png

`plot` under `[report]` in the TOML file says which. A panel for each part of the table, a
line for each setting: means with standard deviations over seeds, or, against epochs,
geometric means.
"""

import argparse
import itertools
import json
import pathlib
from typing import Any

import matplotlib
import numpy as np
from scipy.stats import gmean

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.ticker import LogFormatter

from keras_moduli.plot import _style

from ..declarations import RESULTS
from ..records import Row, find_target_epoch, read
from .rows import find_varied, group_by_setting, group_rows, read_options
from .summary import pool_all
from .words import describe

Settings = dict[str, list[Row]]


def draw(name: str, path: pathlib.Path) -> None:
    """Draws the picture of a table."""
    options = read_options(name)
    by = [*options.get("by", []), *([options["across"]] if "across" in options else [])]
    by = [column for column in by if column != options["plot"]]
    rows = read(RESULTS / f"{name}.csv")
    dense = [row for row in rows if not float(row["sparsity"])]
    shown = find_varied(rows)
    panels = {
        title: group_by_setting(part + [row for row in dense if row not in part], shown)
        for title, part in group_rows(rows, by).items()
    }
    picture, axes = _make_axes(len(panels))
    names = dict.fromkeys(name for settings in panels.values() for name in settings)
    palette = plt.get_cmap("tab10" if len(names) <= 10 else "tab20").colors
    colors = dict(zip(names, itertools.cycle(palette)))
    for axis, (title, settings) in zip(axes, panels.items(), strict=True):
        DRAW_LINES[options["plot"]](axis, settings, colors)
        words = ", ".join(describe(*pair) for pair in zip(by, title, strict=True))
        axis.set_title(words, fontsize=8)
        scale_logarithmically(axis)
        axis.tick_params(which="both", labelsize=7)
    axes[0].set_ylabel("error", fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
    picture.savefig(path, dpi=110)
    plt.close(picture)


def draw_forest(path: pathlib.Path) -> None:
    """Draws what geometry changes against its controls, a line for each task and mask."""
    lines = pool_all()
    places = np.arange(len(lines))
    with _style.drawing(size=(7.0, 0.21 * len(lines) + 0.9)) as axis:
        for place, line in zip(places, lines, strict=True):
            mean, low, high = line.estimate_change()
            is_sure = low > 0 or high < 0
            color = _style.ACCENT if is_sure else _style.SECOND
            axis.plot([low, high], [place, place], color=color, linewidth=1.6)
            axis.plot([mean], [place], "o", color=color, markersize=4)
        axis.axvline(0, color=_style.INK, linewidth=0.8)
        axis.set_yticks(places, [line.name for line in lines], fontsize=7)
        axis.set(xlabel="change of the error by geometry, % of that of its controls")
        axis.margins(y=0.01)
        axis.invert_yaxis()
        axis.figure.savefig(path, metadata={"Date": None})
    plt.close(axis.figure)


def scale_logarithmically(axis: Any) -> None:
    """Scales an axis for errors of many sizes, with plain numbers."""
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter("{x:g}")
    # Between powers of ten where there is room.
    minor = LogFormatter(labelOnlyBase=False, minor_thresholds=(1.2, 0.5))
    axis.yaxis.set_minor_formatter(minor)


def _make_axes(panels: int) -> tuple[Any, list[Any]]:
    wide = min(panels, 4)
    tall = -(-panels // wide)
    picture, axes = plt.subplots(
        tall,
        wide,
        figsize=(max(3.4 * wide, 6.8), 2.7 * tall + 0.6),  # room for the legend
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for axis in axes.flat[panels:]:
        axis.set_visible(False)
    return picture, list(axes.flat[:panels])


def _draw_against_epochs(axis: Any, settings: Settings, colors: dict[str, Any]) -> None:
    for name, rows in settings.items():
        errors = gmean([json.loads(row["errors"]) for row in rows], axis=0)
        epochs = np.arange(1, len(errors) + 1)
        axis.plot(epochs, errors, label=name, color=colors[name], linewidth=1)
        # The mask is final in the epochs on the right of this.
        end = find_target_epoch(float(rows[0]["end"]), len(errors))
        axis.axvline(end, color="#9aa3b5", linewidth=0.6)
    axis.set_xlabel("epochs", fontsize=8)


def _draw_against_sparsity(axis: Any, settings: Settings, colors: dict[str, Any]) -> None:
    levels = set()
    for name, rows in settings.items():
        groups = {
            100 * (1 - float(level)): [float(row["error"]) for row in part]
            for (level,), part in group_rows(rows, ["sparsity"]).items()
        }
        levels |= groups.keys()
        axis.errorbar(
            list(groups),
            [np.mean(errors) for errors in groups.values()],
            [np.std(e, ddof=1) if len(e) > 1 else 0.0 for e in groups.values()],
            label=name,
            color=colors[name],
            marker="o",
            markersize=3,
            linewidth=1,
            capsize=2,
        )
    axis.set_xscale("log")
    axis.set_xticks(sorted(levels), [f"{level:.3g}" for level in sorted(levels)])
    axis.minorticks_off()
    axis.set_xlabel("% of weights kept", fontsize=8)


DRAW_LINES = {"epochs": _draw_against_epochs, "sparsity": _draw_against_sparsity}


def main() -> None:
    """Draws the table that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", help="name of a table")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="picture")
    args = parser.parse_args()
    draw(args.table, args.output)


if __name__ == "__main__":
    main()
