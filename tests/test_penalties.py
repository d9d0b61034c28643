"""The pure functions, where the regularizer does not reach."""

import keras
import numpy as np
import pytest

from keras_moduli import inhibitors, manifolds, numerics, penalties


def test_coefficients_between_two_sets():
    torus = manifolds.Torus()
    x, y = torus.sample(3, 1), torus.sample(5, 2)
    found = penalties.coefficients(torus, inhibitors.Identity(), x, y)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found),
        keras.ops.convert_to_numpy(torus.pairwise(x, y)),
    )


def test_permuted_is_a_bijection_and_knows_its_seed():
    table = keras.ops.reshape(keras.ops.arange(12, dtype="float32"), (3, 4))
    a, b, c = (
        keras.ops.convert_to_numpy(penalties.permute(table, seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    np.testing.assert_array_equal(np.sort(a.ravel()), np.arange(12))


@pytest.mark.parametrize(("power", "expected"), [(1, 10.0), (2, 30.0), (3, 100.0)])
def test_penalty_by_hand(power, expected):
    kernel = keras.ops.convert_to_tensor([[1.0, -2.0], [-3.0, 4.0]])
    ones = keras.ops.ones((2, 2))
    assert float(penalties.penalty(kernel, ones, power)) == expected
    assert float(penalties.penalty(kernel, ones, power, "mean")) == expected / 4


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_repulsion_by_its_formula():
    squares = np.array([[0, 1, 4], [9, 0.25, 2]], "float32")
    sending, receiving = np.array([1, 2], "float32"), np.array([3, 5, 0], "float32")
    crowding = -np.log(squares + 0.1)
    np.testing.assert_allclose(numpy(penalties.crowding(squares)), crowding, rtol=1e-5)
    tensors = map(keras.ops.convert_to_tensor, (squares, sending, receiving))
    found = penalties.repulsion(*tensors)
    assert float(found) == pytest.approx(sending @ crowding @ receiving, rel=1e-5)
    share = receiving / (receiving + receiving.mean() / 10)
    found = penalties.connectedness(keras.ops.convert_to_tensor(receiving))
    np.testing.assert_allclose(numpy(found), share, rtol=1e-5)


def test_communicability_counts_paths_of_all_lengths():
    kernel = np.random.RandomState(0).standard_normal((4, 2, 4)).astype("float32")
    kernel[2] = kernel[:, :, 2] = 0  # a neuron without connections
    found = numpy(penalties.communicability(keras.ops.convert_to_tensor(kernel)))
    for gate in range(2):
        weights = np.abs(kernel[:, gate]).astype("float64")
        scale = 1 / np.sqrt(np.maximum(weights.sum(1), 1e-300))
        step = np.where(weights > 0, scale[:, None] * weights * scale, 0)
        paths = term = np.eye(4)
        for length in range(1, 30):
            term = term @ step / length
            paths = paths + term
        np.testing.assert_allclose(found[:, gate], paths, rtol=1e-4, atol=1e-6)


@pytest.mark.backend_independent
@pytest.mark.parametrize("tables", [1, 3])
def test_swaps_end_where_no_swap_helps(tables):
    n, random = 7, np.random.RandomState(tables)
    pulls, costs = random.standard_normal((2, tables, n, n))
    others = random.standard_normal((n, n))

    def count(p):
        inner = (pulls * costs[:, p][:, :, p]).sum()
        return inner + others[np.arange(n), p].sum()

    start = np.arange(n)
    swap = penalties.swap_neurons
    np.testing.assert_array_equal(swap(pulls, costs, 0, others=others), start)
    once = swap(pulls, costs, 1, others=others)
    end = swap(pulls, costs, 100, others=others)
    assert sorted(end) == list(start)
    assert count(end) <= count(once) < count(start)
    for r in range(n):
        for s in range(r):
            swapped = end.copy()
            swapped[[r, s]] = end[[s, r]]
            assert count(end) <= count(swapped) + 1e-9
    if tables == 1:
        np.testing.assert_array_equal(end, swap(pulls[0], costs[0], 100, others=others))
    np.testing.assert_array_equal(
        swap(pulls, costs, 100),
        swap(pulls, costs, 100, others=np.zeros((n, n))),
    )


ARRAYS = {
    "connectedness": (penalties.connectedness, [(5, 5)]),
    "penalty": (penalties.penalty, [(5, 5), (5, 5)]),
    "slope": (penalties.slope, [(5, 5), (5, 5)]),
    "crowding": (penalties.crowding, [(5, 5)]),
    "communicability": (penalties.communicability, [(5, 2, 5)]),
    "repulsion": (penalties.repulsion, [(5, 5), (5,), (5,)]),
    "norm": (numerics.norm, [(5, 5)]),
    "normalize": (numerics.normalize, [(5, 5)]),
}


@pytest.mark.parametrize(("function", "shapes"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_are_taken_as_tensors_are(function, shapes):
    rng = np.random.RandomState(0)
    arrays = [rng.uniform(size=shape).astype("float32") for shape in shapes]
    values = [function(*arrays), function(*map(keras.ops.convert_to_tensor, arrays))]
    values = [keras.ops.convert_to_numpy(value) for value in values]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6)
