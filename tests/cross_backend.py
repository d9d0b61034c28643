"""Run as a module on one backend, for test_cross_backend on another.

    python -m tests.cross_backend FOLDER

loads FOLDER/model.keras and prints, as JSON, what it predicts and costs here, and the
penalty of each manifold with each inhibitor.
"""

import json
import pathlib
import sys

import keras
import numpy as np

import keras_moduli as km
from tests.cases import INHIBITORS, MANIFOLDS

X = np.random.RandomState(0).standard_normal((4, 6, 3)).astype("float32")


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
    """A network whose neurons learn their places, with weights that no backend draws."""
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


def places_after_an_epoch(network):
    """Where the neurons are after eight steps on the same data."""
    x = np.random.RandomState(3).standard_normal((16, 6, 3)).astype("float32")
    network.fit(x, x[:, 0, :1], batch_size=2, shuffle=False, verbose=0)
    found = km.layers.find_embeddings(network)
    return [keras.ops.convert_to_numpy(e.embedding.value).tolist() for e in found]


def losses():
    kernel = np.random.RandomState(1).standard_normal((96, 96)).astype("float32")
    return {
        f"{a} {b}": float(
            km.ModuliRegularizer(case.manifold, row[0], 1.0, seed=2)(kernel)
        )
        for a, case in MANIFOLDS.items()
        for b, row in INHIBITORS.items()
    }


def figures(network):
    return {
        "predictions": network.predict(X, verbose=0).tolist(),
        "regularization": [float(loss) for loss in network.losses],
        "losses": losses(),
    }


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    loaded = keras.saving.load_model(folder / "model.keras")
    again = keras.saving.load_model(folder / "learned.keras")
    results = figures(loaded) | {
        "places": places_after_an_epoch(learned()),
        "learned": again.predict(X, verbose=0).tolist(),
        "learned_regularization": [float(loss) for loss in again.losses],
    }
    (folder / f"{keras.backend.backend()}.json").write_text(json.dumps(results))
