"""Weights that differ everywhere, and states that callers give, in sparse layers."""

import keras
import numpy as np
import pytest

import keras_moduli as km

UNITS, BLOCK = 32, (4, 8)
RNG = np.random.RandomState(0)
X = RNG.standard_normal((4, 3, 5)).astype("float32")
NEAR = 10.0  # of a circle of 31.4, on which each neuron has weights to the nearest


def near_on_a_circle(layer):
    """Random weights, biases too; recurrent ones only between neurons that are near.

    The neurons are numbered at random, so that blocks are empty in another order only.
    """
    cell = layer.cell
    for weight in layer.weights:
        weight.assign(RNG.standard_normal(weight.shape) / 6)
    distances = cell.recurrent_kernel.regularizer.distances(cell.recurrent_kernel.shape)
    mask = np.tile(distances < NEAR / 2, (1, cell.recurrent_kernel.shape[1] // UNITS))
    kernel = array(cell.recurrent_kernel.value)
    cell.recurrent_kernel.assign(kernel * mask)


def scattered(kind, gates):
    """A recurrent layer whose neurons are anywhere on a circle, in no order."""
    points = RNG.permutation(km.manifolds.Circle().sample(UNITS))
    geometry = km.ModuliRegularizer("circle", gates=gates, embedding=points)
    return getattr(keras.layers, kind)(UNITS, recurrent_regularizer=geometry)


def reordered(model):
    """The model in blocks, which has put its neurons in another order."""
    fast = km.sparsify(model, BLOCK)
    (new,) = (part for part in fast.layers if hasattr(part, "order"))
    assert new.order not in (None, sorted(new.order))
    return fast


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize(("kind", "gates"), [("SimpleRNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_every_weight_and_given_state_finds_its_place(kind, gates):
    layer = scattered(kind, gates)
    states = [keras.Input((UNITS,)) for _ in range(2 if kind == "LSTM" else 1)]
    inputs = keras.Input(X.shape[1:])
    model = keras.Model([inputs, *states], layer(inputs, initial_state=states))
    near_on_a_circle(layer)
    given = [RNG.standard_normal((len(X), UNITS)).astype("float32") for _ in states]
    expected = array(model([X, *given]))
    np.testing.assert_allclose(array(reordered(model)([X, *given])), expected, atol=1e-5)
    without = array(model([X, *(0 * state for state in given)]))
    assert np.abs(without - expected).max() > 0.01, "the states matter"


def test_a_stream_keeps_the_order_that_callers_know():
    model = keras.Sequential([keras.Input((None, X.shape[-1])), scattered("GRU", 3)])
    near_on_a_circle(model.layers[0])
    stream = km.sparse.Stream(reordered(model), batch_size=len(X))
    for t in range(X.shape[1]):
        expected = array(model(X[:, : t + 1]))
        np.testing.assert_allclose(stream.step(X[:, t]), expected, atol=1e-5)
