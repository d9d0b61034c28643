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


def model_of(layer, policy=None):
    keras.config.set_dtype_policy(policy or "float32")
    try:
        network = keras.Sequential(
            [
                keras.Input((6, FEATURES)),
                layer(),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )
    finally:
        keras.config.set_dtype_policy("float32")
    network.compile(keras.optimizers.Adam(0.01), "mse")
    return network


def fit(network, **arguments):
    x, y = X, np.zeros((8, 1), "float32")
    return network.fit(x, y, batch_size=4, epochs=2, verbose=0, **arguments)


def places(network):
    found = find_embeddings(network)
    return [ops.convert_to_numpy(e.embedding.value).copy() for e in found]


def losses(network):
    return [
        float(ops.convert_to_numpy(ops.stop_gradient(loss))) for loss in network.losses
    ]


@each
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_fit_moves_the_places_that_learn_on_their_manifold(make, policy):
    network = model_of(make, policy)
    before = places(network)
    assert before, "every layer of the table has neurons"
    history = fit(network).history["loss"]
    assert np.isfinite(history).all()
    for embedding, start, end in zip(
        find_embeddings(network), before, places(network), strict=True
    ):
        assert (start != end).any() == embedding.trainable
        on_it = ops.convert_to_numpy(embedding.manifold.project(end.astype("float32")))
        np.testing.assert_allclose(on_it, end, atol=1e-5)


@each
def test_config_round_trip(make):
    layer = make()
    copy = type(layer).from_config(layer.get_config())
    network, twin = model_of(lambda: layer), model_of(lambda: copy)
    for a, b in zip(places(network), places(twin), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [w.shape for w in network.weights] == [w.shape for w in twin.weights]


@each
def test_saved_and_loaded(make, tmp_path):
    network = model_of(make)
    fit(network)
    network.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        loaded.predict(X, verbose=0), network.predict(X, verbose=0), atol=1e-6
    )
    np.testing.assert_allclose(losses(loaded), losses(network), rtol=1e-6)
    for a, b in zip(places(loaded), places(network), strict=True):
        np.testing.assert_array_equal(a, b)
    fit(loaded)


@each
def test_clone(make):
    network = model_of(make)
    clone = keras.models.clone_model(network)
    clone.set_weights(network.get_weights())
    np.testing.assert_allclose(
        clone.predict(X, verbose=0), network.predict(X, verbose=0), atol=1e-6
    )
    np.testing.assert_allclose(losses(clone), losses(network), rtol=1e-6)


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
        network = model_of(lambda: make(strength=strength))  # noqa: B023
        predictions.append(network.predict(X, verbose=0))
    np.testing.assert_array_equal(*predictions)


@pytest.mark.parametrize("name", ["ModuliSimpleRNN", "ModuliGRU", "ModuliLSTM"])
def test_same_as_keras_layer_but_for_the_geometry(name):
    keras.utils.set_random_seed(3)
    ours = getattr(km.layers, name)(5)
    output = ops.convert_to_numpy(ours(X))
    theirs = getattr(keras.layers, name.removeprefix("Moduli"))(5)
    theirs.build(X.shape)
    theirs.cell.set_weights(ours.cell.get_weights())
    np.testing.assert_array_equal(ops.convert_to_numpy(theirs(X)), output)
    assert type(ours).call is type(theirs).call
    if hasattr(theirs, "use_cudnn"):  # the fused path is Keras's own
        assert type(ours).inner_loop is type(theirs).inner_loop


def test_stateful_and_masked():
    layer = km.layers.ModuliGRU(5, stateful=True)
    first = ops.convert_to_numpy(layer(X))
    assert not np.allclose(ops.convert_to_numpy(layer(X)), first), "keeps its state"
    layer.reset_state()
    np.testing.assert_allclose(ops.convert_to_numpy(layer(X)), first, atol=1e-6)
    layer.reset_state()
    half = ops.convert_to_numpy(layer(X[:, :3]))
    layer.reset_state()
    masked = X.copy()
    masked[:, 3:] = 0
    found = layer(keras.layers.Masking()(masked))
    np.testing.assert_allclose(ops.convert_to_numpy(found), half, atol=1e-6)


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
    w = np.abs(ops.convert_to_numpy(layer.cell.recurrent_kernel.value).astype("float64"))
    points = ops.convert_to_numpy(layer.embedding.value).astype("float64")
    d = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    held = w.sum(axis=0) + w.sum(axis=1)
    held = held / (held + held.mean() / 10)
    repulsion = -np.average(np.log(d**2 + 0.1), weights=np.outer(held, held))
    natural = layer.neurons.manifold.natural_length(0.1)
    expected = 0.5 * ((d * w).sum() + 2.0 * natural * w.sum() * repulsion)
    assert losses(layer)[0] == pytest.approx(expected, rel=1e-5)


def test_an_inhibitor_that_is_free_at_the_natural_length_still_repels():
    ripple = km.inhibitors.Ripple.for_density("torus", 0.1)
    found = []
    for dispersion in (0.0, 3.0):
        layer = km.layers.ModuliSimpleRNN(
            6, manifold="torus", inhibitor=ripple, dispersion=dispersion
        )
        layer.build((None, 4, 3))
        layer.cell.recurrent_kernel.assign(np.ones((6, 6)))
        found.append(losses(layer)[0])
    assert abs(found[1] - found[0]) > 0.05 * found[0]


def test_neurons_without_connections_stay_where_they_are():
    layer = km.layers.ModuliSimpleRNN(8, manifold="euclidean")
    model = keras.Sequential([keras.Input((6, FEATURES)), layer])
    kernel = ops.convert_to_numpy(layer.cell.recurrent_kernel.value).copy()
    kernel[:3] = 0
    kernel[:, :3] = 0
    layer.cell.recurrent_kernel.assign(kernel)
    for weight in layer.cell.weights:
        weight.trainable = False
    model.compile("sgd", "mse")
    before = ops.convert_to_numpy(layer.embedding.value).copy()
    model.fit(X, np.zeros((8, 8)), epochs=3, verbose=0)
    moved = (ops.convert_to_numpy(layer.embedding.value) != before).any(axis=1)
    assert moved.tolist() == [False] * 3 + [True] * 5


def test_places_learn_where_the_kernel_does_not():
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


def test_pruning_a_learned_geometry_leaves_the_places_alone():
    network = model_of(lambda: km.layers.ModuliLSTM(16))
    network.fit(
        X, np.zeros((8, 1)), epochs=4, verbose=0, callbacks=[km.MagnitudePruning(0.9)]
    )
    report = km.sparsity(network)
    assert report.total.zeros == round(0.9 * report.total.size)
    assert not any("embedding" in row.path for row in report.rows)
    assert any(row.distance is not None for row in report.rows)


@pytest.mark.parametrize(
    "case", **table({k: c for k, c in MANIFOLDS.items() if c.manifold.learnable})
)
def test_learns_on_every_manifold_with_gradients(case):
    network = model_of(lambda: km.layers.ModuliSimpleRNN(8, manifold=case.manifold))
    before = places(network)[0]
    fit(network)
    after = places(network)[0]
    assert np.isfinite(after).all()
    assert (before != after).any()
