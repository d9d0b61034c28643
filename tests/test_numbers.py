"""Numbers at the edge: NaN in, NaN out, and no overflow that reads 0."""

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.rewiring._moves import measure
from tests.backends import gradient
from tests.cases import INHIBITORS, MANIFOLDS, table

to_numpy = keras.ops.convert_to_numpy


@pytest.mark.parametrize("case", **table(MANIFOLDS))
def test_no_number_is_at_no_distance(case):
    points = case.manifold.sample(3).astype("float32")
    lost = points.copy()
    lost[0, -1] = np.nan
    found = to_numpy(case.manifold.pairwise(points, lost))
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1:]).all()


@pytest.mark.parametrize("case", **table(INHIBITORS))
def test_no_number_has_no_cost(case):
    assert np.isnan(to_numpy(case[0](np.array([np.nan], "float32")))).all()
    if not isinstance(case[0], km.inhibitors.Ripple):  # which has no limit
        assert not np.isnan(to_numpy(case[0](np.array([np.inf], "float32")))).any()
    (slope,) = gradient(lambda s: keras.ops.sum(case[0](s)), [0, 1e-30, 1, 1e30])
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("name", ["euclidean", "sphere", "projective_space"])
def test_points_far_out_do_not_coincide(name):
    manifold = MANIFOLDS[name].manifold
    x, y = np.array([[1e25, 0, 0], [0, 1e25, 1e24]], "float32")
    assert float(manifold.distance(x, y)) != 0


@pytest.mark.parametrize("bad", ["01", [["0"]], [[0.5]], [[0, 0]], [[-1]], 3, [3]])
def test_indices_of_blocks(bad):
    with pytest.raises((TypeError, ValueError), match=r"ind|column"):
        km.sparse.BlockLayout(8, 4, (4, 4), bad)


def test_directions_near_the_origin_do_not_coincide():
    x = (1e-25 * np.eye(3)).astype("float32")
    apart = to_numpy(km.manifolds.Sphere().pairwise(x))
    np.testing.assert_allclose(apart, 2.5 * np.pi * (1 - np.eye(3)), rtol=1e-6)


W = np.random.RandomState(0).uniform(1, 2, (16, 8)).astype("float32")


@pytest.mark.parametrize("strength", [0, 1e-30, 1e-12, 1e-6, 1, 1e6, 1e12, 1e30])
def test_penalty_is_proportional_to_strength(strength):
    options = {"inhibitor": "dog", "output_seed": 1}
    unit = float(to_numpy(km.ModuliRegularizer(strength=1.0, **options)(W)))
    regularizer = km.ModuliRegularizer(strength=strength, **options)
    assert float(to_numpy(regularizer(W))) == pytest.approx(strength * unit, rel=1e-6)
    assert np.isfinite(gradient(regularizer, W)[0]).all()


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_penalties_of_the_network_have_its_scale(scale):
    """Communicability and repulsion depend on no unit of weights."""
    square = W[:8]
    seen = km.ModuliRegularizer(strength=1.0, communicability=True)
    layer = km.layers.ModuliSimpleRNN(8, strength=1.0)
    layer.build((None, 3, 2))
    for price in (seen, layer.cell.recurrent_kernel.regularizer):
        unit = float(to_numpy(price.penalty(square)))
        found = float(to_numpy(price.penalty(np.float32(scale) * square))) / scale
        assert found == pytest.approx(unit, rel=1e-5)
    assert np.isfinite(gradient(seen, np.float32(scale) * square)[0]).all()


def test_overflow_is_infinite_also_beside_what_is_free():
    penalty = km.ModuliRegularizer(strength=1.0, power=64)(1e10 * W[:8])
    assert np.isposinf(to_numpy(penalty))


def test_what_costs_nothing_does_not_overflow():
    cost = km.penalties.penalty([[1e20, 1.0]], [[0.0, 1.0]], 3)
    assert float(to_numpy(cost)) == 1.0


@pytest.mark.parametrize("value", [1e-50, 1e39])
def test_numbers_that_float32_has_not(value):
    with pytest.raises(ValueError, match="float32"):
        km.inhibitors.Gaussian(1.0, value)


@pytest.mark.backend_independent
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-30, 1e30, 1e160, 1e300])
def test_blocks_rank_over_all_of_float64(scale):
    for balanced in (True, False):
        blocks = km.pruning.Blocks((4, 2), balanced)
        found, expected = (
            blocks.compute_units(x.astype("float64"), np.ones((16, 8), bool)).scores
            for x in (W.astype("float64") * scale, W)
        )
        np.testing.assert_allclose(found, expected * scale, rtol=1e-14)
    found, expected = (
        measure(x.astype("float64").reshape(2, 4, 16), 4)
        for x in (W.astype("float64") * scale, W)
    )
    np.testing.assert_allclose(found, expected * scale, rtol=1e-14)


def dense():
    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8)])
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize("options", [{"regrow": "rigl"}, {"structure": (4, 2)}])
def test_weights_that_are_not_finite_are_not_ranked(options):
    model, lost = dense(), W.copy()
    lost[0, :2] = np.nan, np.inf
    model.layers[0].kernel.assign(lost)
    pruning = km.MagnitudePruning(0.5, end=1, **options)
    pruning.attach(model)
    with pytest.raises(ValueError, match=r"2 of 128 of '.*kernel' \(1 of them NaN"):
        pruning.update(1)
    pruning.release()


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_an_empty_kernel_costs_nothing(shape):
    regularizer = km.ModuliRegularizer("torus", "dog", 1.0, output_seed=1)
    kernel = np.zeros(shape, "float32")
    assert float(to_numpy(regularizer(kernel))) == 0
    assert gradient(regularizer, kernel)[0].shape == shape
    assert regularizer.coefficients(shape).shape == shape


def test_a_model_with_an_empty_kernel(tmp_path):
    price = km.ModuliRegularizer(output_seed=1)
    first = keras.layers.Dense(8, kernel_regularizer=price)
    model = keras.Sequential([keras.Input((0,)), first, keras.layers.Dense(8)])
    model.compile("adam", "mse")
    x = np.zeros((4, 0), "float32")
    pruning = km.MagnitudePruning(0.5, end=1)  # XLA of TensorFlow ends in its `fit`
    pruning.attach(model)
    pruning.update(1)
    pruning.release()
    assert km.sparsity(model).total.zeros == 32
    assert len(km.sparse.plan(model).rows) == 1
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(loaded(x)), to_numpy(model(x)))
    assert km.sparsify(model)(x).shape == (4, 8)
