"""The adding problem with a sparse recurrent network.

A sequence holds two rows of numbers: values in [0, 1], and a marker that is 1 at two
steps and 0 elsewhere. The network has to output the sum of the two marked values.
Answering 1 every time gives a mean squared error (MSE) of 1/6.

    python examples/adding_problem.py --manifold torus --inhibitor dog --seeds 3

trains one network per seed, prunes it to 95 % zeros while it learns, and writes to
`--output`: `results.csv`, one row per seed and weight matrix, and one `.keras` file per
seed, which it loads back and checks.

Source: Mackey et al., "Geometric sparsification in recurrent neural networks", 2024,
whose sizes these are. They train at a learning rate of 1e-4 for 110 epochs; ten times
the rate and a schedule that leaves time to recover do it in fewer.
"""

import argparse
import csv
import pathlib
import statistics
import time
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from command_line import OneLineParser
from rich.console import Console
from rich.table import Table

import keras_moduli as km

BATCH_SIZE = 32
EPOCH_SIZE = 10_000
STABILIZING_EPOCHS = 10  # at the final mask, or half of a short run
STEPS = 50
TEST_SEED = 2**31  # no epoch of training has it


def sequences(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` inputs of shape (STEPS, 2) and their targets."""
    rng = np.random.RandomState(seed)
    values = rng.uniform(size=(count, STEPS))
    marks = np.zeros_like(values)
    places = np.argsort(rng.uniform(size=values.shape), axis=1)[:, :2]
    np.put_along_axis(marks, places, 1.0, axis=1)
    x = np.stack([values, marks], axis=-1).astype("float32")
    return x, (values * marks).sum(axis=1, keepdims=True).astype("float32")


class FreshSequences(keras.utils.PyDataset):
    """Batches of sequences that no earlier epoch has shown."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.epoch_seed = 100_000 * seed
        self.on_epoch_end()

    def __len__(self) -> int:
        return EPOCH_SIZE // BATCH_SIZE

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        rows = slice(batch * BATCH_SIZE, (batch + 1) * BATCH_SIZE)
        return self.x[rows], self.y[rows]

    def on_epoch_end(self) -> None:
        self.x, self.y = sequences(EPOCH_SIZE, self.epoch_seed)
        self.epoch_seed += 1


def regularizer(args: argparse.Namespace, seed: int) -> Any:
    """The penalty on the recurrent kernel, or its control."""
    if args.control == "none":
        return None
    unit = km.ModuliRegularizer(args.manifold, args.inhibitor, seed=seed)
    # Scaled to one mean cost, so that inhibitors and controls differ in shape alone.
    mean_cost = unit.coefficients((args.units, args.units)).mean()
    moduli = km.ModuliRegularizer(
        unit.manifold,
        unit.inhibitor,
        strength=args.strength / float(mean_cost),
        reduction="mean",
        seed=seed,
        permute_seed=seed if args.control == "permuted" else None,
    )
    return km.matched_l1(moduli, args.units) if args.control == "l1" else moduli


def train(args: argparse.Namespace, seed: int) -> keras.Model:
    """A network, pruned while it learned."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((STEPS, 2)),
            keras.layers.SimpleRNN(
                args.units,
                activation="relu",
                recurrent_regularizer=regularizer(args, seed),
                name="rnn",
            ),
            keras.layers.Dense(1, name="readout"),
        ]
    )
    optimizer = keras.optimizers.Adam(args.learning_rate, global_clipnorm=0.5)
    model.compile(optimizer, "mse")
    end = args.epochs - min(STABILIZING_EPOCHS, (args.epochs + 1) // 2)
    pruning = km.MagnitudePruning(args.sparsity, schedule=args.schedule, end=end)
    model.fit(FreshSequences(seed), epochs=args.epochs, callbacks=[pruning])
    return model


def test_mse(model: keras.Model) -> float:
    """Mean squared error on sequences never trained on."""
    x, y = sequences(EPOCH_SIZE, TEST_SEED)
    return float(np.mean((model.predict(x, batch_size=500, verbose=0) - y) ** 2))


def save_and_check(model: keras.Model, path: pathlib.Path) -> None:
    """Saves a model, and makes sure that the file predicts the same."""
    model.save(path)
    x, _ = sequences(100, TEST_SEED)
    loaded = keras.saving.load_model(path)
    np.testing.assert_allclose(
        loaded.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5
    )


def run(args: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """Trains, tests and saves one network; one row per weight matrix."""
    start = time.time()
    model = train(args, seed)
    seconds = time.time() - start
    save_and_check(model, args.output / f"seed{seed}.keras")
    report = km.sparsity(model)
    mse = test_mse(model)
    print(f"\nSeed {seed}: test MSE {mse:.5f}\n{report}\n")
    setting = {name: getattr(args, name) for name in ("control", "manifold", "inhibitor")}
    setting |= {"seed": seed, "seconds": round(seconds, 1), "mse": mse}
    return [setting | row.to_dict() for row in (*report.rows, report.total)]


def summary(rows: Iterable[dict[str, Any]]) -> Table:
    """Test MSE and sparsity of each matrix over the seeds."""
    matrices: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        matrices.setdefault(row["label"], []).append(row)
    table = Table("", "seeds", "median", "mean", "std")
    errors = [row["mse"] for row in matrices["total"]]
    table.add_row("test MSE", *_statistics(errors, "{:.5f}"), end_section=True)
    for matrix, group in matrices.items():
        zeros = [row["sparsity"] for row in group]
        table.add_row(f"sparsity of {matrix}", *_statistics(zeros, "{:.2%}"))
    return table


def _statistics(values: list[float], style: str) -> list[str]:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    figures = statistics.median(values), statistics.fmean(values), spread
    return [str(len(values)), *map(style.format, figures)]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line, checked before anything is trained."""
    parser = OneLineParser(
        description="Train a sparse recurrent network on the adding problem.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--manifold", default="torus", help="one of " + ", ".join(km.manifolds.names))
    add("--inhibitor", default="dog", help="one of " + ", ".join(km.inhibitors.names))
    add(
        "--control",
        choices=["none", "l1", "permuted"],
        help="instead of geometry: no penalty, L1 of the same mean, or its coefficients "
        "in random places",
    )
    add("--strength", type=float, default=0.1, help="mean cost of a unit weight")
    add("--sparsity", type=float, default=0.95, help="fraction of zeros at the end")
    add("--schedule", default="cubic", help="one of " + ", ".join(km.schedules.names))
    add("--units", type=int, default=128, help="hidden neurons")
    add("--epochs", type=int, default=30, help="epochs of 10,000 fresh sequences")
    add("--learning-rate", type=float, default=1e-3, help="of Adam")
    add("--seeds", type=int, default=3, help="how many networks, seeded 0, 1, ...")
    add("--output", type=pathlib.Path, default="runs/adding_problem", help="folder")
    args = parser.parse_args(arguments)
    for name in ("units", "epochs", "seeds"):
        if getattr(args, name) < 1:
            parser.error(f"argument --{name}: must be at least 1")
    try:
        args.schedule = km.schedules.get(args.schedule)
        km.MagnitudePruning(args.sparsity)
        if regularizer(args, seed=0) is not None and not args.learning_rate > 0:
            parser.error("argument --learning-rate: must be above 0")
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    return args


def main() -> None:
    """Trains all seeds, and writes and prints the results."""
    args = parse()
    args.output.mkdir(parents=True, exist_ok=True)
    rows = [row for seed in range(args.seeds) for row in run(args, seed)]
    with open(args.output / "results.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    Console().print(summary(rows))
    print(f"Wrote {args.output}/results.csv and one .keras file per seed.")


if __name__ == "__main__":
    main()
