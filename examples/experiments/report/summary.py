"""What all tables of experiments say of penalties: a line for each task and mask.

    python -m examples.experiments.report.summary

prints Markdown. Each seed of all geometries together, and of all controls that have a
penalty, is the geometric mean over their settings. Changes are geometric means of ratios,
paired by seed, in percent, with the 95 % interval by bootstrap over seeds.
"""

import pathlib
import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
from scipy.stats import gmean

from ..declarations import RESULTS
from ..records import Row
from .cells import spell_verdict, write_mean, write_ratio
from .markdown import write_table
from .rows import collect_figures, find_varied, group_rows, prepare_rows, read_options
from .statistics import (
    FEWEST,
    Seeds,
    align_seeds,
    compute_log_ratios,
    estimate_interval,
    judge,
)
from .tables import write_chance, write_title

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
    "geometry is",
    "% geometry to controls",
    "% geometry to no penalty",
    "% controls to no penalty",
    "all alike, p",
    "dense",
    "no penalty",
    "controls",
    "geometry",
    "seeds",
]
# Where one line is to stand for a task: the mask that most tasks have.
_COMMON, _OTHERS = "95% zeros", ("blocks", "learned", "own manifold", "together")


def pool_seeds(rows: list[Row], *controls: str) -> Seeds:
    """Pools each seed: the geometric mean over the settings of some controls."""
    chosen = [row for row in rows if row["control"] in controls]
    settings = collect_figures(chosen, find_varied(rows))
    seeds, errors = align_seeds(settings.values())
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
    def pool(cls, name: str, part: list[Row], dense: list[Row]) -> "Line":
        """Pools the rows of one task and mask."""
        return cls(
            name,
            pool_seeds(dense, "none"),
            pool_seeds(part, "none"),
            pool_seeds(part, "l1", "permuted", "rows", "random"),
            pool_seeds(part, "geometry"),
            write_chance(part, find_varied(part)),
        )

    def write_cells(self) -> list[str]:
        """Writes what stands below `HEAD`."""
        errors = [self.dense, self.none, self.controls, self.geometry]
        return [
            self.name,
            spell_verdict(compute_log_ratios(self.geometry, self.controls)),
            write_ratio(self.geometry, self.controls),
            write_ratio(self.geometry, self.none),
            write_ratio(self.controls, self.none),
            self.alike,
            *(write_mean(seeds) if seeds else "" for seeds in errors),
            str(len(self.geometry)),
        ]

    def estimate_change(self) -> tuple[float, float, float]:
        """Estimates geometry to controls: the mean change in percent and its interval."""
        logs = np.array(compute_log_ratios(self.geometry, self.controls))
        low, high = estimate_interval(logs)
        mean, low, high = (100 * float(np.expm1(log)) for log in (logs.mean(), low, high))
        return mean, low, high

    def judge(self) -> tuple[bool, bool]:
        """Judges whether geometry is ahead of its controls, and whether beyond doubt."""
        logs = compute_log_ratios(self.geometry, self.controls)
        return sum(logs) < 0, judge(logs) != 0


def pool_lines(table: str, results: pathlib.Path) -> list[Line]:
    """Pools the lines of a table, of all masks that have enough seeds with geometry."""
    options = read_options(table)
    by = [column for column in options.get("by", []) if column != "task"]
    source = options.get("placeless", table)
    every = prepare_rows(source, read_options(source), results)
    dense = group_rows(
        [row for row in every if not float(row["sparsity"])], ["task", "cell"]
    )
    rows = prepare_rows(table, options, results)
    lines = []
    for (task, *values), part in group_rows(rows, ["task", *by]).items():
        if len(pool_seeds(part, "geometry")) >= FEWEST:
            words = [
                spell_task(task),
                options.get("about"),
                write_title(by, tuple(values), part),
            ]
            name = ", ".join(filter(None, words))
            lines.append(Line.pool(name, part, dense.get((task, part[0]["cell"]), [])))
    return lines


def spell_task(name: str) -> str:
    """Spells the name of a task in words."""
    return re.sub(r"(?<=[a-z])([A-Z])", r" \1", name).capitalize()


def pool_all(results: pathlib.Path = RESULTS) -> list[Line]:
    """Pools the lines of all tables."""
    return [one for table in TABLES for one in pool_lines(table, results)]


def choose_common(lines: list[Line]) -> list[Line]:
    """Chooses one line for each task: of the mask that most tasks have, or the last."""
    tasks: dict[str, list[Line]] = {}
    for line in lines:
        tasks.setdefault(line.name.split(",")[0], []).append(line)
    return [next(filter(_is_common, of_task), of_task[-1]) for of_task in tasks.values()]


def _is_common(line: Line) -> bool:
    is_other = any(word in line.name for word in _OTHERS)
    return _COMMON in line.name and not is_other


def summarize_briefly(results: pathlib.Path = RESULTS) -> str:
    """Writes one line for each task, as Markdown: what to conclude comes first."""
    columns = [0, 1, 2, 3, 7, 9]  # dense networks stand in the whole table
    cells = [line.write_cells() for line in choose_common(pool_all(results))]
    return write_table(
        [HEAD[k] for k in columns], [[row[k] for k in columns] for row in cells]
    )


def summarize(results: pathlib.Path = RESULTS) -> str:
    """Writes all lines, as Markdown, and a count of them."""
    every = pool_all(results)
    table = write_table(HEAD, [one.write_cells() for one in every])
    return f"{table}\n\n{count_lines([one.judge() for one in every])}"


def count_lines(verdicts: list[tuple[bool, bool]]) -> str:
    """Says in how many lines geometry is ahead."""
    count = Counter(verdicts)
    ahead, behind = (count[side, True] + count[side, False] for side in (True, False))
    return (
        f"Geometry has the lower error in {ahead} of {len(verdicts)} lines, with an "
        f"interval without zero in {count[True, True]}, and the higher in {behind}, with "
        f"one in {count[False, True]}."
    )


if __name__ == "__main__":
    print(summarize())
