"""What the benchmarks share: a process for each backend, interleaved timing, records.

Every figure is a median over rounds; within a round all contestants run one after the
other, so that what else the machine does hits them alike, and ratios are taken within
rounds.
"""

import argparse
import functools
import importlib.util
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from examples.experiments.provenance import describe_machine, describe_versions
from examples.experiments.records import Row, read, write
from examples.experiments.report.markdown import write_table

BACKENDS = ("tensorflow", "jax", "torch")
RESULT = "RESULT "


def parser(description: str, name: str) -> argparse.ArgumentParser:
    """The arguments that all benchmarks have."""
    found = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    found.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    found.add_argument(
        "--repeats", type=int, default=15, help="rounds of each comparison"
    )
    found.add_argument("--threads", type=int, default=1, help="of each contestant")
    found.add_argument(
        "--output",
        type=pathlib.Path,
        default=ROOT / "docs" / "results" / f"{name}.csv",
        help="CSV file of results",
    )
    found.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    return found


def run(
    args: argparse.Namespace,
    measure: Callable[[], Iterable[Row]],
    keys: tuple[str, ...] = (),
) -> None:
    """Measures on each backend in a process of its own, prints, and writes the CSV.

    Args:
        args: What `parser` made.
        measure: Yields a row for each line of the table; called in those processes.
        keys: Columns that say what a row is of. Rows of the file that are of something
            else stay; with no keys, none do.
    """
    if args.in_process:
        for row in measure():
            print(RESULT + json.dumps(row), flush=True)
        return
    rows = []
    for backend in args.backends:
        if importlib.util.find_spec(backend) is None:
            print(f"{backend} is not installed: left out")
            continue
        rows += _in_process(backend, args.threads)
    if not rows:
        raise SystemExit(f"None of {', '.join(args.backends)} is installed.")
    facts = {
        "command": " ".join(["python", sys.argv[0], *sys.argv[1:]]),
        "machine": describe_machine(),
        "versions": describe_versions(),
        "threads": args.threads,
    }
    new = [row | facts for row in rows]
    write(args.output, merge(read(args.output), new, keys) if keys else new)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    print(write_table(columns, ([row.get(c, "") for c in columns] for row in rows)))


def merge(old: list[Row], new: list[Row], keys: tuple[str, ...]) -> list[Row]:
    """Returns the rows of both, a new one in the place of an old one of the same."""
    rows = {tuple(str(row[key]) for key in keys): row for row in [*old, *new]}
    return list(rows.values())


def _in_process(backend: str, threads: int) -> list[Row]:
    # PyTorch with two threads on busy cores is many times slower than with one.
    flags = "--xla_cpu_multi_thread_eigen=false" if threads == 1 else ""
    environment = {
        "KERAS_BACKEND": backend,
        "OMP_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": flags,
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, *sys.argv, "--in-process"],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    rows = []
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(RESULT):
            rows.append({"backend": backend} | json.loads(line.removeprefix(RESULT)))
            print(f"{backend}: {rows[-1]}", flush=True)
    if process.wait():
        raise SystemExit(f"{backend}: failed with status {process.returncode}")
    return rows


def connect(units: int, fan_in: int, block: Iterable[int]) -> Any:
    """The connectivity of a recurrent kernel, so many connections a neuron."""
    import keras_moduli as km

    return km.connectivity.SmallWorld("torus", density=fan_in / units, block=tuple(block))


def interleaved(
    contestants: dict[str, Callable[[], Any]], repeats: int
) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, after two rounds that do not count.

    Within a round each is called twice, and the second call counts: by then the caches
    are its own, and threads of the one before that spun for more work are asleep.
    """

    def clock(contestant: Callable[[], Any]) -> float:
        contestant()
        start = time.perf_counter()
        contestant()
        return time.perf_counter() - start

    clocks = {name: functools.partial(clock, c) for name, c in contestants.items()}
    return in_turns(clocks, repeats, warm_up=2)


def in_turns(
    clocks: dict[str, Callable[[], float]], repeats: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """The seconds that each clock returns in each round, after some that do not count."""
    rounds = range(warm_up + repeats)
    found = [{name: clock() for name, clock in clocks.items()} for _ in rounds]
    return {name: [row[name] for row in found[warm_up:]] for name in clocks}


def hot(
    contestants: dict[str, Callable[[], Any]], repeats: int, calls: int = 5
) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, with its weights in the caches.

    Within a round each is called some times that do not count, and as often again, of
    which the median does.
    """

    def clock(contestant: Callable[[], Any]) -> float:
        times = []
        for _ in range(2 * calls):
            start = time.perf_counter()
            contestant()
            times.append(time.perf_counter() - start)
        return statistics.median(times[calls:])

    clocks = {name: functools.partial(clock, c) for name, c in contestants.items()}
    return in_turns(clocks, repeats)


def ratio(times: dict[str, list[float]], over: str, under: str) -> float:
    """The median over rounds of one contestant's time over another's."""
    pairs = zip(times[over], times[under], strict=True)
    return statistics.median(a / b for a, b in pairs)


def step_seconds(model: Any, x: Any, y: Any, batch: int) -> list[float]:
    """Seconds of each step of one epoch of `fit` but the first.

    Args:
        model: A compiled Keras model.
        x: Inputs.
        y: Targets.
        batch: Size of a batch.
    """
    import keras

    ends = []

    def stamp(step: int, logs: dict[str, Any]) -> None:
        float(logs["loss"])  # waits for what runs by itself
        ends.append(time.perf_counter())

    clock = keras.callbacks.LambdaCallback(on_train_batch_end=stamp)
    model.fit(x, y, batch, verbose=0, shuffle=False, callbacks=[clock])
    return [b - a for a, b in itertools.pairwise(ends)]


def epoch_seconds(model: Any, *data: Any, epochs: int, callbacks: Any = ()) -> float:
    """The median time of an epoch of `fit`, what callbacks do at its start included.

    Args:
        model: A compiled Keras model.
        *data: Inputs, targets, and the size of a batch.
        epochs: How many, of which the first two compile and do not count.
        callbacks: Of Keras.
    """
    import keras

    starts = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: starts.append(time.perf_counter())
    )
    model.fit(
        *data, epochs=epochs, verbose=0, shuffle=False, callbacks=[clock, *callbacks]
    )
    gaps = [b - a for a, b in itertools.pairwise(starts[2:])]
    return statistics.median(gaps)  # nothing is timed after the last
