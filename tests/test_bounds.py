"""Small input costs little: what is held at once, and how often things are done."""

import json
import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli import _backend, _rows
from keras_moduli.manifolds import FiniteMetric, _tables
from tests.backends import ROOT, gradient
from tests.cases import MANIFOLDS, table

M = km.manifolds


@pytest.fixture
def held(monkeypatch):
    """Sizes of the differences of points that are held at once."""
    sizes = []
    compute = M.Euclidean.compute_squared_distance

    def record(self, x, y):
        sizes.append(math.prod(np.broadcast_shapes(x.shape, y.shape)))
        return compute(self, x, y)

    monkeypatch.setattr(M.Euclidean, "compute_squared_distance", record)
    return sizes


WIDE = M.Euclidean(400)
CALLS = {
    "natural length": lambda: WIDE.natural_length(0.1234),
    "pairwise": lambda: WIDE.pairwise(WIDE.sample(400)),
    "for density": lambda: km.inhibitors.Gaussian.for_density(WIDE, 0.2345),
    "penalty": lambda: km.ModuliRegularizer(WIDE)(np.ones((400, 400), "float32")),
    "distances": lambda: km.ModuliRegularizer(WIDE).distances((400, 400)),
    "coefficients": lambda: km.penalties.coefficients(WIDE, "dog", WIDE.sample(400)),
}


@pytest.mark.parametrize("call", **table(CALLS))
def test_differences_of_all_pairs_are_never_held_at_once(held, call):
    M._base._sample_distances.cache_clear()
    call()
    assert held
    assert max(held) <= _rows.MOST_HELD


SHAPES = [((7, 1), (5,)), ((1, 3, 1), (2, 1, 5)), ((6,), (6,)), ((1, 1, 4), (1,))]


@pytest.mark.parametrize(
    ("case", "x_shape", "y_shape"),
    [(case, (7, 1), (1, 5)) for case in MANIFOLDS.values()]
    + [(MANIFOLDS["torus"], *shapes) for shapes in SHAPES],
)
def test_blocks_of_pairs_are_the_same_distances(monkeypatch, case, x_shape, y_shape):
    manifold = case.manifold
    x, y = (
        manifold.sample(math.prod(shape), seed).reshape(*shape, manifold.ambient_dim)
        for seed, shape in enumerate((x_shape, y_shape))
    )

    def total(x, y):
        squares = manifold.squared_distance(x, y)
        weights = np.arange(1.0, 1 + math.prod(squares.shape)).reshape(squares.shape)
        return keras.ops.sum(keras.ops.convert_to_tensor(weights, "float32") * squares)

    def results():
        found = [keras.ops.convert_to_numpy(manifold.squared_distance(x, y))]
        return found + (list(gradient(total, x, y)) if manifold.learnable else [])

    expected = results()
    monkeypatch.setattr(_rows, "MOST_HELD", 6)
    monkeypatch.setattr(_backend, "count_differences_of_a_block", lambda: 4)
    for one, other in zip(results(), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)


def test_as_many_dimensions_as_can_be_paid_for():
    for make in (M.Euclidean, M.Torus, M.Sphere, M.ProjectiveSpace, M.PoincareBall):
        with pytest.raises(ValueError, match="`dim` must be at most 4096"):
            make(dim=10**6)
    with pytest.raises(ValueError, match="at most 4097 coordinates"):
        M.Product([M.Euclidean(4000)] * 2)


def metric(n, seed=0):
    points = np.random.RandomState(seed).rand(n, 2)
    return np.linalg.norm(points[:, None] - points, axis=-1)


def test_equal_factors_are_computed_at_once(monkeypatch):
    calls = []
    compute = M.KleinBottle.compute_squared_distance

    def count(self, x, y):
        calls.append(self)
        return compute(self, x, y)

    klein, sphere = M.KleinBottle(), M.Sphere()
    factors, weights = [klein, sphere, klein, M.Circle(), sphere, klein], range(1, 7)
    mixed = M.Product(factors, weights)
    points = 20 * np.random.RandomState(0).standard_normal((2, 5, mixed.ambient_dim))
    x, y = points.astype("float32")
    ends = np.cumsum([factor.ambient_dim for factor in factors])[:-1]
    parts = list(zip(factors, np.split(x, ends, -1), np.split(y, ends, -1), strict=True))
    squares = [np.array(to_numpy(m.squared_distance(a, b))) for m, a, b in parts]
    projected = np.concatenate([to_numpy(m.project(a)) for m, a, _ in parts], axis=-1)
    np.testing.assert_allclose(to_numpy(mixed.project(x)), projected, rtol=1e-6)
    monkeypatch.setattr(M.KleinBottle, "compute_squared_distance", count)
    found = to_numpy(mixed.squared_distance(x, y))
    np.testing.assert_allclose(found, np.dot(weights, squares), rtol=1e-5)
    assert calls == [klein]


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.backend_independent
def test_formulas_of_a_product_have_a_bound():
    circles = [M.Circle(k) for k in range(1, 18)]
    assert M.Product(circles[:16] * 3).ambient_dim == 48
    for factors in (circles, [M.Product(circles[:9]), M.Product(circles[8:])]):
        with pytest.raises(ValueError, match=r"at most 16 different manifolds.*Torus"):
            M.Product(factors)
    deep = M.Circle()
    for _ in range(16):
        deep = M.Product([deep])
    with pytest.raises(ValueError, match=r"at most 16 .* no product of one factor"):
        M.Product([deep])


@pytest.mark.backend_independent
def test_groups_and_blocks_are_no_larger_than_the_kernel():
    scores, mask = np.arange(12.0).reshape(4, 3), np.ones((4, 3), bool)
    units = km.pruning.NofM(1, 2**62, pad=True).compute_units(scores, mask)
    np.testing.assert_array_equal(np.isinf(units.scores), [False] * 9 + [True] * 3)
    km.pruning.Blocks((2**62, 2**62), pad=True).compute_units(scores, mask)


HEAVY = ["Euclidean(4096)", "penalty on PoincareBall(4096)", "GRU on 400 Klein bottles"]


@pytest.mark.slow
def test_configs_take_little_memory():
    script = ROOT / "benchmarks" / "bounds.py"
    command = [sys.executable, script, "--in-process", "--only", *HEAVY]
    path = {"PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        command, env=os.environ | path, capture_output=True, text=True, check=True
    )
    lines = [line for line in found.stdout.splitlines() if line.startswith("RESULT ")]
    rows = [json.loads(line.removeprefix("RESULT ")) for line in lines]
    assert {row["case"] for row in rows} == set(HEAVY)
    for row in rows:
        assert row["MB"] < 512, row


@pytest.mark.backend_independent
@pytest.mark.parametrize("n", [1, 2, 3, 40, 150])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_any_broken_triangle_is_found(monkeypatch, n, scale):
    monkeypatch.setattr(_tables, "_ROWS_OF_A_BLOCK", 16)
    table = metric(n) * scale
    assert FiniteMetric(table).size == n
    rng = np.random.RandomState(1)
    for _ in range(10 if n > 2 else 0):
        i, j = rng.choice(n, 2, replace=False)
        others = np.delete(np.arange(n), [i, j])
        broken = table.copy()
        way = (table[i, others] + table[others, j]).min()
        broken[i, j] = broken[j, i] = way * (1 + 1e-4)
        with pytest.raises(ValueError, match="triangle"):
            FiniteMetric(broken)
        broken[i, j] = broken[j, i] = way
        if (broken[i] + broken[j])[others].min() >= way and n == 3:
            FiniteMetric(broken)


@pytest.mark.backend_independent
def test_a_graph_has_no_broken_triangle_by_rounding():
    rng = np.random.RandomState(2)
    graph = np.where(rng.rand(60, 60) < 0.1, rng.rand(60, 60), 0) + np.eye(60, k=1)
    M.FiniteMetric.from_graph(graph)
    M.FiniteMetric(metric(60).astype("float32"))


@pytest.mark.backend_independent
def test_a_table_is_hashed_once(monkeypatch):
    class Counted(tuple):
        times = 0

        def __hash__(self):
            Counted.times += 1
            return super().__hash__()

    manifold = FiniteMetric(metric(5))
    manifold._set(distances=Counted(manifold.distances))
    for _ in range(3):
        hash(manifold)
        manifold.natural_length(0.4)
    assert Counted.times == 1
    assert hash(manifold) == hash(FiniteMetric(metric(5)))


def count_products(power):
    """How often tensors are multiplied by a penalty of a power."""

    class Counted:
        times = 0

    def profile(frame, event, argument):
        if event == "call" and frame.f_code.co_name in ("multiply", "__mul__"):
            Counted.times += 1

    kernel = keras.ops.convert_to_tensor(np.full((2, 2), 0.9, "float32"))
    costs = keras.ops.ones((2, 2))
    sys.setprofile(profile)
    try:
        value = km.penalties.penalty(kernel, costs, power)
    finally:
        sys.setprofile(None)
    assert float(value) == pytest.approx(4 * 0.9**power, rel=1e-5)
    return Counted.times


def test_a_power_takes_few_products():
    if keras.backend.backend() != "torch":  # whose products are no Python
        assert count_products(64) <= count_products(1) + 8 * 2 * 3
    for power in (1, 2, 3, 5, 8, 13, 31, 64):
        found = gradient(
            lambda w, power=power: km.penalties.penalty(w, keras.ops.ones((1, 2)), power),
            np.array([[0.9, -1.1]]),
        )[0]
        expected = [[power * 0.9 ** (power - 1), -power * 1.1 ** (power - 1)]]
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.backend_independent
def test_powers_have_a_bound():
    for call in (
        lambda: km.ModuliRegularizer(power=1000),
        lambda: km.penalties.penalty(np.ones((2, 2)), np.ones((2, 2)), 1000),
        lambda: km.penalties.slope(np.ones((2, 2)), np.ones((2, 2)), 1000),
        lambda: km.layers.ModuliGRU(4, power=1000),
    ):
        with pytest.raises(ValueError, match=r"`power` must be at most 64.*1 is the"):
            call()


def count_calls(layers):
    """Calls of Python that attaching, updating and releasing masks take."""
    shapes = [keras.layers.Dense(2, use_bias=False) for _ in range(layers)]
    model = keras.Sequential([keras.Input((2,)), *shapes])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return trace

    pruning = km.MagnitudePruning(0.5, unit="step", end=10)
    before = sys.gettrace()  # of a measurement of coverage
    sys.settrace(trace)
    try:
        pruning.attach(model)
        pruning.update(0)
        pruning.update(10)
        pruning.release()
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.backend_independent
def test_pruning_costs_as_much_for_each_of_many_kernels():
    count_calls(4)
    few, many = count_calls(10), count_calls(40)
    assert many < 4.4 * few
