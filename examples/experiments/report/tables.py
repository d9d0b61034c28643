"""A table of experiments as Markdown: means, and differences to controls.

What is right on its own task is compared on all tasks together as well, in percent.
"""

import json
import pathlib
import statistics
from collections import defaultdict
from typing import Any

from ..declarations import RESULTS
from ..records import Row, read
from .cells import (
    spell_verdict,
    write_difference,
    write_mean,
    write_percent,
    write_ratio,
    write_verdict,
)
from .markdown import format_number, format_share, write_table
from .rows import (
    collect_figures,
    compare_penalties,
    find_varied,
    group_by_setting,
    group_rows,
    prepare_rows,
    read_options,
)
from .statistics import FEWEST, Seeds, compute_differences, compute_log_ratios
from .words import describe, spell

TICKETS = "fresh weights, same mask"
REACH = "mean distance, of all = 1"
MISSED = 0.005  # by which zeros may differ from what was asked before a title says so


def report_table(table: str, results: pathlib.Path = RESULTS) -> str:
    """Writes the whole table of a TOML file."""
    options = read_options(table)
    by = options.get("by", [])
    rows = prepare_rows(table, options, results)
    columns = find_varied(rows)
    text = []
    for values, part in group_rows(rows, by).items():
        words = write_title(by, values, part)
        text.append(f"**{words[:1].upper()}{words[1:]}**" if words else "")
        text += report_part(part, columns, options)
    text.append(write_origin(table, read(results / f"{table}.csv")))
    return "\n\n".join(filter(None, text))


def report_part(rows: list[Row], columns: set[str], options: dict[str, Any]) -> list[str]:
    """Writes the tables of the rows under one title."""
    across = options.get("across")
    if across:
        tables = [tabulate_across(rows, columns, across)]
    else:
        tables = [tabulate_settings(rows, columns, options)]
    if "right" in options and not options.get("own"):
        tables.append(compare_right(rows, columns, across, options["right"]))
    if options.get("matrices") and any(map(is_uneven, rows)):
        tables.append(tabulate_zeros(rows, columns))
    return tables


def tabulate_settings(
    rows: list[Row], columns: set[str], options: dict[str, Any] | None = None
) -> str:
    """Writes a line for each setting: verdict, differences to controls, and error."""
    options = options or {}
    sign, compute, write = (
        ("% to", compute_log_ratios, write_ratio)
        if options.get("relative")
        else ("−", compute_differences, write_difference)
    )
    figures = list_figures(rows)
    controls = list_controls(rows, columns)
    errors = collect_figures(rows, columns)
    others = [collect_figures(rows, columns, figure) for figure in figures]
    lines = []
    for name, seeds in errors.items():
        # Controls against one another would hide what is asked for.
        asked = controls if name not in controls[1:] else controls[:1]
        asked = [control for control in asked if control != name]
        gains = {control: compute(seeds, errors[control]) for control in asked}
        shown = [write(seeds, errors[c]) if c in asked else "" for c in controls]
        means = [write_mean(seeds), *(write_mean(other[name]) for other in others)]
        lines.append([name, write_verdict(gains), *shown, *means, len(seeds)])
    error = "median error" if options.get("settled") else "error"
    differences = [f"{sign} {control}" for control in controls]
    head = ["setting", "verdict", *differences, error, *figures.values(), "seeds"]
    chance = write_chance(rows, columns)
    footer = f"\n\nAll penalties alike: p = {chance}." if chance else ""
    return write_table(*drop_empty(head, lines)) + footer


def drop_empty(head: list[str], lines: list[list[Any]]) -> tuple[list[str], list[Any]]:
    """Drops the columns in which no line has anything."""
    kept = [k for k in range(len(head)) if any(line[k] != "" for line in lines)]
    return [head[k] for k in kept], [[line[k] for k in kept] for line in lines]


def list_figures(rows: list[Row]) -> dict[str, str]:
    """Lists the columns to show beside the error, with their heads."""
    optional = {"lottery error": TICKETS, "reach": REACH}
    shown = {c: head for c, head in optional.items() if all(row.get(c) for row in rows)}
    return {"error at target": "at the final mask"} | shown


def list_controls(rows: list[Row], columns: set[str]) -> list[str]:
    """Lists the names of the controls that have enough seeds for a difference."""
    return [
        name
        for name, part in group_by_setting(rows, columns).items()
        if part[0]["control"] != "geometry" and len(part) >= FEWEST
    ]


def write_chance(rows: list[Row], columns: set[str]) -> str:
    """Writes how likely penalties that are alike would differ as these, if known."""
    chance = compare_penalties(rows, columns)
    return "" if chance is None else format_number(chance, digits=2)


def tabulate_across(rows: list[Row], columns: set[str], across: str) -> str:
    """Writes a line for each setting, a column for each value of a column of the rows.

    The verdict is of all these together, by ratios.
    """
    parts = group_rows(rows, [across])
    errors = [collect_figures(part, columns) for part in parts.values()]
    controls = list_controls(rows, columns)
    lines = []
    for name in group_by_setting(rows, columns):
        asked = controls if name not in controls[1:] else controls[:1]
        gains = {c: pool_ratios(errors, name, c) for c in asked if c != name}
        means = [write_mean(seeds[name]) if name in seeds else "" for seeds in errors]
        lines.append([name, write_verdict(gains), *means])
    chances = [write_chance(part, columns) for part in parts.values()]
    if any(chances):
        lines.append(["*all penalties alike, p*", "", *chances])
    head = ["setting", "verdict, all tasks", *(value for (value,) in parts)]
    return write_table(*drop_empty(head, lines))


def pool_ratios(parts: list[dict[str, Seeds]], ours: str, theirs: str) -> list[float]:
    """Pools the log ratios of two settings over parts in which both have enough seeds."""
    found = [
        compute_log_ratios(part[ours], part[theirs])
        for part in parts
        if ours in part and theirs in part
    ]
    return [log for logs in found if len(logs) >= FEWEST for log in logs]


def compare_right(
    rows: list[Row], columns: set[str], across: str, right: dict[str, str]
) -> str:
    """Writes the differences of the right manifold of each column to all else.

    First of all together: the verdict, and for how many percent the error is higher or
    lower.
    """
    compared: dict[str, dict[str, str]] = {}
    ratios: dict[str, list[float]] = defaultdict(list)
    for (value,), part in group_rows(rows, [across]).items():
        others = collect_figures(part, columns)
        own = next((n for n in others if n.startswith(spell(right[value]))), None)
        if own is None:
            continue
        errors = others.pop(own)
        compared[f"{value}: {own}"] = _compare_all(errors, others)
        for name, seeds in others.items():
            ratios[name] += compute_log_ratios(errors, seeds)
    if not any(any(column.values()) for column in compared.values()):
        return ""
    verdicts = {
        name: spell_verdict(logs) if len(logs) >= FEWEST else ""
        for name, logs in ratios.items()
    }
    percent = {name: write_percent(logs) for name, logs in ratios.items()}
    shown = {"verdict": verdicts, "all, in percent": percent} | compared
    lines = [
        [name, *(column.get(name, "") for column in shown.values())]
        for name in group_by_setting(rows, columns)
    ]
    return write_table(["the right manifold −", *shown], lines)


def _compare_all(errors: Seeds, others: dict[str, Seeds]) -> dict[str, str]:
    return {name: write_difference(errors, seeds) for name, seeds in others.items()}


def tabulate_zeros(rows: list[Row], columns: set[str]) -> str:
    """Writes which share of each matrix is zero, as the mean over seeds."""
    zeros = {
        name: [json.loads(row["zeros"]) for row in part]
        for name, part in group_by_setting(rows, columns).items()
    }
    matrices = list(next(iter(zeros.values()))[0])
    lines = []
    for setting, seeds in zeros.items():
        shares = [statistics.fmean(one[name] for one in seeds) for name in matrices]
        lines.append([setting, *(format_share(share, 1) for share in shares)])
    return write_table(["zeros", *matrices], lines)


def is_uneven(row: Row) -> bool:
    """Whether some matrices have more zeros than others."""
    zeros = json.loads(row["zeros"]).values()
    return max(zeros) - min(zeros) > 0.01


def write_title(by: list[str], values: tuple[str, ...], rows: list[Row]) -> str:
    """Writes the values of some columns in words, and what is reached of them."""
    words = [describe(*pair) for pair in zip(by, values, strict=True)]
    return ", ".join([*words, *describe_shortfall(rows)])


def describe_shortfall(rows: list[Row]) -> list[str]:
    """Says what is reached, if few, large blocks cannot reach what was asked for."""
    asked = {float(row["sparsity"]) for row in rows}
    reached = statistics.fmean(map(measure_zeros, rows))
    if len(asked) > 1 or abs(reached - asked.pop()) < MISSED:
        return []
    return [f"of which {format_share(reached, 1)} are reached"]


def measure_zeros(row: Row) -> float:
    """Measures the fraction of zeros of what was to be pruned."""
    zeros = json.loads(row["zeros"])
    if row["select"] == "kernels":
        return zeros["total"]
    chosen = [share for name, share in zeros.items() if row["select"] in name]
    return statistics.fmean(chosen)


def write_origin(table: str, rows: list[Row]) -> str:
    """Writes how a table was made, and what it took."""
    hours = sum(float(row["seconds"]) for row in rows) / 3600
    machines = ", ".join(sorted({row["machine"] for row in rows}))
    versions = "; ".join(sorted({row["versions"] for row in rows}))
    backends = ", ".join(sorted({row["backend"] for row in rows}))
    return (
        f"`python -m examples.experiments.run {table} --jobs 2`: "
        f"{len(rows)} runs of {hours:.1f} hours together, of one thread each, on "
        f"{backends}; {machines}; {versions}."
    )
