"""A search of hyper-parameters on several machines, by KerasTuner's own service.

    python -m examples.distributed.tuner_workers --output runs/search

starts a chief and two workers on this machine. On real ones, whose `--output` is one
shared folder, start one chief, and as many workers as there are devices:

    export KERASTUNER_ORACLE_IP=10.0.0.1 KERASTUNER_ORACLE_PORT=1234
    export KERASTUNER_TUNER_ID=chief  # of workers: worker0, worker1...
    python -m examples.distributed.tuner_workers --output /shared/search

The chief hands out trials and trains nothing; it ends up to 20 seconds after the last of
them. Then it trains each setting once more, alone, and compares the errors. The search is
that of `examples.experiments.search_geometry`, on any backend.
"""

import argparse
import os
import sys

from . import processes

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
add = parser.add_argument
add("--trials", type=int, default=4, help="networks to train")
add("--units", type=int, default=32, help="hidden neurons")
add("--epochs", type=int, default=2, help="of each network")
add("--batches", type=int, default=10, help="in an epoch")
add("--output", default="runs/tuner_workers", help="folder, the same for all")
args = parser.parse_args()

if "KERASTUNER_TUNER_ID" not in os.environ:
    (port,) = processes.find_ports(1)
    names = ["chief", "worker0", "worker1"]
    shared = {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port)}
    processes.start(
        "examples.distributed.tuner_workers",
        len(names),
        lambda number: shared | {"KERASTUNER_TUNER_ID": names[number]},
    )

from examples.experiments import search_geometry, training
from examples.experiments.tasks.head_direction import HeadDirection


def compare(search: search_geometry.Search, base: HeadDirection) -> bool:
    """Trains the setting of each trial alone, and says how much errors differ."""
    largest = 0.0
    trials = list(search.oracle.trials.values())
    for trial in trials:
        _, row = training.run(search_geometry.propose(trial.hyperparameters, base))
        found = trial.metrics.get_best_value("error")
        largest = max(largest, abs(row["error"] / found - 1))
    completed = [trial.status for trial in trials].count("COMPLETED")
    print(
        f"{completed} of {args.trials} trials, largest relative difference of errors: "
        f"{largest:.0e}"
    )
    return completed == args.trials and largest <= 1e-5


base = HeadDirection(units=args.units, epochs=args.epochs, batches=args.batches)
search = search_geometry.Search(
    base,
    max_trials=args.trials,
    seed=0,
    directory=args.output,
    project_name="trials",
)
search.search()
if os.environ["KERASTUNER_TUNER_ID"] == "chief":
    sys.exit(0 if compare(search, base) else 1)
print(f"{os.environ['KERASTUNER_TUNER_ID']} has ended")
