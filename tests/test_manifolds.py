"""Metric laws, oracles, gradients and sampling, for every manifold in the table."""

import dataclasses
import pathlib

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import keras_moduli as km
from keras_moduli._ordering import hilbert_order
from tests.backends import gradient
from tests.cases import INHIBITORS, MANIFOLDS, table

REFERENCE = (
    pathlib.Path(__file__).parents[2] / "shared" / "reference" / "authors_values.npz"
)
each = pytest.mark.parametrize("case", **table(MANIFOLDS))
each_learnable = pytest.mark.parametrize(
    "case", **table({k: c for k, c in MANIFOLDS.items() if c.manifold.learnable})
)


def point_sets(case):
    """Seven points of a manifold."""
    return arrays("float64", (7, case.manifold.ambient_dim), elements=case.coordinates)


def pairwise(manifold, points, others=None):
    others = None if others is None else others.astype("float32")
    return keras.ops.convert_to_numpy(manifold.pairwise(points.astype("float32"), others))


@each
@given(data=st.data())
def test_metric_laws(case, data):
    points = data.draw(point_sets(case))
    d = pairwise(case.manifold, points).astype("float64")
    slack = 1e-4 * (1 + d.max())
    assert np.isfinite(d).all()
    assert (d >= 0).all()
    np.testing.assert_allclose(np.diag(d), 0, atol=slack)
    np.testing.assert_allclose(d, d.T, atol=slack)
    assert (d[:, None, :] <= d[:, :, None] + d[None, :, :] + slack).all(), "triangle"


@each
@given(data=st.data())
def test_agrees_with_oracle(case, data):
    points = data.draw(point_sets(case))
    expected = [[case.oracle(x, y) for y in points] for x in points]
    np.testing.assert_allclose(
        pairwise(case.manifold, points), expected, rtol=1e-5, atol=2e-4
    )


@each
@given(data=st.data())
def test_other_coordinates_of_the_same_points(case, data):
    points = data.draw(point_sets(case))
    maps = [*case.deck, lambda p: keras.ops.convert_to_numpy(case.manifold.project(p))]
    expected = pairwise(case.manifold, points)
    for same in maps:
        moved = np.asarray(same(points), "float64")
        found = pairwise(case.manifold, points, moved)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@each_learnable
def test_gradients_are_finite_at_singular_points(case):
    """Of the cost by each inhibitor, which has points of its own: one row of x and y."""
    manifold, costs = case.manifold, [row[0] for row in INHIBITORS.values()]
    points = manifold.sample(8, seed=1)
    origin = np.zeros((1, manifold.ambient_dim))
    near = points * (1 + 1e-6)
    x = np.concatenate([points, points, origin, *[[a] for a, _ in case.far]])
    y = np.concatenate([points, near, origin, *[[b] for _, b in case.far]])

    def total(x, y):
        squares = manifold.squared_distance(x, y)
        return sum(keras.ops.sum(cost(squares[k])) for k, cost in enumerate(costs))

    for side in gradient(total, *([z] * len(costs) for z in (x, y))):
        for name, row in zip(INHIBITORS, side, strict=True):
            assert np.isfinite(row).all(), name
            # Coincident points are at an extremum of every smooth cost of their distance.
            np.testing.assert_allclose(row[:8], 0, atol=1e-3, err_msg=name)


@each_learnable
def test_gradient_of_squared_distance_is_a_unit_speed_descent(case):
    """Moving x a little along −∇d changes d² as a finite difference says."""
    manifold = case.manifold
    x, y = manifold.sample(16, seed=1), manifold.sample(16, seed=2)
    direction = np.random.RandomState(3).standard_normal(x.shape)
    slope = (
        gradient(lambda x, y: keras.ops.sum(manifold.squared_distance(x, y)), x, y)[0]
        * direction
    ).sum(-1)
    step = 1e-6
    differences = [
        (case.oracle(a + step * v, b) ** 2 - case.oracle(a - step * v, b) ** 2)
        / (2 * step)
        for a, b, v in zip(x, y, direction, strict=True)
    ]
    np.testing.assert_allclose(slope, differences, rtol=2e-3, atol=2e-3)


@each
def test_samples_are_deterministic_ordered_and_on_the_manifold(case):
    manifold = case.manifold
    points = manifold.sample(64, seed=3)
    assert points.shape == (64, manifold.ambient_dim)
    assert points.dtype == np.float64
    np.testing.assert_array_equal(points, manifold.sample(64, seed=3))
    few = [manifold.sample(3, seed) for seed in range(8)]
    assert any(not np.array_equal(few[0], other) for other in few), "the seed matters"
    np.testing.assert_array_equal(manifold.order(points), np.arange(64))
    projected = keras.ops.convert_to_numpy(manifold.project(points))
    np.testing.assert_allclose(projected, points, rtol=1e-5, atol=1e-5)


@each
def test_order_makes_neighbors_near(case):
    points = case.manifold.sample(256, seed=5)
    mixed = np.random.RandomState(6).permutation(256)
    order = case.manifold.order(points[mixed])
    assert sorted(order) == list(range(256))
    d = pairwise(case.manifold, points[mixed][order])
    assert np.mean(np.diag(d, 1)) < 0.5 * d.mean()


@each
def test_config_round_trip(case):
    manifold = case.manifold
    restored = km.manifolds.get(keras.saving.serialize_keras_object(manifold))
    assert restored == manifold
    assert hash(restored) == hash(manifold)
    np.testing.assert_array_equal(restored.sample(5), manifold.sample(5))


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        km.manifolds.Torus().dim = 3


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_hilbert_curve_visits_neighbors(dim):
    """The order of a full grid steps from each cell to one beside it."""
    side = {1: 64, 2: 32, 3: 8, 6: 4}[dim]
    grid = np.stack(np.meshgrid(*[np.arange(side)] * dim), axis=-1).reshape(-1, dim)
    mixed = np.random.RandomState(0).permutation(grid)
    walk = mixed[hilbert_order(mixed)]
    np.testing.assert_array_equal(np.abs(np.diff(walk, axis=0)).sum(axis=1), 1)


def test_order_of_many_dimensions_is_a_permutation():
    points = np.random.RandomState(0).standard_normal((50, 100))
    assert sorted(hilbert_order(points)) == list(range(50))


@pytest.mark.backend_independent
def test_elements_whose_distances_are_those_of_points_in_space_are_charted_so():
    points = np.random.RandomState(0).standard_normal((12, 3))
    table = np.linalg.norm(points[:, None] - points, axis=-1)
    chart = km.manifolds.FiniteMetric(table).chart(np.arange(12.0)[:, None])
    found = np.linalg.norm(chart[:, None] - chart, axis=-1)
    np.testing.assert_allclose(found, table, atol=1e-6)


@pytest.mark.backend_independent
@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e30])
def test_triangles_are_looked_at_in_any_unit(unit):
    table = unit * np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
    km.manifolds.FiniteMetric(table)
    table[0, 2] = table[2, 0] = 2.01 * unit
    with pytest.raises(ValueError, match="triangle inequality"):
        km.manifolds.FiniteMetric(table)


@pytest.mark.backend_independent
def test_factors_weigh_alike_by_default():
    factors = ["circle", "torus"]
    product = km.manifolds.Product(factors)
    points = product.sample(6, seed=1)
    alike = km.manifolds.Product(factors, [1.0, 1.0])
    np.testing.assert_array_equal(pairwise(product, points), pairwise(alike, points))


def authors():
    if not REFERENCE.exists():
        pytest.skip(f"needs the authors' values in {REFERENCE}")
    return np.load(REFERENCE)


AUTHORS = {
    "torus": km.manifolds.Torus(),
    "torus6": km.manifolds.Torus(6),
    "klein": km.manifolds.KleinBottle(),
    "circle": km.manifolds.Sphere(1),
    "sphere": km.manifolds.Sphere(),
    "s3": km.manifolds.Sphere(3, radius=10.0),
    "r3": km.manifolds.Euclidean(3),
    "r9": km.manifolds.Euclidean(9),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_authors_distances(name):
    values = authors()
    d = pairwise(AUTHORS[name], values[f"{name}_points"])
    np.testing.assert_allclose(d, values[f"{name}_distance"], rtol=1e-5, atol=1e-4)


def test_authors_circle_by_arc_length():
    values = authors()
    x, y = values["circle_points"].T
    d = pairwise(km.manifolds.Circle(), 5 * np.arctan2(y, x)[:, None])
    np.testing.assert_allclose(d, values["circle_distance"], rtol=1e-5, atol=1e-4)


AUTHORS_INHIBITORS = {
    "diffusion": km.inhibitors.Diffusion(),
    "identity": km.inhibitors.Identity(),
    "ripple": km.inhibitors.Ripple(100.0),
    "gaussian": km.inhibitors.Gaussian(100.0),
    "dog": km.inhibitors.DifferenceOfGaussians(100.0),
}


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("inhibitor", AUTHORS_INHIBITORS)
@pytest.mark.parametrize("name", AUTHORS)
def test_authors_penalties(name, inhibitor, power):
    values = authors()

    def penalty(inhibitor):
        regularizer = km.ModuliRegularizer(
            AUTHORS[name],
            inhibitor,
            strength=1.0,
            power=power,
            reduction="mean",
            embedding=values[f"{name}_points"],
        )
        return float(regularizer(values["weights"].astype("float32")))

    expected = values[f"{name}_{inhibitor}_mean_l{power}"]
    if inhibitor != "dog":
        assert penalty(AUTHORS_INHIBITORS[inhibitor]) == pytest.approx(expected, rel=1e-4)
        return
    # The authors' `dog` is the bracket alone: the difference of its two Gaussians, and
    # what ours lacks to the full amplitude.
    gaussians = [km.inhibitors.Gaussian(100.0, width) for width in (5.0, 0.25)]
    wide, narrow = map(penalty, gaussians)
    assert wide - narrow == pytest.approx(expected, rel=1e-4)
    full = 100 * np.mean(np.abs(values["weights"]) ** power)
    dog = penalty(AUTHORS_INHIBITORS["dog"])
    assert dog == pytest.approx(full - expected, rel=1e-4)
