"""How long a step of `fit` takes with a layer that is sparse from the first step.

    python benchmarks/training.py

A recurrent layer over 50 time steps with 16 features and a `Dense(1)`, Adam, mean squared
error, batches of 32. The sparse layer runs in turns with Keras's dense layer of the same
width, and with the narrow one of as many recurrent weights. On PyTorch those of
`torch.nn`, and a loop over SparseLab's `SparseLinear` if it is installed, run too, in a
bare loop of forward, loss, backward and Adam. `over sparse` is the time of a contestant
over that of the sparse layer of the same round.
"""

import importlib.util
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from harness import Row, connect, in_turns, parser, ratio, run, step_seconds

TIME, FEATURES, BATCH = 50, 16, 32
KEYS = ("backend", "cell", "units", "fan in", "contestant")
Clock = Callable[[], float]


def main() -> None:
    found = parser(__doc__, "training_speed")
    found.add_argument("--units", type=int, nargs="+", default=[2048])
    found.add_argument("--fan-in", type=int, default=128, help="connections per neuron")
    found.add_argument("--block", type=int, nargs=2, default=[16, 64])
    found.add_argument("--cells", nargs="+", default=["SimpleRNN"])
    found.add_argument("--steps", type=int, default=8, help="of each round")
    found.add_argument(
        "--skip-dense", action="store_true", help="leave out dense layers of full width"
    )
    found.set_defaults(repeats=7)
    args = found.parse_args()
    run(args, lambda: measure(args), KEYS)


def measure(args: Any) -> Iterator[Row]:
    for cell in args.cells:
        for units in args.units:
            yield from compare(cell, units, args)


def compare(cell: str, units: int, args: Any) -> Iterator[Row]:
    contestants = make_contestants(cell, units, args)
    times = in_turns(contestants, args.repeats)
    for name, seconds in times.items():
        milliseconds = sorted(1e3 * value for value in seconds)
        yield {
            "cell": cell,
            "units": units,
            "fan in": args.fan_in,
            "contestant": name,
            "ms": statistics.median(milliseconds),
            "low": milliseconds[0],
            "high": milliseconds[-1],
            "rounds": args.repeats,
            "over sparse": ratio(times, name, "sparse"),
        }


def make_contestants(cell: str, units: int, args: Any) -> dict[str, Clock]:
    """Returns clocks of the median step: full width is what can be left out."""
    import keras

    import keras_moduli as km

    sparse = getattr(km.layers, f"Sparse{cell}")
    connectivity = connect(units, args.fan_in, args.block)
    narrow = round(math.sqrt(units * args.fan_in))
    widths = {"narrow": narrow} | ({} if args.skip_dense else {"dense": units})
    contestants = {
        "sparse": fit_clock(sparse(units, connectivity=connectivity), args.steps)
    }
    for name, width in widths.items():
        # An orthogonal kernel takes minutes to draw, and no less time in a step.
        layer = getattr(keras.layers, cell)(width, recurrent_initializer="glorot_uniform")
        contestants[f"{name}, Keras"] = fit_clock(layer, args.steps)
    if keras.backend.backend() == "torch":
        for name, width in widths.items():
            contestants[f"{name}, torch.nn"] = torch_clock(cell, width, args.steps)
        if cell == "SimpleRNN" and importlib.util.find_spec("sparselab"):
            contestants["SparseLab"] = sparselab_clock(units, args.fan_in, args.steps)
    return contestants


def draw(count: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.RandomState(0)
    x = rng.standard_normal((count, TIME, FEATURES)).astype("float32")
    return x, x.mean(axis=(1, 2))[:, None]


def fit_clock(layer: Any, steps: int) -> Clock:
    import keras

    model = keras.Sequential(
        [keras.Input((TIME, FEATURES)), layer, keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(1e-4), "mse")
    x, y = draw(BATCH * (steps + 1))
    return lambda: statistics.median(step_seconds(model, x, y, BATCH))


def torch_clock(cell: str, width: int, steps: int) -> Clock:
    from torch import nn

    layer = getattr(nn, cell.removeprefix("Simple"))(FEATURES, width, batch_first=True)
    return loop_clock([layer], lambda x: layer(x)[0][:, -1], width, steps)


def sparselab_clock(units: int, fan_in: int, steps: int) -> Clock:
    """A loop over time that multiplies its states by SparseLab's layer."""
    import sparselab
    import torch

    inputs = torch.nn.Linear(FEATURES, units)
    recurrent = sparselab.SparseLinear(
        units, units, bias=False, sparsity=1 - fan_in / units
    )

    def forward(x: Any) -> Any:
        projected = inputs(x)
        h = x.new_zeros(len(x), units)
        for t in range(TIME):
            h = torch.tanh(projected[:, t] + recurrent(h))
        return h

    return loop_clock([inputs, recurrent], forward, units, steps)


def loop_clock(
    layers: list[Any], forward: Callable[[Any], Any], width: int, steps: int
) -> Clock:
    """The median step of a bare training loop."""
    import torch

    modules = torch.nn.ModuleList([*layers, torch.nn.Linear(width, 1)])
    modules = modules.to("cpu")
    readout = modules[-1]
    optimizer = torch.optim.Adam(modules.parameters(), 1e-4)
    arrays = [torch.tensor(array, device="cpu") for array in draw(BATCH * steps)]

    def epoch() -> float:
        times = []
        for x, y in zip(*(array.split(BATCH) for array in arrays), strict=True):
            start = time.perf_counter()
            loss = torch.nn.functional.mse_loss(readout(forward(x)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    return epoch


if __name__ == "__main__":
    main()
