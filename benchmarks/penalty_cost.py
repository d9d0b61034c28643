"""What the penalty costs in a training step.

    python benchmarks/penalty_cost.py

A step of `fit` of a recurrent layer with a penalty by distance over that with
`keras.regularizers.L1`, 50 time steps, a batch of 32: fixed positions on the torus,
and positions in R³ that are learned.
"""

import functools
import statistics
from collections.abc import Iterator
from typing import Any

from harness import Row, epoch_seconds, in_turns, parser, ratio, run

TIME, BATCH, FEATURES, STEPS, EPOCHS = 50, 32, 16, 10, 6


def main() -> None:
    found = parser(__doc__, "penalty_cost")
    found.add_argument("--units", type=int, nargs="+", default=[256, 512, 1024])
    args = found.parse_args()
    run(args, lambda: measure(args))


def measure(args: Any) -> Iterator[Row]:
    for units in args.units:
        yield {"units": units} | compare(units, args.repeats)


def compare(units: int, repeats: int) -> Row:
    import keras
    import numpy as np

    import keras_moduli as km

    rng = np.random.RandomState(0)
    x = rng.standard_normal((BATCH * STEPS, TIME, FEATURES)).astype("float32")
    y = rng.standard_normal((BATCH * STEPS, 1)).astype("float32")

    def compiled(layer: Any) -> Any:
        model = keras.Sequential(
            [keras.Input((TIME, FEATURES)), layer, keras.layers.Dense(1)]
        )
        model.compile("adam", "mse")
        return model

    rnn = keras.layers.SimpleRNN
    layers = {
        "L1": rnn(units, recurrent_regularizer=keras.regularizers.L1(1e-3)),
        "fixed": rnn(units, recurrent_regularizer=km.ModuliRegularizer("torus", "dog")),
        "learned": km.layers.ModuliSimpleRNN(units, manifold=km.manifolds.Euclidean(3)),
    }
    models = {name: compiled(layer) for name, layer in layers.items()}
    clocks = {
        name: functools.partial(epoch_seconds, model, x, y, BATCH, epochs=EPOCHS)
        for name, model in models.items()
    }
    times = in_turns(clocks, repeats)
    return {
        "L1 ms": 1e3 * statistics.median(times["L1"]) / STEPS,
        "fixed over L1": ratio(times, "fixed", "L1"),
        "learned over L1": ratio(times, "learned", "L1"),
    }


if __name__ == "__main__":
    main()
