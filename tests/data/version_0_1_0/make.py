"""Made the files of version 0.1.0 beside it, once on each backend, with that version.

    KERAS_BACKEND=jax python make.py FOLDER

Each `.keras` file has a `.json` of what its model predicted and cost then, for the
inputs of `X`.
"""

import json
import pathlib
import sys

import keras
import numpy as np

import keras_moduli as km

X = np.random.RandomState(0).standard_normal((4, 6, 3)).astype("float32")
Y = X[:, 0, :1]
layers = keras.layers


def fixed():
    """Every kind of fixed placement."""
    points = km.manifolds.KleinBottle().sample(10, seed=4)
    torus = km.ModuliRegularizer("torus", "dog")
    gru = km.ModuliRegularizer("sphere", "gaussian", gates=3, power=2, seed=1)
    lstm = km.ModuliRegularizer(
        km.manifolds.Product(["circle", km.manifolds.Euclidean(2)], [1.0, 0.5]),
        km.inhibitors.DifferenceOfGaussians(10.0, baseline="peak"),
        gates=4,
        reduction="mean",
    )
    given = km.ModuliRegularizer("klein_bottle", embedding=points, output_seed=2)
    permuted = km.ModuliRegularizer("so3", "identity", permute_seed=3)
    return keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.SimpleRNN(8, return_sequences=True, recurrent_regularizer=torus),
            layers.Bidirectional(
                layers.GRU(4, return_sequences=True, recurrent_regularizer=gru)
            ),
            layers.LSTM(10, recurrent_regularizer=lstm),
            layers.Dense(6, kernel_regularizer=given),
            layers.Dense(6, kernel_regularizer=permuted),
            layers.Dense(1),
        ]
    )


def learned():
    """Layers, cells and wrappers that learn, with an embedding that two share."""
    shared = km.layers.NeuronEmbedding("sphere", seed=1)
    cells = [km.layers.ModuliLSTMCell(4), km.layers.ModuliSimpleRNNCell(5)]
    return keras.Sequential(
        [
            keras.Input((6, 3)),
            km.layers.ModuliGRU(
                8, manifold="torus", inhibitor="dog", return_sequences=True
            ),
            layers.RNN(layers.StackedRNNCells(cells), return_sequences=True),
            km.layers.Moduli(layers.LSTM(4), strength=0.01),
            km.layers.Moduli(layers.Dense(6), "sphere", output_embedding=shared),
            km.layers.Moduli(layers.Dense(1), input_embedding=shared),
        ]
    )


def narrow():
    """Recurrent layers of all kinds, to prune to blocks."""
    return keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.Bidirectional(layers.SimpleRNN(16, return_sequences=True)),
            layers.GRU(16, return_sequences=True),
            layers.LSTM(16, recurrent_regularizer=km.ModuliRegularizer(gates=4)),
            layers.Dense(1),
        ]
    )


def train(model, **options):
    optimizer = km.embedding_optimizer("adam") if not options else "adam"
    model.compile(optimizer, "mse")
    callbacks = [km.MagnitudePruning(**options)] if options else []
    model.fit(X, Y, epochs=4, callbacks=callbacks, verbose=0)
    return model


def main(folder):
    keras.utils.set_random_seed(0)
    pruned = train(narrow(), sparsity=0.5, block=(4, 8), balanced=True, pad=True)
    models = {
        "fixed": train(fixed(), sparsity=0.8),
        "learned": train(learned()),
        "pruned": pruned,
        "block_sparse": km.sparsify(pruned, block=(4, 8)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in models.items():
        path = folder / f"{name}_{keras.backend.backend()}"
        model.save(path.with_suffix(".keras"))
        figures = {
            "predictions": model.predict(X, verbose=0).tolist(),
            "losses": [float(loss) for loss in model.losses],
        }
        path.with_suffix(".json").write_text(json.dumps(figures))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
