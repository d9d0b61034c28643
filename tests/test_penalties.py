"""The pure functions, where the regularizer does not reach."""

import keras
import numpy as np
import pytest

from keras_moduli import inhibitors, manifolds, penalties


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
