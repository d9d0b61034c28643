"""How time and memory of the penalty grow with the kernel.

    python benchmarks/penalty_memory.py

Value and gradient of a penalty on a square kernel: `keras.regularizers.L1`, by distance
on the torus, and with positions in R³ that are learned. Each in a process of its own,
whose peak is all its resident memory, the backend's included. Draws `--picture`.
"""

import multiprocessing
import pathlib
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from harness import ROOT, Row, parser, run
from pictures import NAMES, scale

from examples.experiments.records import read
from keras_moduli.plot import _style

KINDS = ("L1", "fixed", "learned")
LABELS = {
    "L1": "L1",
    "fixed": "by distance, fixed positions",
    "learned": "by distance, learned positions",
}


def main() -> None:
    found = parser(__doc__, "penalty_memory")
    sizes = [2**power for power in range(8, 15)]
    found.add_argument("--units", type=int, nargs="+", default=sizes)
    picture = ROOT / "docs" / "images" / "penalty_memory.svg"
    found.add_argument("--picture", type=pathlib.Path, default=picture)
    found.add_argument("--draw", action="store_true", help="what is measured already")
    found.set_defaults(repeats=3)
    args = found.parse_args()
    if not args.draw:
        run(args, lambda: measure(args))
    if not args.in_process:
        draw(read(args.output), args.picture)


def measure(args: Any) -> Iterator[Row]:
    spawn = multiprocessing.get_context("spawn")
    for units in args.units:
        baseline = None
        for kind in KINDS:
            with ProcessPoolExecutor(1, spawn) as pool:
                run = pool.submit(evaluate, kind, units, args.repeats)
                seconds, peak = run.result()
            baseline = baseline or peak
            yield {
                "units": units,
                "penalty": kind,
                "ms": 1e3 * seconds,
                "peak GiB": peak,
                "over L1": peak / baseline,
            }


def evaluate(kind: str, units: int, repeats: int) -> tuple[float, float]:
    """Seconds of value and gradient, and the peak of this process in GiB."""
    import keras

    import keras_moduli as km

    if kind == "learned":
        neurons = km.layers.NeuronEmbedding(km.manifolds.Euclidean(3))
        cell = km.layers.ModuliSimpleRNNCell(
            units, embedding=neurons, recurrent_initializer="ones"
        )
        cell.build((None, 1))
        penalty = cell.recurrent_kernel.regularizer
        variables = [cell.recurrent_kernel, cell.embedding]
    else:
        fixed = km.ModuliRegularizer("torus", "dog")
        penalty = keras.regularizers.L1(1e-3) if kind == "L1" else fixed
        variables = [keras.Variable("ones", shape=(units, units))]
    call = gradient(penalty, variables)
    times = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return statistics.median(times[1:]), peak


def gradient(penalty: Callable[[Any], Any], variables: list[Any]) -> Callable[[], Any]:
    """Computes value and gradients, as a training step does on this backend."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        def value(values: list[Any]) -> Any:
            with keras.StatelessScope(zip(variables, values, strict=True)):
                return penalty(variables[0])

        compiled = jax.jit(jax.value_and_grad(value))
        return lambda: jax.block_until_ready(compiled([v.value for v in variables]))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=True)
        def step() -> Any:
            with tf.GradientTape() as tape:
                value = penalty(variables[0])
            return tape.gradient(value, [v.value for v in variables])

        return lambda: step()[0][0, 0].numpy()

    def backward() -> None:
        for variable in variables:
            variable.value.grad = None
        penalty(variables[0]).backward()

    return backward


def draw(rows: list[Row], picture: pathlib.Path) -> None:
    """Time and memory by the number of neurons."""
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    labels = {"ms": "value and gradient, ms", "peak GiB": "peak of the process, GiB"}
    shared = {"sharex": True, "sharey": "row"}
    with _style.panels(2, len(backends), (7.0, 4.6), **shared) as axes:
        for column, backend in zip(axes.T, backends, strict=True):
            column[0].set_title(NAMES[backend])
            column[1].set_xlabel("neurons")
            for panel, name in zip(column, labels, strict=True):
                draw_panel(
                    panel, [row for row in rows if row["backend"] == backend], name
                )
        for panel, label in zip(axes[:, 0], labels.values(), strict=True):
            panel.set_ylabel(label)
        figure, lines = axes[0, 0].figure, axes[0, 0].get_legend_handles_labels()
        figure.legend(*lines, loc="outside upper left", ncols=3)
        _style.save(figure, picture)


def draw_panel(panel: Any, rows: list[Row], name: str) -> None:
    """A line for each penalty."""
    panel.set_yscale("log")
    for kind, color in zip(KINDS, (_style.INK, *_style.COLORS), strict=False):
        points = [(int(r["units"]), float(r[name])) for r in rows if r["penalty"] == kind]
        style = {"color": color, "marker": "o", "markersize": 3.5, "label": LABELS[kind]}
        panel.plot(*zip(*points, strict=True), **style)
    sizes = sorted({int(row["units"]) for row in rows})
    scale(panel.xaxis, panel.set_xscale, sizes[::2])
    if name == "ms":
        panel.yaxis.set_major_formatter("{x:g}")
    else:
        scale(panel.yaxis, panel.set_yscale, [0.5, 1, 2, 4])


if __name__ == "__main__":
    main()
