"""Rows of results: grouped by what they vary, and prepared for a report."""

import json
import pathlib
import statistics
from collections import defaultdict
from typing import Any

from ..declarations import RESULTS, read_declaration
from ..records import Row, find_target_epoch, read
from .statistics import Seeds, compare_ranks
from .words import CONTROLS, WITHOUT_POSITIONS, name_setting

# Within which a name must say what differs.
PART = ["task", "control", "sparsity", "block", "scope", "select", "schedule", "end"]
ORDER = ["geometry", *CONTROLS]


def group_rows(rows: list[Row], by: list[str]) -> dict[tuple[str, ...], list[Row]]:
    """Groups rows by the values of some columns."""
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[name] for name in by)].append(row)
    return dict(sorted(groups.items()))


def find_varied(rows: list[Row]) -> set[str]:
    """Finds what a name must say: what differs among geometries or among controls."""
    varied = set()
    for names, controls in (
        (("strength", "density"), ORDER),
        (("manifold", "inhibitor"), ("permuted", "rows", "random")),
    ):
        for part in group_rows(rows, PART).values():
            chosen = [row for row in part if row["control"] in controls]
            varied |= {n for n in names if len({row[n] for row in chosen}) > 1}
    return varied


def group_by_setting(rows: list[Row], columns: set[str]) -> dict[str, list[Row]]:
    """Groups rows by the name of their setting, controls last."""
    groups = defaultdict(list)
    for row in sorted(rows, key=_rank_setting):
        groups[name_setting(row, columns)].append(row)
    return dict(groups)


def _rank_setting(row: Row) -> tuple[Any, ...]:
    sizes = float(row["strength"]), float(row["density"])
    return ORDER.index(row["control"]), row["inhibitor"], row["manifold"], *sizes


def collect_figures(
    rows: list[Row], columns: set[str], figure: str = "error"
) -> dict[str, Seeds]:
    """Collects for each setting the figure of each seed."""
    return {
        name: {int(row["seed"]): float(row[figure]) for row in part}
        for name, part in group_by_setting(rows, columns).items()
    }


def compare_penalties(rows: list[Row], columns: set[str]) -> float | None:
    """Computes how likely ranks as different are if no penalty differs from another."""
    penalties = [row for row in rows if row["control"] != "none"]
    return compare_ranks(collect_figures(penalties, columns).values())


def prepare_rows(
    table: str, options: dict[str, Any], results: pathlib.Path = RESULTS
) -> list[Row]:
    """Reads the rows of a table as the options of its report show them."""
    rows = read(results / f"{table}.csv")
    shown = list(map(settle, rows)) if options.get("settled") else rows
    if options.get("own"):
        shown = [rename_own(row, options["right"]) for row in shown]
    if "placeless" in options:
        known = read(results / f"{options['placeless']}.csv")
        shown = shown + select_placeless(known, rows, options["by"])
    return shown


def read_options(table: str) -> dict[str, Any]:
    """Reads what the TOML file of a table says of its report."""
    return read_declaration(table).get("report", {})


def settle(row: Row) -> Row:
    """Puts the median of all epochs at the final mask in the place of the last error."""
    errors = json.loads(row["errors"])
    reached = find_target_epoch(float(row["end"]), len(errors))
    return row | {"error": statistics.median(errors[reached:])}


def rename_own(row: Row, right: dict[str, str]) -> Row:
    """Takes the name from a manifold that is the right one of its task."""
    return row | {"manifold": "own"} if row["manifold"] == right[row["task"]] else row


def select_placeless(known: list[Row], rows: list[Row], by: list[str]) -> list[Row]:
    """Selects known rows without positions, in the parts and of the seeds of others."""
    cases = {(row["seed"], *(row[name] for name in by)) for row in rows}
    return [
        row
        for row in known
        if row["control"] in WITHOUT_POSITIONS
        and (row["seed"], *(row[name] for name in by)) in cases
    ]
