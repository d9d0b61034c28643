"""Head direction: a network that integrates its turning learns where its neurons are.

The input is the heading at the start and then the angular velocity, step by step; the
output is the cosine and sine of the heading. What such a network has to hold is a circle.
Its recurrent kernel is charged by a geometry that is learned with it, and pruned.

    python -m examples.experiments.learned_head_direction --seeds 5

prints, for each seed, the error in degrees and the rank correlation of the learned
distance of neurons with the distance of the headings at which they are most active, and
the same for the permuted control, whose costs are put at random connections. It draws the
learned positions, colored by the preferred heading.
"""

import argparse
import pathlib
import statistics
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

import keras_moduli as km

from . import records
from .declarations import RESULTS
from .report.markdown import format_number
from .tasks.head_direction import HeadDirection

TUNED = 0.3  # how sharply a neuron must be tuned to count


@keras.saving.register_keras_serializable("learned_head_direction")
def compete(x: keras.KerasTensor) -> keras.KerasTensor:
    """Applies ReLU under inhibition by the mean of all neurons."""
    return keras.ops.relu(x - keras.ops.mean(x, axis=-1, keepdims=True))


def build(args: argparse.Namespace, seed: int, *, permuted: bool) -> keras.Model:
    """Builds a network whose geometry is to be learned with it."""
    layer = km.layers.ModuliSimpleRNN(
        args.units,
        activation=compete,
        return_sequences=True,
        recurrent_initializer=keras.initializers.RandomUniform(0.0, 2.0 / args.units),
        recurrent_constraint="non_neg",
        manifold=km.manifolds.Euclidean(2),
        strength=args.strength / args.units,
        power=args.power,
        dispersion=args.dispersion,
        embedding_seed=seed,
        permute_seed=seed if permuted else None,
    )
    model = keras.Sequential([keras.Input((25, 3)), layer, keras.layers.Dense(2)])
    adam = keras.optimizers.Adam(args.learning_rate, global_clipnorm=1.0)
    model.compile(km.embedding_optimizer(adam, args.embedding_rate), "mse")
    return model


def train(args: argparse.Namespace, seed: int, *, permuted: bool) -> keras.Model:
    """Trains a network until it has learned the task and its geometry."""
    keras.utils.set_random_seed(seed)
    model = build(args, seed, permuted=permuted)
    task = HeadDirection(seed=seed, batches=args.batches)
    callbacks = [km.MagnitudePruning(args.sparsity), km.GeometryMonitor(frequency=10)]
    model.fit(
        **task.make_training(),
        epochs=args.epochs,
        callbacks=callbacks,
        verbose=args.verbose,
    )
    return model


def get_positions(model: keras.Model) -> np.ndarray:
    """Returns the learned positions of the recurrent neurons."""
    return keras.ops.convert_to_numpy(model.layers[0].embedding.value)


def find_preferred_headings(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Finds the heading at which each neuron is most active, and how sharp its tuning is.

    Sharpness is the length of the mean direction weighted by activity: 0 for a neuron
    that does not care, and for one that is silent.
    """
    x, _, points = HeadDirection().draw_walks(2000, 2**31 + 1)
    activity = keras.ops.convert_to_numpy(model.layers[0](x))[:, 5:]
    activity = activity.reshape(-1, activity.shape[-1])
    directions = np.exp(1j * np.deg2rad(points[:, 5:, 0])).ravel()
    total = np.maximum(activity.sum(0), 1e-9)
    mean = (activity * directions[:, None]).sum(0) / total
    return np.angle(mean), np.abs(mean)


def are_connected(model: keras.Model) -> np.ndarray:
    """Says which neurons pruning has left a recurrent connection."""
    kernel = keras.ops.convert_to_numpy(model.layers[0].cell.recurrent_kernel.value)
    return (kernel != 0).any(axis=0) | (kernel != 0).any(axis=1)


def correlate_geometry(model: keras.Model) -> tuple[float, int]:
    """Computes the rank correlation of learned distances with those of tuning.

    Returns:
        The correlation over all pairs of tuned and connected neurons, and their number.
    """
    heading, sharpness = find_preferred_headings(model)
    tuned = np.flatnonzero((sharpness > TUNED) & are_connected(model))
    if len(tuned) < 3:
        return float("nan"), len(tuned)
    manifold = km.manifolds.Euclidean(2)
    learned = keras.ops.convert_to_numpy(manifold.pairwise(get_positions(model)[tuned]))
    difference = heading[tuned][:, None] - heading[tuned]
    tuning = np.abs(np.angle(np.exp(1j * difference)))
    pairs = np.triu_indices(len(tuned), 1)
    return float(spearmanr(learned[pairs], tuning[pairs])[0]), len(tuned)


def list_neurons(model: keras.Model) -> list[records.Row]:
    """Makes a row of each connected neuron: where it is, and what it is tuned to."""
    heading, sharpness = find_preferred_headings(model)
    points = get_positions(model)
    return [
        {
            "neuron": int(neuron),
            "x": round(float(points[neuron, 0]), 4),
            "y": round(float(points[neuron, 1]), 4),
            "heading": round(float(np.rad2deg(heading[neuron])) % 360, 2),
            "sharpness": round(float(sharpness[neuron]), 3),
        }
        for neuron in np.flatnonzero(are_connected(model))
    ]


def draw(rows: list[records.Row], path: pathlib.Path) -> None:
    """Draws the learned positions, and their distances over those of tuning."""
    from keras_moduli.plot import _style

    from .report.figures import draw_distances

    columns = ("x", "y", "heading", "sharpness")
    x, y, heading, sharpness = np.array(
        [[float(row[c]) for c in columns] for row in rows]
    ).T
    tuned = sharpness > TUNED
    points = np.column_stack([x, y])[tuned].astype("float32")
    plane = km.manifolds.Euclidean(2)
    learned = keras.ops.convert_to_numpy(plane.pairwise(points))
    turn = np.deg2rad(heading[tuned][:, None] - heading[tuned])
    with _style.panels(1, 2, (7.0, 3.1), width_ratios=(1.25, 1)) as axes:
        left, right = axes[0]
        left.scatter(x[~tuned], y[~tuned], s=12, color=_style.PALE)
        dots = left.scatter(
            *points.T,
            s=26,
            c=heading[tuned],
            cmap=_style.CYCLIC,
            vmin=0,
            vmax=360,
            edgecolors=_style.INK,
            linewidths=0.4,
        )
        bar = left.figure.colorbar(dots, ax=left, label="preferred heading, degrees")
        bar.set_ticks(range(0, 361, 90))
        left.set(aspect="equal", xlabel="position, 1st axis", ylabel="position, 2nd axis")
        draw_distances(right, np.rad2deg(np.abs(np.angle(np.exp(1j * turn)))), learned)
        right.set(xlabel="between preferred headings, degrees", ylabel="learned distance")
        right.set_xticks(range(0, 181, 45))
        _style.save(left.figure, path)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description="Learned geometry of a head-direction network.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--units", type=int, default=128)
    add("--epochs", type=int, default=40)
    add("--batches", type=int, default=100, help="of fresh walks in an epoch")
    add("--sparsity", type=float, default=0.8)
    add("--strength", type=float, default=1e-3, help="of the penalty, times units")
    add("--power", type=int, default=1, help="of the weights in the penalty")
    add("--dispersion", type=float, default=10.0)
    add("--embedding-rate", type=float, default=0.03, help="of learning the positions")
    add("--learning-rate", type=float, default=2e-3, help="of the weights")
    add("--seeds", type=int, default=5)
    add("--verbose", type=int, default=2, help="of Keras's progress")
    add("--draw", action="store_true", help="the picture of docs, of what it has already")
    folder = pathlib.Path("runs/learned_head_direction")
    add("--output", type=pathlib.Path, default=folder)
    return parser.parse_args(arguments)


def tabulate(rows: list[dict[str, Any]]) -> Table:
    """Makes a table of each setting over the seeds."""
    table = Table("", "correlation: median", "all", "degrees: median", "tuned neurons")
    for setting in ("learned", "permuted"):
        chosen = [row for row in rows if row["setting"] == setting]
        correlations = [row["correlation"] for row in chosen]
        table.add_row(
            setting,
            format_number(statistics.median(correlations), 3),
            " ".join(format_number(value, 2) for value in correlations),
            format_number(statistics.median(row["degrees"] for row in chosen), 2),
            " ".join(str(row["tuned"]) for row in chosen),
        )
    return table


def main(arguments: list[str] | None = None) -> None:
    """Trains all seeds, with learned geometry and with the permuted control."""
    args = parse(arguments)
    if args.draw:
        picture = RESULTS.parent / "images" / "head_direction.svg"
        return draw(records.read(RESULTS / "head_direction_positions.csv"), picture)
    args.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(args.seeds):
        for setting in ("learned", "permuted"):
            model = train(args, seed, permuted=setting == "permuted")
            correlation, tuned = correlate_geometry(model)
            row = {"setting": setting, "seed": seed, "correlation": correlation}
            row |= {"degrees": HeadDirection().measure_error(model), "tuned": tuned}
            rows.append(row)
            print(*row.values(), flush=True)
            if seed == 0 and setting == "learned":
                neurons = list_neurons(model)
                records.write(args.output / "head_direction_positions.csv", neurons)
                draw(neurons, args.output / "head_direction.svg")
    records.write(args.output / "results.csv", rows)
    Console().print(tabulate(rows))


if __name__ == "__main__":
    main()
