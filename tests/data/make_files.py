"""Makes the files of a release, that every later one must read: once, with that release.

    KERAS_BACKEND=jax python tests/data/make_files.py tests/data/version_0_1_0/files.zip

A model for each row of `MODELS`: its `.keras` file, and in a `.json` what it predicts for
`X`, what it costs, and both after it was loaded and went on training. It packs
what Keras leaves unpacked.
"""

import io
import json
import pathlib
import sys
import tempfile
import zipfile

import keras
import numpy as np

import keras_moduli as km

layers, M = keras.layers, km.manifolds
X = np.random.RandomState(0).standard_normal((8, 5, 6)).astype("float32")
Y = X[:, 0, :1]
TABLE = [[abs(j - k) for k in range(6)] for j in range(6)]
MANIFOLDS = [
    M.Euclidean(3),
    M.Circle(7.0),
    M.Torus(),
    M.Torus(3, (8.0, 12.0, 16.0)),
    M.Sphere(3, 2.0),
    M.KleinBottle(8.0),
    M.MobiusStrip(),
    M.ProjectiveSpace(),
    M.SpecialOrthogonal3(2.0),
    M.PoincareBall(2, -0.5),
    M.Product(["circle", M.Euclidean(2)], [1.0, 0.5]),
]
INHIBITORS = [
    *["identity", "diffusion", "gaussian", "constant", "ripple"],
    km.inhibitors.DifferenceOfGaussians(2.0, baseline="peak"),
    km.inhibitors.DifferenceOfGaussians(1.5, 4.0, 0.5),
]


def pick(number):
    """A manifold and an inhibitor: all pairs that follow each other in two circles."""
    return MANIFOLDS[number % len(MANIFOLDS)], INHIBITORS[number % len(INHIBITORS)]


def fix(number, **options):
    return km.ModuliRegularizer(*pick(number), strength=1e-3, seed=number, **options)


def chain(*inside):
    return keras.Sequential([keras.Input((5, 6)), *inside, layers.Dense(1)])


def make_manifolds():
    """Each manifold, each inhibitor, each option of a regularizer."""
    options = [
        *[{}, {"power": 2}, {"power": 64}, {"reduction": "mean"}, {"permute_seed": 3}],
        *[{"output_seed": 5}, {"embedding": MANIFOLDS[6].sample(6, seed=9)}],
        {"output_embedding": MANIFOLDS[7].sample(6, seed=9)},
    ]
    rows = [options[n] if n < len(options) else {} for n in range(len(MANIFOLDS))]
    dense = [
        layers.Dense(6, kernel_regularizer=fix(n, **row)) for n, row in enumerate(rows)
    ]
    table = km.ModuliRegularizer(M.FiniteMetric(TABLE), "identity", permute_seed=1)
    graph = km.ModuliRegularizer(M.FiniteMetric.from_graph(np.eye(6, k=1)), "diffusion")
    ends = [layers.Dense(6, kernel_regularizer=each) for each in (table, graph)]
    return chain(*dense, *ends, layers.GlobalAveragePooling1D())


def make_layers():
    """Each kind of kernel, on fixed positions."""
    sequences = {"return_sequences": True}
    both = layers.GRU(4, recurrent_regularizer=fix(4, gates=3), **sequences)
    like = km.ModuliRegularizer("torus", strength=1e-3, communicability=True)
    inputs = keras.Input((5, 6))
    x = layers.SimpleRNN(6, recurrent_regularizer=fix(0), **sequences)(inputs)
    x = layers.Bidirectional(both)(x)
    wide = layers.Conv1D(6, 3, kernel_regularizer=fix(1, input_axes=2, output_seed=2))
    x = wide(layers.ZeroPadding1D(1)(x))
    other = fix(2, output_seed=1)
    x = layers.EinsumDense("abc,cd->abd", (5, 6), kernel_regularizer=other)(x)
    attention = layers.MultiHeadAttention(2, 3)
    x = layers.LayerNormalization()(x + attention(x, x))
    x = layers.LSTM(6, recurrent_regularizer=fix(5, gates=4), **sequences)(x)
    x = layers.SimpleRNN(6, recurrent_regularizer=like)(x)
    return keras.Model(inputs, layers.Dense(1)(x))


def make_learned():
    """Layers and cells that learn their positions, on each manifold."""
    sequences = {"return_sequences": True}
    kinds = [km.layers.ModuliSimpleRNN, km.layers.ModuliGRU, km.layers.ModuliLSTM]
    named = lambda n: dict(zip(["manifold", "inhibitor"], pick(n), strict=True))  # noqa: E731
    all_of = [kinds[n % 3](4, **named(n), **sequences) for n in range(len(MANIFOLDS))]
    cells = [
        km.layers.ModuliLSTMCell(4, permute_seed=2, power=2),
        km.layers.ModuliGRUCell(4, embedding_trainable=False, reduction="mean"),
        km.layers.ModuliSimpleRNNCell(4, manifold="torus", communicability=True),
    ]
    return chain(*all_of, layers.RNN(layers.StackedRNNCells(cells)))


def make_wrapped():
    """`Moduli` around each kind of layer, with neurons that two share."""
    shared = km.layers.NeuronEmbedding("sphere", seed=1)
    table = km.layers.NeuronEmbedding(M.FiniteMetric(TABLE), trainable=False)
    inputs = keras.Input((5, 6))
    x = km.layers.Moduli(layers.Conv1D(6, 3, padding="same"), "klein_bottle")(inputs)
    x = km.layers.Moduli(layers.EinsumDense("abc,cd->abd", (5, 6)), "torus")(x)
    x = km.layers.Moduli(layers.MultiHeadAttention(2, 3), "circle", "gaussian")(x, x)
    both = {"input_embedding": table, "output_embedding": table}
    x = km.layers.Moduli(layers.Dense(6), **both)(x)
    x = km.layers.Moduli(layers.GRU(4, return_sequences=True), strength=0.01, power=2)(x)
    x = km.layers.Moduli(layers.LSTM(4), "mobius_strip", dispersion=0.0)(x)
    x = km.layers.Moduli(layers.Dense(6), "sphere", output_embedding=shared)(x)
    return keras.Model(
        inputs, km.layers.Moduli(layers.Dense(1), input_embedding=shared)(x)
    )


def make_narrow():
    """What is pruned: recurrent layers of all kinds."""
    return chain(
        layers.Bidirectional(layers.SimpleRNN(8, return_sequences=True)),
        layers.GRU(8, return_sequences=True),
        layers.LSTM(8, recurrent_regularizer=fix(2, gates=4)),
    )


def make_blocks():
    """Layers of blocks, made of pruned ones."""
    pruned = train(make_narrow(), "adam", prune(0.5, **BALANCED))
    return km.sparsify(pruned, block=(4, 8))


def make_ticket():
    pruned = train(make_narrow(), "adam", prune(0.75))
    return km.lottery_ticket(pruned, 0)


def prune(sparsity, block=None, **options):
    """Pruning as the release has it: structures had arguments of their own."""
    if block is None and "pattern" not in options:
        return km.MagnitudePruning(sparsity, **options)
    if not hasattr(km.pruning, "structures"):
        return km.MagnitudePruning(sparsity, block=block, **options)
    kind, sizes = km.pruning.Blocks, block
    if "pattern" in options:
        kind, sizes = km.pruning.NofM, options.pop("pattern")
    fields = {name: options.pop(name) for name in ("balanced", "pad") if name in options}
    return km.MagnitudePruning(sparsity, structure=kind(*sizes, **fields), **options)


def train(model, optimizer, *callbacks, epochs=2, first=0):
    if optimizer is not None:
        model.compile(optimizer, "mse")
    options = {"epochs": epochs, "initial_epoch": first, "batch_size": 4}
    model.fit(X, Y, **options, shuffle=False, verbose=0, callbacks=list(callbacks))
    return model


# Name: what makes the model, its optimizer, and how it is pruned.
BALANCED = {"block": (4, 8), "balanced": True, "pad": True}
FOURS = {"pattern": (2, 4), "pad": True}
O = keras.optimizers  # noqa: E741
MODELS = {
    "manifolds": (make_manifolds, "adam", None),
    "layers": (make_layers, O.SGD(0.01, momentum=0.9), {"sparsity": 0.8}),
    "learned": (make_learned, km.embedding_optimizer("adam"), None),
    "wrapped": (make_wrapped, km.embedding_optimizer(O.AdamW(1e-3)), {"sparsity": 0.5}),
    "by_gate": (make_narrow, "rmsprop", {"sparsity": 0.5, "scope": "gate"}),
    "by_erk": (make_narrow, O.Adam(use_ema=True), {"sparsity": 0.7, "scope": "erk"}),
    "recurrent": (make_narrow, O.Nadam(1e-3), {"sparsity": 0.9, "select": "recurrent"}),
    "in_blocks": (make_narrow, "adam", {"sparsity": 0.5, **BALANCED}),
    "two_of_four": (make_narrow, "adam", {"sparsity": 0.5, **FOURS}),
    "moving": (make_narrow, "adam", {"sparsity": 0.8, "regrow": "rigl"}),
    "half_way": (make_narrow, "adam", {"sparsity": 0.9, "end": 6}),
    "ticket": (make_ticket, "adam", None),
    "blocks": (make_blocks, "adam", None),
}


def tell(model):
    return {
        "predictions": keras.ops.convert_to_numpy(model(X)).tolist(),
        "losses": [float(keras.ops.convert_to_numpy(loss)) for loss in model.losses],
    }


def go_on(name, model):
    """What a saved model trains next: its zeros stay, or the schedule is at half."""
    if name == "half_way":
        return train(model, None, prune(**MODELS[name][2]), epochs=8, first=2)
    has_zeros = MODELS[name][2] or name == "ticket"
    return train(model, None, *[km.KeepZeros()] * bool(has_zeros))


def make(name, folder):
    """Trains a model, saves it, and tells what it does, then and later."""
    keras.utils.set_random_seed(0)
    build, optimizer, pruning = MODELS[name]
    callbacks = [prune(**pruning)] if pruning else []
    model = train(build(), optimizer, *callbacks, epochs=2)
    path = folder / f"{name}.keras"
    if name == "recurrent":
        km.save_compressed(model, path, include_optimizer=True)
    else:
        model.save(path)
    figures = {"then": tell(model)}
    # Trained from a file, layers of blocks went astray in 0.1.0.
    again = model if name == "blocks" else km.load_compressed(path)
    figures["later"] = tell(go_on(name, again))
    path.with_suffix(".json").write_text(json.dumps(figures))


def main(archive):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for row in MODELS:
            make(row, folder)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as files:
            for path in sorted(folder.iterdir()):
                files.write(path, path.name)
    archive.write_bytes(packed.getvalue())


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
