"""Dense layers of sparse ones: the same function, masked where nothing is connected."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_moduli as km

UNITS, FEATURES, BLOCK = 16, 8, (4, 4)
RNG = np.random.RandomState(0)
X = RNG.standard_normal((3, 5, FEATURES)).astype("float32")
ORDER = RNG.permutation(UNITS).tolist()
HALF = km.connectivity.Random(0.5, BLOCK)
KINDS = ("SimpleRNN", "GRU", "LSTM")


def array(tensor):
    return ops.convert_to_numpy(tensor)


def born(kind, **kwargs):
    return getattr(km.layers, f"Sparse{kind}")(UNITS, connectivity=HALF, **kwargs)


def cell(kind):
    return getattr(km.layers, f"Sparse{kind}Cell")(UNITS, connectivity=HALF)


def model_of(*layers):
    """A model of layers that have random weights everywhere."""
    model = keras.Sequential([keras.Input(X.shape[1:]), *layers])
    for weight in model.weights:
        if "float" in keras.backend.standardize_dtype(weight.dtype):
            weight.assign(RNG.standard_normal(weight.shape) / 4)
    return model


def steep(x):  # a user's, not registered
    return ops.tanh(2 * x)


def find_marks(value):
    return (value == 0) & np.signbit(value)


def assert_same(new, old, x=X):
    for a, b in zip(*map(keras.tree.flatten, (new(x), old(x))), strict=True):
        np.testing.assert_allclose(array(a), array(b), atol=1e-6, rtol=1e-5)


CASES = {
    "plain": lambda kind: born(kind),
    "order": lambda kind: born(kind, order=ORDER, return_sequences=True),
    "inputs too": lambda kind: born(kind, order=ORDER, input_connectivity=HALF),
    "backwards": lambda kind: born(kind, go_backwards=True, return_sequences=True),
    "states": lambda kind: born(kind, return_state=True, order=ORDER, use_bias=False),
    "both ways": lambda kind: keras.layers.Bidirectional(born(kind, order=ORDER)),
    "cell": lambda kind: keras.layers.RNN(cell(kind), return_sequences=True),
    "stack": lambda kind: keras.layers.RNN([cell(kind), cell(kind)]),
    "each": lambda kind: keras.layers.TimeDistributed(
        km.layers.SparseDense(UNITS, activation="relu", connectivity=HALF)
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_the_same_function_of_keras_alone(kind, case):
    model = model_of(CASES[case](kind))
    before = [array(v) for v in model.variables]
    new = km.densify(model)
    assert_same(new, model)
    assert "keras_moduli" not in new.to_json()
    assert not {id(v) for v in new.variables} & {id(v) for v in model.variables}
    for v, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(array(v), value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_has_no_connection_is_masked(kind):
    layer = born(kind, order=ORDER)
    layer.build(X.shape)
    kernel = km.connectivity.find_kernel(layer.cell.recurrent_kernel)
    layer.cell.recurrent_kernel.assign(np.abs(RNG.standard_normal(kernel.weights.shape)))
    values = array(layer.cell.recurrent_kernel)
    values[0, 0, :2] = 0.0, -0.0  # there, and pruned
    layer.cell.recurrent_kernel.assign(values)
    dense = array(km.densify(layer).cell.recurrent_kernel)
    gates = dense.reshape(UNITS, kernel.gates, UNITS)
    inside = gates[ORDER][..., ORDER].reshape(dense.shape)
    there = kernel.layout.unpack(np.ones(kernel.weights.shape)) > 0
    np.testing.assert_array_equal(inside[there], kernel.to_matrix()[there])
    assert find_marks(inside)[~there].all()
    assert find_marks(inside)[there].sum() == 1
    assert (inside[there] == 0).sum() == 2


def test_blocks_that_stick_out():
    layout = km.connectivity.BlockLayout(7, 5, (4, 4), ((1,), (0,)))
    layer = km.layers.SparseDense(5, connectivity=layout)
    layer.build((None, 7))
    layer.kernel.assign(RNG.standard_normal(layer.kernel.shape))
    assert_same(km.densify(layer), layer, X[..., :7])


def test_back_to_blocks():
    head = km.layers.SparseDense(UNITS, connectivity=HALF)
    model = model_of(born("GRU", order=ORDER), head)
    dense = km.densify(model)
    fast = km.sparsify(dense, BLOCK)
    assert fast.count_params() < dense.count_params()
    np.testing.assert_allclose(array(fast(X)), array(model(X)), atol=1e-5)
    assert_same(km.densify(fast), dense)


def test_training_keeps_the_connections(tmp_path):
    model = km.densify(model_of(born("SimpleRNN", order=ORDER)))
    marks = find_marks(array(model.layers[0].cell.recurrent_kernel))
    assert marks.mean() == 0.5
    model.compile("sgd", "mse")
    y = np.ones((len(X), UNITS), "float32")
    model.fit(X, y, callbacks=[km.KeepZeros()], verbose=0)
    model.save(tmp_path / "dense.keras")
    loaded = keras.saving.load_model(tmp_path / "dense.keras", custom_objects={})
    assert_same(loaded, model)
    after = array(loaded.layers[0].cell.recurrent_kernel)
    np.testing.assert_array_equal(find_marks(after), marks)


def test_all_else_is_that_of_the_layer():
    layer = born(
        "GRU",
        order=ORDER,
        dropout=0.2,
        recurrent_dropout=0.3,
        seed=7,
        reset_after=False,
        stateful=True,
        kernel_initializer="he_normal",
        recurrent_regularizer=keras.regularizers.L1(0.1),
        kernel_constraint=keras.constraints.MaxNorm(2.0),
        activity_regularizer="l2",
        activation=steep,
        name="neurons",
        dtype="mixed_bfloat16",
        trainable=False,
    )
    model = keras.Sequential([keras.Input(batch_shape=X.shape), layer])
    model(X)
    new = km.densify(model).layers[0]
    assert type(new) is keras.layers.GRU
    old_config, config = layer.get_config(), new.get_config()
    gone = {"connectivity", "input_connectivity", "order"}
    assert old_config.keys() - config.keys() == gone
    for name, value in config.items():
        if name != "activation":
            assert value == old_config[name], name
    assert new.activation is layer.activation is steep
    assert layer.reset_after is False
    assert new.trainable_variables == []
    for a, b in zip(layer.states, new.states, strict=True):
        np.testing.assert_array_equal(array(a.value), array(b.value)[:, ORDER])


def test_a_frozen_cell_stays_frozen():
    layer = keras.layers.RNN(cell("SimpleRNN"))
    layer.build(X.shape)
    layer.cell.bias.trainable = False
    names = [v.name for v in km.densify(layer).trainable_variables]
    assert sorted(names) == ["kernel", "recurrent_kernel"]


@pytest.mark.parametrize(
    "options", [{}, {"output_seed": 3}, {"gates": 1, "output_seed": 3}]
)
def test_neurons_pay_for_the_same_connections(options):
    price = km.ModuliRegularizer("torus", seed=2, **{"gates": 3, **options})
    model = model_of(born("GRU", order=ORDER, recurrent_regularizer=price))
    new = km.densify(model)
    losses = [float(sum(map(float, m.losses))) for m in (model, new)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"order": ORDER}])
def test_prices_that_are_permuted_among_other_connections(options):
    price = km.ModuliRegularizer("torus", permute_seed=1)
    model = model_of(born("SimpleRNN", recurrent_regularizer=price, **options))
    with pytest.raises(
        ValueError, match=r"`permute_seed` .* 'recurrent_kernel' of layer"
    ):
        km.densify(model)


def test_so_they_are_of_a_dense_layer():
    price = km.ModuliRegularizer("torus", permute_seed=1)
    layer = km.layers.SparseDense(UNITS, connectivity=HALF, kernel_regularizer=price)
    layer.build((None, UNITS))
    with pytest.raises(ValueError, match=r"`permute_seed` .* 'kernel' of layer"):
        km.densify(layer)


def test_inside_of_a_layer_that_is_not_of_keras():
    model = model_of(km.layers.Moduli(born("GRU"), "torus"))
    new = km.densify(model)
    assert type(new.layers[0].layer) is keras.layers.GRU
    assert_same(new, model)
    losses = [float(sum(map(float, m.losses))) for m in (model, new)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_moduli_does_not_number_shared_neurons_in_two_ways():
    with pytest.raises(ValueError, match=r"`order` of layer .* Leave it out"):
        model_of(km.layers.Moduli(born("SimpleRNN", order=ORDER), "torus"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_recurrent_layers_of_half_precision(dtype):
    model = keras.Sequential([keras.Input((5, FEATURES)), born("GRU", dtype=dtype)])
    new = km.densify(model).layers[0]
    kernel = model.layers[0].cell.recurrent_kernel
    assert type(new.cell.recurrent_initializer) is keras.initializers.Orthogonal
    expected = ops.convert_to_numpy(
        ops.cast(km.connectivity.find_kernel(kernel).to_matrix(), "float32")
    )
    found = ops.convert_to_numpy(ops.cast(new.cell.recurrent_kernel, "float32"))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "mixed_float16"])
def test_half_precision(dtype):
    layer = km.layers.SparseDense(UNITS, connectivity=HALF, dtype=dtype)
    layer.build((None, FEATURES))
    new = km.densify(layer)
    assert new.dtype_policy.name == layer.dtype_policy.name == dtype
    kernel = km.connectivity.find_kernel(layer.kernel).to_matrix()
    np.testing.assert_array_equal(array(new.kernel), kernel)
    assert find_marks(array(ops.cast(new.kernel, "float32"))).mean() == 0.5


def test_what_is_shared_stays_shared():
    layer = born("SimpleRNN")
    a, b = keras.Input(X.shape[1:]), keras.Input(X.shape[1:])
    model = keras.Model([a, b], [layer(a), layer(b)])
    new = km.densify(model)
    assert len(new.weights) == 3
    assert_same(new, model, [X, 2 * X])


def test_a_large_kernel_is_refused():
    layer = born("GRU")
    layer.build(X.shape)
    with pytest.raises(ValueError, match=r"16 × 48: 3072 bytes .*limit=767.*limit=None"):
        km.densify(layer, limit=767)
    assert_same(km.densify(layer, limit=768), layer)
    assert_same(km.densify(layer, limit=None), layer)


def test_other_classes_are_refused():
    class Own(km.layers.SparseDense):
        pass

    layer = Own(UNITS, connectivity=HALF)
    with pytest.raises(ValueError, match="has no weights yet"):
        km.densify(layer)
    layer.build((None, FEATURES))
    with pytest.raises(ValueError, match=r"is a Own, .*exactly one of"):
        km.densify(layer)
    with pytest.raises(TypeError, match="Expected a layer or a model"):
        km.densify("model.keras")
