"""Tables of runs: TOML files, and the runs that they stand for.

Each `[[runs]]` names the tasks and the values of their settings; a list stands for each
of its values in turn, {Task = value} for the value of the run's task, and `[all]` holds
for all runs:

    [all]
    seed = [0, 1, 2, 3, 4]
    epochs = 20

    [[runs]]
    task = ["HeadDirection", "PeriodicBox"]
    control = ["none", "l1"]
    sparsity = [0.9, 0.95]

    [[runs]]
    task = ["HeadDirection", "PeriodicBox"]
    manifold = {HeadDirection = "circle", PeriodicBox = "torus"}

`[report]` says how the rows are shown: see `report`.
"""

import itertools
import pathlib
import tomllib
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from .records import Row
from .settings import Experiment
from .tasks import find_task

TABLES = pathlib.Path(__file__).parent / "tables"
RESULTS = pathlib.Path(__file__).parents[2] / "docs" / "results"


def find_file(table: str) -> pathlib.Path:
    """Finds the TOML file of a table: by its path, or by its name in `tables`."""
    path = pathlib.Path(table)
    return path if path.suffix == ".toml" else TABLES / f"{table}.toml"


def read_declaration(table: str) -> dict[str, Any]:
    """Reads the TOML file of a table.

    Raises:
        ValueError: If there is none.
    """
    path = find_file(table)
    if not path.exists():
        known = sorted(file.stem for file in TABLES.glob("*.toml"))
        raise ValueError(f"No table {table!r}. Known tables: {known}")
    return tomllib.loads(path.read_text())


def expand_runs(table: dict[str, Any]) -> list[Row]:
    """Lists the settings of all runs of a table, the first seeds of each first."""
    shared = table.get("all", {})
    runs = [
        _choose_values(dict(zip(run, values, strict=True)))
        for group in table["runs"]
        for run in [shared | group]
        for values in itertools.product(*map(_make_list, run.values()))
    ]
    return sorted(runs, key=lambda run: run.get("seed", 0))


def _choose_values(run: Row) -> Row:
    """Chooses the values that are those of the run's task."""
    task = run.get("task")
    for name, value in run.items():
        if isinstance(value, dict) and task not in value:
            raise ValueError(
                f"`{name}` has values for {list(value)}. Received: task={task!r}"
            )
    return {
        name: value[task] if isinstance(value, dict) else value
        for name, value in run.items()
    }


def _make_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def make_experiment(run: Row) -> Experiment:
    """Makes what a run of a table stands for.

    Raises:
        ValueError: If its task, or a value of its setting, is unknown.
        TypeError: If the task has no such setting.
    """
    chosen = {name: value for name, value in run.items() if name != "task"}
    return find_task(run.get("task"))(**chosen)


def complete_run(run: Row) -> Row:
    """Adds the defaults of its task to a run, as its row will have them."""
    return {"task": run["task"]} | asdict(make_experiment(run))


def list_runs(table: dict[str, Any]) -> list[Row]:
    """Lists all runs of a table with their defaults, each once."""
    runs = [complete_run(run) for run in expand_runs(table)]
    return list({tuple(run.items()): run for run in runs}.values())


def is_done(run: Row, rows: Iterable[Row]) -> bool:
    """Whether a row has the setting of a run."""
    return any(all(row.get(k) == str(v) for k, v in run.items()) for row in rows)
