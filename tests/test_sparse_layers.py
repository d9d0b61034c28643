"""Layers that are sparse from the first step: the dense layer under the same mask."""

import itertools
import tracemalloc

import keras
import numpy as np
import pytest
from keras import ops

import keras_moduli as km
from keras_moduli.connectivity import BlockLayout, find_kernel
from tests import backends

K = keras.layers
BATCH, TIME, FEATURES, UNITS = 3, 5, 4, 24
EVEN = km.connectivity.Random(2 / 3, block=(4, 8), seed=1)  # each row of blocks twice
RECURRENT = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}
OPTIONS = {
    "plain": {},
    "relu": {"activation": "relu"},
    "along an axis": {"activation": "softmax", "use_bias": False},
    "dropout": {"dropout": 0.3, "recurrent_dropout": 0.4},
    "dropout of inputs": {"dropout": 0.3},
    "backwards": {"go_backwards": True},
    "last": {"return_sequences": False},
    "last, no mask": {"return_sequences": False, "go_backwards": True},
    "unrolled": {"unroll": True},
    "zero output": {"zero_output_for_mask": True},
}


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def uneven(columns):
    """A layout whose blocks stick out, and whose rows are used as it happens."""
    rng = np.random.RandomState(0)
    indices = [sorted(rng.choice(5, 2, replace=False)) for _ in range(-(-columns // 7))]
    return km.connectivity.FromMask(BlockLayout(UNITS, columns, (5, 7), indices))


def pair(kind, connectivity, **options):
    """A sparse layer and Keras's, with the same weights."""
    options = {"return_sequences": True, "return_state": True, "seed": 5} | options
    sparse = getattr(km.layers, f"Sparse{kind}")(
        UNITS, connectivity=connectivity, **options
    )
    dense = getattr(K, kind)(UNITS, **options)
    for layer in (sparse, dense):
        layer.build((BATCH, TIME, FEATURES))
    kernel = find_kernel(sparse.cell.recurrent_kernel)
    dense.cell.recurrent_kernel.assign(kernel.to_matrix())
    dense.cell.kernel.assign(numpy(sparse.cell.kernel))  # JAX donates what is shared
    if sparse.cell.bias is not None:
        bias = np.random.RandomState(1).standard_normal(sparse.cell.bias.shape)
        sparse.cell.bias.assign(bias)
        dense.cell.bias.assign(bias)
    return sparse, dense, kernel


def weigh(output):
    """A scalar that each entry of an output adds another part of itself to."""
    size = int(np.prod(output.shape))
    parts = np.cos(np.arange(size, dtype="float32")).reshape(output.shape)
    return ops.sum(output * ops.convert_to_tensor(parts))


def compute(layer, batch, mask):
    """Outputs, and the gradients of weights, inputs and first states."""
    rng = np.random.RandomState(2)
    x = rng.standard_normal((batch, TIME, FEATURES)).astype("float32")
    states = [
        rng.standard_normal((batch, UNITS)).astype("float32") for _ in layer.state_size
    ]
    kept = None
    if mask:
        kept = rng.uniform(size=(batch, TIME)) > 0.4
        kept[0, 0], kept[:, -1] = False, True

    def call(x, *arrays):
        values = [v.value for v in layer.non_trainable_variables]
        outputs, _ = layer.stateless_call(
            list(arrays[len(states) :]),
            values,
            x,
            initial_state=list(arrays[: len(states)]),
            mask=None if kept is None else ops.convert_to_tensor(kept),
            training=True,
        )
        return outputs

    def loss(*arrays):
        return sum(weigh(output) for output in call(*arrays))

    weights = [numpy(v) for v in layer.trainable_variables]
    outputs = [
        numpy(y) for y in call(*map(ops.convert_to_tensor, [x, *states, *weights]))
    ]
    return outputs, backends.gradient(loss, x, *states, *weights)


def assert_equal(kind, connectivity, batch=BATCH, mask=False, **options):
    sparse, dense, kernel = pair(kind, connectivity, **options)
    (outputs, gradients), (expected, dense_gradients) = (
        compute(layer, batch, mask) for layer in (sparse, dense)
    )
    for one, other in zip(outputs, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    place = 1 + len(sparse.state_size) + 1  # inputs, states, kernel, recurrent kernel
    dense_gradients[place] = kernel.layout.pack(dense_gradients[place])
    gradients[place] = kernel.layout.pack(kernel.layout.unpack(gradients[place]))
    for one, other in zip(gradients, dense_gradients, strict=True):
        scale = max(1.0, np.abs(other).max())
        np.testing.assert_allclose(one / scale, other / scale, atol=1e-5)


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("options", OPTIONS)
def test_values_and_gradients_are_those_of_the_dense_layer(kind, options):
    mask = options in ("plain", "backwards", "last", "zero output")
    assert_equal(kind, EVEN, mask=mask, **OPTIONS[options])


@pytest.mark.parametrize("kind", RECURRENT)
def test_so_they_are_of_one_sequence_and_of_blocks_that_stick_out(kind):
    assert_equal(kind, EVEN, batch=1)
    assert_equal(kind, EVEN, batch=1, return_sequences=False)
    assert_equal(kind, uneven(RECURRENT[kind] * UNITS))
    assert_equal(kind, uneven(RECURRENT[kind] * UNITS), batch=1, mask=True)


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("batch", [1, BATCH])
def test_gradients_of_inputs_flow_through_a_frozen_layer(kind, batch):
    layer = getattr(km.layers, f"Sparse{kind}")(UNITS, connectivity=EVEN)
    dense = getattr(K, kind)(UNITS)
    x = np.random.RandomState(0).standard_normal((batch, TIME, FEATURES))
    for each in (layer, dense):
        each.build(x.shape)
        each.trainable = False
    dense.cell.kernel.assign(layer.cell.kernel)
    matrix = find_kernel(layer.cell.recurrent_kernel).to_matrix()
    dense.cell.recurrent_kernel.assign(matrix)
    (got,), (expected,) = (
        backends.gradient(lambda x, each=each: ops.sum(each(x) ** 2), x)
        for each in (layer, dense)
    )
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("options", [{}, OPTIONS["dropout"], {"use_bias": False}])
def test_so_they_are_of_a_gru_that_resets_before(options):
    assert_equal("GRU", EVEN, reset_after=False, **options)


def test_cells_compute_what_layers_compute():
    x = np.random.RandomState(0).standard_normal((BATCH, TIME, FEATURES))
    for kind, inputs in itertools.product(RECURRENT, (None, uneven_inputs)):
        rule = None if inputs is None else inputs(RECURRENT[kind])
        layer = getattr(km.layers, f"Sparse{kind}")(
            UNITS, connectivity=EVEN, input_connectivity=rule
        )
        expected = numpy(layer(x))
        np.testing.assert_allclose(numpy(K.RNN(layer.cell)(x)), expected, atol=1e-6)


def uneven_inputs(gates):
    layout = BlockLayout(FEATURES, gates * UNITS, (2, 8), ((0,), (1,), (0,)) * gates)
    return km.connectivity.FromMask(layout)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_inputs_can_be_connected_by_a_rule(kind):
    options = {"dropout": 0.3, "seed": 5}
    layer = getattr(km.layers, f"Sparse{kind}")(
        UNITS,
        connectivity=EVEN,
        input_connectivity=uneven_inputs(RECURRENT[kind]),
        **options,
    )
    dense = getattr(K, kind)(UNITS, **options)
    x = np.random.RandomState(0).standard_normal((BATCH, TIME, FEATURES))
    for each in (layer, dense):
        each.build(x.shape)
    dense.cell.kernel.assign(find_kernel(layer.cell.kernel).to_matrix())
    matrix = find_kernel(layer.cell.recurrent_kernel).to_matrix()
    dense.cell.recurrent_kernel.assign(matrix)
    for training in (False, True):
        outputs = (numpy(each(x, training=training)) for each in (layer, dense))
        np.testing.assert_allclose(*outputs, atol=1e-6)


def test_the_neurons_of_a_column_of_blocks_have_orthogonal_weights():
    layer = km.layers.SparseSimpleRNN(UNITS, connectivity=EVEN)
    layer.build((None, TIME, FEATURES))
    weights = numpy(layer.cell.recurrent_kernel)
    products = weights @ weights.transpose(0, 2, 1)
    expected = np.broadcast_to(np.eye(8), products.shape)
    np.testing.assert_allclose(products, expected, atol=1e-5)


def test_large_states_are_predicted_as_small_ones_are():
    """From 8192 numbers on, PyTorch's tanh is made of others."""
    sparse = km.layers.SparseSimpleRNN(
        128, connectivity=km.connectivity.Local("circle", 1 / 4, (16, 16))
    )
    x = np.random.RandomState(0).standard_normal((64, TIME, FEATURES)).astype("float32")
    model = keras.Sequential([keras.Input((TIME, FEATURES)), sparse])
    parts = [model.predict(x[k : k + 8], verbose=0) for k in range(0, 64, 8)]
    np.testing.assert_allclose(
        model.predict(x, batch_size=64, verbose=0), np.concatenate(parts), atol=1e-6
    )


@pytest.mark.parametrize("shape", [(3, 4), (2, 5, 4), (1, 4)])
def test_dense_layers_are_those_of_keras(shape):
    rule = km.connectivity.Random(1 / 2, block=(2, 4))
    sparse = km.layers.SparseDense(8, connectivity=rule, activation="tanh")
    dense = K.Dense(8, activation="tanh")
    for layer in (sparse, dense):
        layer.build(shape)
    kernel = find_kernel(sparse.kernel)
    dense.kernel.assign(kernel.to_matrix())

    def gradients(layer):
        def loss(x, *weights):
            fixed = [v.value for v in layer.non_trainable_variables]
            y, _ = layer.stateless_call(list(weights), fixed, x)
            return ops.sum(y * y)

        x = np.random.RandomState(0).standard_normal(shape)
        weights = [numpy(v) for v in layer.trainable_variables]
        return backends.gradient(loss, x, *weights)

    of_x, of_kernel, of_bias = gradients(sparse)
    dense_x, dense_kernel, dense_bias = gradients(dense)
    np.testing.assert_allclose(of_x, dense_x, atol=1e-5)
    np.testing.assert_allclose(of_kernel, kernel.layout.pack(dense_kernel), atol=1e-5)
    np.testing.assert_allclose(of_bias, dense_bias, atol=1e-5)


@pytest.mark.parametrize("kind", RECURRENT)
def test_layers_learn_and_are_saved(kind, tmp_path):
    layer = getattr(km.layers, f"Sparse{kind}")(
        UNITS, connectivity=EVEN, order=np.roll(np.arange(UNITS), 1), seed=3
    )
    model = keras.Sequential([keras.Input((TIME, FEATURES)), layer, K.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    x = np.random.RandomState(0).standard_normal((32, TIME, FEATURES))
    losses = model.fit(x, x[:, -1, :1], epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.6 * losses[0]
    # Blocks that have moved are found where they are, not where the rule had them.
    indices = layer.cell.recurrent_kernel_indices
    moved = np.sort((numpy(indices) + 1) % (UNITS // 4), axis=1)
    indices.assign(moved)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = loaded.layers[0].cell.recurrent_kernel_indices
    np.testing.assert_array_equal(numpy(again), moved)
    np.testing.assert_allclose(model.predict(x), loaded.predict(x), atol=1e-6)
    assert loaded.layers[0].get_config() == layer.get_config()


def test_an_order_names_neurons_as_callers_know_them():
    order = np.random.RandomState(0).permutation(UNITS)
    x = np.random.RandomState(1).standard_normal((BATCH, TIME, FEATURES))
    plain, ordered = (
        km.layers.SparseGRU(UNITS, connectivity=EVEN, return_state=True, order=o)
        for o in (None, order)
    )
    state = np.random.RandomState(2).standard_normal((BATCH, UNITS))
    plain.build(x.shape)
    ordered.build(x.shape)
    ordered.set_weights(plain.get_weights())
    expected, _ = plain(x, initial_state=[state[:, order]])
    got, last = ordered(x, initial_state=[state])
    got, last, expected = map(numpy, (got, last, expected))
    np.testing.assert_allclose(got[:, order], expected, atol=1e-6)
    np.testing.assert_array_equal(got, last)


@pytest.mark.parametrize("kind", RECURRENT)
def test_streams_in_pieces_are_those_of_a_whole(kind):
    layer, whole = (
        getattr(km.layers, f"Sparse{kind}")(
            UNITS, connectivity=EVEN, stateful=stateful, return_sequences=True
        )
        for stateful in (True, False)
    )
    x = np.random.RandomState(0).standard_normal((BATCH, TIME, FEATURES))
    layer.build(x.shape)
    whole.build(x.shape)
    whole.set_weights(layer.get_weights())
    pieces = [numpy(layer(piece)) for piece in (x[:, :2], x[:, 2:])]
    np.testing.assert_allclose(np.concatenate(pieces, 1), numpy(whole(x)), atol=1e-6)


@pytest.mark.parametrize("kind", RECURRENT)
def test_they_run_step_by_step_and_are_left_as_they_are(kind):
    layer = getattr(km.layers, f"Sparse{kind}")(
        UNITS, connectivity=EVEN, return_sequences=True, order=np.arange(UNITS)[::-1]
    )
    rule = km.connectivity.Random(1 / 2, block=(4, 4))
    readout = km.layers.SparseDense(8, connectivity=rule)
    model = keras.Sequential([keras.Input((TIME, FEATURES)), layer, readout])
    x = np.random.RandomState(0).standard_normal((1, TIME, FEATURES)).astype("float32")
    stream = km.sparse.Stream(model)
    steps = [numpy(stream.step(x[:, t])) for t in range(TIME)]
    expected = model.predict(x, verbose=0)
    np.testing.assert_allclose(np.stack(steps, axis=1), expected, atol=1e-6)
    plan = km.sparse.plan(model)
    assert {row.reason for row in plan.rows} == {"its layer is block-sparse already"}


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_mixed_precision_computes_in_it(kind, dtype):
    x = np.random.RandomState(6).uniform(-1, 1, (BATCH, TIME, FEATURES))
    outputs = []
    for policy in ("float32", f"mixed_{dtype}"):
        layer = getattr(km.layers, f"Sparse{kind}")(
            UNITS, connectivity=EVEN, dtype=policy, seed=7
        )
        layer.build(x.shape)
        weights = np.random.RandomState(8)
        for v in layer.trainable_variables:
            v.assign(0.3 * weights.standard_normal(v.shape))
        outputs.append(layer(x.astype("float32")))
    assert keras.backend.standardize_dtype(outputs[1].dtype) == dtype
    assert layer.cell.recurrent_kernel.dtype == "float32"
    assert layer.cell.recurrent_kernel_indices.dtype == "int32"
    one, other = (numpy(ops.cast(y, "float32")) for y in outputs)
    np.testing.assert_allclose(one, other, atol=0.03)


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    "initializer", ["orthogonal", "glorot_uniform", "lecun_normal", "identity"]
)
@pytest.mark.parametrize("density", [1 / 8, 1 / 2])
def test_initializers_keep_the_scale_of_states_over_100_steps(initializer, density):
    """Of a linear recurrence; what is random has as much chance as 64 neurons have."""
    layer = km.layers.SparseSimpleRNN(
        512,
        connectivity=km.connectivity.Local("torus", density, block=(16, 32)),
        recurrent_initializer=initializer,
        activation="linear",
        return_sequences=True,
    )
    x = np.zeros((8, 101, 1))
    layer.build(x.shape)
    state = np.random.RandomState(0).standard_normal((8, 512))
    states = numpy(layer(x, initial_state=[state]))
    norms = np.linalg.norm(states, axis=2)
    chance = 1e-3 if initializer == "identity" else 1 / np.sqrt(64)
    assert abs((norms[:, 100] / norms[:, 0]).mean() ** 0.01 - 1) < chance


@pytest.mark.backend_independent
def test_scales_are_those_of_a_kernel_of_as_many_inputs():
    for name, mode in (("glorot_uniform", "fan_avg"), ("he_normal", "fan_in")):
        layer = km.layers.SparseLSTM(
            1024,
            connectivity=km.connectivity.Random(1 / 8, block=(16, 64)),
            recurrent_initializer=name,
        )
        layer.build((1, 1, 1))
        weights = numpy(layer.cell.recurrent_kernel)
        fan = {"fan_in": 128, "fan_avg": (128 + 4 * 128) / 2}[mode]
        scale = 2.0 if name == "he_normal" else 1.0
        assert np.isclose(weights.std(), np.sqrt(scale / fan), rtol=0.02)


STICKING_OUT = {
    "SimpleRNN": (24, (16, 8), ((0,), (1,), (0,))),  # 2 rows of blocks, which divide 24
    "GRU": (72, (16, 24), ((0,), (1,), (1,))),
    "LSTM": (96, (16, 32), ((0,), (1,), (0,))),
}


@pytest.mark.parametrize("kind", RECURRENT)
@pytest.mark.parametrize("batch", [1, BATCH])
def test_prediction_with_blocks_that_stick_out(kind, batch):
    """Not as in training: PyTorch has other ways where no gradients are wanted."""
    columns, block, indices = STICKING_OUT[kind]
    layout = BlockLayout(UNITS, columns, block, indices)
    sparse, dense, _ = pair(kind, layout, return_state=False)
    x = np.random.RandomState(3).standard_normal((batch, TIME, FEATURES))
    outputs = [
        keras.Sequential([keras.Input((TIME, FEATURES)), layer]).predict(x, verbose=0)
        for layer in (sparse, dense)
    ]
    np.testing.assert_allclose(*outputs, atol=1e-5)
    assert_equal(kind, layout)


def test_what_sticks_out_is_zero_and_costs_nothing():
    layout = BlockLayout(7, 5, (4, 4), ((1,), (0,)))
    layer = km.layers.SparseDense(5, connectivity=layout, kernel_regularizer="l2")
    layer.build((None, 7))
    kernel = find_kernel(layer.kernel)
    weights = numpy(layer.kernel)
    assert (weights[~layout.inside] == 0).all()
    assert (weights[layout.inside] != 0).all()
    np.testing.assert_array_equal(layout.inside, kernel.inside)
    expected = 0.01 * np.square(kernel.to_matrix()).sum()
    np.testing.assert_allclose(float(layer.losses[0]), expected, rtol=1e-5)


def test_regularizers_of_ones_own_are_told_that_they_see_blocks():
    def own(weights):
        return ops.sum(ops.square(weights))

    layer = km.layers.SparseGRU(
        UNITS, connectivity=EVEN, recurrent_regularizer=own, kernel_regularizer=own
    )
    with pytest.warns(UserWarning, match="sees the weights of .* type 'l1'") as told:
        layer.build((1, 1, 1))
    assert len(told) == 1  # the kernel of the inputs is dense


def test_one_sequence_and_states_of_more():
    layer = km.layers.SparseSimpleRNN(UNITS, connectivity=EVEN)
    state = np.ones((3, UNITS), "float32")
    x = np.ones((1, TIME, FEATURES), "float32")
    for wrong in (state, state[:1, :8], np.ones((1, 2 * UNITS), "float32")):
        with pytest.raises(ValueError, match=r"must be of shape \(1, 24\)"):
            layer(x, initial_state=[wrong])
        with pytest.raises(ValueError, match=r"kernel has 24 inputs|shape"):
            layer.cell(x[:, 0], [wrong[:, : UNITS - 1]])


@pytest.mark.parametrize("features", [2, 8])
def test_other_features_than_those_it_was_built_for(features):
    inputs = km.connectivity.Random(1 / 2, block=(1, 8), seed=2)
    layer = km.layers.SparseGRU(UNITS, connectivity=EVEN, input_connectivity=inputs)
    layer(np.ones((BATCH, TIME, FEATURES), "float32"))
    x = np.ones((BATCH, TIME, features), "float32")
    with pytest.raises(ValueError, match=f"{FEATURES}.*{features}"):
        layer(x)
    with pytest.raises(ValueError, match=f"has {FEATURES} inputs"):
        layer.cell(x[:, 0], [np.ones((BATCH, UNITS), "float32")])


@pytest.mark.parametrize("kind", RECURRENT)
def test_an_empty_batch(kind):
    layer = getattr(km.layers, f"Sparse{kind}")(UNITS, connectivity=EVEN)
    assert layer(np.zeros((0, TIME, FEATURES), "float32")).shape == (0, UNITS)
    dense = km.layers.SparseDense(UNITS, connectivity=EVEN)
    assert dense(np.zeros((0, UNITS), "float32")).shape == (0, UNITS)


class LeakyCell(km.layers.SparseSimpleRNNCell):
    """Half of a state stays."""

    def step(self, x, states, *rest):
        return [0.5 * states[0] + 0.5 * y for y in super().step(x, states, *rest)]


class LeakyRNN(km.layers.SparseSimpleRNN):
    """With that cell."""

    cell_class = LeakyCell


def test_a_step_of_ones_own_is_taken():
    x = np.random.RandomState(4).standard_normal((BATCH, TIME, FEATURES))
    outputs = []
    for kind in (km.layers.SparseSimpleRNN, LeakyRNN):
        layer = kind(UNITS, connectivity=EVEN, return_sequences=True, seed=1)
        layer.build(x.shape)
        weights = np.random.RandomState(5)
        for v in layer.trainable_variables:
            v.assign(weights.standard_normal(v.shape))
        model = keras.Sequential([keras.Input((TIME, FEATURES)), layer])
        outputs.append(model.predict(x, verbose=0))
    np.testing.assert_allclose(outputs[1][:, 0], 0.5 * outputs[0][:, 0], atol=1e-6)


def test_the_name_of_a_cell_is_kept():
    rule = {"connectivity": EVEN}
    layer = km.layers.SparseGRU(UNITS, cell_name="core", name="gru", **rule)
    again = km.layers.SparseGRU.from_config(layer.get_config())
    again.build((1, 1, 1))
    assert again.cell.recurrent_kernel.path == "gru/core/recurrent_kernel"
    assert "cell_name" not in km.layers.SparseGRU(UNITS, **rule).get_config()


def test_blocks_are_not_quantized():
    with pytest.raises(ValueError, match=r"km\.densify\(layer\)\.quantize"):
        km.layers.SparseDense(UNITS, connectivity=EVEN, dtype="int8_from_float32")
    policy = keras.config.dtype_policy()
    try:  # no argument says so
        keras.config.set_dtype_policy("int8_from_float32")
        with pytest.raises(ValueError, match="dtype='int8_from_float32'"):
            km.layers.SparseDense(UNITS, connectivity=EVEN)
    finally:
        keras.config.set_dtype_policy(policy)
    layer = km.layers.SparseDense(UNITS, connectivity=EVEN)
    layer.build((None, UNITS))
    for wrong in (lambda: layer.quantize("int8"), lambda: layer.enable_lora(2)):
        with pytest.raises((ValueError, NotImplementedError), match=r"Type `km\.densify"):
            wrong()


def test_an_identity_needs_a_diagonal():
    layer = km.layers.SparseGRU(
        UNITS, connectivity=EVEN, recurrent_initializer="identity"
    )
    with pytest.raises(ValueError, match="diagonal is there"):
        layer.build((1, 1, 1))


def test_the_dense_kernel_is_never_there(tmp_path):
    """Neither as a weight nor, in building or saving, as an array of its size: 4 GiB."""
    tracemalloc.start()
    layer = km.layers.SparseSimpleRNN(
        2**15, connectivity=km.connectivity.Banded(2**-8, block=(16, 64))
    )
    model = keras.Sequential([keras.Input((2, 1)), layer])
    assert layer.cell.recurrent_kernel.shape == (512, 64, 128)
    y = layer(np.ones((1, 2, 1)))
    assert y.shape == (1, 2**15)
    model.save(tmp_path / "wide.keras")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**30
    assert (tmp_path / "wide.keras").stat().st_size < 2**25


@pytest.mark.slow
@pytest.mark.skipif(backends.CURRENT != "jax", reason="Keras shares weights on JAX")
def test_devices_that_share_batch_or_blocks_compute_what_one_does():
    backends.run_on("jax", "tests.scripts.sparse_distributed")
