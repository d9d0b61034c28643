"""The command line that the examples share."""

import argparse
import pathlib
import statistics
from dataclasses import MISSING, Field, fields
from typing import Any, NoReturn

import keras
import numpy as np
import records
from experiments import Experiment
from rich.console import Console
from rich.table import Table

import keras_moduli as km


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong, and no more: `--help` has the rest."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help lists the arguments)\n")


def parse(
    experiment: type[Experiment], arguments: list[str] | None = None
) -> tuple[list[Experiment], argparse.Namespace]:
    """One experiment for each seed, checked before anything is trained."""
    parser = OneLineParser(
        description=experiment.__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    for option in fields(experiment):
        _add(parser, experiment, option)
    folder = pathlib.Path("runs", experiment.script())
    parser.add_argument("--seeds", type=int, default=1, help="how many, from `--seed` on")
    parser.add_argument("--output", type=pathlib.Path, default=folder, help="folder")
    args = parser.parse_args(arguments)
    values = {option.name: getattr(args, option.name) for option in fields(experiment)}
    if args.seeds < 1:
        parser.error("argument --seeds: must be at least 1")
    try:
        seeds = range(args.seed, args.seed + args.seeds)
        return [experiment(**values | {"seed": seed}) for seed in seeds], args
    except (TypeError, ValueError) as error:
        parser.error(str(error))


def _add(parser: argparse.ArgumentParser, cls: type[Experiment], option: Field) -> None:
    """A flag for a field; a task that changes a default keeps what is said of it."""
    said = [
        base.__dataclass_fields__[option.name].metadata
        for base in cls.__mro__
        if option.name in getattr(base, "__dataclass_fields__", {})
    ]
    metadata: dict[str, Any] = next((m for m in said if m), {})
    kind = type(option.default)
    flag = "--" + option.name.replace("_", "-")
    assert option.default is not MISSING
    if kind is bool:
        form: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
    else:
        form = {"type": kind, "choices": metadata.get("choices")}
    parser.add_argument(flag, default=option.default, help=metadata.get("help"), **form)


def main(experiment: type[Experiment]) -> None:
    """Trains all seeds, saves the networks, writes and prints the results."""
    experiments, args = parse(experiment)
    args.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for one in experiments:
        model, row = one.run(verbose=1)
        save_and_check(model, args.output / f"seed{one.seed}.keras")
        report = km.sparsity(model)
        print(f"\nSeed {one.seed}: {one.error_name} {row['error']:.5g}\n{report}\n")
        rows += [row | part.to_dict() for part in (*report.rows, report.total)]
    records.write(args.output / "results.csv", rows)
    Console().print(summary(rows, experiment.error_name))
    print(f"Wrote {args.output}/results.csv and one .keras file per seed.")


def save_and_check(model: keras.Model, path: pathlib.Path) -> None:
    """Saves a model, and makes sure that the file holds the same weights."""
    model.save(path)
    loaded = keras.saving.load_model(path)
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(ours.value),
            keras.ops.convert_to_numpy(theirs.value),
        )


def summary(rows: list[dict[str, Any]], error_name: str) -> Table:
    """Error and sparsity of each matrix over the seeds."""
    matrices: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        matrices.setdefault(row["label"], []).append(row)
    table = Table("", "seeds", "median", "mean", "std")
    errors = [row["error"] for row in matrices["total"]]
    table.add_row(error_name, *_statistics(errors, "{:.5g}"), end_section=True)
    for matrix, group in matrices.items():
        zeros = [row["sparsity"] for row in group]
        table.add_row(f"sparsity of {matrix}", *_statistics(zeros, "{:.2%}"))
    return table


def _statistics(values: list[float], style: str) -> list[str]:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    figures = statistics.median(values), statistics.fmean(values), spread
    return [str(len(values)), *map(style.format, figures)]
