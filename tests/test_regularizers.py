"""The penalty against a slow oracle, its controls, and the kernels that it takes."""

import copy
import functools

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

import keras_moduli as km
from keras_moduli.regularizers import Cost, Positions, _evaluation
from keras_moduli.regularizers._assignment import _Paid
from tests import oracles
from tests.backends import gradient
from tests.cases import INHIBITORS, MANIFOLDS, table


def kernel(*shape, seed=0):
    return np.random.RandomState(seed).standard_normal(shape).astype("float32")


def distances(case, inputs, outputs):
    return np.array([[case.oracle(x, y) for y in outputs] for x in inputs])


@pytest.mark.parametrize("case", **table(MANIFOLDS))
def test_formula(case):
    w = kernel(12, 12)
    points = case.manifold.sample(12, seed=3)
    d = distances(case, points, points)
    for name, (inhibitor, formula) in INHIBITORS.items():
        regularizer = km.ModuliRegularizer(case.manifold, inhibitor, 0.5, seed=3)
        expected = 0.5 * oracles.penalty(w, d, formula, 1)
        assert float(regularizer(w)) == pytest.approx(expected, rel=1e-4), name


@functools.cache
def sphere_distances(output_seed):
    case = MANIFOLDS["sphere"]
    sending = case.manifold.sample(6, 0)
    receiving = sending if output_seed is None else case.manifold.sample(5, output_seed)
    return distances(case, sending, receiving)


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("gates", [1, 3, 4])
@pytest.mark.parametrize("output_seed", [None, 7])
def test_gates_power_reduction_and_outputs(gates, power, reduction, output_seed):
    outputs = 6 if output_seed is None else 5
    w = kernel(6, gates * outputs)
    regularizer = km.ModuliRegularizer(
        "sphere",
        "gaussian",
        strength=2.0,
        gates=gates,
        power=power,
        reduction=reduction,
        output_seed=output_seed,
    )
    formula = INHIBITORS["gaussian"][1]
    d = sphere_distances(output_seed)
    expected = 2.0 * oracles.penalty(w, d, formula, power) / 100  # default amplitude
    if reduction == "mean":
        expected /= w.size
    assert float(regularizer(w)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("shape", "axes", "flat"),
    [((6, 2, 4), 1, (6, 8)), ((2, 4, 6), 2, (8, 6)), ((3, 3, 2, 5), 3, (18, 5))],
    ids=["attention query", "attention output", "convolution"],
)
def test_higher_rank_is_flattened(shape, axes, flat):
    w = kernel(*shape)
    arguments = {"output_seed": 1}
    found = km.ModuliRegularizer(input_axes=axes, **arguments)(w)
    expected = km.ModuliRegularizer(**arguments)(w.reshape(flat))
    assert float(found) == float(expected)


@pytest.mark.parametrize("shape", [(7, 7), (64, 64)])
@pytest.mark.parametrize(
    ("power", "twin"), [(1, keras.regularizers.L1), (2, keras.regularizers.L2)]
)
def test_constant_is_l1_and_l2(shape, power, twin):
    w = kernel(*shape)
    found = km.ModuliRegularizer(inhibitor="constant", strength=0.01, power=power)(w)
    assert float(found) == pytest.approx(
        float(twin(0.01)(ops.convert_to_tensor(w))), rel=1e-6
    )


def test_given_embedding_replaces_the_seed():
    points = km.manifolds.Torus().sample(9, seed=5)
    given = km.ModuliRegularizer(embedding=points)
    assert float(given(kernel(9, 9))) == float(km.ModuliRegularizer(seed=5)(kernel(9, 9)))


def test_permuted_control_keeps_the_histogram_and_loses_the_order():
    plain, control = km.ModuliRegularizer(), km.ModuliRegularizer(permute_seed=1)
    a, b = plain.coefficients((32, 32)), control.coefficients((32, 32))
    np.testing.assert_array_equal(np.sort(a, axis=None), np.sort(b, axis=None))
    assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.1
    w = kernel(32, 32)
    assert float(control(w)) == pytest.approx(
        float((3e-5 * b * np.abs(w)).sum()), rel=1e-5
    )


@pytest.mark.parametrize("gates", [1, 4])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_matched_l1_costs_the_same_on_even_weights(gates, reduction):
    moduli = km.ModuliRegularizer(strength=0.2, gates=gates, reduction=reduction)
    even = ops.full((16, 16 * gates), 0.5)
    control = km.matched_l1(moduli, 16)
    assert isinstance(control, keras.regularizers.L1)
    assert float(control(even)) == pytest.approx(float(moduli(even)), rel=1e-5)


def test_matched_l1_of_power_two_is_l2():
    moduli = km.ModuliRegularizer(power=2, output_seed=1)
    even = ops.full((16, 8), 0.5)
    control = km.matched_l1(moduli, (16, 8))
    assert isinstance(control, keras.regularizers.L2)
    assert float(control(even)) == pytest.approx(float(moduli(even)), rel=1e-5)


def test_gradient_is_the_signed_coefficient_and_zero_at_zero():
    w = kernel(8, 8)
    w[::2] = 0
    regularizer = km.ModuliRegularizer(strength=0.1)
    (slope,) = gradient(regularizer, w)
    expected = 0.1 * regularizer.coefficients(w.shape) * np.sign(w)
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-8)


@given(
    manifold=st.sampled_from(["torus", "sphere", "klein_bottle"]),
    inhibitor=st.sampled_from(sorted(km.inhibitors.names())),
    power=st.integers(1, 3),
    reduction=st.sampled_from(["sum", "mean"]),
    seeds=st.tuples(st.integers(0, 2**32 - 1), st.none() | st.integers(0, 9)),
    embedded=st.booleans(),
)
def test_config_round_trip(manifold, inhibitor, power, reduction, seeds, embedded):
    arguments = {"power": power, "reduction": reduction}
    arguments |= {"seed": seeds[0], "permute_seed": seeds[1]}
    if embedded:
        arguments["embedding"] = km.manifolds.get(manifold).sample(5, 9)
    regularizer = km.ModuliRegularizer(manifold, inhibitor, 0.01, **arguments)
    config = keras.regularizers.serialize(regularizer)
    restored = keras.regularizers.deserialize(config)
    assert restored.get_config() == regularizer.get_config()
    assert restored.get_config()["strength"] == 0.01
    assert float(restored(kernel(5, 5))) == float(regularizer(kernel(5, 5)))


def test_given_positions_of_both_sides_are_in_the_config():
    torus = km.manifolds.Torus()
    regularizer = km.ModuliRegularizer(
        embedding=torus.sample(5, 1), output_embedding=torus.sample(4, 2)
    )
    config = keras.regularizers.serialize(regularizer)
    restored = keras.regularizers.deserialize(config)
    assert float(restored(kernel(5, 4))) == float(regularizer(kernel(5, 4)))
    assert restored.get_config() == regularizer.get_config()


def test_deep_copy():
    regularizer = km.ModuliRegularizer()
    assert float(copy.deepcopy(regularizer)(kernel(4, 4))) == float(
        regularizer(kernel(4, 4))
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_kernels_are_summed_in_single(dtype):
    w = ops.cast(ops.convert_to_tensor(kernel(256, 256)), dtype)
    loss = km.ModuliRegularizer(strength=1.0)(w)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    expected = km.ModuliRegularizer(strength=1.0)(ops.cast(w, "float32"))
    assert float(loss) == float(expected)


LAYERS = {
    "SimpleRNN": lambda: keras.layers.SimpleRNN(
        4, recurrent_regularizer=km.ModuliRegularizer()
    ),
    "LSTM": lambda: keras.layers.LSTM(
        4, recurrent_regularizer=km.ModuliRegularizer(gates=4)
    ),
    "GRU": lambda: keras.layers.GRU(
        4, recurrent_regularizer=km.ModuliRegularizer(gates=3)
    ),
    "Bidirectional": lambda: keras.layers.Bidirectional(
        keras.layers.LSTM(4, recurrent_regularizer=km.ModuliRegularizer(gates=4))
    ),
    "Dense": lambda: keras.layers.Dense(
        4, kernel_regularizer=km.ModuliRegularizer(output_seed=1)
    ),
    "Conv1D": lambda: keras.layers.Conv1D(
        4, 2, kernel_regularizer=km.ModuliRegularizer(output_seed=1, input_axes=2)
    ),
}


@pytest.mark.parametrize("layer", **table(LAYERS))
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_layers_of_keras_train_with_it(layer, policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model = keras.Sequential([keras.Input((5, 3)), layer(), keras.layers.Dense(1)])
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile("adam", "mse")
    x = kernel(8, 5, 3)
    y = np.zeros(model(x).shape, "float32")
    before = sum(float(loss) for loss in model.losses)
    assert before > 0
    model.fit(x, y, epochs=2, verbose=0)
    assert np.isfinite(model.get_weights()[0].astype("float32")).all()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    losses = [[float(loss) for loss in m.losses] for m in (model, loaded)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)


def test_coefficients_that_are_first_needed_in_a_symbolic_call():
    penalty = km.ModuliRegularizer("torus", seed=5)
    kernel = np.random.RandomState(0).standard_normal((8, 8)).astype("float32")

    class Charged(keras.layers.Layer):
        def call(self, x):
            return x * penalty(keras.ops.convert_to_tensor(kernel))

    keras.Model(inputs := keras.Input((2,)), Charged()(inputs))
    expected = 3e-5 * (penalty.coefficients((8, 8)) * np.abs(kernel)).sum()
    for _ in range(2):
        found = float(penalty(keras.ops.convert_to_tensor(kernel)))
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["euclidean", "sphere"])
def test_formula_of_positions_that_repel_each_other(name):
    """Σ d·|w| + β·r·Σ |w|·D, and D the mean of log((100r² + ε)/(d² + ε))."""
    case = MANIFOLDS[name]
    w, points = kernel(6, 6), case.manifold.sample(6, seed=3).astype("float32")
    cost = Cost(case.manifold, "identity", strength=0.5, dispersion=2.0)
    placed = Positions(points, points, learned=True)
    found = _evaluation.evaluate(cost, w, cost.layout((6, 6), square=True), placed)
    d, w = distances(case, points, points), np.abs(w).astype("float64")
    held = w.sum(axis=0) + w.sum(axis=1)
    held = held / (held + held.mean() / 10)
    r = case.manifold.natural_length(0.1)
    logs = np.log((100 * r**2 + 0.1) / (d**2 + 0.1))
    mean = np.average(logs, weights=np.outer(held, held))
    expected = 0.5 * ((d * w).sum() + 2.0 * r * w.sum() * mean)
    assert float(ops.convert_to_numpy(found)) == pytest.approx(expected, rel=1e-4)


def between(**sides):
    return km.layers.Moduli(keras.layers.Dense(5, use_bias=False), strength=1.0, **sides)


SIDES = {
    "inputs": lambda neurons: between(input_embedding=neurons),
    "outputs": lambda neurons: between(output_embedding=neurons),
    "both": lambda n: between(input_embedding=n, output_embedding=n),
}


@pytest.mark.parametrize("make", SIDES.values(), ids=SIDES)
def test_tables_of_swaps_hold_what_the_loss_changes_by(make):
    """Σ pulls·costs of the order, over what kernels pay inside of the set and outside."""
    neurons = km.layers.NeuronEmbedding("sphere")
    model = keras.Sequential([keras.Input((5,)), make(neurons)])
    for seed, variable in enumerate(model.trainable_weights):
        variable.assign(kernel(*variable.shape, seed=seed))
    matrix = next(v for v in model.weights if v.path.endswith("kernel"))
    points = ops.convert_to_numpy(neurons.embedding.value).copy()
    paid = _Paid(matrix, neurons)
    inner, outer = paid.list_inner_terms(), paid.list_outer_costs()

    def say(order):
        inside = sum((pulls * costs[order][:, order]).sum() for pulls, costs in inner)
        return inside + sum(costs[range(5), order].sum() for costs in outer)

    def pay(order):
        neurons.embedding.assign(points[order])
        return float(ops.convert_to_numpy(sum(model.losses)))

    start = np.arange(5)
    for seed in range(3):
        order = np.random.RandomState(seed).permutation(5)
        changed = pay(order) - pay(start)
        assert say(order) - say(start) == pytest.approx(changed, rel=1e-3, abs=1e-4)
        assert abs(changed) > 1e-2
