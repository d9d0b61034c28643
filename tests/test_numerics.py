"""The safe functions: values, and gradients where the plain ones have none."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_moduli import numerics
from tests.backends import gradient


def test_absolute_has_derivative_zero_at_zero():
    x = np.array([-2.0, 0.0, 3.0], "float32")
    value = ops.convert_to_numpy(numerics.absolute(ops.convert_to_tensor(x)))
    np.testing.assert_array_equal(value, np.abs(x))
    (slope,) = gradient(lambda x: ops.sum(numerics.absolute(x)), x)
    np.testing.assert_array_equal(slope, [-1, 0, 1])


def test_sqrt_has_derivative_zero_at_zero():
    x = np.array([0.0, 4.0], "float32")
    value = ops.convert_to_numpy(numerics.sqrt(ops.convert_to_tensor(x)))
    np.testing.assert_array_equal(value, [0, 2])
    (slope,) = gradient(lambda x: ops.sum(numerics.sqrt(x)), x)
    np.testing.assert_array_equal(slope, [0, 0.25])


def test_normalize_sends_the_origin_to_the_first_axis():
    x = ops.convert_to_tensor([[3.0, 4.0], [0.0, 0.0]])
    value = ops.convert_to_numpy(numerics.normalize(x))
    np.testing.assert_allclose(value, [[0.6, 0.8], [1, 0]], rtol=1e-6)


@pytest.mark.parametrize("degrees", [0.0, 1e-3, 1.0, 90.0, 179.0, 179.999, 180.0])
def test_angle_is_exact_at_every_size(degrees):
    radians = np.deg2rad(degrees)
    x, y = np.array([1.0, 0.0]), np.array([np.cos(radians), np.sin(radians)])
    found = numerics.angle(*(ops.convert_to_tensor(p, "float32") for p in (x, y)))
    np.testing.assert_allclose(float(found), radians, rtol=1e-5, atol=2e-7)


def test_wrap():
    x = ops.convert_to_tensor([-16.0, -4.0, 4.0, 6.0, 20.0])
    value = keras.ops.convert_to_numpy(numerics.wrap(x, 10.0))
    np.testing.assert_allclose(value, [4, -4, 4, -4, 0])
