"""Searches the geometry, the inhibitor and how much to prune, by KerasTuner.

    python -m examples.experiments.search_geometry --trials 60

Each trial trains one network on head direction. The table shows the trials that no other
beats in both error and zeros (the Pareto front), the plot all of them. A search that was
stopped goes on where it was. To share one among machines, set `KERASTUNER_TUNER_ID`,
`KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT` and run the same command on each, as
the guide of KerasTuner on distributed search says.
"""

import argparse
import dataclasses
import pathlib
import sys
from typing import Any

import keras_tuner
from rich.console import Console
from rich.table import Table

from . import records, training
from .command_line import OneLineParser
from .provenance import describe_machine, describe_versions
from .records import Row
from .report.markdown import format_share
from .report.words import spell
from .tasks.head_direction import HeadDirection

SHOWN = ("control", "manifold", "inhibitor", "density", "strength", "learned", "sparsity")


def propose(hp: keras_tuner.HyperParameters, base: HeadDirection) -> HeadDirection:
    """Makes an experiment with what the tuner chose."""
    sparsity = hp.Choice("sparsity", [0.8, 0.9, 0.95, 0.98, 0.99])
    control = hp.Choice("control", ["geometry", "l1", "none"])
    chosen: dict[str, Any] = {"sparsity": sparsity, "control": control}
    with hp.conditional_scope("control", ["geometry", "l1"]):
        if control != "none":
            chosen["strength"] = hp.Float("strength", 0.1, 30.0, sampling="log")
    with hp.conditional_scope("control", ["geometry"]):
        if control == "geometry":
            manifolds = ["circle", "torus", "sphere", "klein_bottle"]
            chosen["manifold"] = hp.Choice("manifold", manifolds)
            inhibitors = ["dog", "diffusion", "gaussian"]
            chosen["inhibitor"] = hp.Choice("inhibitor", inhibitors)
            chosen["density"] = hp.Float("density", 0.02, 0.5, sampling="log")
            chosen["learned"] = hp.Boolean("learned")
    return dataclasses.replace(base, **chosen)


class Search(keras_tuner.RandomSearch):
    """Random search, which does not favor the dense end of the front."""

    def __init__(self, base: HeadDirection, **arguments: Any) -> None:
        self.base = base
        super().__init__(objective=keras_tuner.Objective("error", "min"), **arguments)

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Trains one network and tests it."""
        experiment = propose(trial.hyperparameters, self.base)
        _, row = training.run(experiment)
        return {"error": row["error"], "seconds": row["seconds"]}

    def load_model(self, trial: Any) -> None:
        """Refuses: networks are not kept."""
        raise NotImplementedError("Networks are not kept; train the setting again.")

    def list_rows(self, base: HeadDirection) -> list[Row]:
        """Lists a row for each trial that ended: its setting, error and seconds."""
        rows: list[Row] = []
        for trial in self.oracle.trials.values():
            if trial.status == "COMPLETED":
                setting = dataclasses.asdict(propose(trial.hyperparameters, base))
                scores = {
                    name: trial.metrics.get_best_value(name)
                    for name in ("error", "seconds")
                }
                rows.append({name: setting[name] for name in SHOWN} | scores)
        return sorted(rows, key=lambda row: (row["sparsity"], row["error"]))


def find_front(rows: list[Row]) -> list[Row]:
    """Finds the rows that no other beats in error and zeros."""

    def is_beaten(row: Row) -> bool:
        return any(
            other["error"] <= row["error"]
            and other["sparsity"] >= row["sparsity"]
            and (other["error"], other["sparsity"]) != (row["error"], row["sparsity"])
            for other in rows
        )

    return [row for row in rows if not is_beaten(row)]


def tabulate(rows: list[Row]) -> Table:
    """Makes a table of the front, for people."""
    table = Table("penalty", "strength", "zeros", "error in degrees")
    for row in rows:
        strength = "" if row["control"] == "none" else f"{row['strength']:.2g}"
        table.add_row(
            describe_penalty(row),
            strength,
            format_share(row["sparsity"]),
            f"{row['error']:.3g}",
        )
    return table


def describe_penalty(row: Row) -> str:
    """Describes the penalty of a row."""
    if row["control"] != "geometry":
        return {"l1": "L1", "none": "none"}[row["control"]]
    length = "" if row["inhibitor"] == "diffusion" else f", density {row['density']:.2f}"
    learned = ", learned" if row["learned"] else ""
    return f"{spell(row['manifold'])} {spell(row['inhibitor'])}{length}{learned}"


def draw(rows: list[Row], path: pathlib.Path) -> None:
    """Draws error against zeros, and the front."""
    from keras_moduli.plot import _style

    from .report.figures import STYLES, scale_logarithmically

    names = {"geometry": "geometry", "l1": "L1", "none": "no penalty"}
    places = {"geometry": 1.0, "l1": 1.035, "none": 0.965}  # beside each other
    with _style.drawing(size=(5.4, 3.4)) as axis:
        for control, name in names.items():
            points = [
                (places[control] * 100 * (1 - row["sparsity"]), row["error"])
                for row in rows
                if row["control"] == control
            ]
            if points:
                color = STYLES[name]["color"]
                label = f"{name} ({len(points)} networks)"
                axis.plot(*zip(*points, strict=True), "o", ms=3.5, c=color, label=label)
        best = [(100 * (1 - row["sparsity"]), row["error"]) for row in find_front(rows)]
        front = {"color": _style.INK, "linewidth": 0.9, "zorder": 0, "label": "front"}
        axis.plot(*zip(*best, strict=True), **front)
        axis.set(xscale="log", xlabel="% of weights kept", ylabel="error in degrees")
        scale_logarithmically(axis)
        levels = sorted({100 * (1 - row["sparsity"]) for row in rows})
        axis.set_xticks(levels, [f"{level:.0f}" for level in levels], minor=False)
        axis.xaxis.minorticks_off()
        axis.legend()
        _style.save(axis.figure, path)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = OneLineParser(
        description="Search geometry and sparsity for head direction.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--trials", type=int, default=60, help="networks to train")
    add("--units", type=int, default=128, help="hidden neurons")
    add("--epochs", type=int, default=20, help="of each network")
    add("--batches", type=int, default=100, help="in an epoch")
    add("--seed", type=int, default=0, help="of the search and of each network")
    add("--output", type=pathlib.Path, default="runs/search_geometry", help="folder")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Searches, and shows the front."""
    args = parse(arguments)
    base = HeadDirection(
        units=args.units, epochs=args.epochs, batches=args.batches, seed=args.seed
    )
    search = Search(
        base,
        max_trials=args.trials,
        seed=args.seed,
        directory=str(args.output),
        project_name="trials",
    )
    search.search()
    rows = search.list_rows(base)
    best = find_front(rows)
    facts = {
        "command": " ".join(
            ["python -m examples.experiments.search_geometry", *arguments]
        ),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }
    records.write(
        args.output / "trials.csv",
        (
            {"best": row in best, "penalty": describe_penalty(row)} | row | facts
            for row in rows
        ),
    )
    draw(rows, args.output / "pareto.svg")
    Console().print(tabulate(best))
    print(f"Wrote {args.output}/trials.csv and {args.output}/pareto.svg.")


if __name__ == "__main__":
    main(sys.argv[1:])
