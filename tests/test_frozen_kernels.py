"""A kernel that does not learn costs what it costs otherwise: once."""

import keras
import numpy as np
import pytest

import keras_moduli as km


def cost(layer):
    return sum(float(keras.ops.convert_to_numpy(loss)) for loss in layer.losses)


@pytest.mark.parametrize("inner", [keras.layers.Dense(4), keras.layers.SimpleRNN(4)])
def test_a_kernel_between_two_sets_that_learn_is_charged_once(inner):
    layer = km.layers.Moduli(type(inner).from_config(inner.get_config()), "torus")
    layer.build((None, 5, 3))
    learning = cost(layer)
    layer.layer.trainable = False
    assert learning != 0
    np.testing.assert_allclose(cost(layer), learning, rtol=1e-6)
