"""Trains a task in one setting, for one seed or several.

    python -m examples.experiments.single AddingProblem --units 64 --seeds 3

Every field of the setting is a flag; `--help` after the task lists them. Writes to
`--output`: `results.csv`, one row for each seed and weight matrix, and one `.keras` file
for each seed, which is loaded back and checked. Without a task it lists the tasks.
"""

import pathlib
import statistics
import sys
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import keras_moduli as km

from . import records, training
from .command_line import parse_settings
from .settings import Experiment
from .tasks import find_task, load_tasks


def main(arguments: list[str]) -> None:
    """Trains all seeds, saves the networks, writes and prints the results."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"{__doc__}\nTasks: {', '.join(load_tasks())}")
        return
    try:
        task = find_task(arguments[0])
    except ValueError as error:
        raise SystemExit(f"single: error: {error}") from None
    experiments, args = parse_settings(task, arguments[1:])
    args.output.mkdir(parents=True, exist_ok=True)
    rows = [row for one in experiments for row in run_and_save(one, args.output)]
    records.write(args.output / "results.csv", rows)
    Console().print(summarize(rows, task.error_name))
    print(f"Wrote {args.output}/results.csv and one .keras file per seed.")


def run_and_save(experiment: Experiment, folder: pathlib.Path) -> list[dict[str, Any]]:
    """Runs one seed, saves its network, and returns a row for each matrix."""
    model, row = training.run(experiment, verbose=1)
    save_and_check(model, folder / f"seed{experiment.seed}.keras")
    report = km.sparsity(model)
    error = f"{experiment.error_name} {row['error']:.5g}"
    print(f"\nSeed {experiment.seed}: {error}\n{report}\n")
    return [row | matrix.to_dict() for matrix in (*report.rows, report.total)]


def save_and_check(model: keras.Model, path: pathlib.Path) -> None:
    """Saves a model, and makes sure that the file holds the same weights."""
    model.save(path)
    loaded = keras.saving.load_model(path)
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours.value),
            keras.ops.convert_to_numpy(theirs.value),
        )


def summarize(rows: list[dict[str, Any]], error_name: str) -> Table:
    """Makes a table of the error and the sparsity of each matrix over the seeds."""
    matrices: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        matrices.setdefault(row["label"], []).append(row)
    table = Table("", "seeds", "median", "mean", "std")
    errors = [row["error"] for row in matrices["total"]]
    table.add_row(error_name, *_describe(errors, "{:.5g}"), end_section=True)
    for matrix, group in matrices.items():
        zeros = [row["sparsity"] for row in group]
        table.add_row(f"sparsity of {matrix}", *_describe(zeros, "{:.2%}"))
    return table


def _describe(values: list[float], style: str) -> list[str]:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    figures = statistics.median(values), statistics.fmean(values), spread
    return [str(len(values)), *map(style.format, figures)]


if __name__ == "__main__":
    main(sys.argv[1:])
