"""What one backend saves and another loads: run as a module, for test_cross_backend.

    python -m tests.scripts.cross_backend FOLDER BACKEND...

trains and saves models in FOLDER/HERE, HERE the backend of this process, waits until the
processes on the other backends have done the same, loads what each has saved, and writes
what it predicts and costs here to HERE.json.
"""

import json
import pathlib
import sys
import time

import keras
import numpy as np

import keras_moduli as km
from tests.cases import INHIBITORS, MANIFOLDS

X = np.random.RandomState(0).standard_normal((4, 6, 3)).astype("float32")
NAMES = ("pruned", "learned")
MOST_SECONDS = 600  # to wait for the others, whose failure ends the test before


def model():
    """Every way to use the regularizer, in one network."""
    points = km.manifolds.KleinBottle().sample(10, seed=4)
    regularizers = {
        "torus": km.ModuliRegularizer("torus", "dog"),
        "gru": km.ModuliRegularizer("sphere", "gaussian", gates=3, power=2, seed=1),
        "lstm": km.ModuliRegularizer(
            km.manifolds.Product(["circle", km.manifolds.Euclidean(2)], [1.0, 0.5]),
            km.inhibitors.DifferenceOfGaussians(10.0, baseline="peak"),
            gates=4,
            reduction="mean",
        ),
        "given": km.ModuliRegularizer("klein_bottle", embedding=points, output_seed=2),
        "permuted": km.ModuliRegularizer("so3", "identity", permute_seed=3),
    }
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.SimpleRNN(
                8, return_sequences=True, recurrent_regularizer=regularizers["torus"]
            ),
            layers.Bidirectional(
                layers.GRU(
                    4, return_sequences=True, recurrent_regularizer=regularizers["gru"]
                )
            ),
            layers.LSTM(10, recurrent_regularizer=regularizers["lstm"]),
            layers.Dense(6, kernel_regularizer=regularizers["given"]),
            layers.Dense(6, kernel_regularizer=regularizers["permuted"]),
            layers.Dense(1),
        ]
    )


def learned():
    """A network whose neurons learn positions, with weights that no backend draws."""
    stream = km.layers.NeuronEmbedding("sphere", seed=1)
    network = keras.Sequential(
        [
            keras.Input((6, 3)),
            km.layers.ModuliGRU(8, manifold="torus", inhibitor="dog", strength=0.1),
            km.layers.Moduli(keras.layers.Dense(6), "sphere", output_embedding=stream),
            km.layers.Moduli(keras.layers.Dense(1), input_embedding=stream),
        ]
    )
    rng = np.random.RandomState(2)
    for weight in network.weights:
        if "kernel" in weight.name:
            weight.assign(0.5 * rng.standard_normal(weight.shape))
    network.compile(km.embedding_optimizer("sgd", 0.01), "mse")
    return network


def positions_after_an_epoch(network):
    """Where the neurons are after eight steps on the same data."""
    x = np.random.RandomState(3).standard_normal((16, 6, 3)).astype("float32")
    network.fit(x, x[:, 0, :1], batch_size=2, shuffle=False, verbose=0)
    found = km.layers.find_embeddings(network)
    return [keras.ops.convert_to_numpy(e.embedding.value).tolist() for e in found]


def penalties():
    """What a kernel costs on each manifold, and with each inhibitor on one of them."""
    kernel = np.random.RandomState(1).standard_normal((96, 96)).astype("float32")
    pairs = [(a, "dog") for a in MANIFOLDS] + [("torus", b) for b in INHIBITORS]
    return {
        f"{a} {b}": float(
            km.ModuliRegularizer(MANIFOLDS[a].manifold, INHIBITORS[b][0], 1.0, seed=2)(
                kernel
            )
        )
        for a, b in dict.fromkeys(pairs)
    }


def pruned():
    """The first network, trained and pruned."""
    keras.utils.set_random_seed(0)
    network = model()
    network.compile("adam", "mse")
    pruning = km.MagnitudePruning(0.8)
    network.fit(X, np.ones((len(X), 1)), epochs=4, callbacks=[pruning], verbose=0)
    return network


def figures(network):
    return {
        "predictions": keras.ops.convert_to_numpy(network(X)).tolist(),
        "losses": [float(loss) for loss in network.losses],
    }


def save(folder):
    """Saves both networks. Returns what they are here, before any file."""
    second = learned()
    positions = positions_after_an_epoch(second)
    networks = dict(zip(NAMES, (pruned(), second), strict=True))
    folder.mkdir()
    for name, network in networks.items():
        network.save(folder / f"{name}.keras")
    (folder / "done").touch()
    here = {name: figures(network) for name, network in networks.items()}
    return here | {"positions": positions, "penalties": penalties()}


def load(folder):
    """What both networks of a folder are here, once it is complete."""
    start = time.monotonic()
    while not (folder / "done").exists():
        assert time.monotonic() - start < MOST_SECONDS, f"{folder} is never complete"
        time.sleep(0.1)
    paths = {name: folder / f"{name}.keras" for name in NAMES}
    return {name: figures(keras.saving.load_model(path)) for name, path in paths.items()}


def main(folder, backends):
    here = keras.backend.backend()
    results = save(folder / here)
    results["loaded"] = {backend: load(folder / backend) for backend in backends}
    (folder / f"{here}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
