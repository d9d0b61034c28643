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
from .declarations import RESULTS
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
SHORTEST = 0.01  # of the largest distance, a life that is drawn


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


def list_positions(case: str, points: np.ndarray) -> list[records.Row]:
    """Makes a row of each neuron, of where it is."""
    return [
        {"case": case, "neuron": neuron}
        | {f"x{axis}": round(float(x), 4) for axis, x in enumerate(point)}
        for neuron, point in enumerate(points)
    ]


def read_positions(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the learned positions of each case."""
    cases: dict[str, list[list[float]]] = {}
    for row in records.read(path):
        point = [float(x) for name, x in row.items() if name.startswith("x") and x]
        cases.setdefault(row["case"], []).append(point)
    return {case: np.array(points) for case, points in cases.items()}


def draw(positions: dict[str, np.ndarray], path: pathlib.Path) -> None:
    """Draws learned over true distances, and their persistence diagrams, case by case."""
    from keras_moduli.plot import _style

    wide = min(len(positions), 4)
    tall = 2 * -(-len(positions) // wide)
    with _style.panels(tall, wide, (7.0, 1.8 * tall)) as axes:
        for place, (name, points) in enumerate(positions.items()):
            row, column = divmod(place, wide)
            draw_case(axes[2 * row : 2 * row + 2, column], name, points)
        for row in range(0, tall, 2):
            axes[row, 0].set_ylabel("learned distance")
            axes[row + 1, 0].set_ylabel("death, distance")
        handles, labels = axes[1, 0].get_legend_handles_labels()
        figure = axes[0, 0].figure
        figure.get_layout_engine().set(hspace=0.07)
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        _style.save(figure, path)


def draw_case(column: np.ndarray, name: str, points: np.ndarray) -> None:
    """Draws one case into two axes."""
    from keras_moduli.plot import _persistence

    from .report.figures import draw_distances

    truth, manifold = CASES[name]
    true = compute_distances(truth, truth.sample(len(points), 1000))
    learned = compute_distances(manifold, points).astype("float64")
    learned = np.maximum(learned, learned.T)
    draw_distances(column[0], true, learned)
    column[0].set_title(name)
    column[0].set_xlabel("true distance")
    longest = float(learned.max())
    holes = {
        # What dies as soon as it is born is the diagonal, in hundreds of dots.
        dim: found[np.diff(found)[:, 0] > SHORTEST * longest]
        for dim, found in _persistence.compute(learned, (0, 1, 2)).items()
    }
    _persistence.draw_dots(column[1], holes, longest, size=9)
    column[1].set(ylabel="", xlabel="birth, distance")
    column[1].get_legend().remove()


def run_case(
    name: str, dispersion: float, seeds: int, units: int
) -> tuple[list[records.Row], np.ndarray]:
    """Learns a case from each seed; returns a row for each, and positions of seed 0."""
    truth, manifold = CASES[name]
    rows, positions = [], []
    for seed in range(seeds):
        points, true = learn(truth, manifold, seed, units, dispersion=dispersion)
        positions.append(points)
        learned = compute_distances(manifold, points)
        row = {"case": name, "dispersion": dispersion, "seed": seed}
        row["correlation"] = correlate_ranks(learned, true)
        rows.append(row | {"mean_distance": float(learned.mean())})
    return rows, positions[0]


def main() -> None:
    """Learns all cases from all seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--units", type=int, default=256)
    folder = pathlib.Path("runs/planted_geometry")
    parser.add_argument("--output", type=pathlib.Path, default=folder)
    parser.add_argument(
        "--draw", action="store_true", help="the picture of docs, of what it has already"
    )
    args = parser.parse_args()
    if args.draw:
        picture = RESULTS.parent / "images" / "planted_geometry.svg"
        return draw(read_positions(RESULTS / "planted_positions.csv"), picture)
    args.output.mkdir(parents=True, exist_ok=True)
    table = Table("", "dispersion", "median", "all seeds")
    rows, positions = [], []
    for name in CASES:
        for dispersion in (3.0, 0.0):
            case, learned = run_case(name, dispersion, args.seeds, args.units)
            rows += case
            if dispersion:
                positions += list_positions(name, learned)
            correlations = [row["correlation"] for row in case]
            median = format_number(statistics.median(correlations), 3)
            seeds = " ".join(format_number(value, 3) for value in correlations)
            print(name, dispersion, median, seeds, flush=True)
            table.add_row(name, str(dispersion), median, seeds)
    records.write(args.output / "results.csv", rows)
    records.write(args.output / "planted_positions.csv", positions)
    learned = read_positions(args.output / "planted_positions.csv")
    draw(learned, args.output / "planted_geometry.svg")
    Console().print(table)


if __name__ == "__main__":
    main()
