"""Keras's own behavior, and a geometry that learns, for every layer in the table."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_moduli as km
from keras_moduli.layers import NeuronEmbedding, find_embeddings
from tests.cases import FEATURES, LAYERS, MANIFOLDS, table

each = pytest.mark.parametrize("make", **table(LAYERS))
X = np.random.RandomState(0).standard_normal((8, 6, FEATURES)).astype("float32")
Y = np.zeros((8, 1), "float32")


def model_of(*layers):
    """A network of layers side by side, each called on the same sequences."""
    inputs = keras.Input((6, FEATURES))
    outputs = [keras.layers.Flatten()(layer(inputs)) for layer in layers]
    joined = keras.layers.Concatenate()(outputs) if len(outputs) > 1 else outputs[0]
    network = keras.Model(inputs, keras.layers.Dense(1)(joined))
    network.compile(keras.optimizers.Adam(0.01), "mse")
    return network


def fit(network):
    return network.fit(X, Y, batch_size=4, epochs=2, verbose=0)


def positions(network):
    return [array(e.embedding).copy() for e in find_embeddings(network)]


def losses(network):
    return [float(array(ops.stop_gradient(loss))) for loss in network.losses]


def array(value):
    return ops.convert_to_numpy(value)


def assert_same(other, network):
    """Both predict the same, cost the same and have the same positions."""
    np.testing.assert_allclose(array(other(X)), array(network(X)), atol=1e-6)
    np.testing.assert_allclose(losses(other), losses(network), rtol=1e-6)
    for a, b in zip(positions(other), positions(network), strict=True):
        np.testing.assert_array_equal(a, b)


def assert_moved(network, before):
    """What learns has moved, and is still on its manifold."""
    after = positions(network)
    for embedding, start, end in zip(
        find_embeddings(network), before, after, strict=True
    ):
        assert np.isfinite(end).all()
        assert (start != end).any() == embedding.trainable, embedding.path
        on_it = array(embedding.manifold.project(end.astype("float32")))
        np.testing.assert_allclose(on_it, end, atol=1e-5)


def test_fit_moves_the_positions_that_learn_on_their_manifold(tmp_path):
    """All layers in one network, as it is loaded from a file."""
    network = model_of(*[make() for make in LAYERS.values()])
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    before = positions(loaded)
    assert len(before) >= len(LAYERS), "every layer of the table has neurons"
    assert np.isfinite(fit(loaded).history["loss"]).all()
    assert_moved(loaded, before)


@pytest.mark.slow
def test_half_precision_moves_the_positions_too(tmp_path):
    """All layers in one new network, which is then saved with what it learned."""
    keras.config.set_dtype_policy("mixed_float16")
    try:
        network = model_of(*[make() for make in LAYERS.values()])
    finally:
        keras.config.set_dtype_policy("float32")
    before = positions(network)
    assert np.isfinite(fit(network).history["loss"]).all()
    assert_moved(network, before)
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(loaded.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@each
def test_saved_loaded_cloned_and_made_from_its_config(make, tmp_path):
    layer = make()
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config().keys() == layer.get_config().keys()
    network, twin = model_of(layer), model_of(copy)
    assert find_embeddings(network), "every layer of the table has neurons"
    for a, b in zip(positions(network), positions(twin), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [w.shape for w in network.weights] == [w.shape for w in twin.weights]
    network.save(tmp_path / "model.keras")
    assert_same(keras.saving.load_model(tmp_path / "model.keras"), network)
    clone = keras.models.clone_model(network)
    clone.set_weights(network.get_weights())
    assert_same(clone, network)


@each
def test_eager_and_symbolic_calls_agree(make):
    layer = make()
    eager = layer(X)
    symbolic = layer(keras.Input((6, FEATURES)))
    assert tuple(eager.shape[1:]) == tuple(symbolic.shape[1:])


@each
def test_penalty_is_no_part_of_the_prediction(make):
    predictions = []
    for strength in (0.0, 1.0):
        keras.utils.set_random_seed(1)
        predictions.append(array(model_of(make(strength=strength))(X)))
    np.testing.assert_array_equal(*predictions)


@pytest.mark.parametrize("name", ["ModuliSimpleRNN", "ModuliGRU", "ModuliLSTM"])
def test_same_as_keras_layer_but_for_the_geometry(name):
    keras.utils.set_random_seed(3)
    ours = getattr(km.layers, name)(5)
    output = array(ours(X))
    theirs = getattr(keras.layers, name.removeprefix("Moduli"))(5)
    theirs.build(X.shape)
    theirs.cell.set_weights(ours.cell.get_weights())
    np.testing.assert_array_equal(array(theirs(X)), output)
    assert type(ours).call is type(theirs).call
    if hasattr(theirs, "use_cudnn"):  # the fused path is Keras's own
        assert type(ours).inner_loop is type(theirs).inner_loop


def test_stateful_and_masked():
    layer = km.layers.ModuliGRU(5, stateful=True)
    first = array(layer(X))
    assert not np.allclose(array(layer(X)), first), "keeps its state"
    layer.reset_state()
    np.testing.assert_allclose(array(layer(X)), first, atol=1e-6)
    layer.reset_state()
    half = array(layer(X[:, :3]))
    layer.reset_state()
    masked = X.copy()
    masked[:, 3:] = 0
    found = layer(keras.layers.Masking()(masked))
    np.testing.assert_allclose(array(found), half, atol=1e-6)


def test_parameters_of_the_embedding_are_in_the_summary():
    lines = []
    plain = keras.Sequential([keras.Input((6, 3)), keras.layers.SimpleRNN(32)])
    network = keras.Sequential(
        [keras.Input((6, 3)), km.layers.ModuliSimpleRNN(32, manifold="sphere")]
    )
    network.summary(print_fn=lines.append)
    constants = 2  # plasticity and ramp, not trainable
    assert network.count_params() == plain.count_params() + 32 * 3 + constants
    assert f"{network.count_params():,}" in "".join(lines)


def test_losses_are_the_formula():
    layer = km.layers.ModuliSimpleRNN(
        6, manifold="euclidean", inhibitor="identity", strength=0.5, dispersion=2.0
    )
    layer.build((None, 4, 3))
    w = np.abs(array(layer.cell.recurrent_kernel.value).astype("float64"))
    points = array(layer.embedding.value).astype("float64")
    d = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    held = w.sum(axis=0) + w.sum(axis=1)
    held = held / (held + held.mean() / 10)
    natural = layer.neurons.manifold.natural_length(0.1)
    logs = np.log((100 * natural**2 + 0.1) / (d**2 + 0.1))
    repulsion = np.average(logs, weights=np.outer(held, held))
    expected = 0.5 * ((d * w).sum() + 2.0 * natural * w.sum() * repulsion)
    assert losses(layer)[0] == pytest.approx(expected, rel=1e-5)


def test_an_inhibitor_that_is_free_at_the_natural_length_still_repels():
    ripple = km.inhibitors.Ripple.for_density("torus", 0.1)
    layer = km.layers.ModuliSimpleRNN(6, manifold="torus", inhibitor=ripple)
    layer.build((None, 4, 3))
    layer.cell.recurrent_kernel.assign(np.ones((6, 6)))
    layer.embedding.assign(0.01 * array(layer.embedding.value))  # all near each other
    attraction = 3e-5 * 36 * float(array(ripple(np.float32(0.0))))
    assert losses(layer)[0] > 2 * attraction


LEARNABLE = [name for name, case in MANIFOLDS.items() if case.manifold.learnable]


@pytest.mark.parametrize("name", LEARNABLE)
def test_the_loss_of_learned_positions_is_not_negative(name):
    """At what the manifold draws, and where no pair attracts."""
    manifold = MANIFOLDS[name].manifold
    layer = km.layers.ModuliSimpleRNN(12, manifold=manifold)
    layer.build((None, 4, 3))
    assert losses(layer)[0] > 0
    layer.cell.recurrent_kernel.assign(np.eye(12))  # of which no pair attracts
    assert losses(layer)[0] > 0


def test_neurons_without_connections_stay_where_they_are():
    layer = km.layers.ModuliSimpleRNN(8, manifold="euclidean")
    model = keras.Sequential([keras.Input((6, FEATURES)), layer])
    kernel = array(layer.cell.recurrent_kernel.value).copy()
    kernel[:3] = 0
    kernel[:, :3] = 0
    layer.cell.recurrent_kernel.assign(kernel)
    for weight in layer.cell.weights:
        weight.trainable = False
    model.compile("sgd", "mse")
    before = array(layer.embedding.value).copy()
    model.fit(X, np.zeros((8, 8)), epochs=3, verbose=0)
    moved = (array(layer.embedding.value) != before).any(axis=1)
    assert moved.tolist() == [False] * 3 + [True] * 5


def test_positions_learn_where_the_kernel_does_not():
    layer = km.layers.ModuliSimpleRNN(8)
    layer.build((None, 6, FEATURES))
    before = sum(losses(layer))
    for weight in layer.cell.weights:
        weight.trainable = False
    assert sum(losses(layer)) == pytest.approx(before, rel=1e-6)
    assert [w.name for w in layer.trainable_weights] == ["embedding"]


def test_attention_has_four_sets_of_neurons_and_shares_the_stream(tmp_path):
    stream = NeuronEmbedding("torus")
    attention = keras.layers.MultiHeadAttention(2, 3)
    inputs = keras.Input((6, 4))
    outputs = km.layers.Moduli(
        attention, input_embedding=stream, output_embedding=stream
    )(inputs, inputs, use_causal_mask=True)
    network = keras.Model(inputs, outputs)
    sizes = sorted(e.embedding.shape[0] for e in find_embeddings(network))
    assert sizes == [4, 6, 6], "stream, queries with keys, values"
    x = X.repeat(2, axis=2)[..., :4]
    changed = x.copy()
    changed[:, -1] += 1
    before, after = (network.predict(v, verbose=0)[:, :-1] for v in (x, changed))
    np.testing.assert_allclose(before, after, atol=1e-6, err_msg="causal")
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    wrapper = loaded.layers[-1]
    assert wrapper.input_embedding is wrapper.output_embedding


def test_two_layers_share_the_neurons_between_them(tmp_path):
    hidden = NeuronEmbedding("sphere", seed=5)
    network = keras.Sequential(
        [
            keras.Input((6, FEATURES)),
            km.layers.ModuliLSTM(8, embedding=hidden),
            km.layers.Moduli(keras.layers.Dense(4), input_embedding=hidden),
        ]
    )
    network.compile("adam", "mse")
    network.fit(X, np.zeros((8, 4)), epochs=1, verbose=0)
    assert len(find_embeddings(network)) == 2
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(find_embeddings(loaded)) == 2
    assert loaded.layers[0].neurons is loaded.layers[1].input_embedding
    np.testing.assert_allclose(losses(loaded), losses(network), rtol=1e-6)


def test_pruning_a_learned_geometry_leaves_the_positions_alone():
    network = model_of(km.layers.ModuliLSTM(16))
    network.fit(X, Y, epochs=4, verbose=0, callbacks=[km.MagnitudePruning(0.9)])
    report = km.sparsity(network)
    assert report.total.zeros == round(0.9 * report.total.size)
    assert not any("neurons" in row.path for row in report.rows)
    assert any(row.distance is not None for row in report.rows)


def test_learns_on_every_manifold_with_gradients():
    """A layer on each, side by side, in one network."""
    manifolds = [c.manifold for c in MANIFOLDS.values() if c.manifold.learnable]
    layers = [km.layers.ModuliSimpleRNN(8, manifold=m) for m in manifolds]
    network = model_of(*layers)
    before = positions(network)
    assert len(before) == len(manifolds)
    fit(network)
    assert_moved(network, before)


def test_a_manifold_that_differs_from_the_embedding_is_an_error():
    torus, sphere = NeuronEmbedding("torus"), NeuronEmbedding("sphere")
    dense = keras.layers.Dense(3)
    makers = (
        lambda manifold: km.layers.ModuliGRU(4, manifold=manifold, embedding=torus),
        lambda manifold: km.layers.Moduli(dense, manifold, input_embedding=torus),
        lambda manifold: km.layers.Moduli(dense, manifold, output_embedding=torus),
    )
    for make in makers:
        assert make(None).cost.manifold == make("torus").cost.manifold == torus.manifold
        for other in ("sphere", "euclidean"):
            with pytest.raises(ValueError, match="leave `manifold` out"):
                make(other)
    with pytest.raises(ValueError, match="one manifold"):
        km.layers.Moduli(dense, input_embedding=torus, output_embedding=sphere)
