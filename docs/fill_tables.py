"""Writes the tables of the pages from docs/results: run after new results.

    python docs/fill_tables.py

`tests/test_docs.py` checks that the pages hold what this makes.
"""

import math
import pathlib
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results"
sys.path.insert(0, str(HERE.parent / "examples"))
from records import read


def spread(values: list[float], digits: int) -> str:
    """All values, in the order of the seeds."""
    return ", ".join(f"{value:.{digits}f}" for value in values)


def planted() -> str:
    """One row for each planted manifold."""
    cases = defaultdict(list)
    for row in read(RESULTS / "planted_geometry.csv"):
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
    for row in read(RESULTS / "head_direction.csv"):
        for column in ("correlation", "degrees", "tuned"):
            settings[row["setting"]][column].append(float(row[column]))
    return "\n".join(
        f"| {setting} | {statistics.median(found['correlation']):.3f} "
        f"| {spread(found['correlation'], 3)} | {spread(found['degrees'], 1)} "
        f"| {spread(found['tuned'], 0)} |"
        for setting, found in settings.items()
    )


TABLES = {"|---|---|---|---|---|---|\n": planted, "|---|---|---|---|---|\n": heading}


def benchmark(name: str) -> str:
    """A table as a benchmark wrote it, and where, with what and how it was made."""
    return table(read(RESULTS / f"{name}.csv"))


def largest(name: str) -> str:
    """The same of the largest size only."""
    rows = read(RESULTS / f"{name}.csv")
    units = max(int(row["units"]) for row in rows)
    return table([row for row in rows if int(row["units"]) == units])


def table(rows: list[dict[str, str]]) -> str:
    """Rows of results without what they share."""
    columns = [c for c in rows[0] if c not in ("command", "machine", "versions")]
    lines = [columns, ["---"] * len(columns)]
    lines += [[figure(row[column]) for column in columns] for row in rows]
    drawn = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return drawn + origin(rows)


def figure(text: str) -> str:
    """A number to three digits; anything else as it is."""
    try:
        number = float(text)
    except ValueError:
        return text
    if math.isnan(number):
        return ""
    if number.is_integer():
        return text
    return f"{number:.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def origin(rows: list[dict[str, str]]) -> str:
    """Where, with what and how a table was made."""
    commands = " and ".join(f"`{command}`" for command in {r["command"]: 0 for r in rows})
    return f"\n\n{commands} on {rows[0]['machine']}: {rows[0]['versions']}."


MADE_OTHERWISE = {"penalty_memory": largest}


def benchmarks(page: str) -> str:
    """The page of benchmarks with what stands between its marks made anew."""
    return marked(page, lambda name: MADE_OTHERWISE.get(name, benchmark)(name))


def experiments(page: str) -> str:
    """The page of experiments, likewise."""
    import results
    import summary

    made = {"geometry_search": front, "summary": lambda name: summary.summary(RESULTS)}
    return marked(page, lambda name: made.get(name, results.report)(name))


def front(name: str) -> str:
    """What no other trial of a search beats in both zeros and error."""
    rows = read(RESULTS / f"{name}.csv")
    shown = [
        {
            "penalty": row["penalty"],
            "strength": row["strength"] if row["control"] != "none" else "",
            "zeros": f"{float(row['sparsity']):.0%}",
            "error in degrees": row["error"],
        }
        for row in rows
        if row["best"] == "True"
    ]
    facts = {name: rows[0][name] for name in ("command", "machine", "versions")}
    minutes = sum(float(row["seconds"]) for row in rows) / 60
    return f"{table([row | facts for row in shown])} {minutes:.0f} minutes."


def marked(page: str, make: Callable[[str], str]) -> str:
    """A page with what stands between its marks made anew."""

    def made(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n{make(match[1])}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", made, page, flags=re.S)


def filled(page: str) -> str:
    """The page on learned geometry with its tables made anew."""
    for head, rows in TABLES.items():
        before, after = page.split("\n" + head, 1)
        _, blank, rest = after.partition("\n\n")
        page = before + "\n" + head + rows() + blank + rest
    return page


PAGES = {
    "learned_geometry.md": filled,
    "benchmarks.md": benchmarks,
    "results.md": experiments,
}


def main() -> None:
    """Rewrites the pages, and draws the pictures of the last."""
    for name, make in PAGES.items():
        path = HERE / name
        path.write_text(make(path.read_text()))
    import draw_results
    import search_geometry

    for name in re.findall(r"\(images/results_(\w+)\.png\)", path.read_text()):
        draw_results.draw(name, HERE / "images" / f"results_{name}.png")
    trials = [
        row | {name: float(row[name]) for name in ("sparsity", "error")}
        for row in read(RESULTS / "geometry_search.csv")
    ]
    search_geometry.draw(trials, HERE / "images" / "geometry_search.png")


if __name__ == "__main__":
    main()
