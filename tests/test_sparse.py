"""Block-sparse layers against dense ones, from the product up to whole models."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_moduli as km
from keras_moduli.connectivity import find_kernel
from keras_moduli.pruning import prunable_variables
from keras_moduli.pruning._ranking import prune_masks
from tests.backends import CURRENT

RNG = np.random.RandomState(0)
X = RNG.standard_normal((4, 7, 5)).astype("float32")
K = keras.layers
# Small, since what takes time is compilation, which layers of one size share; so that the
# last blocks stick out, and so many that the next layer multiplies them before its loop.
UNITS, BLOCK = 68, (8, 16)


def array(value):
    return keras.ops.convert_to_numpy(value)


def block_masked(shape, block, sparsity, seed=0):
    """A mask of random blocks, equally many in each column."""
    scores = np.random.RandomState(seed).uniform(size=shape)
    structure = km.pruning.Blocks(block, pad=True)
    zeros = round(sparsity * scores.size)
    return prune_masks([scores], [np.ones(shape, bool)], zeros, structure)[0]


def prune_blocks(model, block=BLOCK, sparsity=0.9):
    """Sets random blocks of all kernels to zero that are as large as some blocks."""
    for i, kernel in enumerate(prunable_variables(model)):
        if min(kernel.shape) >= UNITS:
            mask = block_masked(kernel.shape, block, sparsity, seed=i)
            kernel.assign(array(kernel.value) * mask)
    return model


def same(a, b):
    np.testing.assert_allclose(array(a), array(b), atol=1e-5)


# -- the product --


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 99),
)
def test_a_layout_holds_what_its_mask_has(rows, columns, b, c, seed):
    rng = np.random.RandomState(seed)
    matrix = rng.standard_normal((rows, columns)) * (
        rng.uniform(size=(rows, columns)) < 0.2
    )
    layout = km.sparse.BlockLayout.of(matrix != 0, (b, c))
    packed = layout.pack(matrix)
    assert packed.shape == layout.shape
    np.testing.assert_array_equal(layout.unpack(packed), matrix)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("block", [(8, 8), (4, 16), (5, 7)])
def test_product(batch, block):
    matrix = RNG.standard_normal((40, 48)) * block_masked((40, 48), block, 0.7)
    layout = km.sparse.BlockLayout.of(matrix != 0, block)
    x = RNG.standard_normal((batch, 40)).astype("float32")
    weights = keras.ops.convert_to_tensor(layout.pack(matrix).astype("float32"))
    y = layout.product(keras.ops.convert_to_tensor(x), weights)
    np.testing.assert_allclose(array(y), x @ matrix, atol=1e-5)


def test_layout_config_round_trip():
    layout = km.sparse.BlockLayout(64, 32, (16, 16), ((0, 2), (1, 3)))
    config = keras.saving.serialize_keras_object(layout)
    assert keras.saving.deserialize_keras_object(config) == layout
    assert layout.density == 0.5


# -- whole models --


def chain(*layers):
    return keras.Sequential([keras.Input((7, 5)), *layers])


def functional():
    """States that go from one layer into another, and a nested model."""
    inputs = keras.Input((7, 5))
    x, *states = K.LSTM(UNITS, return_sequences=True, return_state=True)(inputs)
    y = K.LSTM(UNITS)(x, initial_state=states)
    head = keras.Sequential([keras.Input((UNITS,)), K.Dense(2 * UNITS), K.Dense(2)])
    return keras.Model(inputs, [head(y) + 1.0, *states])


def masked():
    layers = [K.GRU(UNITS, return_sequences=True), K.SimpleRNN(UNITS)]
    return chain(K.Masking(0.0), *layers)


RNN = {"return_sequences": True}
MODELS = {
    "simple_rnn": lambda: chain(K.SimpleRNN(UNITS), K.Dense(3)),
    "relu": lambda: chain(K.SimpleRNN(UNITS, activation="relu", use_bias=False)),
    # Activations that look along the units.
    "softmax": lambda: chain(
        K.GRU(UNITS, "tanh", "softmax", return_sequences=True),
        K.LSTM(UNITS, "softmax", "softmax", return_sequences=True),
        K.SimpleRNN(UNITS, "softmax"),
    ),
    "moduli_simple_rnn": lambda: chain(km.layers.ModuliSimpleRNN(UNITS)),
    "moduli_gru": lambda: chain(km.layers.ModuliGRU(UNITS)),
    "moduli_lstm": lambda: chain(km.layers.ModuliLSTM(UNITS)),
    "cell": lambda: chain(K.RNN(K.GRUCell(UNITS))),
    "bidirectional": lambda: chain(K.Bidirectional(K.LSTM(UNITS, **RNN)), K.LSTM(UNITS)),
    "backwards": lambda: chain(K.GRU(UNITS, go_backwards=True, **RNN)),
    "unrolled": lambda: keras.Sequential(
        [keras.Input((7, 5)), K.Cropping1D((0, 4)), K.GRU(UNITS, unroll=True)]
    ),
    "moduli_dense": lambda: chain(
        K.Dense(UNITS), km.layers.Moduli(K.Dense(2 * UNITS, "relu", use_bias=False))
    ),
    "functional": functional,
    "masked": masked,
}
# Of a size at which blocks are chosen, one for each way to multiply the inputs.
LARGE_MODELS = {
    "large gru": lambda: chain(K.GRU(300, **RNN), K.GRU(256)),
    "large dense": lambda: chain(K.Dense(320), K.Dense(320, "relu", use_bias=False)),
}


@pytest.mark.parametrize("name", [*MODELS, *LARGE_MODELS])
def test_a_sparse_model_is_the_same_function(name, tmp_path):
    if name in MODELS:
        model, block = prune_blocks(MODELS[name]()), BLOCK
    else:
        model, block = prune_blocks(LARGE_MODELS[name](), (16, 64)), None
    plan = km.sparse.plan(model, block)
    fast = km.sparsify(model, plan)
    assert_executed(plan, fast)
    assert any(row.block for row in plan.rows)
    assert fast.count_params() < 0.6 * model.count_params()
    fast.save(tmp_path / "fast.keras")
    loaded = keras.saving.load_model(tmp_path / "fast.keras")
    x = X.copy()
    x[1, 4:] = 0.0  # what `Masking` masks
    for a, b in zip(loaded.get_weights(), fast.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    expected = model(x)
    assert_same_outputs(loaded(x), expected)
    assert_same_outputs(fast(x), expected)
    alone = keras.tree.map_structure(lambda y: y[1:2], expected)
    assert_same_outputs(fast(x[1:2]), alone)  # takes another way


def assert_same_outputs(found, expected):
    pairs = zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True)
    for a, b in pairs:
        same(a, b)


def kernels_of(layer):
    """The blocks of each kernel of a fast layer, in the order of a plan's rows."""
    if isinstance(layer, keras.Model):
        return [blocks for part in layer.layers for blocks in kernels_of(part)]
    if isinstance(layer, K.Bidirectional):
        parts = layer.forward_layer, layer.backward_layer
        return [blocks for part in parts for blocks in kernels_of(part)]
    kernels = [v for v in layer.weights if v.name.endswith("kernel")]
    kernels.sort(key=lambda v: v.name != "recurrent_kernel")
    found = map(find_kernel, kernels)
    order = getattr(layer, "order", None)
    return [(kernel and kernel.layout, order if kernel else None) for kernel in found]


def assert_executed(plan, fast):
    """The rows of a plan are exactly what a fast model has."""
    for row, (layout, order) in zip(plan.rows, kernels_of(fast), strict=True):
        assert row.layout == layout
        assert row.block == (layout and layout.block)
        if row.name == "recurrent_kernel":
            assert order == (row.permutation and list(row.permutation))


def test_a_given_block_is_taken():
    model = prune_blocks(chain(K.SimpleRNN(UNITS)))
    fast = km.sparsify(model, block=BLOCK)
    layout = find_kernel(fast.layers[0].cell.recurrent_kernel).layout
    kept, down = len(layout.indices[0]), -(-UNITS // BLOCK[0])
    assert layout.block == BLOCK
    assert kept == max(1, round(0.1 * down))
    across = -(-UNITS // BLOCK[1])
    assert layout.density == across * kept * BLOCK[0] * BLOCK[1] / UNITS**2


def test_a_sparse_model_can_be_trained():
    model = prune_blocks(chain(K.GRU(UNITS), K.Dense(1)))
    weights = model.get_weights()
    fast = km.sparsify(model, BLOCK)
    fast.compile("adam", "mse")
    losses = fast.fit(X, X[:, 0, :1], epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for a, b in zip(model.get_weights(), weights, strict=True):  # shares nothing with it
        np.testing.assert_array_equal(a, b)


def test_a_stateful_model():
    layer = K.SimpleRNN(UNITS, stateful=True)
    model = prune_blocks(keras.Sequential([keras.Input(batch_shape=(4, 7, 5)), layer]))
    fast = km.sparsify(model, BLOCK)
    for _ in range(2):
        same(fast(X), model(X))


# -- the order of neurons --


def scattered(manifold, seed=3):
    """A recurrent layer with local connections on a manifold that is out of order."""
    positions = manifold.sample(512, seed)[np.random.RandomState(1).permutation(512)]
    penalty = km.ModuliRegularizer(manifold, "diffusion", embedding=positions)
    model = chain(K.SimpleRNN(512, recurrent_regularizer=penalty))
    kernel = model.layers[0].cell.recurrent_kernel
    distances = penalty.distances((512, 512))
    near = distances < np.quantile(distances, 0.05)
    kernel.assign(array(kernel.value) * near)
    return model


@pytest.mark.parametrize("manifold", ["circle", "torus", "sphere"])
def test_neurons_are_sorted_along_their_manifold(manifold):
    model = scattered(km.manifolds.get(manifold))
    plan = km.sparse.plan(model)
    row, _ = plan.rows
    assert row.order == "embedding"
    assert row.density < 0.6
    assert row.speed > 1.2
    same(km.sparsify(model, plan)(X), model(X))


def test_neurons_without_positions_are_sorted_by_their_graph():
    pytest.importorskip("scipy")
    model = scattered(km.manifolds.Circle())
    plain = chain(K.SimpleRNN(512))
    plain.set_weights(model.get_weights())
    plan = km.sparse.plan(plain)
    row, _ = plan.rows
    assert row.order == "reverse Cuthill-McKee"
    assert sorted(row.permutation) == list(range(512))
    same(km.sparsify(plain, plan)(X), model(X))


def test_blocks_that_are_in_order_are_left_in_order():
    model = prune_blocks(chain(K.LSTM(256)), (16, 64))
    assert km.sparse.plan(model).rows[0].order == "as it is"


def test_what_stays_dense_and_why():
    model = chain(
        K.SimpleRNN(32, **RNN),
        K.GRU(256, reset_after=False, **RNN),
        K.SimpleRNN(330, **RNN),
        K.Dense(320),
    )
    kernel = model.layers[2].cell.recurrent_kernel
    kernel.assign(array(kernel.value) * (RNG.uniform(size=(330, 330)) < 0.1))
    plan = km.sparse.plan(model)
    expected = [
        "too small",
        "its layer's recurrent kernel stays dense",
        "reset_after",
        "reset_after",
        "structure=(16, 64)",
        "its layer's recurrent kernel stays dense",
        "structure=(16, 64)",
    ]
    for row, part in zip(plan.rows, expected, strict=True):
        assert part in row.reason
        assert row.block is None
    fast = km.sparsify(model, plan)
    assert [type(a) for a in fast.layers] == [type(a) for a in model.layers]
    for a, b in zip(fast.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_differs_is_refused(monkeypatch):
    pack = km.sparse.BlockLayout.pack
    wrong = lambda self, matrix: 1.01 * pack(self, matrix)  # noqa: E731
    monkeypatch.setattr(km.sparse.BlockLayout, "pack", wrong)
    model = prune_blocks(chain(K.SimpleRNN(UNITS)))
    with pytest.raises(
        ValueError, match=r"'simple_rnn' differs by .*exclude='simple_rnn'"
    ):
        km.sparsify(model, BLOCK)
    km.sparsify(model, BLOCK, tolerance=1.0)
    km.sparsify(model, km.sparse.plan(model, BLOCK, tolerance=1.0))


def test_large_batches_want_larger_blocks():
    model = prune_blocks(chain(K.SimpleRNN(512)), (32, 128))
    one, many = (km.sparse.plan(model, batch_size=n).rows[0] for n in (1, 64))
    assert one.speed > many.speed
    assert many.block[1] >= one.block[1]


# -- one step at a time --


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", [K.SimpleRNN, K.GRU, K.LSTM, km.layers.ModuliLSTM])
def test_a_stream_says_what_the_model_says(kind, sparse):
    first, second = kind(UNITS, **RNN), kind(UNITS, **RNN)
    layers = [first, K.Dropout(0.5), K.LayerNormalization(), second]
    model = prune_blocks(chain(*layers, K.Dense(3, "tanh")))
    expected = array(model(X))
    model = km.sparsify(model, BLOCK) if sparse else model
    stream = km.sparse.Stream(model, batch_size=4)
    for _ in range(2):
        for t in range(7):
            same(stream.step(X[:, t]), expected[:, t])
        stream.reset()


def test_a_stream_takes_weights_as_they_are_now():
    model = chain(K.GRU(8))
    stream = km.sparse.Stream(model, batch_size=4)
    stream.step(X[:, 0])
    model.set_weights([w + 0.1 for w in model.get_weights()])
    stream.reset()
    same(stream.step(X[:, 0]), model(X[:, :1]))


@pytest.mark.skipif(
    CURRENT == "torch", reason="Keras exports only static time on PyTorch"
)
def test_saved_model(tmp_path):
    if CURRENT == "jax":
        pytest.importorskip("tensorflow")
    fast = km.sparsify(prune_blocks(chain(K.GRU(UNITS), K.Dense(2))), BLOCK)
    fast.export(tmp_path / "saved", format="tf_saved_model", verbose=False)
    import tensorflow as tf

    served = tf.saved_model.load(str(tmp_path / "saved"))
    same(np.asarray(served.serve(X)), fast(X))


# What Keras needs for it on each backend.
CONVERTER = {"tensorflow": "tf2onnx", "jax": "jax2onnx", "torch": "onnx"}[CURRENT]


@pytest.mark.parametrize("layer", [K.SimpleRNN, K.GRU, K.LSTM])
@pytest.mark.parametrize("features", [5, 80])  # multiplied in the loop, and before it
def test_onnx(tmp_path, layer, features):
    pytest.importorskip(CONVERTER, reason=f"Keras needs {CONVERTER} for this")
    onnxruntime = pytest.importorskip("onnxruntime")
    x = RNG.standard_normal((4, 7, features)).astype("float32")
    model = keras.Sequential([keras.Input((7, features)), layer(UNITS), K.Dense(2)])
    fast = km.sparsify(prune_blocks(model), block=BLOCK)
    fast(x)  # Keras exports what has been called
    fast.export(tmp_path / "fast.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "fast.onnx")
    name = session.get_inputs()[0].name
    for count in (1, 4):  # the export must not keep the batch that it was traced with
        same(session.run(None, {name: x[:count]})[0], fast(x[:count]))
