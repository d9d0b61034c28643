"""Writes the tables of the pages from docs/results: run after new results.

    python docs/fill_tables.py

`tests/test_docs.py` checks that the pages hold what this makes.
"""

import pathlib
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results"
NOTHING = "Not measured yet."
# Of training speed: what a row of the table is of, and its columns in their order.
KEYS = ("backend", "cell", "units", "fan in")
CONTESTANTS = (
    "sparse",
    "dense, Keras",
    "narrow, Keras",
    "dense, torch.nn",
    "narrow, torch.nn",
    "SparseLab",
)
sys.path.insert(0, str(HERE.parent))
from examples.experiments.records import read
from examples.experiments.report.markdown import format_number, format_share, write_table


def list_values(values: list[float], places: int) -> str:
    """Lists all values, in the order of the seeds."""
    return ", ".join(format_number(value, places) for value in values)


def tabulate_planted() -> str:
    """Makes one row for each planted manifold."""
    cases = defaultdict(list)
    for row in read(RESULTS / "planted_geometry.csv"):
        cases[row["case"], float(row["dispersion"])].append(row)

    def compute_median(case: str, dispersion: float, column: str) -> str:
        values = [float(row[column]) for row in cases[case, dispersion]]
        return format_number(statistics.median(values), 3)

    head = [
        "planted, and where it is looked for",
        "`dispersion=3`",
        "each seed",
        "mean distance",
        "`dispersion=0`",
        "mean distance",
    ]
    rows = [
        [
            case,
            compute_median(case, 3.0, "correlation"),
            list_values([float(row["correlation"]) for row in cases[case, 3.0]], 3),
            compute_median(case, 3.0, "mean_distance"),
            compute_median(case, 0.0, "correlation"),
            compute_median(case, 0.0, "mean_distance"),
        ]
        for case in dict.fromkeys(case for case, _ in cases)
    ]
    return write_table(head, rows)


def tabulate_heading() -> str:
    """Makes one row for the learned geometry, one for the control."""
    settings = defaultdict(lambda: defaultdict(list))
    for row in read(RESULTS / "head_direction.csv"):
        for column in ("correlation", "degrees", "tuned"):
            settings[row["setting"]][column].append(float(row[column]))
    head = [
        "",
        "correlation, median",
        "each seed",
        "error in degrees",
        "tuned neurons",
    ]
    rows = [
        [
            setting,
            format_number(statistics.median(columns["correlation"]), 3),
            list_values(columns["correlation"], 3),
            list_values(columns["degrees"], 1),
            list_values(columns["tuned"], 0),
        ]
        for setting, columns in settings.items()
    ]
    return write_table(head, rows)


def tabulate_benchmark(name: str) -> str:
    """Makes a table as a benchmark wrote it, and where, with what and how it was made."""
    return tabulate(read(RESULTS / f"{name}.csv"))


def tabulate_timing(name: str, timing: str) -> str:
    """Makes the same of what was timed hot, or in turns."""
    rows = read(RESULTS / f"{name}.csv")
    return tabulate([row for row in rows if row.get("timing", "in turns") == timing])


def tabulate_training(name: str) -> str:
    """Makes one row for each layer, with all contestants beside each other."""
    layers = defaultdict(dict)
    rows = read(RESULTS / f"{name}.csv")
    for row in rows:
        layers[tuple(row[key] for key in KEYS)][row["contestant"]] = row
    contestants = [
        name for name in CONTESTANTS if any(name in found for found in layers.values())
    ]

    def show(row: dict[str, str] | None) -> str:
        if row is None:
            return ""
        milliseconds = format_number(row["ms"])
        if row["contestant"] == "sparse":
            return milliseconds
        return f"{milliseconds} ({format_number(row['over sparse'], digits=3)}×)"

    lines = [
        [*map(format_number, key), *(show(found.get(name)) for name in contestants)]
        for key, found in layers.items()
    ]
    return write_measured([*KEYS, *contestants], lines, rows)


def tabulate_scaling(name: str) -> str:
    """Makes one row for each size, the dense layer beside the sparse one."""
    sizes = defaultdict(dict)
    rows = read(RESULTS / f"{name}.csv")
    for row in rows:
        sizes[row["backend"], int(row["units"])][row["layer"]] = row
    shown = {
        "step s": ("sparse", "dense"),
        "peak GiB": ("sparse", "dense"),
        "build s": ("sparse",),
        "predict s": ("sparse",),
    }
    columns = [(layer, value) for value, layers in shown.items() for layer in layers]
    lines = [
        [
            backend,
            str(units),
            *(
                format_number(found.get(layer, {}).get(value, ""))
                for layer, value in columns
            ),
            format_number(next(iter(found.values()))["dense kernel GiB"]),
        ]
        for (backend, units), found in sizes.items()
    ]
    names = [f"{layer} {value}" for layer, value in columns]
    head = ["backend", "units", *names, "dense kernel GiB"]
    return write_measured(head, lines, rows)


def tabulate_largest(name: str) -> str:
    """Makes the same of the largest size only."""
    rows = read(RESULTS / f"{name}.csv")
    units = max(int(row["units"]) for row in rows)
    return tabulate([row for row in rows if int(row["units"]) == units])


def tabulate(rows: list[dict[str, str]]) -> str:
    """Makes a table of rows of results without what they share."""
    if not rows:
        return NOTHING
    columns = [c for c in rows[0] if c not in ("command", "machine", "versions")]
    lines = [[format_number(row[column]) for column in columns] for row in rows]
    return write_measured(columns, lines, rows)


def write_measured(
    head: list[str], lines: list[list[str]], rows: list[dict[str, str]]
) -> str:
    """Writes a table, and where, with what and how its rows were measured."""
    if not rows:
        return NOTHING
    return f"{write_table(head, lines)}\n\n{write_origin(rows)}"


def write_origin(rows: list[dict[str, str]]) -> str:
    """Writes where, with what and how a table was made."""
    commands = " and ".join(f"`{command}`" for command in {r["command"]: 0 for r in rows})
    return f"{commands} on {rows[0]['machine']}: {rows[0]['versions']}."


def report_experiment(name: str) -> str:
    """Makes the report of a table of experiments."""
    from examples.experiments.report.tables import report_table

    return report_table(name, RESULTS)


def report_summary(*, brief: bool = False) -> str:
    """Makes the summary of all tables of experiments, or one line for each task."""
    from examples.experiments.report.summary import summarize, summarize_briefly

    return summarize_briefly(RESULTS) if brief else summarize(RESULTS)


def tabulate_front(name: str) -> str:
    """Makes a table of what no other trial of a search beats in both zeros and error."""
    rows = read(RESULTS / f"{name}.csv")
    shown = [
        {
            "penalty": row["penalty"],
            "strength": row["strength"] if row["control"] != "none" else "",
            "zeros": format_share(float(row["sparsity"])),
            "error in degrees": row["error"],
        }
        for row in rows
        if row["best"] == "True"
    ]
    facts = {name: rows[0][name] for name in ("command", "machine", "versions")}
    minutes = sum(float(row["seconds"]) for row in rows) / 60
    return f"{tabulate([row | facts for row in shown])} {minutes:.0f} minutes."


# What makes what stands between the marks of each page; None of names not listed.
Makers = dict[str | None, Callable[[str], str]]
EXPERIMENTS: Makers = {
    None: report_experiment,
    "geometry_search": tabulate_front,
    "summary": lambda name: report_summary(),
}
PAGES: dict[str, Makers] = {
    "learned_geometry.md": {
        "planted_geometry": lambda name: tabulate_planted(),
        "head_direction": lambda name: tabulate_heading(),
    },
    "benchmarks.md": {
        None: tabulate_benchmark,
        "penalty_memory": tabulate_largest,
        "inference": lambda name: tabulate_timing(name, "in turns"),
        "inference_hot": lambda name: tabulate_timing("inference", "hot"),
        "training_speed": tabulate_training,
        "scaling": tabulate_scaling,
    },
    "results.md": {"summary_brief": lambda name: report_summary(brief=True)},
    **{f"results/{page.name}": EXPERIMENTS for page in sorted(RESULTS.glob("*.md"))},
}


def fill(page: str, makers: Makers) -> str:
    """Makes anew what stands between the marks of a page."""

    def replace(match: re.Match[str]) -> str:
        make = makers.get(match[1]) or makers[None]
        return f"<!-- {match[1]} -->\n{make(match[1])}\n<!-- end -->"

    return re.sub(r"<!-- (\w+) -->\n.*?<!-- end -->", replace, page, flags=re.S)


def draw_pictures(pages: str) -> None:
    """Draws the pictures of the pages of experiments."""
    from examples.experiments import search_geometry
    from examples.experiments.report import figures

    figures.draw_forest(HERE / "images" / "results_forest.svg")
    for name in re.findall(r"/images/results_(\w+)\.svg\)", pages):
        figures.draw(name, HERE / "images" / f"results_{name}.svg")
    trials = [
        row | {name: float(row[name]) for name in ("sparsity", "error")}
        for row in read(RESULTS / "geometry_search.csv")
    ]
    search_geometry.draw(trials, HERE / "images" / "geometry_search.svg")


def main() -> None:
    """Rewrites the pages, and draws the pictures of experiments."""
    for name, makers in PAGES.items():
        path = HERE / name
        path.write_text(fill(path.read_text(), makers))
    draw_pictures("".join(page.read_text() for page in RESULTS.glob("*.md")))


if __name__ == "__main__":
    main()
