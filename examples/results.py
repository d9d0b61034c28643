"""Shows the rows of a table of experiments: means, differences to controls, plots.

    python examples/results.py examples/tables/navigation.toml

prints Markdown, and with `--draw PICTURE` draws it. `[report]` in the TOML file says how:

    [report]
    by = ["sparsity", "scope"]   # a part of its own for each of their values
    across = "task"              # optional: one row for each, settings in columns
    right = {HeadDirection = "circle"}  # of those rows: what to compare with all others
    matrices = true              # optional: the zeros of each matrix
    plot = "sparsity"            # optional: what the error is drawn against, or "epochs"

Differences are paired: each seed of a setting against the same seed of the control, in
brackets the 95 % interval of their mean by bootstrap over seeds.
"""

import argparse
import itertools
import json
import math
import pathlib
import statistics
import tomllib
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
from run_table import RESULTS, Row, read
from scipy.stats import bootstrap

CONTROLS = {
    "none": "no penalty",
    "l1": "L1",
    "permuted": "coefficients permuted",
    "rows": "rows permuted",
    "random": "random coefficients",
}
WORDS = {
    "klein_bottle": "Klein bottle",
    "mobius_strip": "Möbius strip",
    "poincare_ball": "Poincaré ball",
    "projective_space": "projective plane",
    "special_orthogonal_3": "SO(3)",
    "euclidean": "R³",
    "r9": "R⁹",
    "dog": "DoG",
}
SEEN = ("seed", "control", "manifold", "inhibitor", "learned", "strength", "density")
Cases = dict[str, dict[int, float]]


def label(row: Row, varied: set[str]) -> str:
    """What tells the setting of a row from others of its part."""
    name = CONTROLS.get(row["control"], "")
    placed = f"{word(row['manifold'])} {word(row['inhibitor'])}"
    if not name or (row["control"] != "none" and varied & {"manifold", "inhibitor"}):
        name = f"{name} ({placed})" if name else placed
    if row["learned"] == "True" and row["control"] not in ("none", "l1"):
        name += ", learned"
    if "strength" in varied and row["control"] != "none":
        name += f", strength {float(row['strength']):g}"
    if "density" in varied and row["control"] != "none":
        name += (
            f", density {float(row['density']):g}"
            if float(row["density"])
            else (", the authors' length")
        )
    return name


def word(name: str) -> str:
    """A name as it is written in a table."""
    return WORDS.get(name, name.replace("_", " "))


def parts(rows: list[Row], by: list[str]) -> dict[tuple[str, ...], list[Row]]:
    """The rows by the values of some columns."""
    found = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in by)].append(row)
    return dict(sorted(found.items()))


def varied_among_controls(rows: list[Row]) -> set[str]:
    """What differs among the controls of a part, and must so be said of them."""
    controls = [row for row in rows if row["control"] not in ("geometry", "none")]
    return {
        name
        for name in ("manifold", "inhibitor", "strength", "density")
        if any(
            len({r[name] for r in controls if r["control"] == c}) > 1 for c in CONTROLS
        )
    }


def cases(rows: list[Row], value: Callable[[Row], float]) -> Cases:
    """For each setting the figure of each seed."""
    varied = varied_among_controls(rows)
    for name in ("strength", "density"):
        geometric = {row[name] for row in rows if row["control"] == "geometry"}
        varied |= {name} if len(geometric) > 1 else set()
    found: Cases = defaultdict(dict)
    order = ["geometry", *CONTROLS]
    for row in sorted(rows, key=lambda row: order.index(row["control"])):
        found[label(row, varied)][int(row["seed"])] = value(row)
    return dict(found)


def decimals(value: float) -> int:
    """Places after the point that show three digits of a value."""
    return max(0, 2 - math.floor(math.log10(abs(value)))) if value else 2


def mean(values: dict[int, float]) -> str:
    """Mean and standard deviation over seeds."""
    found = list(values.values())
    places = decimals(statistics.fmean(found))
    shown = f"{statistics.fmean(found):.{places}f}"
    return shown if len(found) == 1 else f"{shown} ± {statistics.stdev(found):.{places}f}"


def difference(ours: dict[int, float], theirs: dict[int, float]) -> str:
    """Mean of the paired differences over seeds, and its interval."""
    shared = sorted(set(ours) & set(theirs))
    gains = np.array([ours[seed] - theirs[seed] for seed in shared])
    if len(gains) < 3:
        return ""
    low, high = gains.min(), gains.max()
    if low != high:
        generator = np.random.default_rng(0)
        found = bootstrap((gains,), np.mean, method="percentile", rng=generator)
        low, high = found.confidence_interval
    places = decimals(statistics.fmean(ours.values()))
    return f"{gains.mean():+.{places}f} [{low:+.{places}f}, {high:+.{places}f}]"


def settings(rows: list[Row]) -> str:
    """One line for each setting: error, and what it differs by from each control."""
    last = cases(rows, lambda row: float(row["error"]))
    early = cases(rows, lambda row: float(row["error at target"]))
    controls = [name for name in CONTROLS.values() if name in last]
    head = [
        "setting",
        "seeds",
        "error",
        "at the final mask",
        *(f"− {c}" for c in controls),
    ]
    lines = [head, ["---"] * len(head)]
    for name, values in last.items():
        # Controls against one another would hide what is asked for.
        asked = controls if name not in controls[1:] else controls[:1]
        line = [name, str(len(values)), mean(values), mean(early[name])]
        for control in controls:
            shown = control in asked and control != name
            line.append(difference(values, last[control]) if shown else "")
        lines.append(line)
    return drawn(lines)


def matrix(rows: list[Row], across: str) -> str:
    """One line for each value of a column, one column for each setting."""
    every = {
        name: cases(part, lambda row: float(row["error"]))
        for (name,), part in parts(rows, [across]).items()
    }
    names = list(dict.fromkeys(n for found in every.values() for n in found))
    lines = [[across, *names], ["---"] * (len(names) + 1)]
    for name, found in every.items():
        lines.append([name, *(mean(found[n]) if n in found else "" for n in names)])
    return drawn(lines)


def against(rows: list[Row], across: str, right: dict[str, str]) -> str:
    """What the right manifold of each row of a matrix differs by from all else."""
    lines: list[list[str]] = []
    for (name,), part in parts(rows, [across]).items():
        found = cases(part, lambda row: float(row["error"]))
        ours = next((n for n in found if n.startswith(word(right[name]))), None)
        if ours:
            others = [n for n in found if n != ours]
            lines += [
                [name, ours, "− " + n, difference(found[ours], found[n])] for n in others
            ]
    head = [across, "the right one", "against", "difference"]
    return drawn([head, ["---"] * len(head), *lines])


def drawn(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def matrices(rows: list[Row]) -> str:
    """Which share of each matrix is zero, as the mean over seeds."""
    zeros = {
        name: [json.loads(row["zeros"]) for row in part]
        for name, part in _by_setting(rows).items()
    }
    names = list(next(iter(zeros.values()))[0])
    lines = [["zeros", *names], ["---"] * (len(names) + 1)]
    for setting, found in zeros.items():
        shares = [statistics.fmean(one[name] for one in found) for name in names]
        lines.append([setting, *(f"{share:.1%}" for share in shares)])
    return drawn(lines)


def is_uneven(row: Row) -> bool:
    """Whether some matrices have more zeros than others."""
    zeros = json.loads(row["zeros"]).values()
    return max(zeros) - min(zeros) > 0.01


def _by_setting(rows: list[Row]) -> dict[str, list[Row]]:
    found = defaultdict(list)
    varied = varied_among_controls(rows)
    for row in rows:
        found[label(row, varied)].append(row)
    return dict(found)


def report(name: str, results: pathlib.Path = RESULTS) -> str:
    """The whole table of a TOML file, as Markdown."""
    said = declaration(name).get("report", {})
    rows = read(results / f"{name}.csv")
    text = []
    for values, part in parts(rows, said.get("by", [])).items():
        pairs = zip(said.get("by", []), values, strict=True)
        title = ", ".join(described(column, value) for column, value in pairs)
        text.append(f"**{title[:1].upper()}{title[1:]}**" if title else "")
        show = matrix(part, said["across"]) if "across" in said else settings(part)
        text.append(show)
        if "right" in said:
            text.append(against(part, said["across"], said["right"]))
        if said.get("matrices") and any(map(is_uneven, part)):
            text.append(matrices(part))
    return "\n\n".join([*filter(None, text), origin(name, rows)])


def described(column: str, value: str) -> str:
    """The value of a column in words."""
    if column == "sparsity":
        return f"{float(value):.0%} zeros" if float(value) else "dense"
    if column == "block":
        return f"blocks of {value.replace('x', ' × ')}" if value else "single weights"
    if column == "scope":
        return {"global": "all matrices together", "layer": "each matrix"}[value]
    if column == "select":
        return {"kernels": "all kernels", "recurrent": "recurrent kernels"}[value]
    if column == "learned":
        return "learned places" if value == "True" else "fixed places"
    return f"{column.replace('_', ' ')} {value}" if column != "task" else value


def origin(name: str, rows: list[Row]) -> str:
    """How a table was made, and what it took."""
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    versions = "; ".join(sorted({row["versions"] for row in rows}))
    backends = ", ".join(sorted({row["backend"] for row in rows}))
    return (
        f"`python examples/run_table.py examples/tables/{name}.toml --jobs 2`: "
        f"{len(rows)} runs of {hours:.1f} hours together, of one thread each, on "
        f"{backends}; {machines}; {versions}."
    )


def declaration(name: str) -> dict[str, Any]:
    """The TOML file of a table."""
    path = pathlib.Path(__file__).parent / "tables" / f"{name}.toml"
    return tomllib.loads(path.read_text())


def draw(name: str, path: pathlib.Path) -> None:
    """Error against sparsity or epochs, a panel for each part."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    said = declaration(name)["report"]
    panel = {"sparsity": _against_sparsity, "epochs": _against_epochs}[said["plot"]]
    by = [*said.get("by", []), *([said["across"]] if "across" in said else [])]
    by = [column for column in by if column != said["plot"]]
    panels = parts(read(RESULTS / f"{name}.csv"), by)
    dense = [r for part in panels.values() for r in part if not float(r["sparsity"])]
    wide = min(len(panels), 4)
    tall = -(-len(panels) // wide)
    picture, axes = plt.subplots(
        tall,
        wide,
        figsize=(3.4 * wide, 2.7 * tall + 0.6),
        squeeze=False,
        sharey=True,
        layout="constrained",
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    names = dict.fromkeys(n for part in panels.values() for n in _by_setting(part))
    colors = dict(zip(names, itertools.cycle(plt.get_cmap("tab20").colors)))
    for axis, (title, part) in zip(axes.flat, panels.items(), strict=False):
        panel(axis, part + [row for row in dense if row not in part], colors)
        words = ", ".join(described(*pair) for pair in zip(by, title, strict=True))
        axis.set_title(words, fontsize=8)
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")
        axis.tick_params(which="both", labelsize=7)
    for row in axes:
        row[0].set_ylabel("error", fontsize=8)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
    picture.savefig(path, dpi=110)
    plt.close(picture)


def _against_epochs(axis: Any, rows: list[Row], colors: dict[str, Any]) -> None:
    for name, part in _by_setting(rows).items():
        errors = np.mean([json.loads(row["errors"]) for row in part], axis=0)
        epochs = np.arange(1, len(errors) + 1)
        axis.plot(epochs, errors, label=name, color=colors[name], linewidth=1)
        # The mask is final from the start of the epoch after this line on.
        end = round(float(part[0]["end"]) * len(errors))
        axis.axvline(end, color="#9aa3b5", linewidth=0.6)
    axis.set_xlabel("epochs", fontsize=8)


def _against_sparsity(axis: Any, rows: list[Row], colors: dict[str, Any]) -> None:
    levels = sorted({row["sparsity"] for row in rows}, key=float)
    found = {s: _by_setting([r for r in rows if r["sparsity"] == s]) for s in levels}
    for name in dict.fromkeys(n for settings in found.values() for n in settings):
        there = [s for s in levels if name in found[s]]
        errors = [[float(r["error"]) for r in found[s][name]] for s in there]
        axis.errorbar(
            [100 * (1 - float(s)) for s in there],
            [np.mean(e) for e in errors],
            [np.std(e, ddof=1) if len(e) > 1 else 0.0 for e in errors],
            label=name,
            color=colors[name],
            marker="o",
            markersize=3,
            linewidth=1,
            capsize=2,
        )
    axis.set_xscale("log")
    kept = [100 * (1 - float(s)) for s in levels]
    axis.set_xticks(kept, [f"{share:.3g}" for share in kept])
    axis.minorticks_off()
    axis.set_xlabel("% of weights kept", fontsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=pathlib.Path, help="TOML file")
    parser.add_argument("--draw", type=pathlib.Path, help="picture to write")
    args = parser.parse_args()
    print(report(args.table.stem))
    if args.draw:
        draw(args.table.stem, args.draw)


if __name__ == "__main__":
    main()
