"""What the most expensive configs of under 10 KB cost, in memory and in time.

    python benchmarks/bounds.py

Each config is read and used in a process of its own, in which the backend has computed
already: how much its peak grows by that, without the weights that the config asks for,
and how long the processor works for the call that takes longest. To be below 512 MB and
10 s.
"""

import copy
import functools
import json
import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

from harness import Row, parser, run

MOST_BYTES = 10_000
Calls = dict[str, Callable[[], Any]]


def main() -> None:
    found = parser(__doc__, "bounds")
    found.add_argument("--only", nargs="+", help="names of cases")
    found.add_argument("--limit", type=float, default=120, help="seconds of a case")
    args = found.parse_args()
    run(args, lambda: measure(args.only, args.limit), keys=("case",))


def measure(only: list[str] | None, limit: float) -> Iterator[Row]:
    """Yields a row for each config."""
    import keras  # before processes are forked, that each has it at once

    assert keras.backend.backend()
    for name, make in list_cases().items():
        if not only or name in only:
            yield {"case": name, **evaluate(make, limit)}


def list_cases() -> dict[str, Callable[[], Any]]:
    """Returns what makes objects; nothing is computed before they are called."""
    import keras_moduli as km

    m, layers, c = km.manifolds, km.layers, km.connectivity
    dims = km._checks.MOST_DIMENSIONS
    distances = [[0 if i == j else 1 for j in range(40)] for i in range(40)]
    wide = c.SmallWorld("torus", 0.5, (1, 1))
    manifolds: dict[str, Any] = {
        **{
            f"{kind.__name__}({dims})": kind(dims)
            for kind in (
                m.Euclidean,
                m.Torus,
                m.Sphere,
                m.ProjectiveSpace,
                m.PoincareBall,
            )
        },
        "400 Klein bottles": m.Product(["klein_bottle"] * 400),
        "16 Klein bottles": m.Product([m.KleinBottle(k) for k in range(1, 17)]),
        "products 16 deep": nest(lambda one: m.Product([one]), m.Circle(), 16),
        "FiniteMetric of 40": m.FiniteMetric(distances),
    }
    cases: dict[str, Callable[[], Any]] = {
        "n of very many": lambda: km.pruning.NofM(1, 2**62, pad=True),
        "blocks beyond kernels": lambda: km.pruning.Blocks((2**62, 2**62), pad=True),
        "permuted 40 times": lambda: nest(c.Permuted, c.Random(0.5, (1, 1))),
        "local on 4096 axes": lambda: c.Local(m.Euclidean(dims), 0.5, (2, 2)),
        "GRU of 1024 units": lambda: layers.ModuliGRU(1024),
        "sparse GRU of 1024 units": lambda: layers.SparseGRU(1024, connectivity=wide),
    }
    for name, manifold in manifolds.items():
        penalty = functools.partial(km.ModuliRegularizer, manifold, "dog", power=64)
        gru = functools.partial(layers.ModuliGRU, 8, manifold=manifold, power=64)
        cases[name] = functools.partial(copy.copy, manifold)
        cases[f"penalty on {name}"] = penalty
        if manifold.learnable:
            cases[f"GRU on {name}"] = functools.partial(gru, inhibitor="dog")
    return cases


def nest(wrap: Callable[[Any], Any], inner: Any, depth: int = 40) -> Any:
    """Returns something within as many of its kind."""
    for _ in range(depth):
        inner = wrap(inner)
    return inner


def write(value: Any) -> str:
    import keras

    import keras_moduli as km

    text = json.dumps(keras.saving.serialize_keras_object(value))
    for name in ("klein_bottle",):  # which names say as well
        full = keras.saving.serialize_keras_object(km.manifolds.get(name))
        text = text.replace(json.dumps(full), f'"{name}"')
    assert len(text) < MOST_BYTES, (len(text), value)
    return text


def evaluate(make: Callable[[], Any], limit: float) -> Row:
    """Returns what an object and its config cost, in a process of its own."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_work, args=(make, sender))
    process.start()
    sender.close()
    try:
        if not receiver.poll(limit):
            return {"MB": None, "s": limit, "call": "not done"}
        return receiver.recv()
    except EOFError:
        return {"MB": None, "s": None, "call": "died"}
    finally:
        process.kill()
        process.join()


def _work(make: Callable[[], Any], sender: Any) -> None:
    import keras
    import numpy as np

    train(keras.layers.GRU(8))  # what any use of the backend takes
    # For this Keras imports TensorFlow, where there is one.
    keras.saving.serialize_keras_object(keras.layers.GRU(8))
    before = peak()
    start = time.process_time()
    config = write(make())
    made = keras.saving.deserialize_keras_object(json.loads(config))
    seconds = {"make": time.process_time() - start}
    for name, function in list_calls(made).items():
        start = time.process_time()
        function()
        seconds[name] = time.process_time() - start
    is_layer = isinstance(made, keras.Layer)
    weights = sum(4 * np.prod(w.shape) for w in made.weights) if is_layer else 0
    grown = float(peak() - before - weights) / 1e6
    call = max(seconds, key=lambda name: seconds[name])
    sender.send({"MB": round(grown, 1), "s": round(seconds[call], 2), "call": call})


def peak() -> int:
    """Returns the most memory that was resident, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def list_calls(made: Any) -> Calls:
    """Returns what is asked of an object."""
    import keras

    import keras_moduli as km

    kinds: dict[type, Callable[[Any], Calls]] = {
        km.manifolds.Manifold: _ask_manifold,
        km.ModuliRegularizer: _ask_penalty,
        keras.layers.Layer: lambda layer: {"train": lambda: train(layer)},
        km.connectivity.Connectivity: lambda rule: {
            "connect": lambda: rule.connect(64, 64, gates=4, recurrent=True)
        },
        km.pruning.structures.Structure: _ask_structure,
    }
    ask = next(ask for kind, ask in kinds.items() if isinstance(made, kind))
    return ask(made)


def _ask_manifold(manifold: Any) -> Calls:
    import keras_moduli as km

    points = manifold.sample(64).astype("float32")
    return {
        "natural_length": manifold.natural_length,
        "sample": lambda: manifold.sample(512),
        "pairwise": lambda: manifold.pairwise(points),
        "distance": lambda: manifold.distance(points[0], points[1]),
        "for_density": lambda: km.inhibitors.Gaussian.for_density(manifold),
        "project": lambda: manifold.project(points),
    }


def _ask_penalty(penalty: Any) -> Calls:
    import keras
    import numpy as np

    kernel = np.ones((64, 64), "float32")
    layer = keras.layers.SimpleRNN(32, recurrent_regularizer=penalty)
    return {
        "call": lambda: penalty(kernel),
        "coefficients": lambda: penalty.coefficients((64, 64)),
        "distances": lambda: penalty.distances((64, 64)),
        "train": lambda: train(layer),
    }


def _ask_structure(structure: Any) -> Calls:
    import numpy as np

    scores, mask = np.ones((32, 32)), np.ones((32, 32), bool)
    return {"units": lambda: structure.compute_units(scores, mask)}


def train(layer: Any) -> None:
    """Takes two steps with a layer."""
    import keras
    import numpy as np

    model = keras.Sequential([keras.Input((3, 8)), layer, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    model.fit(np.ones((8, 3, 8)), np.ones((8, 1)), 4, verbose=0)


if __name__ == "__main__":
    main()
