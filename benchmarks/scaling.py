"""How time and memory of training grow with the width, at so many connections a neuron.

    python benchmarks/scaling.py

A `SimpleRNN` over 50 time steps with 16 features and a `Dense(1)`, Adam, batches of 32,
each size in a process of its own. `peak GiB` is what it has taken at most beyond
what the backend takes by itself, which is found by training a layer of 16 units first.
`dense kernel GiB` is arithmetic: 4 bytes for each of units² weights, of which training by
Adam holds four, with the gradient and two moments. A dense layer is measured up to the
size whose four fit `--memory`. Draws `--picture`, where what is dashed is not measured:
seconds that grow with the square, and the memory of those four.
"""

import math
import multiprocessing
import pathlib
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from harness import ROOT, Row, connect, parser, run, step_seconds
from pictures import COLORS, NAMES, scale

from examples.experiments.provenance import measure_peak_memory
from examples.experiments.records import read
from keras_moduli.plot import _style

FEATURES, COPIES = 16, 4
KEYS = ("backend", "layer", "units", "fan in", "batch", "time steps")


def main() -> None:
    found = parser(__doc__, "scaling")
    sizes = [2**power for power in range(10, 17)]
    found.add_argument("--units", type=int, nargs="+", default=sizes)
    found.add_argument("--fan-in", type=int, default=64, help="connections per neuron")
    found.add_argument("--block", type=int, nargs=2, default=[16, 16])
    found.add_argument("--batch", type=int, default=32)
    found.add_argument("--time", type=int, default=50, help="steps of a sequence")
    found.add_argument("--layers", nargs="+", default=["sparse", "dense"])
    found.add_argument(
        "--memory", type=float, default=8.0, help="GiB that a dense kernel may take"
    )
    picture = ROOT / "docs" / "images" / "scaling.svg"
    found.add_argument("--picture", type=pathlib.Path, default=picture)
    found.add_argument("--draw", action="store_true", help="what is measured already")
    found.set_defaults(repeats=5)
    args = found.parse_args()
    if not args.draw:
        run(args, lambda: measure(args), KEYS)
    if not args.in_process:
        draw(read(args.output), args.picture)


def measure(args: Any) -> Iterator[Row]:
    spawn = multiprocessing.get_context("spawn")
    for units in args.units:
        for kind in args.layers:
            kernel = 4 * units**2 / 2**30
            if kind == "dense" and COPIES * kernel > args.memory:
                continue
            with ProcessPoolExecutor(1, spawn) as pool:
                try:
                    found = pool.submit(evaluate, kind, units, vars(args)).result()
                except BrokenProcessPool:  # the system killed it
                    print(f"{kind}, {units} units: left out", file=sys.stderr)
                    continue
            yield {
                "layer": kind,
                "units": units,
                "fan in": args.fan_in if kind == "sparse" else units,
                "batch": args.batch,
                "time steps": args.time,
                **found,
                "dense kernel GiB": kernel,
            }


def evaluate(kind: str, units: int, args: dict[str, Any]) -> Row:
    """Trains and predicts; seconds of each, and what this process took."""
    import keras
    import numpy as np

    import keras_moduli as km

    rng = np.random.RandomState(0)
    steps, batch = args["repeats"] + 2, args["batch"]
    shape = (steps * batch, args["time"], FEATURES)
    x = rng.standard_normal(shape).astype("float32")
    y = x.mean(axis=(1, 2))[:, None]
    own = keras.layers.SimpleRNN(16)
    step_seconds(build(own, args), x[: 2 * batch], y[: 2 * batch], batch)
    before = find_peak()
    start = time.perf_counter()
    if kind == "sparse":
        connectivity = connect(units, args["fan_in"], args["block"])
        layer = km.layers.SparseSimpleRNN(units, connectivity=connectivity)
    else:  # an orthogonal kernel takes minutes to draw, and no less time in a step
        layer = keras.layers.SimpleRNN(units, recurrent_initializer="glorot_uniform")
    model = build(layer, args)
    built = time.perf_counter() - start
    seconds = step_seconds(model, x, y, batch)[1:]
    model.predict(x[:batch], batch, verbose=0)
    start = time.perf_counter()
    model.predict(x[:batch], batch, verbose=0)
    predicted = time.perf_counter() - start
    return {
        "step s": statistics.median(seconds),
        "predict s": predicted,
        "build s": built,
        "peak GiB": find_peak() - before,
    }


def build(layer: Any, args: dict[str, Any]) -> Any:
    import keras

    inputs = keras.Input((args["time"], FEATURES))
    model = keras.Sequential([inputs, layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-4), "mse")
    return model


def find_peak() -> float:
    """The most memory that this process has held, in GiB."""
    return float(measure_peak_memory()) / 2**10


def draw(rows: list[Row], picture: pathlib.Path) -> None:
    """Time and memory by the number of neurons, both axes logarithmic."""
    titles = {"step s": "seconds per training step", "peak GiB": "GiB of memory"}
    with _style.panels(1, 2, (7.0, 3.3)) as axes:
        for panel, (column, title) in zip(axes[0], titles.items(), strict=True):
            draw_panel(panel, rows, column)
            panel.set_ylabel(title)
        _style.save(axes[0, 0].figure, picture)


def draw_panel(panel: Any, rows: list[Row], column: str) -> None:
    """Lines of each backend, pale if dense, and of the dense kernel's arithmetic."""
    sizes = sorted({int(row["units"]) for row in rows})
    scale(panel.xaxis, panel.set_xscale, sizes)
    panel.set_yscale("log")
    panel.set_xlim(sizes[0] / 1.2, sizes[-1] * 1.2)
    panel.set_xticks(sizes, [f"{size / 1024:g}K" for size in sizes])
    panel.set_xlabel("neurons")
    panel.yaxis.set_major_formatter("{x:g}")
    labels = []
    for backend, color in COLORS.items():
        for layer, alpha in (("dense", 0.45), ("sparse", 1.0)):
            points = sorted(
                (int(row["units"]), float(row[column]))
                for row in rows
                if (row["backend"], row["layer"]) == (backend, layer)
            )
            if points:
                style = {"color": color, "alpha": alpha, "lw": 1.6}
                panel.plot(*zip(*points, strict=True), marker="o", ms=3.5, **style)
                name = NAMES[backend]
                label = name if layer == "sparse" else "dense"
                labels.append((points[-1], label, style))
                if layer == "dense" and column == "step s":
                    (units, seconds), last = points[-1], sizes[-1]
                    grown = [(units, seconds), (last, seconds * (last / units) ** 2)]
                    panel.plot(*zip(*grown, strict=True), ls="--", **style)
    if column == "peak GiB":
        memory = [COPIES * 4 * size**2 / 2**30 for size in sizes]
        style = {"color": _style.INK, "alpha": 1, "lw": 1.2}
        panel.plot(sizes, memory, ls="--", zorder=0, **style)
        labels.append(((sizes[-1], memory[-1]), "dense,\nby arithmetic", style))
    place_labels(panel, labels)


def place_labels(panel: Any, labels: list[Any]) -> None:
    """Names lines at their ends, apart from each other."""
    low, high = (math.log10(limit) for limit in panel.get_ylim())
    last = max(x for (x, _), _, _ in labels)
    placed: dict[float, float] = {}
    for (x, y), text, style in sorted(labels, key=lambda label: label[0]):
        height = math.log10(y) + (0.0 if x == last else 0.05 * (high - low))
        height = max(height, placed.get(x, low) + 0.05 * (high - low))
        placed[x] = height
        panel.annotate(
            text,
            (x, 10**height),
            (6 if x == last else -6, 0),
            textcoords="offset points",
            ha="left" if x == last else "right",
            va="center",
            color=style["color"],
            alpha=min(1.0, style["alpha"] + 0.3),
            fontsize=8,
            annotation_clip=False,
        )


if __name__ == "__main__":
    main()
