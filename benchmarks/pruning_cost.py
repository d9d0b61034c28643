"""What pruning costs while a model trains.

    python benchmarks/pruning_cost.py

The time of a training step in `fit` with `MagnitudePruning` over that without, and the
time of one update of the masks of 16 million weights.
"""

import statistics
import time
from collections.abc import Iterator

from harness import Row, epoch_seconds, in_turns, parser, ratio, run

UNITS, TIME, BATCH, FEATURES, STEPS = 256, 50, 32, 16, 40


def main() -> None:
    args = parser(__doc__, "pruning_cost").parse_args()
    run(args, lambda: measure(args.repeats))


def measure(repeats: int) -> Iterator[Row]:
    for name, arguments in {
        "per epoch": {},
        "every 10 steps": {"unit": "step", "frequency": 10},
        "per epoch, RigL": {"regrow": "rigl"},
    }.items():
        yield {"measure": f"step, {name}"} | step_cost(repeats, arguments)
    yield {"measure": "update of 16,777,216 masks"} | update_cost(max(3, repeats // 3))


def step_cost(repeats: int, arguments: dict) -> Row:
    import keras
    import numpy as np

    import keras_moduli as km

    rng = np.random.RandomState(0)
    x = rng.standard_normal((BATCH * STEPS, TIME, FEATURES)).astype("float32")
    y = rng.standard_normal((BATCH * STEPS, 1)).astype("float32")

    def epochs(pruning):
        return epoch_seconds(model, x, y, BATCH, epochs=8, callbacks=pruning)

    model = keras.Sequential(
        [
            keras.Input((TIME, FEATURES)),
            keras.layers.SimpleRNN(UNITS),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    clocks = {
        "without": lambda: epochs([]),
        "with": lambda: epochs([km.MagnitudePruning(0.9, **arguments)]),
    }
    seconds = in_turns(clocks, repeats)
    return {
        "seconds": statistics.median(seconds["with"]) / STEPS,
        "seconds without": statistics.median(seconds["without"]) / STEPS,
        "ratio": ratio(seconds, "with", "without"),
    }


def update_cost(repeats: int) -> Row:
    import keras

    import keras_moduli as km

    model = keras.Sequential([keras.Input((4096,)), keras.layers.Dense(4096)])
    model.compile("sgd", "mse")
    pruning = km.MagnitudePruning(0.9, unit="step", end=repeats, frequency=1)
    pruning.attach(model)
    times = []
    for step in range(repeats + 1):
        start = time.perf_counter()
        pruning.update(step)
        float(keras.ops.convert_to_numpy(model.layers[0].kernel[0, 0]))
        times.append(time.perf_counter() - start)
    pruning.release()
    assert km.sparsity(model).total.zeros == round(0.9 * 4096**2)
    return {
        "seconds": statistics.median(times[1:]),
        "seconds without": "",
        "ratio": "",
    }


if __name__ == "__main__":
    main()
