"""What error the chain from penalty to fast layers leaves, with geometry and without.

    python benchmarks/block_quality.py --jobs 2

Two tasks: the adding problem, and head direction, in which a network integrates its
turns. A network is pruned to balanced blocks while it learns, turned into block-sparse
layers by `km.sparsify`, and tested. The penalties have one mean coefficient: diffusion on
the circle, difference of Gaussians on the torus, L1, the coefficients of the circle in
random places; and there is none. Runs whose row is in the CSV are not run again.
"""

import argparse
import csv
import multiprocessing
import os
import pathlib
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from harness import ROOT, Row, machine, markdown, versions

sys.path.insert(0, str(ROOT / "examples"))
SETTINGS = ("circle", "torus", "l1", "permuted", "none")
TASKS = ("adding", "head direction")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--backend", default="jax", choices=("tensorflow", "jax", "torch"))
    add("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    add("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    add("--seeds", type=int, nargs="+", default=list(range(5)))
    add("--units", type=int, default=512)
    add("--block", type=int, nargs=2, default=[8, 64])
    add("--sparsity", type=float, default=0.95)
    add("--strength", type=float, default=0.1, help="mean cost of a unit weight")
    add("--epochs", type=int, default=20, help="as long as in the examples")
    add("--jobs", type=int, default=1, help="runs at the same time, of one thread each")
    add("--output", type=pathlib.Path, default=ROOT / "docs/results/block_quality.csv")
    args = parser.parse_args()
    os.environ |= {
        "KERAS_BACKEND": args.backend,
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    rows = read(args.output)
    done = {(row["task"], row["setting"], int(row["seed"])) for row in rows}
    wanted = [(t, s, n) for n in args.seeds for t in args.tasks for s in args.settings]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(args.jobs, spawn) as pool:
        runs = [pool.submit(run, args, *key) for key in wanted if key not in done]
        for finished in as_completed(runs):
            rows.append(finished.result())
            print(rows[-1], flush=True)
            write(args.output, rows)
    print(markdown(rows))


def read(path: pathlib.Path) -> list[Row]:
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write(path: pathlib.Path, rows: list[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def run(args: Any, task: str, setting: str, seed: int) -> Row:
    """Trains, makes it fast, tests."""
    import keras

    import keras_moduli as km

    start = time.time()
    keras.utils.set_random_seed(seed)
    data, error, model = TASK[task](args, setting, seed)
    end = args.epochs - args.epochs // 3
    model.fit(
        data,
        epochs=args.epochs,
        verbose=0,
        callbacks=[
            km.MagnitudePruning(
                args.sparsity,
                select="recurrent",
                block=tuple(args.block),
                balanced=True,
                end=end,
            )
        ],
    )
    row = km.sparse.plan(model).rows[0]
    return {
        "task": task,
        "setting": setting,
        "seed": seed,
        "error": error(model),
        "error fast": error(km.sparsify(model, block=tuple(args.block))),
        "zeros": row.zeros,
        "order": row.order,
        "seconds": round(time.time() - start, 1),
        "command": " ".join(["python", sys.argv[0], *sys.argv[1:]]),
        "machine": machine(),
        "versions": versions(),
    }


def adding(args: Any, setting: str, seed: int) -> Any:
    """Mean squared error of the sum."""
    import adding_problem
    import keras

    model = network(args, setting, seed, adding_problem.STEPS, 2, False, 1)
    optimizer = keras.optimizers.Adam(3e-4, global_clipnorm=0.5)
    model.compile(optimizer, "mse")
    return adding_problem.FreshSequences(seed), adding_problem.test_mse, model


def head_direction(args: Any, setting: str, seed: int) -> Any:
    """Degrees."""
    import head_direction
    import keras

    model = network(args, setting, seed, head_direction.STEPS, 3, True, 2)
    optimizer = keras.optimizers.Adam(3e-4, global_clipnorm=0.5)
    model.compile(optimizer, "mse")
    return head_direction.FreshWalks(seed), head_direction.error_in_degrees, model


TASK = {"adding": adding, "head direction": head_direction}


def network(
    args: Any,
    setting: str,
    seed: int,
    steps: int,
    features: int,
    return_sequences: bool,
    outputs: int,
) -> Any:
    import keras

    layer = keras.layers.SimpleRNN(
        args.units,
        "relu",
        return_sequences=return_sequences,
        recurrent_regularizer=regularizer(args, setting, seed),
    )
    return keras.Sequential(
        [keras.Input((steps, features)), layer, keras.layers.Dense(outputs)]
    )


def regularizer(args: Any, setting: str, seed: int) -> Any:
    """A penalty of one mean coefficient."""
    import adding_problem

    manifold, inhibitor = ("circle", "diffusion")
    if setting == "torus":
        manifold, inhibitor = ("torus", "dog")
    chosen = argparse.Namespace(
        control=setting,
        manifold=manifold,
        inhibitor=inhibitor,
        strength=args.strength,
        units=args.units,
    )
    return adding_problem.regularizer(chosen, seed)


if __name__ == "__main__":
    main()
