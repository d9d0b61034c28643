"""Large kernels, whose pairs of neurons are never held at once: the same penalty."""

import dataclasses
import math
from typing import ClassVar

import keras
import numpy as np
import pytest
from keras import ops

import keras_moduli as km
from keras_moduli import _backend
from keras_moduli.regularizers import Cost, Positions, _evaluation
from tests import oracles
from tests.backends import gradient
from tests.cases import MANIFOLDS


@pytest.fixture
def by_rows(monkeypatch):
    """Makes kernels of more than so many pairs large ones."""

    def limit(pairs, block=80):
        monkeypatch.setattr(_evaluation, "MOST_PAIRS", pairs)
        monkeypatch.setattr(_backend, "count_pairs_of_a_block", lambda: block)

    return limit


# 12 rows of 12 fall into blocks of 6; 13 do not divide.
@pytest.mark.parametrize(
    ("n", "power", "reduction", "gates"),
    [
        (12, 1, "sum", 1),
        (13, 1, "mean", 1),
        (13, 1, "sum", 3),
        (12, 2, "mean", 3),
        (13, 2, "sum", 1),
        (13, 3, "mean", 3),
    ],
)
def test_formula(by_rows, n, power, reduction, gates):
    by_rows(50)
    kernel = np.random.RandomState(0).standard_normal((n, gates * n)).astype("float32")
    regularizer = km.ModuliRegularizer(
        "sphere", "identity", 0.5, power=power, reduction=reduction, gates=gates
    )
    case = MANIFOLDS["sphere"]
    points = case.manifold.sample(n, 0)
    d = np.array([[case.oracle(x, y) for y in points] for x in points])
    expected = 0.5 * oracles.penalty(kernel, d, lambda d: d, power)
    if reduction == "mean":
        expected /= kernel.size
    assert float(regularizer(kernel)) == pytest.approx(expected, rel=1e-4)


N = 13
COSTS = {
    "fixed": {},
    "fixed, squared": {"power": 2, "reduction": "mean"},
    "fixed, two sets": {"square": False},
    "permuted": {"permute_seed": 1},
    "communicability": {"communicability": True},
    "learned, two sets": {"square": False, "dispersion": 3.0},
    "learned": {"manifold": "sphere", "dispersion": 3.0},
    "learned, taps": {"square": False, "dispersion": 3.0, "taps": 2},
    "learned, taps, one set": {"dispersion": 3.0, "taps": 2},
    "learned, gates": {
        "manifold": "torus", "gates": 3, "reduction": "mean", "dispersion": 3.0,
    },
    "learned, cubed": {"manifold": "sphere", "power": 3, "dispersion": 3.0},
}  # fmt: skip


@pytest.mark.parametrize("name", COSTS)
def test_gradients_are_the_same(by_rows, name):
    """Value and gradients, by weights and positions, of both ways to compute them."""
    options = {"manifold": "euclidean", "inhibitor": "diffusion", **COSTS[name]}
    square, taps = options.pop("square", True), options.pop("taps", 1)
    cost = Cost(strength=0.1, **options)
    rng = np.random.RandomState(0)
    shape = (taps * N, cost.gates * N)
    kernel = rng.standard_normal(shape).astype("float32")
    kernel[:4] = kernel[:, :4] = 0  # unconnected, which the repulsion leaves alone
    points = [cost.manifold.sample(N, seed).astype("float32") for seed in (0, 1)]
    learned = cost.dispersion > 0
    layout = cost.layout(shape, square=square, taps=taps)

    def evaluate_at(kernel, x, y):
        y = x if square else y
        placed = Positions(x, y, taps=taps, learned=learned, ramp=0.5)
        return _evaluation.evaluate(cost, kernel, layout, placed)

    results = []
    for limit in (10**6, 50):
        by_rows(limit)
        at_once = limit > 50 or name in ("permuted", "communicability")
        assert _evaluation.is_large(cost, layout) != at_once
        value = ops.convert_to_numpy(evaluate_at(kernel, *points))
        by_kernel, *by_points = gradient(evaluate_at, kernel, *points)
        results.append([value, by_kernel, *(by_points if learned else ())])
    for whole, rows in zip(*results, strict=True):
        scale = np.abs(whole).max()
        np.testing.assert_allclose(rows, whole, rtol=1e-4, atol=1e-5 * scale)
    assert np.abs(results[0][1]).max() > 0
    assert not learned or np.abs(results[0][2]).max() > 0


LAYERS = {
    "fixed": lambda: keras.layers.Dense(
        N, kernel_regularizer=km.ModuliRegularizer(strength=0.1), name="layer"
    ),
    "learned GRU": lambda: km.layers.ModuliGRU(
        N, manifold="torus", strength=0.1, reduction="mean", name="layer"
    ),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_training_is_the_same(by_rows, make):
    """One step of descent in `fit`."""
    weights = []
    for limit in (10**6, 50):
        by_rows(limit)
        layer = make()
        recurrent = isinstance(layer, keras.layers.RNN)
        x = np.zeros((4, 3, N) if recurrent else (4, N), "float32")
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input(x.shape[1:]), layer])
        for kernel in (w for w in model.weights if w.name.endswith("kernel")):
            unconnected = np.ones(kernel.shape)
            unconnected[:4] = unconnected[:, :4] = 0
            kernel.assign(kernel * unconnected)
        model.compile(keras.optimizers.SGD(0.1), "mse")
        model.fit(x, np.zeros((4, N)), verbose=0)  # the penalty alone
        weights.append(model.get_weights())
    for whole, rows in zip(*weights, strict=True):
        np.testing.assert_allclose(rows, whole, rtol=1e-4, atol=1e-5)


@keras.saving.register_keras_serializable("tests")
@dataclasses.dataclass(frozen=True)
class Watched(km.manifolds.Euclidean):
    """Euclidean space that notes how many pairs it is asked for at once."""

    pairs: ClassVar[list[int]] = []

    def compute_squared_distance(self, x, y):
        shape = np.broadcast_shapes(tuple(x.shape), tuple(y.shape))
        self.pairs.append(math.prod(shape[:-1]))
        return super().compute_squared_distance(x, y)


def fixed(units):
    regularizer = km.ModuliRegularizer(Watched(3), "gaussian")
    return keras.layers.SimpleRNN(units, recurrent_regularizer=regularizer)


def learned(units):
    return km.layers.ModuliSimpleRNN(units, manifold=Watched(3))


@pytest.mark.parametrize("make", [fixed, learned])
def test_pairs_are_never_held_at_once(by_rows, make):
    units = 300
    by_rows(units**2 - 1, block=1000)
    model = keras.Sequential([keras.Input((2, 1)), make(units)])
    model.compile("sgd", "mse")
    Watched.pairs.clear()
    model.fit(np.zeros((1, 2, 1)), np.zeros((1, units)), verbose=0)
    assert 0 < max(Watched.pairs) <= 1000


@pytest.mark.parametrize("option", [{}, {"permute_seed": 1}, {"communicability": True}])
def test_nothing_of_the_size_of_all_pairs_is_kept(by_rows, option):
    by_rows(50)
    regularizer = km.ModuliRegularizer(**option)
    regularizer(np.ones((8, 8), "float32"))
    assert not regularizer._constants
    regularizer(np.ones((7, 7), "float32"))
    assert len(regularizer._constants) == 1
