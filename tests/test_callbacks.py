"""Ramps, freezing, warnings and swaps, in the compiled step."""

import warnings

import keras
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

import keras_moduli as km
from keras_moduli import numerics, penalties
from keras_moduli.layers import NeuronEmbedding, find_embeddings
from keras_moduli.regularizers import find_regularizer
from tests.backends import CURRENT
from tests.cases import MANIFOLDS

X = np.random.RandomState(0).standard_normal((16, 5, 2)).astype("float32")
Y = np.zeros((16, 1), "float32")


def build(optimizer="adam", **arguments):
    model = keras.Sequential(
        [
            keras.Input((5, 2)),
            km.layers.ModuliSimpleRNN(12, **arguments),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse")
    return model


def fit(model, *callbacks, epochs=6):
    return model.fit(
        X, Y, batch_size=8, epochs=epochs, callbacks=list(callbacks), verbose=0
    )


def points(model):
    (embedding,) = find_embeddings(model)
    return ops.convert_to_numpy(embedding.embedding.value).copy()


def loss(model):
    return float(ops.convert_to_numpy(ops.stop_gradient(model.losses[0])))


class Watch(keras.callbacks.Callback):
    """What every epoch ends with."""

    def __init__(self, look):
        super().__init__()
        self.look = look
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.look(self.model))


@pytest.mark.parametrize(
    "optimizer",
    ["adam", "sgd", lambda: keras.optimizers.SGD(0.01, momentum=0.9),
     lambda: km.embedding_optimizer("adamw", 0.05)],
    ids=["adam", "sgd", "momentum", "embedding_optimizer"],
)  # fmt: skip
def test_frozen_positions_do_not_move_and_weights_do(optimizer):
    model = build(optimizer() if callable(optimizer) else optimizer)
    watch = Watch(points)
    kernels = Watch(
        lambda m: ops.convert_to_numpy(m.layers[0].cell.recurrent_kernel.value).copy()
    )
    fit(model, km.GeometrySchedule(freeze=3), watch, kernels)
    moved = [
        not np.array_equal(a, b) for a, b in zip(watch.seen, watch.seen[1:], strict=False)
    ]
    assert moved == [True, True, False, False, False]
    assert not np.array_equal(kernels.seen[4], kernels.seen[5])


def test_schedule_is_taken_back_when_training_ends():
    model = build()
    neurons = find_embeddings(model)[0]
    watch = Watch(lambda m: (float(neurons.ramp), float(neurons.plasticity)))
    schedule = km.GeometrySchedule("linear", end=4, freeze=1)
    for _ in range(2):
        fit(model, schedule, watch, epochs=2)
        assert (float(neurons.ramp), float(neurons.plasticity)) == (1, 1)
    assert watch.seen == [(0, 1), (0.25, 0)] * 2
    still = points(model)
    fit(model, epochs=1)
    assert not np.array_equal(points(model), still)
    with pytest.raises(KeyboardInterrupt):
        fit(model, schedule, keras.callbacks.LambdaCallback(on_epoch_end=_interrupt))
    assert (float(neurons.ramp), float(neurons.plasticity)) == (1, 1)


def _interrupt(epoch, logs):
    if epoch == 1:
        raise KeyboardInterrupt


@pytest.mark.skipif(CURRENT != "tensorflow", reason="fit builds first on other backends")
def test_schedule_needs_a_built_model():
    model = keras.Sequential([km.layers.ModuliSimpleRNN(4), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match=r"keras\.Input"):
        fit(model, km.GeometrySchedule(freeze=1), epochs=1)


def test_weight_decay_of_frozen_positions_is_told():
    with pytest.warns(UserWarning, match="embedding_optimizer"):
        fit(build("adamw"), km.GeometrySchedule(freeze=1), epochs=2)


def test_strength_ramps_without_a_new_compilation():
    model = build()
    losses = Watch(lambda m: float(ops.convert_to_numpy(ops.stop_gradient(m.losses[0]))))
    functions = Watch(lambda m: m.train_function)
    watch = Watch(lambda m: float(ops.convert_to_numpy(find_embeddings(m)[0].ramp.value)))
    fit(model, km.GeometrySchedule("linear", begin=1, end=4), watch, losses, functions)
    assert watch.seen == pytest.approx([0, 0, 1 / 3, 2 / 3, 1, 1])
    assert losses.seen[0] == losses.seen[1] == 0.0
    assert losses.seen[2] != 0
    assert all(function is functions.seen[0] for function in functions.seen)


def test_embedding_optimizer_gives_positions_their_own_rate():
    slow, fast = (
        build(km.embedding_optimizer("adam", 1e-4)),
        build(km.embedding_optimizer("adam", 1e-1)),
    )
    moves = []
    for model in (slow, fast):
        before = points(model)
        fit(model, epochs=1)
        moves.append(np.abs(points(model) - before).mean())
    assert moves[1] > 100 * moves[0]


class Patches(keras.layers.Layer):
    """Has a weight that is called like the one which holds positions."""

    def build(self, shape):
        self.embedding = self.add_weight(shape=(2, 2), name="embedding")

    def call(self, x):
        return x @ self.embedding


def test_embedding_optimizer_knows_positions_for_what_they_are(tmp_path):
    """Not by a name: others have that too, and in files of 0.1.0 it is another."""
    inputs = keras.Input((5, 2))
    old = km.layers.ModuliGRU(4, embedding=NeuronEmbedding(weight_name="points"))
    wrapped = km.layers.Moduli(keras.layers.Dense(3))
    model = keras.Model(inputs, wrapped(old(Patches()(inputs))))
    optimizer = km.embedding_optimizer("sgd", 0.05)
    config = keras.saving.serialize_keras_object(optimizer)
    for each in (optimizer, keras.saving.deserialize_keras_object(config)):
        each.build(model.trainable_variables)
        adam, other = each.optimizers
        assert adam.name == "embedding_adam"
        chosen = {id(v) for v in adam._trainable_variables}
        assert chosen == {id(e.embedding) for e in find_embeddings(model)}
        assert len(other._trainable_variables) == len(model.trainable_variables) - 3


def test_pruning_under_the_embedding_optimizer():
    model = build(km.embedding_optimizer("adam", 0.05))
    fit(model, km.MagnitudePruning(0.9), epochs=4)
    report = km.sparsity(model)
    assert report.total.zeros == round(0.9 * report.total.size)


def test_monitor_tells_collapse_once_and_what_to_change():
    model = build(km.embedding_optimizer("sgd", 0.3), dispersion=0.0, strength=10.0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = fit(model, km.GeometryMonitor(), epochs=20).history
    told = [str(w.message) for w in caught if "collapsed" in str(w.message)]
    assert len(told) == 1
    assert "Raise `dispersion`" in told[0]
    (spread,) = (values for key, values in history.items() if key.startswith("spread"))
    assert spread[0] > spread[-1] < 0.25


def test_monitor_is_quiet_when_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(build(), km.GeometryMonitor())


def brute_force_best_swap(a, c):
    n = len(a)
    best = 0.0
    for r in range(n):
        for s in range(r):
            p = np.arange(n)
            p[[r, s]] = s, r
            best = min(best, (a * c[p][:, p]).sum() - (a * c).sum())
    return best


@given(n=st.integers(2, 9), seed=st.integers(0, 10_000))
def test_swaps_end_where_no_swap_helps(n, seed):
    rng = np.random.RandomState(seed)
    a, c = rng.uniform(size=(2, n, n))
    positions = penalties.swap_neurons(a, c, sweeps=100)
    assert sorted(positions) == list(range(n))
    moved = c[positions][:, positions]
    assert (a * moved).sum() <= (a * c).sum() + 1e-12
    assert brute_force_best_swap(a, moved) >= -1e-9


def test_swaps_find_a_hidden_permutation():
    torus = km.manifolds.Torus()
    d = ops.convert_to_numpy(torus.pairwise(torus.sample(40).astype("float32")))
    hidden = np.random.RandomState(1).permutation(40)
    weights = np.exp(-(d[hidden][:, hidden] ** 2))
    positions = penalties.swap_neurons(weights, d**2, sweeps=100)
    before, after = (
        (weights * d**2).sum(),
        (weights * d[positions][:, positions] ** 2).sum(),
    )
    perfect = (np.exp(-(d**2)) * d**2).sum()
    assert after < perfect + 0.2 * (before - perfect)


@pytest.mark.parametrize("fixed", [True, False], ids=["regularizer", "layer"])
@pytest.mark.parametrize("name", ["torus", "finite_metric"])
def test_swap_lowers_the_penalty_and_touches_no_weight(name, fixed, tmp_path):
    manifold = MANIFOLDS[name].manifold
    if fixed:
        regularizer = km.ModuliRegularizer(manifold, "diffusion", 0.1)
        layer = keras.layers.SimpleRNN(12, recurrent_regularizer=regularizer)
    else:
        layer = km.layers.ModuliSimpleRNN(
            12, manifold=manifold, inhibitor="diffusion", strength=0.1,
            embedding_trainable=False, dispersion=0.0,
        )  # fmt: skip
    model = keras.Sequential([keras.Input((5, 2)), layer, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    fit(model, epochs=1)

    before, weights = (
        loss(model),
        [ops.convert_to_numpy(v.value).copy() for v in model.layers[0].cell.weights],
    )
    assert km.NeuronSwap().swap(model) > 0
    assert loss(model) < before
    for v, w in zip(model.layers[0].cell.weights, weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(v.value), w)
    after = loss(model)
    history = fit(model, km.NeuronSwap(frequency=2), epochs=4).history
    assert len(history["swapped"]) == 2
    model.save(tmp_path / "swapped.keras")
    loaded = keras.saving.load_model(tmp_path / "swapped.keras")
    assert loss(loaded) == pytest.approx(loss(model), rel=1e-6)
    assert after < before


def of_one_regularizer(**options):
    shared = km.ModuliRegularizer("torus", "diffusion", 1.0, **options)
    layers = [
        keras.layers.SimpleRNN(5, recurrent_regularizer=shared, return_sequences=True)
        for _ in range(2)
    ]
    return keras.Sequential([keras.Input((4, 3)), *layers])


def of_one_embedding():
    neurons = km.layers.NeuronEmbedding("sphere", trainable=False)
    return keras.Sequential(
        [
            keras.Input((4, 3)),
            km.layers.Moduli(keras.layers.Conv1D(5, 2), output_embedding=neurons),
            km.layers.ModuliSimpleRNN(5, embedding=neurons, power=2, strength=3.0),
            km.layers.Moduli(keras.layers.Dense(2), input_embedding=neurons),
        ]
    )


SWAPPABLE = {
    "one regularizer": of_one_regularizer,
    "one regularizer, mean": lambda: of_one_regularizer(reduction="mean"),
    "permuted": lambda: of_one_regularizer(permute_seed=1),
    "communicability": lambda: of_one_regularizer(communicability=True),
    "one embedding": of_one_embedding,
    "a kernel that is frozen": lambda: freeze(of_one_regularizer(), 1),
}


def freeze(model, number):
    model.layers[number].trainable = False
    return model


def get_points(model):
    """What moves the neurons of the second layer, and where they are."""
    placement = find_regularizer(model.layers[1].cell.recurrent_kernel).placement
    points = placement.positions(5, 5).inputs
    return placement.assign, ops.convert_to_numpy(points).copy()


@pytest.mark.parametrize("name", SWAPPABLE)
def test_swaps_of_shared_neurons_lower_the_total_until_none_does(name):
    model = SWAPPABLE[name]()
    kernel = model.layers[1].cell.recurrent_kernel
    kernel.assign(kernel.value / 100 if name == "one regularizer" else kernel.value)

    def total():
        return float(ops.convert_to_numpy(sum(model.losses)))

    before = total()
    swap = km.NeuronSwap(sweeps=100)
    while swap.swap(model):
        after = total()
        assert after < before
        before = after
    assign, points = get_points(model)
    for r in range(5):
        for s in range(r):
            order = np.arange(5)
            order[[r, s]] = s, r
            assign(points[order])
            assert total() >= before * (1 - 1e-5)


@pytest.mark.backend_independent
def test_neurons_of_different_numbers_are_refused_before_any_has_moved():
    shared = km.ModuliRegularizer("torus")
    sequences = keras.layers.SimpleRNN(
        5, recurrent_regularizer=shared, return_sequences=True
    )
    other = keras.layers.SimpleRNN(4, recurrent_regularizer=shared)
    model = keras.Sequential([keras.Input((4, 3)), sequences, other])
    with pytest.raises(ValueError, match="different sizes"):
        km.NeuronSwap().swap(model)
    assert shared.placement.embedding is None


@pytest.mark.parametrize("size", [1e-3, 0.5, 3.0, 40.0])
def test_expm_agrees_with_scipy(size):
    a = np.random.RandomState(0).standard_normal((3, 9, 9)) * size / 9
    found = ops.convert_to_numpy(numerics.expm(ops.convert_to_tensor(a, "float32")))
    expected = np.stack([scipy.linalg.expm(x) for x in a])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-5 * scale)


def test_communicability_by_hand():
    w = np.random.RandomState(1).standard_normal((5, 2, 5))
    w[2] = 0  # a neuron that sends nothing
    found = ops.convert_to_numpy(
        penalties.communicability(ops.convert_to_tensor(w, "float32"))
    )
    for gate in range(2):
        absolute = np.abs(w[:, gate])
        total = absolute.sum(axis=1)
        scale = np.diag([1 / np.sqrt(t) if t else 0.0 for t in total])
        expected = scipy.linalg.expm(scale @ absolute @ scale)
        np.testing.assert_allclose(found[:, gate], expected, rtol=1e-4, atol=1e-5)
    regularizer = km.ModuliRegularizer(
        "torus", "identity", 1.0, gates=2, communicability=True
    )
    costs = regularizer.coefficients((5, 10))[:, None, :] * found
    expected = (costs * np.abs(w)).sum()
    assert float(regularizer(w.reshape(5, 10).astype("float32"))) == pytest.approx(
        expected, rel=1e-4
    )
