"""An epoch of the adding problem, beside the loop of the authors of the method.

    python benchmarks/adding_epoch.py

128 neurons, 50 time steps, 10,000 sequences in batches of 32, a penalty on the torus,
and masks at 90 %. `ours` is `fit` with `ModuliRegularizer` and `MagnitudePruning`.
`theirs` is their algorithm, written anew: a loop over time in PyTorch, coefficients as a
matrix that multiplies |w| in each step, and masks by `torch.nn.utils.prune`.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from harness import Row, epoch_seconds, in_turns, parser, ratio, run

UNITS, STEPS, BATCH, SEQUENCES, SPARSITY = 128, 50, 32, 10_000, 0.9
RATE, CLIP, STRENGTH = 1e-4, 0.5, 0.1


def main() -> None:
    found = parser(__doc__, "adding_epoch")
    found.set_defaults(repeats=5)
    args = found.parse_args()
    run(args, lambda: measure(args.repeats))


def measure(repeats: int) -> Iterator[Row]:
    from examples.experiments.tasks.adding_problem import draw_sequences

    x, y = draw_sequences(SEQUENCES, 0)
    times = in_turns({"ours": ours(x, y), "theirs": theirs(x, y)}, repeats)
    yield {
        "ours s": statistics.median(times["ours"]),
        "theirs s": statistics.median(times["theirs"]),
        "theirs over ours": ratio(times, "theirs", "ours"),
    }


def penalty() -> Any:
    import keras_moduli as km

    return km.ModuliRegularizer("torus", "dog", STRENGTH, reduction="mean")


def ours(x: Any, y: Any) -> Callable[[], float]:
    import keras

    import keras_moduli as km

    model = keras.Sequential(
        [
            keras.Input((STEPS, 2)),
            keras.layers.SimpleRNN(
                UNITS, "relu", recurrent_regularizer=penalty(), unroll=True
            ),
            keras.layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.Adam(RATE, global_clipnorm=CLIP)
    # Steps of so few neurons are short beside what Keras does between two of them.
    steps = 16 if keras.backend.backend() == "tensorflow" else 1
    model.compile(optimizer, "mse", steps_per_execution=steps)
    pruning = km.MagnitudePruning(SPARSITY, select="recurrent", end=3)
    return lambda: epoch_seconds(model, x, y, BATCH, epochs=6, callbacks=[pruning])


def theirs(x: Any, y: Any) -> Callable[[], float]:
    import torch
    from torch import nn
    from torch.nn.utils import prune

    layers = nn.ModuleDict(
        {
            "inputs": nn.Linear(2, UNITS),
            "recurrent": nn.Linear(UNITS, UNITS),
            "readout": nn.Linear(UNITS, 1),
        }
    ).to("cpu")
    costs = torch.tensor(penalty().coefficients((UNITS, UNITS)), dtype=torch.float32)
    costs = costs.to("cpu")
    prune.l1_unstructured(layers["recurrent"], "weight", SPARSITY)
    optimizer = torch.optim.Adam(layers.parameters(), RATE)
    inputs, targets = (torch.tensor(array, device="cpu") for array in (x, y))

    def epoch() -> float:
        start = time.perf_counter()
        for rows in torch.randperm(SEQUENCES, device="cpu").split(BATCH):
            batch = inputs[rows]
            h = torch.zeros(len(rows), UNITS, device="cpu")
            for t in range(STEPS):
                h = torch.relu(layers["inputs"](batch[:, t]) + layers["recurrent"](h))
            loss = nn.functional.mse_loss(layers["readout"](h), targets[rows])
            weight = layers["recurrent"].weight
            loss = loss + STRENGTH * (costs * weight.abs()).mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(layers.parameters(), CLIP)
            optimizer.step()
        return time.perf_counter() - start

    return epoch


if __name__ == "__main__":
    main()
