"""Head direction: a network that integrates its turning learns where its neurons are.

The input is the heading at the start and then the angular velocity, step by step; the
output is the cosine and sine of the heading. What such a network has to hold is a circle.
Its recurrent kernel is charged by a geometry that is learned with it, and pruned.

    python examples/learned_head_direction.py --seeds 5

prints, for each seed, the error in degrees and the rank correlation of the learned
distance of neurons with the distance of the headings at which they are most active, and
the same for the permuted control, whose costs are put at random connections. It draws the
learned places, colored by the preferred heading.
"""

import argparse
import pathlib
import statistics

import keras
import numpy as np
import records
from head_direction import HeadDirection
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

import keras_moduli as km

BATCHES = 100  # in an epoch


def walks(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (count, 25, 3) and headings (count, 25), in radians."""
    x, _, points = HeadDirection().walks(count, seed)
    return x, np.deg2rad(points[..., 0])


@keras.saving.register_keras_serializable("learned_head_direction")
def competition(x: keras.KerasTensor) -> keras.KerasTensor:
    """ReLU under inhibition by the mean of all neurons."""
    return keras.ops.relu(x - keras.ops.mean(x, axis=-1, keepdims=True))


def train(args: argparse.Namespace, seed: int, *, permuted: bool) -> keras.Model:
    """A network that has learned the task and its geometry."""
    keras.utils.set_random_seed(seed)
    layer = km.layers.ModuliSimpleRNN(
        args.units,
        activation=competition,
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
    optimizer = km.embedding_optimizer(
        keras.optimizers.Adam(args.learning_rate, global_clipnorm=1.0),
        args.embedding_rate,
    )
    model.compile(optimizer, "mse")
    callbacks = [km.MagnitudePruning(args.sparsity), km.GeometryMonitor(frequency=10)]
    task = HeadDirection(seed=seed, batches=BATCHES)
    model.fit(
        **task.training(), epochs=args.epochs, callbacks=callbacks, verbose=args.verbose
    )
    return model


def preferred_headings(model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """The heading at which each neuron is most active, and how sharply it is tuned.

    Sharpness is the length of the mean direction weighted by activity: 0 for a neuron
    that does not care, and for one that is silent.
    """
    x, heading = walks(2000, 2**31 + 1)
    activity = keras.ops.convert_to_numpy(model.layers[0](x))[:, 5:].reshape(
        -1, model.layers[0].units
    )
    directions = np.exp(1j * heading[:, 5:].ravel())
    mean = (activity * directions[:, None]).sum(0) / np.maximum(activity.sum(0), 1e-9)
    return np.angle(mean), np.abs(mean)


def connected_neurons(model: keras.Model) -> np.ndarray:
    """Which neurons pruning has left a recurrent connection."""
    kernel = keras.ops.convert_to_numpy(model.layers[0].cell.recurrent_kernel.value)
    return (kernel != 0).any(axis=0) | (kernel != 0).any(axis=1)


def geometry_correlation(model: keras.Model) -> tuple[float, int]:
    """Rank correlation of learned distance with tuning distance; how many neurons."""
    heading, sharpness = preferred_headings(model)
    tuned = np.flatnonzero((sharpness > 0.3) & connected_neurons(model))
    layer = model.layers[0]
    learned = keras.ops.convert_to_numpy(
        layer.neurons.manifold.pairwise(layer.embedding.value)
    )[np.ix_(tuned, tuned)]
    difference = heading[tuned][:, None] - heading[tuned]
    tuning = np.abs(np.angle(np.exp(1j * difference)))
    pairs = np.triu_indices(len(tuned), 1)
    if len(tuned) < 3:
        return float("nan"), len(tuned)
    return float(spearmanr(learned[pairs], tuning[pairs])[0]), len(tuned)


def draw(model: keras.Model, path: pathlib.Path) -> None:
    """The learned places, colored by preferred heading."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    heading, sharpness = preferred_headings(model)
    points = keras.ops.convert_to_numpy(model.layers[0].embedding.value)
    connected = connected_neurons(model)
    figure, axes = plt.subplots(figsize=(4.2, 3.6))
    tuned = (sharpness > 0.3) & connected
    axes.scatter(*points[~tuned & connected].T, s=8, color="#c9ced9", label="untuned")
    colors = np.rad2deg(heading[tuned]) % 360
    dots = axes.scatter(*points[tuned].T, s=18, c=colors, cmap="hsv", vmin=0, vmax=360)
    figure.colorbar(dots, label="preferred heading in degrees")
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Learned geometry of a head-direction network.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--units", type=int, default=128)
    add("--epochs", type=int, default=40, help="of 100 fresh batches")
    add("--sparsity", type=float, default=0.8)
    add("--strength", type=float, default=1e-3, help="of the penalty, times units")
    add("--power", type=int, default=1, help="of the weights in the penalty")
    add("--dispersion", type=float, default=10.0)
    add("--embedding-rate", type=float, default=0.03, help="learning rate of the places")
    add("--learning-rate", type=float, default=2e-3, help="of the weights")
    add("--seeds", type=int, default=5)
    add("--verbose", type=int, default=2, help="of Keras's progress")
    add("--output", type=pathlib.Path, default="runs/learned_head_direction")
    return parser.parse_args(arguments)


def main() -> None:
    """All seeds, learned geometry and permuted control."""
    args = parse()
    args.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(args.seeds):
        for permuted in (False, True):
            model = train(args, seed, permuted=permuted)
            correlation, tuned = geometry_correlation(model)
            setting = "permuted" if permuted else "learned"
            row = [setting, seed, correlation, HeadDirection().error(model), tuned]
            rows.append(row)
            print(*row, flush=True)
            if seed == 0 and not permuted:
                draw(model, args.output / "head_direction.png")
    columns = ("setting", "seed", "correlation", "degrees", "tuned")
    records.write(
        args.output / "results.csv",
        (dict(zip(columns, row, strict=True)) for row in rows),
    )
    table = Table("", "correlation: median", "all", "degrees: median", "tuned neurons")
    for setting in ("learned", "permuted"):
        _, _, found, degrees, tuned = zip(
            *[row for row in rows if row[0] == setting], strict=True
        )
        table.add_row(
            setting,
            f"{statistics.median(found):.3f}",
            " ".join(f"{value:.2f}" for value in found),
            f"{statistics.median(degrees):.2f}",
            " ".join(map(str, tuned)),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
