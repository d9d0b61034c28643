"""What all tables of experiments say of penalties: a line for each task and mask.

    python examples/summary.py

prints Markdown. Each seed of all geometries together, and of all controls that have a
penalty, is the geometric mean over their settings. Changes are geometric means of ratios,
paired by seed, in percent, with the 95 % interval by bootstrap over seeds.
"""

import pathlib
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from records import Row
from results import (
    FEWEST,
    alike,
    declaration,
    drawn,
    even,
    interval,
    log_ratios,
    mean,
    parts,
    prepared,
    ratio,
    title,
    varied,
)
from run_table import RESULTS
from scipy.stats import gmean

TABLES = (
    "navigation",
    "adding",
    "manifolds",
    "learned_manifolds",
    "sparsities",
    "block_chain",
    "language",
    "small_sets",
)
HEAD = [
    "task and mask",
    "seeds",
    "dense",
    "no penalty",
    "controls",
    "geometry",
    "% controls to no penalty",
    "% geometry to no penalty",
    "% geometry to controls",
    "all alike, p",
]
Seeds = dict[int, float]


def pooled(rows: list[Row], *controls: str) -> Seeds:
    """For each seed the geometric mean over the settings of some controls."""
    chosen = [row for row in rows if row["control"] in controls]
    seeds, errors = even(chosen, varied(rows))
    return dict(zip(seeds, map(float, gmean(errors)), strict=True)) if errors else {}


@dataclass(frozen=True)
class Line:
    """What one task and mask say: a figure for each seed of each."""

    name: str
    dense: Seeds
    none: Seeds
    controls: Seeds
    geometry: Seeds
    alike: str

    @classmethod
    def of(cls, name: str, part: list[Row], dense: list[Row]) -> "Line":
        """The line of the rows of one task and mask."""
        return cls(
            name,
            pooled(dense, "none"),
            pooled(part, "none"),
            pooled(part, "l1", "permuted", "rows", "random"),
            pooled(part, "geometry"),
            alike(part, varied(part)),
        )

    def cells(self) -> list[str]:
        """What stands below `HEAD`."""
        errors = [self.dense, self.none, self.controls, self.geometry]
        return [
            self.name,
            str(len(self.geometry)),
            *(mean(seeds) if seeds else "" for seeds in errors),
            ratio(self.controls, self.none),
            ratio(self.geometry, self.none),
            ratio(self.geometry, self.controls),
            self.alike,
        ]

    def verdict(self) -> tuple[bool, bool]:
        """Whether geometry is ahead of its controls, and whether the interval says so."""
        logs = log_ratios(self.geometry, self.controls)
        low, high = interval(np.array(logs))
        return sum(logs) < 0, low > 0 or high < 0


def lines(table: str, results: pathlib.Path) -> list[Line]:
    """The lines of a table, of all masks that have enough seeds with geometry."""
    said = declaration(table)["report"]
    by = [column for column in said.get("by", []) if column != "task"]
    source = said.get("placeless", table)
    every = prepared(source, declaration(source)["report"], results)
    dense = parts([row for row in every if not float(row["sparsity"])], ["task", "cell"])
    found = []
    for (task, *values), part in parts(
        prepared(table, said, results), ["task", *by]
    ).items():
        if len(pooled(part, "geometry")) >= FEWEST:
            words = [spaced(task), said.get("about"), title(by, tuple(values), part)]
            name = ", ".join(filter(None, words))
            found.append(Line.of(name, part, dense.get((task, part[0]["cell"]), [])))
    return found


def spaced(name: str) -> str:
    """The name of a task in words."""
    return re.sub(r"(?<=[a-z])([A-Z])", r" \1", name).capitalize()


def summary(results: pathlib.Path = RESULTS) -> str:
    """All lines, as Markdown, and a count of them."""
    every = [one for table in TABLES for one in lines(table, results)]
    table = drawn([HEAD, ["---"] * len(HEAD), *(one.cells() for one in every)])
    return f"{table}\n\n{counted([one.verdict() for one in every])}"


def counted(verdicts: list[tuple[bool, bool]]) -> str:
    """In how many lines geometry is ahead."""
    count = Counter(verdicts)
    ahead, behind = (count[side, True] + count[side, False] for side in (True, False))
    return (
        f"Geometry has the lower error in {ahead} of {len(verdicts)} lines, with an "
        f"interval without zero in {count[True, True]}, and the higher in {behind}, with "
        f"one in {count[False, True]}."
    )


if __name__ == "__main__":
    print(summary())
