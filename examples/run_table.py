"""Runs a table of experiments in parallel processes, and goes on where it was stopped.

    python examples/run_table.py examples/tables/manifolds.toml --jobs 2

A table is a TOML file. Each `[[runs]]` names the tasks and the values of their settings;
a list stands for each of its values in turn, {Task = value} for the value of the run's
task, and `[all]` holds for all runs:

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

Each run has a process of its own and becomes one row of a CSV file, with what to type to
see it alone. Runs whose row is there are not run again. `[report]` says how the rows are
shown; `examples/results.py` draws that.
"""

import argparse
import importlib
import itertools
import multiprocessing
import os
import pathlib
import sys
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from typing import Any

from records import Row, read, write

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE.parent / "docs" / "results"
TASKS = {
    "AddingProblem": "adding_problem",
    "Digits": "digits",
    "HeadDirection": "head_direction",
    "JapaneseVowels": "japanese_vowels",
    "KleinBottle": "klein_bottle",
    "LanguageModel": "language_model",
    "Navigation": "navigation",
    "PeriodicBox": "periodic_box",
    "SphereRotation": "sphere_rotation",
}


def declared(table: dict[str, Any]) -> list[Row]:
    """The settings of all runs of a table, the first seeds of each first."""
    every = table.get("all", {})
    runs = [
        _of_task(dict(zip(run, values, strict=True)))
        for group in table["runs"]
        for run in [every | group]
        for values in itertools.product(*map(_as_list, run.values()))
    ]
    return sorted(runs, key=lambda run: run.get("seed", 0))


def _of_task(run: Row) -> Row:
    """The run with those values that are its task's."""
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


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def experiment(run: Row) -> Any:
    """What a run of a table stands for.

    Raises:
        ValueError: If its task, or a value of its setting, is unknown.
        TypeError: If the task has no such setting.
    """
    if run.get("task") not in TASKS:
        raise ValueError(f"Unknown task {run.get('task')!r}. Known tasks: {list(TASKS)}")
    module = importlib.import_module(TASKS[run["task"]])
    chosen = {name: value for name, value in run.items() if name != "task"}
    return getattr(module, run["task"])(**chosen)


def complete(run: Row) -> Row:
    """The run with the defaults of its task, as its row will have it."""
    return {"task": run["task"]} | asdict(experiment(run))


def unique(table: dict[str, Any]) -> list[Row]:
    """All runs of a table with their defaults, each once."""
    runs = [complete(run) for run in declared(table)]
    return list({tuple(run.items()): run for run in runs}.values())


def is_done(run: Row, rows: Iterable[Row]) -> bool:
    """Whether a row has the setting of a run."""
    return any(all(row.get(k) == str(v) for k, v in run.items()) for row in rows)


def perform(run: Row) -> Row:
    """One run, in this process."""
    sys.path.insert(0, str(HERE))
    return {"task": run["task"]} | experiment(run).run()[1]


def in_process(run: Row, context: Any) -> Row:
    """One run in a process of its own, so that a crash is its own as well."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(run, sender))
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        process.join()
        answer = RuntimeError(f"The process ended with status {process.exitcode}.")
    process.join()
    if isinstance(answer, Exception):
        raise answer
    return answer


def _send(run: Row, sender: Any) -> None:
    try:
        sender.send(perform(run))
    except Exception as error:
        sender.send(RuntimeError(f"{type(error).__name__}: {error}"))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("table", type=pathlib.Path, help="TOML file")
    add("--jobs", type=int, default=1, help="runs at the same time, of one thread each")
    add("--backend", default="jax", choices=("tensorflow", "jax", "torch"))
    add("--output", type=pathlib.Path, help="CSV file; docs/results/<table>.csv")
    add("--limit", type=int, help="stop after so many runs")
    args = parser.parse_args(arguments)
    args.output = args.output or RESULTS / f"{args.table.stem}.csv"
    return args


def track(runs: Iterable[Any], console: Any, count: int) -> Iterable[Any]:
    """The runs as they end, with a progress bar."""
    from rich.progress import track

    return track(runs, "runs", total=count, console=console)


def main() -> None:
    """Runs what has no row yet."""
    args = parse()
    os.environ |= {
        "KERAS_BACKEND": args.backend,
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]),
    }
    from rich.console import Console

    table = tomllib.loads(args.table.read_text())
    rows = read(args.output)
    runs = unique(table)
    missing = [run for run in runs if not is_done(run, rows)][: args.limit]
    console = Console()
    console.print(f"{len(runs)} runs, of which {len(missing)} are to be done.")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["experiments"])
    failed = 0
    pool = ThreadPoolExecutor(args.jobs)
    waiting = {pool.submit(in_process, run, context): run for run in missing}
    try:
        for done in track(as_completed(waiting), console, len(waiting)):
            try:
                rows.append(done.result())
            except RuntimeError as error:
                failed += 1
                console.print(f"failed: {waiting[done]}\n{error}", markup=False)
            else:
                write(args.output, rows)
    finally:  # whoever stops this does not want the rest to be run first
        pool.shutdown(wait=False, cancel_futures=True)
    if failed:
        raise SystemExit(f"{failed} runs failed; the others are in {args.output}.")
    console.print(f"All runs of the table are in {args.output}.")


if __name__ == "__main__":
    main()
