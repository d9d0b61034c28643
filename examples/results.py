"""Shows the rows of a table of experiments: means, differences to controls, plots.

    python examples/results.py examples/tables/navigation.toml

prints Markdown, and draws the error against sparsity where sparsities differ. `[report]`
in the TOML file says how:

    [report]
    by = ["sparsity", "scope"]   # a part of its own for each of their values
    across = "task"              # optional: one row for each, settings in columns

Differences are paired: each seed of a setting against the same seed of the control, in
brackets the 95 % interval of their mean by bootstrap over seeds.
"""

import argparse
import itertools
import json
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


def figure(value: float) -> str:
    """Three digits, and no fewer than are before the point."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:#.3g}".rstrip(".") if abs(value) >= 1e-3 else f"{value:.2g}"


def mean(values: dict[int, float]) -> str:
    """Mean and standard deviation over seeds."""
    found = list(values.values())
    if len(found) == 1:
        return figure(found[0])
    return f"{figure(statistics.fmean(found))} ± {figure(statistics.stdev(found))}"


def difference(ours: dict[int, float], theirs: dict[int, float]) -> str:
    """Mean of the paired differences over seeds, and its interval."""
    shared = sorted(set(ours) & set(theirs))
    gains = np.array([ours[seed] - theirs[seed] for seed in shared])
    if len(gains) < 3:
        return ""
    low, high = gains.min(), gains.max()
    if low != high:
        interval = bootstrap(
            (gains,), np.mean, method="percentile", rng=np.random.default_rng(0)
        )
        low, high = interval.confidence_interval
    return f"{gains.mean():+.3g} [{low:+.3g}, {high:+.3g}]"


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
        line = [name, str(len(values)), mean(values), mean(early[name])]
        lines.append(
            line + ["" if c == name else difference(values, last[c]) for c in controls]
        )
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
        if said.get("matrices"):
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
    """Error against sparsity, a panel for each part, a line for each setting."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    by = [c for c in declaration(name)["report"]["by"] if c != "sparsity"]
    across = declaration(name)["report"].get("across")
    panels = parts(read(RESULTS / f"{name}.csv"), [*by, *([across] if across else [])])
    wide = min(len(panels), 4)
    tall = -(-len(panels) // wide)
    picture, axes = plt.subplots(
        tall, wide, figsize=(3.4 * wide, 2.9 * tall), squeeze=False, sharex=True
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    names = dict.fromkeys(n for part in panels.values() for n in _by_setting(part))
    colors = dict(zip(names, itertools.cycle(plt.get_cmap("tab20").colors)))
    for axis, (title, part) in zip(axes.flat, panels.items(), strict=False):
        _panel(axis, part, colors)
        words = [
            described(c, v) for c, v in zip([*by, across or ""], title, strict=False)
        ]
        axis.set_title(", ".join(words), fontsize=8)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    picture.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7)
    picture.set_layout_engine("constrained")
    picture.savefig(path, dpi=110)


def _panel(axis: Any, rows: list[Row], colors: dict[str, Any]) -> None:
    levels = sorted({row["sparsity"] for row in rows}, key=float)
    found = {s: _by_setting([r for r in rows if r["sparsity"] == s]) for s in levels}
    for name in dict.fromkeys(n for settings in found.values() for n in settings):
        there = [s for s in levels if name in found[s]]
        errors = [[float(r["error"]) for r in found[s][name]] for s in there]
        axis.errorbar(
            [100 * float(s) for s in there],
            [np.mean(e) for e in errors],
            [np.std(e, ddof=1) if len(e) > 1 else 0.0 for e in errors],
            label=name,
            color=colors[name],
            marker="o",
            markersize=3,
            linewidth=1,
            capsize=2,
        )
    axis.set_xlabel("% zeros", fontsize=8)
    axis.set_ylabel("error", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.set_yscale("log")


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
