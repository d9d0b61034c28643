"""From a penalty to a network that is small and fast: the whole chain.

    python examples/fast_inference.py

trains a recurrent network on the adding problem with moduli regularization, prunes its
recurrent kernel to balanced blocks while it learns, turns it into block-sparse layers,
and prints what each form costs: error, size of the file, and latency of one time step for
one sequence and for 32, and for one that arrives step by step.
"""

import argparse
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from adding_problem import STEPS, FreshSequences, sequences, test_mse
from command_line import OneLineParser
from rich.console import Console
from rich.table import Table

import keras_moduli as km


def train(args: argparse.Namespace) -> keras.Model:
    """Penalty and block masks: the network, pruned while it learned."""
    keras.utils.set_random_seed(args.seed)
    penalty = km.ModuliRegularizer(
        args.manifold, "diffusion", strength=args.strength, reduction="mean"
    )
    model = keras.Sequential(
        [
            keras.Input((STEPS, 2)),
            keras.layers.SimpleRNN(
                args.units, "relu", recurrent_regularizer=penalty, name="rnn"
            ),
            keras.layers.Dense(1, name="readout"),
        ]
    )
    optimizer = keras.optimizers.Adam(args.learning_rate, global_clipnorm=0.5)
    model.compile(optimizer, "mse")
    pruning = km.MagnitudePruning(
        args.sparsity, select="recurrent", block=tuple(args.block), balanced=True
    )
    model.fit(FreshSequences(args.seed), epochs=args.epochs, callbacks=[pruning])
    return model


def latency(call: Callable[[], Any], repeats: int = 20) -> float:
    """Microseconds, the median of calls after two that compile."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times[2:])


def row(name: str, model: keras.Model, path: pathlib.Path) -> list[str]:
    """Error, size and latency of a model in one form."""
    x, _ = sequences(32, seed=0)
    size = km.save_compressed(model, path)
    stream = km.sparse.Stream(model)
    batches = {n: x[:n] for n in (1, 32)}
    per_step = [
        latency(lambda b=batch: np.asarray(model.predict_on_batch(b))) / STEPS
        for batch in batches.values()
    ]
    figures = [f"{value:.1f}" for value in (*per_step, latency(streamed(stream, x)))]
    return [name, f"{test_mse(model):.5f}", f"{size / 1024:,.0f}", *figures]


def streamed(stream: km.sparse.Stream, x: np.ndarray) -> Callable[[], Any]:
    """One time step of one sequence."""
    return lambda: stream.step(x[:1, 0])


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = OneLineParser(
        description="Train, prune to blocks, and make it fast.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--manifold", default="circle", help="one of " + ", ".join(km.manifolds.names()))
    add("--strength", type=float, default=1e-2, help="of the penalty's mean")
    add("--sparsity", type=float, default=0.9, help="fraction of zeros at the end")
    add("--block", type=int, nargs=2, default=[16, 64], help="inputs and outputs")
    add("--units", type=int, default=512, help="hidden neurons")
    add("--epochs", type=int, default=10, help="epochs of 10,000 fresh sequences")
    add("--learning-rate", type=float, default=3e-4, help="of Adam")
    add("--seed", type=int, default=0, help="of weights and data")
    add("--output", type=pathlib.Path, default="runs/fast_inference", help="folder")
    args = parser.parse_args(arguments)
    try:
        km.manifolds.get(args.manifold)
        km.MagnitudePruning(args.sparsity, block=tuple(args.block), balanced=True)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    return args


def main() -> None:
    """Trains, converts, and prints the table."""
    args = parse()
    args.output.mkdir(parents=True, exist_ok=True)
    model = train(args)
    print(km.sparsity(model))
    print(km.sparse.plan(model))
    fast = km.sparsify(model)
    table = Table("", "test MSE", "file, kB", "µs a step, 1", "32", "streaming")
    table.add_row(*row("dense layers", model, args.output / "pruned.keras"))
    table.add_row(*row("block-sparse", fast, args.output / "fast.keras"))
    Console().print(table)


if __name__ == "__main__":
    main()
