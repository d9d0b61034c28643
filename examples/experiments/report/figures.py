"""Draws a table of experiments: error against sparsity, or against epochs.

    python -m examples.experiments.report.figures navigation --output picture.svg

`plot` under `[report]` in the TOML file says which. A panel for each part of the table, a
line for each kind of penalty: the median over its settings and seeds, in a band from the
least to the largest.
"""

import argparse
import json
import pathlib
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib.ticker import LogLocator, NullFormatter

from keras_moduli.plot import _style

from ..declarations import RESULTS
from ..records import Row, find_target_epoch, read
from ..tasks import find_task
from .rows import group_rows, read_options
from .summary import pool_all
from .words import describe

Kinds = dict[str, list[Row]]
# The kinds of penalties, with what a line of each looks like.
KINDS = {
    "geometry": ("geometry",),
    "no penalty": ("none",),
    "L1": ("l1",),
    "permuted and random": ("permuted", "rows", "random"),
}
STYLES = {
    "geometry": {"color": _style.ACCENT, "zorder": 3, "linewidth": 2.0},
    "no penalty": {"color": _style.INK},
    "L1": {"color": _style.THIRD},
    "permuted and random": {"color": _style.SECOND},
}


def draw(name: str, path: pathlib.Path) -> None:
    """Draws the picture of a table."""
    options = read_options(name)
    by = [*options.get("by", []), *([options["across"]] if "across" in options else [])]
    by = [column for column in by if column != options["plot"]]
    rows = read(RESULTS / f"{name}.csv")
    dense = [row for row in rows if not float(row["sparsity"])]
    parts = group_rows([row for row in rows if row not in dense], by)
    wide = min(len(parts), 2)
    tall = -(-len(parts) // wide)
    size = (7.0 if wide > 1 else 5.4, 2.3 * tall + 0.7)
    with _style.panels(tall, wide, size, sharex=True, sharey=True) as axes:
        for axis, (title, part) in zip(axes.flat, parts.items(), strict=True):
            DRAW_LINES[options["plot"]](axis, group_by_kind(part))
            if dense:
                draw_dense(axis, [float(row["error"]) for row in dense])
            words = ", ".join(describe(*pair) for pair in zip(by, title, strict=True))
            axis.set_title(words)
            scale_logarithmically(axis)
        for axis in axes[:, 0]:
            axis.set_ylabel(find_task(rows[0]["task"]).error_name)
        for axis in axes[-1]:
            axis.set_xlabel(WORDS[options["plot"]])
        picture = axes[0, 0].figure
        handles, labels = axes[0, 0].get_legend_handles_labels()
        picture.legend(handles, labels, loc="outside upper left", ncols=5)
        _style.save(picture, path)


def draw_dense(axis: Any, errors: list[float]) -> None:
    """Draws the errors of dense networks from side to side."""
    axis.axhspan(min(errors), max(errors), color=_style.PALE, alpha=0.6, linewidth=0)
    median = float(np.median(errors))
    axis.axhline(median, color=_style.INK, linewidth=1, linestyle="--", label="dense")


def draw_distances(axis: Any, true: np.ndarray, learned: np.ndarray) -> None:
    """Draws learned over true distances of all pairs: the median, and 90 % of them."""
    pairs = np.triu_indices(len(true), 1)
    true, learned = true[pairs], learned[pairs]
    edges = np.linspace(0, true.max() * (1 + 1e-6), 25)
    places = np.digitize(true, edges) - 1
    shown = [place for place in range(24) if (places == place).sum() > 4]
    centers = (edges[:-1] + edges[1:])[shown] / 2
    groups = [learned[places == place] for place in shown]
    _style.draw_band(axis, centers, groups, _style.SECOND, quantiles=(0.05, 0.95))
    axis.set(xlim=(0, None), ylim=(0, None))


def group_by_kind(rows: list[Row]) -> Kinds:
    """Groups rows by the kind of their penalty."""
    groups = {
        kind: [row for row in rows if row["control"] in controls]
        for kind, controls in KINDS.items()
    }
    return {kind: part for kind, part in groups.items() if part}


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
        names = [line.name.split(", of which")[0] for line in lines]
        axis.set_yticks(places, names, fontsize=7.5)
        axis.set(xlabel="change of the error by geometry, % of that of its controls")
        axis.margins(y=0.01)
        axis.invert_yaxis()
        _style.save(axis.figure, path)


def scale_logarithmically(axis: Any) -> None:
    """Scales the errors of an axis, of many sizes, with as many numbers as have room."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    decades = np.log10(high / low)
    steps = (1,) if decades > 2 else (1, 2, 5) if decades > 1 else (1, 1.5, 2, 3, 5, 7)
    axis.yaxis.set_major_locator(LogLocator(subs=steps))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())


def _draw_against_epochs(axis: Any, kinds: Kinds) -> None:
    for kind, rows in kinds.items():
        errors = np.array([json.loads(row["errors"]) for row in rows]).T
        epochs = np.arange(1, len(errors) + 1)
        _style.draw_band(axis, epochs, errors, label=kind, **STYLES[kind])
    end = find_target_epoch(float(rows[0]["end"]), len(errors))
    axis.axvline(end, color=_style.INK, linewidth=0.8, linestyle=":")


def _draw_against_sparsity(axis: Any, kinds: Kinds) -> None:
    levels = set()
    for kind, rows in kinds.items():
        groups = {
            100 * (1 - float(level)): [float(row["error"]) for row in part]
            for (level,), part in group_rows(rows, ["sparsity"]).items()
        }
        levels |= groups.keys()
        style = STYLES[kind] | {"marker": "o", "markersize": 3.5}
        _style.draw_band(axis, list(groups), groups.values(), label=kind, **style)
    axis.set_xscale("log")
    axis.set_xticks(sorted(levels), [f"{level:.3g}" for level in sorted(levels)])
    axis.minorticks_off()


DRAW_LINES = {"epochs": _draw_against_epochs, "sparsity": _draw_against_sparsity}
WORDS = {"epochs": "epoch", "sparsity": "% of weights kept"}


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
