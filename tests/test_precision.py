"""Half, single and double precision: every kind of weight, layer and manifold in each."""

import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops

import keras_moduli as km
from tests import oracles
from tests.backends import CURRENT
from tests.cases import INHIBITORS, MANIFOLDS, table

C, L, K = km.connectivity, km.layers, keras.layers
HALF = ("float16", "bfloat16")
DTYPES = (*HALF, "float32", "float64")
POLICIES = (*HALF, "float64", "mixed_float16", "mixed_bfloat16")
EPS = {"float16": 2**-10, "bfloat16": 2**-7}


def array(x):
    return ops.convert_to_numpy(x).astype("float64")


def name(x):
    return keras.backend.standardize_dtype(x.dtype)


def standard(dtype):
    """Without x64 JAX takes float32 for float64, as does Keras in it."""
    return "float32" if CURRENT == "jax" and dtype == "float64" else dtype


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("case", **table(MANIFOLDS))
def test_distances_of_half_precision(case, dtype):
    """Those of the rounded points, to the precision of the result."""
    points = ops.cast(ops.convert_to_tensor(case.manifold.sample(5), "float32"), dtype)
    found = case.manifold.pairwise(points)
    expected = array(case.manifold.pairwise(ops.cast(points, "float32")))
    assert name(found) == dtype
    np.testing.assert_allclose(array(found), expected, rtol=EPS[dtype], atol=1e-7)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 3e4])
def test_directions_of_half_precision(scale):
    x = ops.convert_to_tensor(scale * np.eye(3), "float16")
    unit = array(km.numerics.normalize(x))
    np.testing.assert_allclose(unit, np.eye(3), atol=1e-3)
    apart = array(km.manifolds.Sphere().pairwise(x))
    np.testing.assert_allclose(apart, 2.5 * np.pi * (1 - np.eye(3)), rtol=1e-3)


@pytest.fixture
def floatx(request):
    keras.config.set_floatx(request.param)
    yield request.param
    keras.config.set_floatx("float32")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("power", [1, 2])
def test_penalty_is_that_of_the_oracle(dtype, power):
    """In float32, which Keras makes of all float64 that it joins with something."""
    inhibitor, cost = INHIBITORS["dog"]
    regularizer = km.ModuliRegularizer("torus", inhibitor, 1.0, power=power)
    weights = ops.convert_to_tensor(np.random.RandomState(0).randn(6, 6), dtype)
    x = regularizer.positions((6, 6))[0]
    apart = oracles.torus(10.0, 10.0)
    distances = np.array([[apart(a, b) for b in x] for a in x])
    expected = oracles.penalty(array(weights), distances, cost, power)
    found = regularizer.penalty(weights)
    np.testing.assert_allclose(array(found), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("power", [1, 2])
def test_sums_over_a_kernel_do_not_overflow(dtype, power):
    """256 · 256 times 4: beyond 65504, and beyond where half precision counts."""
    regularizer = km.ModuliRegularizer("torus", "constant", 1.0, power=power)
    penalty = regularizer(ops.full((256, 256), 4.0, dtype))
    assert float(array(penalty)) == pytest.approx(256 * 256 * 4**power, rel=1e-5)


def local():
    return C.Local("torus", 1 / 2, (4, 4))


def fixed(**options):
    return km.ModuliRegularizer("sphere", "dog", 1e-3, **options)


LAYERS = {
    "SimpleRNN": lambda: K.SimpleRNN(16, **PLAIN, recurrent_regularizer=fixed()),
    "GRU": lambda: K.GRU(16, **PLAIN, recurrent_regularizer=fixed(gates=3)),
    "ModuliSimpleRNN": lambda: L.ModuliSimpleRNN(16, **PLAIN),
    "ModuliGRU": lambda: L.ModuliGRU(16, manifold="torus", inhibitor="dog", **PLAIN),
    "ModuliLSTM": lambda: L.ModuliLSTM(16, manifold="sphere", power=2, **PLAIN),
    "communicability": lambda: L.ModuliGRU(16, communicability=True, **PLAIN),
    "Moduli(Dense)": lambda: L.Moduli(K.Dense(16)),
    "SparseSimpleRNN": lambda: L.SparseSimpleRNN(
        16, connectivity=local(), recurrent_regularizer=fixed(), **PLAIN
    ),
    "SparseGRU": lambda: L.SparseGRU(16, connectivity=local(), **PLAIN),
    "SparseLSTM": lambda: L.SparseLSTM(16, connectivity=local(), **PLAIN),
    "SparseDense": lambda: L.SparseDense(16, connectivity=C.Random(1 / 4, (4, 4))),
}
# The default is orthogonal, which Keras can draw in no half precision.
PLAIN = {"recurrent_initializer": "glorot_uniform"}
X = np.random.RandomState(0).randn(8, 5, 16)


def build(make, policy):
    keras.config.set_dtype_policy(policy)
    try:
        dtype = keras.config.dtype_policy().compute_dtype
        model = keras.Sequential([keras.Input((5, 16), dtype=dtype), make()])
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile("sgd", "mse")
    return model, dtype


def check(make, policy, path, floatx="float32"):
    """Calls, trains while it prunes, saves and loads a model of one layer."""
    model, dtype = build(make, policy)
    outputs = model(X)
    assert name(outputs) == standard(dtype)
    assert {name(loss) for loss in model.losses} <= {standard(floatx)}
    history = model.fit(
        X,
        np.zeros(outputs.shape),
        epochs=2,
        verbose=0,
        callbacks=[km.MagnitudePruning(0.5)],
    ).history
    assert all(math.isfinite(float(loss)) for loss in history["loss"])
    assert all(np.isfinite(array(weight)).all() for weight in model.weights)
    assert km.sparsity(model).total.sparsity == pytest.approx(0.5, abs=0.01)
    model.save(path)
    loaded = keras.saving.load_model(path)
    for old, new in zip(model.weights, loaded.weights, strict=True):
        assert name(old) == name(new)
        np.testing.assert_array_equal(array(old), array(new))
    np.testing.assert_array_equal(array(model(X)), array(loaded(X)))
    return model


pytestmark = pytest.mark.filterwarnings("ignore:What is left of", "ignore:The final")
CHOSEN = [("ModuliGRU", "float16"), ("SparseSimpleRNN", "bfloat16"), ("GRU", "float64")]


@pytest.mark.parametrize(("layer", "policy"), CHOSEN)
def test_layers_of_any_precision(layer, policy, tmp_path):
    check(LAYERS[layer], policy, tmp_path / "model.keras")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "policy"), list(zip(LAYERS, itertools.cycle(POLICIES), strict=False))
)
def test_all_layers_of_any_precision(layer, policy, tmp_path):
    check(LAYERS[layer], policy, tmp_path / "model.keras")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "floatx"),
    [("GRU", "float16"), ("SparseSimpleRNN", "bfloat16"), ("ModuliLSTM", "float64")],
    indirect=["floatx"],
)
def test_layers_under_any_floatx(layer, floatx, tmp_path):
    check(LAYERS[layer], floatx, tmp_path / "model.keras", floatx)
