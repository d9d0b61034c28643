"""Does a learned embedding find the manifold that is planted in the weights?

The recurrent kernel of a network is set to a local kernel on a known manifold and not
trained; its neurons start at random positions, on that manifold or in Euclidean space,
and learn where they are from the kernel alone.

    python -m examples.experiments.planted_geometry --seeds 5

prints the rank correlation of learned with true distances, with the default dispersion
and without, and draws what was learned with its persistence diagrams, in which a circle
shows as one long-lived loop and a torus as two.
"""

import argparse
import pathlib
import statistics

import keras
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

import keras_moduli as km

from . import records
from .report.markdown import format_number

M = km.manifolds
# What is planted, and where the neurons look for it.
CASES = {
    "circle in R2": (M.Circle(), M.Euclidean(2)),
    "circle in R3": (M.Circle(), M.Euclidean(3)),
    "circle on itself": (M.Circle(), M.Sphere(1)),
    "circle by arc length": (M.Circle(), M.Circle()),
    "sphere in R3": (M.Sphere(), M.Euclidean(3)),
    "sphere on itself": (M.Sphere(), M.Sphere()),
    "torus in R4": (M.Torus(), M.Euclidean(4)),
    "torus on itself": (M.Torus(), M.Torus()),
}
STEPS = 1000
FASTEST = 0.1


def make_local_kernel(distances: np.ndarray) -> np.ndarray:
    """Makes exp(−d²/2r²), a tenth of all pairs being within r, evened out over neurons.

    The neurons are placed at random, so that some have more neighbors than others; as
    in a network with homeostasis, their total weights are about the same all the same.
    """
    r = np.quantile(distances, 0.1)
    kernel = np.exp(-((distances / r) ** 2) / 2)
    totals = np.sqrt(kernel.sum(axis=0))
    return (kernel / totals / totals[:, None]).astype("float32")


def compute_distances(manifold: M.Manifold, points: np.ndarray) -> np.ndarray:
    """Computes all distances, as an array."""
    return keras.ops.convert_to_numpy(manifold.pairwise(points.astype("float32")))


def learn(
    truth: M.Manifold,
    manifold: M.Manifold,
    seed: int,
    units: int = 256,
    **arguments: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the learned positions, and the true distances."""
    true = compute_distances(truth, truth.sample(units, 1000 + seed))
    shuffled = np.random.RandomState(seed).permutation(units)
    start = manifold.sample(units, seed)[shuffled]
    layer = km.layers.ModuliSimpleRNN(
        units,
        manifold=manifold,
        embedding_initializer=lambda shape, dtype=None: keras.ops.convert_to_tensor(
            start.astype("float32")
        ),
        **arguments,
    )
    model = keras.Sequential([keras.Input((1, 1)), layer])
    layer.cell.recurrent_kernel.assign(make_local_kernel(true))
    for weight in layer.cell.weights:
        weight.trainable = False
    # Fast at first, in units of the coordinates, so that neurons pass each other; then
    # slow, so that they settle.
    fastest = FASTEST * float(start.std())
    rate = keras.optimizers.schedules.CosineDecay(fastest, STEPS)
    model.compile(keras.optimizers.Adam(rate), "mse")
    nothing = np.zeros((STEPS, 1, 1), "float32")
    model.fit(nothing, np.zeros((STEPS, units)), batch_size=1, verbose=0)
    return keras.ops.convert_to_numpy(layer.embedding.value), true


def correlate_ranks(learned: np.ndarray, true: np.ndarray) -> float:
    """Computes Spearman's correlation over all pairs."""
    pairs = np.triu_indices(len(true), 1)
    if np.ptp(learned[pairs]) == 0:  # all neurons in one point
        return 0.0
    return float(spearmanr(learned[pairs], true[pairs])[0])


def count_long_loops(points: np.ndarray) -> int:
    """Counts the loops that stand out: where the sorted lifetimes of H1 fall by most."""
    from ripser import ripser

    births, deaths = ripser(points)["dgms"][1].T
    lives = np.append(np.sort(deaths - births)[::-1], 0.0)
    return int(np.argmax(lives[:-1] - lives[1:])) + 1


def draw(results: dict[str, np.ndarray], path: pathlib.Path) -> None:
    """Draws the learned distances and their persistence diagrams, case by case."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from ripser import ripser

    figure, axes = plt.subplots(2, len(results), figsize=(2.3 * len(results), 4.8))
    for column, (name, table) in zip(axes.T, results.items(), strict=True):
        column[0].imshow(table, cmap="viridis")
        column[0].set(xticks=[], yticks=[])
        column[0].set_title(name, fontsize=9)
        top = table.max()
        for dimension, color in ((0, "#c9ced9"), (1, "#d1495b")):
            births, deaths = ripser(table, distance_matrix=True)["dgms"][dimension].T
            label = f"H{dimension}"
            column[1].scatter(births, np.minimum(deaths, top), s=9, c=color, label=label)
        column[1].plot([0, top], [0, top], color="#1f2a44", lw=0.6)
        column[1].set(xlim=(0, top), ylim=(0, top * 1.02), aspect="equal")
        column[1].tick_params(labelsize=6)
    axes[0, 0].set_ylabel("learned distances", fontsize=8)
    axes[1, 0].set_ylabel("death", fontsize=8)
    axes[1, 0].set_xlabel("birth", fontsize=8)
    axes[1, 0].legend(fontsize=7, frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def run_case(
    name: str, dispersion: float, seeds: int, units: int
) -> tuple[list[records.Row], np.ndarray]:
    """Learns a case from each seed; returns a row for each, and distances of seed 0."""
    truth, manifold = CASES[name]
    rows, tables = [], []
    for seed in range(seeds):
        points, true = learn(truth, manifold, seed, units, dispersion=dispersion)
        tables.append(compute_distances(manifold, points))
        row = {"case": name, "dispersion": dispersion, "seed": seed}
        row["correlation"] = correlate_ranks(tables[-1], true)
        rows.append(row | {"mean_distance": float(tables[-1].mean())})
    return rows, tables[0]


def main() -> None:
    """Learns all cases from all seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--units", type=int, default=256)
    folder = pathlib.Path("runs/planted_geometry")
    parser.add_argument("--output", type=pathlib.Path, default=folder)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    table = Table("", "dispersion", "median", "all seeds")
    rows, pictures = [], {}
    for name in CASES:
        for dispersion in (3.0, 0.0):
            case, learned = run_case(name, dispersion, args.seeds, args.units)
            rows += case
            if dispersion:
                pictures[name] = learned
            correlations = [row["correlation"] for row in case]
            median = format_number(statistics.median(correlations), 3)
            seeds = " ".join(format_number(value, 3) for value in correlations)
            print(name, dispersion, median, seeds, flush=True)
            table.add_row(name, str(dispersion), median, seeds)
    records.write(args.output / "results.csv", rows)
    draw(pictures, args.output / "planted_geometry.png")
    Console().print(table)


if __name__ == "__main__":
    main()
