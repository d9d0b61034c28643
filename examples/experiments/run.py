"""Runs a table of experiments in parallel processes, and goes on where it was stopped.

    python -m examples.experiments.run manifolds --jobs 2

A table is a TOML file: one of `tables`, by its name, or any other, by its path. Each run
has a process of its own and becomes one row of a CSV file, with what to type to see it
alone. Runs whose row is there are not run again. `python -m examples.experiments.report`
shows the rows.
"""

import argparse
import multiprocessing
import os
import pathlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

ROOT = pathlib.Path(__file__).parents[2]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("table", help="name of a table, or a TOML file")
    add("--jobs", type=int, default=1, help="runs at the same time, of one thread each")
    add("--backend", default="jax", choices=("tensorflow", "jax", "torch"))
    add("--output", type=pathlib.Path, help="CSV file; docs/results/<table>.csv")
    add("--limit", type=int, help="stop after so many runs")
    return parser.parse_args(arguments)


def set_environment(backend: str) -> None:
    """Sets what the processes of the runs inherit: a backend, and one thread each."""
    os.environ |= {
        "KERAS_BACKEND": backend,
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "PYTHONPATH": str(ROOT),
    }


def run_here(run: dict[str, Any]) -> dict[str, Any]:
    """Runs one run in this process; returns its row."""
    from . import training
    from .declarations import make_experiment

    return {"task": run["task"]} | training.run(make_experiment(run))[1]


def run_in_process(run: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs one run in a process of its own, so that a crash is its own as well."""
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_row, args=(run, sender))
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


def _send_row(run: dict[str, Any], sender: Any) -> None:
    try:
        sender.send(run_here(run))
    except Exception as error:
        sender.send(RuntimeError(f"{type(error).__name__}: {error}"))


def run_all(
    missing: list[dict[str, Any]], jobs: int, console: Any
) -> Iterable[dict[str, Any]]:
    """Runs so many at a time; yields rows as they come, and prints what failed."""
    from rich.progress import track

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["examples.experiments.training"])
    pool = ThreadPoolExecutor(jobs)
    waiting = {pool.submit(run_in_process, run, context): run for run in missing}
    ended = as_completed(waiting)
    try:
        for future in track(ended, "runs", total=len(waiting), console=console):
            try:
                yield future.result()
            except RuntimeError as error:
                console.print(f"failed: {waiting[future]}\n{error}", markup=False)
    finally:  # whoever stops this does not want the rest to be run first
        pool.shutdown(wait=False, cancel_futures=True)


def main(arguments: list[str] | None = None) -> None:
    """Runs what has no row yet."""
    args = parse(arguments)
    set_environment(args.backend)  # before Keras is imported
    from rich.console import Console

    from .declarations import RESULTS, find_file, is_done, list_runs, read_declaration
    from .records import read, write

    try:
        runs = list_runs(read_declaration(args.table))
    except (TypeError, ValueError) as error:
        raise SystemExit(f"run: error: {error}") from None
    output = args.output or RESULTS / f"{find_file(args.table).stem}.csv"
    rows = read(output)
    missing = [run for run in runs if not is_done(run, rows)][: args.limit]
    console = Console()
    console.print(f"{len(runs)} runs, of which {len(missing)} are to be done.")
    known = len(rows)
    for row in run_all(missing, args.jobs, console):
        rows.append(row)
        write(output, rows)
    failed = len(missing) - (len(rows) - known)
    if failed:
        raise SystemExit(f"{failed} runs failed; the others are in {output}.")
    console.print(f"All runs of the table are in {output}.")


if __name__ == "__main__":
    main()
