"""Writes the tables of docs/learned_geometry.md from docs/results: run after new results.

    python docs/fill_tables.py

`tests/test_docs.py` checks that the page holds what this makes.
"""

import csv
import pathlib
import statistics
from collections import defaultdict

HERE = pathlib.Path(__file__).parent


def read(name: str) -> list[dict[str, str]]:
    """The rows of a file of results."""
    with open(HERE / "results" / name, newline="") as file:
        return list(csv.DictReader(file))


def spread(values: list[float], digits: int) -> str:
    """All values, in the order of the seeds."""
    return ", ".join(f"{value:.{digits}f}" for value in values)


def planted() -> str:
    """One row for each planted manifold."""
    cases = defaultdict(list)
    for row in read("planted_geometry.csv"):
        cases[row["case"], float(row["dispersion"])].append(row)

    def median(case: str, dispersion: float, column: str) -> str:
        values = [float(row[column]) for row in cases[case, dispersion]]
        return f"{statistics.median(values):.3f}"

    names = dict.fromkeys(case for case, _ in cases)
    each = {
        case: spread([float(row["correlation"]) for row in cases[case, 3.0]], 3)
        for case in names
    }
    return "\n".join(
        f"| {case} | {median(case, 3.0, 'correlation')} | {each[case]} "
        f"| {median(case, 3.0, 'mean_distance')} "
        f"| {median(case, 0.0, 'correlation')} | {median(case, 0.0, 'mean_distance')} |"
        for case in names
    )


def heading() -> str:
    """One row for the learned geometry, one for the control."""
    settings = defaultdict(lambda: defaultdict(list))
    for row in read("head_direction.csv"):
        for column in ("correlation", "degrees", "tuned"):
            settings[row["setting"]][column].append(float(row[column]))
    return "\n".join(
        f"| {setting} | {statistics.median(found['correlation']):.3f} "
        f"| {spread(found['correlation'], 3)} | {spread(found['degrees'], 1)} "
        f"| {spread(found['tuned'], 0)} |"
        for setting, found in settings.items()
    )


TABLES = {"|---|---|---|---|---|---|\n": planted, "|---|---|---|---|---|\n": heading}


def filled(page: str) -> str:
    """The page with its tables made anew."""
    for head, rows in TABLES.items():
        before, after = page.split("\n" + head, 1)
        _, blank, rest = after.partition("\n\n")
        page = before + "\n" + head + rows() + blank + rest
    return page


def main() -> None:
    """Rewrites the page."""
    path = HERE / "learned_geometry.md"
    path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
