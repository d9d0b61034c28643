"""Shows the rows of a table of experiments: means, and differences to controls.

    python examples/results.py examples/tables/navigation.toml

prints Markdown. `[report]` in the TOML file says how:

    [report]
    by = ["sparsity", "scope"]   # a part of its own for each of their values
    about = "learned places"     # optional: for `summary.py`
    across = "task"              # optional: a column for each, settings in lines
    right = {HeadDirection = "circle"}  # of those: what to compare with all others
    own = true                   # optional: that is called "own" where it is used
    placeless = "manifolds"      # optional: a table whose L1 and no penalty to show too
    settled = true               # optional: medians of all epochs at the final mask
    relative = true              # optional: differences in percent, by ratios
    matrices = true              # optional: the zeros of each matrix
    plot = "sparsity"            # optional: for `draw_results.py`

Differences are paired: each seed of a setting against the same seed of the control, in
brackets the 95 % interval of their mean by bootstrap over seeds. In percent they are the
geometric mean of ratios, which a seed whose error is ten times as large does not govern.
What is right on its own task is compared on all tasks together as well, in percent.

Whether the penalties of a table differ at all is asked of all together: how likely ranks
as different would be if within each seed all errors were at random places, by permutation
(Friedman's test, whose limit for many seeds would be far off for five).
"""

import argparse
import json
import math
import pathlib
import statistics
import tomllib
from collections import defaultdict
from typing import Any

import numpy as np
from records import Row, read, target_epoch
from run_table import RESULTS
from scipy.stats import bootstrap, permutation_test, rankdata

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
# Within which a name must say what differs.
PART = ["task", "control", "sparsity", "block", "scope", "select", "schedule", "end"]
TICKETS = "fresh weights, same mask"
REACH = "mean distance, of all = 1"
FEWEST = 3  # seeds of which a difference is shown
PERMUTATIONS = 2000
MISSED = 0.005  # by which zeros may differ from what was asked before a title says so
USUAL_DENSITY = "0.1"  # of which a name says nothing
BARE = ("task", "cell")  # whose values need no words
Cases = dict[str, dict[int, float]]


def label(row: Row, varied: set[str]) -> str:
    """What tells the setting of a row from others of its table."""
    control = row["control"]
    name = CONTROLS.get(control, "")
    placed = f"{word(row['manifold'])} {word(row['inhibitor'])}"
    if not name:
        name = placed
    elif control not in ("none", "l1") and varied & {"manifold", "inhibitor"}:
        name += f" ({placed})"
    if row["learned"] == "True" and control not in ("none", "l1"):
        name += ", learned"
    if "strength" in varied and control != "none":
        name += f", strength {float(row['strength']):g}"
    has_length = row["inhibitor"] not in ("diffusion", "identity", "constant")
    has_length &= row["density"] != USUAL_DENSITY
    if "density" in varied and has_length and control not in ("none", "l1"):
        density = float(row["density"])
        name += f", density {density:g}" if density else ", the authors' length"
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


def varied(rows: list[Row]) -> set[str]:
    """What must be said of a setting: what differs among geometries or among controls."""
    found = set()
    for names, controls in (
        (("strength", "density"), ("geometry", *CONTROLS)),
        (("manifold", "inhibitor"), ("permuted", "rows", "random")),
    ):
        for part in parts(rows, PART).values():
            chosen = [row for row in part if row["control"] in controls]
            found |= {n for n in names if len({row[n] for row in chosen}) > 1}
    return found


def by_setting(rows: list[Row], said: set[str]) -> dict[str, list[Row]]:
    """The rows of each setting, controls last."""
    order = ["geometry", *CONTROLS]
    found = defaultdict(list)

    def place(row: Row) -> tuple[Any, ...]:
        sizes = float(row["strength"]), float(row["density"])
        return order.index(row["control"]), row["inhibitor"], row["manifold"], *sizes

    for row in sorted(rows, key=place):
        found[label(row, said)].append(row)
    return dict(found)


def cases(rows: list[Row], said: set[str], column: str = "error") -> Cases:
    """For each setting the figure of each seed."""
    return {
        name: {int(row["seed"]): float(row[column]) for row in part}
        for name, part in by_setting(rows, said).items()
    }


def decimals(value: float) -> int:
    """Places after the point, one at least, that show three digits of a value."""
    return max(1, 2 - math.floor(math.log10(abs(value)))) if value else 2


def mean(values: dict[int, float]) -> str:
    """Mean and standard deviation over seeds."""
    found = list(values.values())
    places = decimals(statistics.fmean(found))
    shown = f"{statistics.fmean(found):.{places}f}"
    return shown if len(found) == 1 else f"{shown} ± {statistics.stdev(found):.{places}f}"


def log_ratios(ours: dict[int, float], theirs: dict[int, float]) -> list[float]:
    """The logarithms of the ratios of the seeds that both have."""
    return [math.log(a / b) for a, b in paired(ours, theirs)]


def paired(ours: dict[int, float], theirs: dict[int, float]) -> list[tuple[float, float]]:
    """The figures of the seeds that both have."""
    return [(ours[seed], theirs[seed]) for seed in sorted(set(ours) & set(theirs))]


def difference(ours: dict[int, float], theirs: dict[int, float]) -> str:
    """Mean of the paired differences over seeds, and its interval."""
    gains = np.array([a - b for a, b in paired(ours, theirs)])
    if len(gains) < FEWEST:
        return ""
    low, high = interval(gains)
    places = decimals(statistics.fmean(ours.values()))
    return f"{gains.mean():+z.{places}f} [{low:+z.{places}f}, {high:+z.{places}f}]"


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of a mean, by bootstrap."""
    if values.min() == values.max():
        return values.min(), values.max()
    generator = np.random.default_rng(0)
    found = bootstrap((values,), np.mean, method="percentile", rng=generator)
    return found.confidence_interval


def even(rows: list[Row], said: set[str]) -> tuple[list[int], list[list[float]]]:
    """Seeds, and their errors in each setting that has as many as any other."""
    found = cases(rows, said).values()
    most = max(map(len, found), default=0)
    whole = [values for values in found if len(values) == most]
    seeds = sorted(set.intersection(*map(set, whole))) if whole else []
    return seeds, [[values[seed] for seed in seeds] for values in whole]


def alike(rows: list[Row], said: set[str]) -> str:
    """How likely penalties that do not differ have ranks as different as these."""
    seeds, errors = even([row for row in rows if row["control"] != "none"], said)
    if len(errors) < FEWEST or len(seeds) < FEWEST:
        return ""
    outcome = permutation_test(
        tuple(rankdata(errors, axis=0)),
        lambda *ranks, axis: np.var(np.mean(ranks, axis=axis), axis=0),
        permutation_type="samples",
        alternative="greater",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        rng=np.random.default_rng(0),
    )
    return f"{outcome.pvalue:.2g}"


def settings(rows: list[Row], said: set[str], report: Row | None = None) -> str:
    """One line for each setting: error, and what it differs by from each control."""
    report = report or {}
    error = "median error" if report.get("settled") else "error"
    sign, compared = ("% to", ratio) if report.get("relative") else ("−", difference)
    last = cases(rows, said)
    columns = {"error at target": "at the final mask"}
    for column, head in (("lottery error", TICKETS), ("reach", REACH)):
        if all(row.get(column) for row in rows):
            columns[column] = head
    others = {column: cases(rows, said, column) for column in columns}
    controls = [
        name
        for name, part in by_setting(rows, said).items()
        if part[0]["control"] != "geometry" and len(part) >= FEWEST
    ]
    differences = [f"{sign} {control}" for control in controls]
    head = ["setting", "seeds", error, *columns.values(), *differences]
    lines = [head, ["---"] * len(head)]
    for name, values in last.items():
        # Controls against one another would hide what is asked for.
        asked = controls if name not in controls[1:] else controls[:1]
        line = [name, str(len(values)), mean(values)]
        line += [mean(others[column][name]) for column in columns]
        for control in controls:
            shown = control in asked and control != name
            line.append(compared(values, last[control]) if shown else "")
        lines.append(line)
    chance = alike(rows, said)
    return drawn(lines) + (f"\n\nAll penalties alike: p = {chance}." if chance else "")


def matrix(rows: list[Row], said: set[str], across: str) -> str:
    """One line for each setting, one column for each value of a column of the rows."""
    columns = parts(rows, [across])
    every = {value: cases(part, said) for (value,), part in columns.items()}
    lines = [["setting", *every], ["---"] * (len(every) + 1)]
    for name in by_setting(rows, said):
        cells = [mean(found[name]) if name in found else "" for found in every.values()]
        lines.append([name, *cells])
    chances = [alike(part, said) for part in columns.values()]
    if any(chances):
        lines.append(["*all penalties alike, p*", *chances])
    return drawn(lines)


def against(rows: list[Row], said: set[str], across: str, right: dict[str, str]) -> str:
    """What the own manifold of each column of a matrix differs by from all else.

    The last column is of all together: for how many percent the error is higher or lower.
    """
    columns: dict[str, dict[str, str]] = {}
    ratios: dict[str, list[float]] = defaultdict(list)
    for (value,), part in parts(rows, [across]).items():
        found = cases(part, said)
        own = next((n for n in found if n.startswith(word(right[value]))), None)
        if own is None:
            continue
        others = {name: values for name, values in found.items() if name != own}
        columns[f"{value}: {own}"] = {
            name: difference(found[own], values) for name, values in others.items()
        }
        for name, values in others.items():
            ratios[name] += log_ratios(found[own], values)
    if not any(any(column.values()) for column in columns.values()):
        return ""
    columns["all, in percent"] = {name: percent(logs) for name, logs in ratios.items()}
    lines = [["", *columns], ["---"] * (len(columns) + 1)]
    for name in by_setting(rows, said):
        cells = [column.get(name, "") for column in columns.values()]
        lines.append([f"− {name}", *cells])
    return drawn(lines)


def ratio(ours: dict[int, float], theirs: dict[int, float]) -> str:
    """The paired ratios over seeds, for errors of many sizes."""
    logs = log_ratios(ours, theirs)
    return percent(logs) if len(logs) >= FEWEST else ""


def percent(logs: list[float]) -> str:
    """The mean of logarithms of ratios, and its interval, as a change in percent."""
    figures = np.expm1([np.mean(logs), *interval(np.array(logs))]) * 100
    places = 1 if np.abs(figures).max() < 20 else 0
    return "{0:+z.{3}f} [{1:+z.{3}f}, {2:+z.{3}f}]".format(*figures, places)


def drawn(lines: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def matrices(rows: list[Row], said: set[str]) -> str:
    """Which share of each matrix is zero, as the mean over seeds."""
    zeros = {
        name: [json.loads(row["zeros"]) for row in part]
        for name, part in by_setting(rows, said).items()
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


def report(name: str, results: pathlib.Path = RESULTS) -> str:
    """The whole table of a TOML file, as Markdown."""
    said = declaration(name).get("report", {})
    by = said.get("by", [])
    shown = prepared(name, said, results)
    text, names = [], varied(shown)
    for values, part in parts(shown, by).items():
        words = title(by, values, part)
        text.append(f"**{words[:1].upper()}{words[1:]}**" if words else "")
        if "across" in said:
            text.append(matrix(part, names, said["across"]))
        else:
            text.append(settings(part, names, said))
        if "right" in said and not said.get("own"):
            text.append(against(part, names, said["across"], said["right"]))
        if said.get("matrices") and any(map(is_uneven, part)):
            text.append(matrices(part, names))
    rows = read(results / f"{name}.csv")
    return "\n\n".join([*filter(None, text), origin(name, rows)])


def prepared(name: str, said: dict[str, Any], results: pathlib.Path) -> list[Row]:
    """The rows of a table as its report shows them."""
    rows = read(results / f"{name}.csv")
    shown = list(map(settled, rows)) if said.get("settled") else rows
    if said.get("own"):
        shown = [owned(row, said["right"]) for row in shown]
    if "placeless" in said:
        known = read(results / f"{said['placeless']}.csv")
        shown = shown + placeless(known, rows, said["by"])
    return shown


def title(by: list[str], values: tuple[str, ...], part: list[Row]) -> str:
    """The values of some columns in words, and what is reached of them."""
    words = [described(*pair) for pair in zip(by, values, strict=True)]
    return ", ".join([*words, *missed(part)])


def missed(rows: list[Row]) -> list[str]:
    """What is reached, if that is not the sparsity asked for: by few, large blocks."""
    asked = {float(row["sparsity"]) for row in rows}
    reached = statistics.fmean(map(reached_zeros, rows))
    if len(asked) > 1 or abs(reached - asked.pop()) < MISSED:
        return []
    return [f"of which {reached:.1%} are reached"]


def reached_zeros(row: Row) -> float:
    """The fraction of zeros of what was to be pruned."""
    zeros = json.loads(row["zeros"])
    if row["select"] == "kernels":
        return zeros["total"]
    chosen = [share for name, share in zeros.items() if row["select"] in name]
    return statistics.fmean(chosen)


def placeless(known: list[Row], rows: list[Row], by: list[str]) -> list[Row]:
    """The known rows, in the parts and of the seeds of others, that have no places."""
    cases = {(row["seed"], *(row[name] for name in by)) for row in rows}
    return [
        row
        for row in known
        if row["control"] in ("none", "l1")
        and (row["seed"], *(row[name] for name in by)) in cases
    ]


def settled(row: Row) -> Row:
    """A row whose error is the median of all epochs at the final mask."""
    errors = json.loads(row["errors"])
    reached = target_epoch(float(row["end"]), len(errors))
    return row | {"error": statistics.median(errors[reached:])}


def owned(row: Row, right: dict[str, str]) -> Row:
    """A row in which the right manifold of its task has no name."""
    return row | {"manifold": "own"} if row["manifold"] == right[row["task"]] else row


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
    if column == "schedule":
        return f"{value} schedule"
    if column == "end":
        return f"final at {float(value):.0%} of the epochs"
    if column == "learned":
        return "learned places" if value == "True" else "fixed places"
    return f"{column.replace('_', ' ')} {value}" if column not in BARE else value


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=pathlib.Path, help="TOML file")
    print(report(parser.parse_args().table.stem))


if __name__ == "__main__":
    main()
