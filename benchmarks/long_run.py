"""Whether positions stay on their manifold, and memory as it is, in a long run.

    python benchmarks/long_run.py

A recurrent layer of 32 neurons trains for 300 epochs of two steps, its positions too,
with Adam at 0.01; each run in a process of its own. `drift` is the farthest that any
position is off the manifold at the end of any epoch, by the formula of each in float64;
of `Rewire` the most that a column or a row of blocks has more or less than at the start.
`MiB, epoch 50` is the resident memory of the process after that epoch, `growth` what it
has gained by the last. `Keras` is the dense layer of the same shape, with nothing of this
package. Each is run twice: `growth` is the mean, `least` and `most` its range.
"""

import gc
import importlib
import importlib.util
import multiprocessing
import os
import statistics
from collections.abc import Callable, Iterator
from typing import Any

from harness import Row, parser, run

KEYS = ("backend", "kind")
UNITS, BATCHES, BATCH, EARLY = 32, 2, 8, 50
MANIFOLDS = {  # what follows from the coordinates alone
    "sphere": lambda m, x: abs(_length(x) - 1),
    "torus": lambda m, x: _outside(x, 0, m.period),
    "klein_bottle": lambda m, x: _outside(x, 0, m.period),
    "so3": lambda m, x: abs(_length(x) - 1),
    "poincare_ball": lambda m, x: _outside(_length(x), 0, 1 - 1e-5),
    "euclidean": lambda m, x: abs(0 * x),
}
GROWTH = ("gradient", "near")
KINDS = (
    "Keras SimpleRNN",
    *MANIFOLDS,
    "Keras GRU",
    *(f"Rewire, {grow}" for grow in GROWTH),
)


def main() -> None:
    found = parser(__doc__, "long_run")
    found.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    found.add_argument("--epochs", type=int, default=300)
    found.set_defaults(repeats=2)
    args = found.parse_args()
    run(args, lambda: measure(args), KEYS)


def measure(args: Any) -> Iterator[Row]:
    # Processes are forked from this one, which has imported all and computes nothing.
    if importlib.util.find_spec("tensorflow"):
        importlib.import_module("tensorflow")  # `fit` does, on all backends
    importlib.import_module("keras_moduli")
    for kind in args.kinds:
        runs = [_fork(train, kind, args.epochs) for _ in range(args.repeats)]
        drifts, early, late = zip(*runs, strict=True)
        growth = [b - a for a, b in zip(early, late, strict=True)]
        yield {
            "kind": kind,
            "epochs": args.epochs,
            "steps": args.epochs * BATCHES,
            "drift": max(drifts),
            "MiB, epoch 50": statistics.median(early),
            "growth": statistics.median(growth),
            "least": min(growth),
            "most": max(growth),
            "runs": args.repeats,
        }


def _fork(function: Callable[..., Any], *args: Any) -> Any:
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(function(*args)))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def train(kind: str, epochs: int) -> tuple[float, float, float]:
    """Returns the drift, and the MiB of this process after epoch 50 and at the end."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    x = np.random.RandomState(0).standard_normal((BATCHES * BATCH, 4, 3))
    data = x.astype("float32"), x.sum(axis=(1, 2))[:, None].astype("float32")
    layer, callbacks, measure_drift = make(kind, data)
    model = keras.Sequential([keras.Input((4, 3)), layer, keras.layers.Dense(1)])
    # XLA takes TensorFlow many seconds, and JAX has nothing else.
    jit = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.Adam(1e-2), "mse", jit_compile=jit)
    drifts, sizes = [measure_drift()], []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            _ = self.model  # JAX: writes the compiled step's state back to the model
            drifts.append(measure_drift())
            if epoch + 1 in (min(EARLY, epochs - 1), epochs):
                gc.collect()
                sizes.append(_measure_memory())

    fit = {"batch_size": BATCH, "epochs": epochs, "verbose": 0}
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    history = model.fit(*data, **fit, callbacks=[*callbacks, Watch()]).history
    for old, variable in zip(before, model.trainable_variables, strict=True):
        assert (old != keras.ops.convert_to_numpy(variable)).any()  # positions too
    assert not callbacks or sum(history["moved"]) > 0
    return max(drifts), sizes[0], sizes[1]


def make(kind: str, data: Any) -> tuple[Any, list[Any], Callable[[], float]]:
    """Returns a layer, callbacks, and what measures the drift."""
    import keras

    import keras_moduli as km

    if kind.startswith("Keras"):
        return getattr(keras.layers, kind.split()[1])(UNITS), [], lambda: 0.0
    if kind in MANIFOLDS:
        layer = km.layers.ModuliSimpleRNN(UNITS, manifold=kind, strength=1e-2)
        return layer, [], lambda: _measure_drift(layer.manifold, kind, layer)
    grow = kind.split()[1]
    rule = km.connectivity.SmallWorld("torus", density=1 / 4, block=(4, 4))
    layer = km.layers.SparseGRU(UNITS, connectivity=rule)
    sources = {"data": data, "batch_size": 16} if grow == "gradient" else {}
    rewire = km.Rewire(0.5, 4, grow, select="recurrent", **sources)
    return layer, [rewire], _Blocks(layer)


def _measure_drift(manifold: Any, kind: str, layer: Any) -> float:
    import keras
    import numpy as np

    points = keras.ops.convert_to_numpy(layer.embedding)
    drift = MANIFOLDS[kind](manifold, points.astype(np.float64)).max()
    return float(drift if np.isfinite(points).all() else np.inf)


class _Blocks:
    """How far the counts of blocks are from those at the start."""

    def __init__(self, layer: Any) -> None:
        self.layer, self.start = layer, None

    def __call__(self) -> float:
        import keras
        import numpy as np

        import keras_moduli as km

        kernel = km.connectivity.find_kernel(self.layer.recurrent_kernel)
        indices = keras.ops.convert_to_numpy(kernel.indices)
        there = np.zeros((kernel.gates, UNITS // 4, UNITS // 4))  # gate, column, row
        for column, rows in enumerate(indices):
            np.add.at(there[divmod(column, UNITS // 4)], rows, 1)
        counts = [there.sum(axis=1), there.sum(axis=2), there.max(axis=(1, 2))]
        self.start = self.start or counts
        pairs = zip(counts, self.start, strict=True)
        return float(max(abs(now - then).max() for now, then in pairs))


def _measure_memory() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _length(x: Any) -> Any:
    return (x**2).sum(axis=-1) ** 0.5


def _outside(x: Any, low: Any, high: Any) -> Any:
    return abs(x - x.clip(low, high))


if __name__ == "__main__":
    main()
