"""Which weights RigL brings back, seen from outside."""

import math

import keras
import numpy as np
import pytest

import keras_moduli as km

X = np.random.RandomState(0).standard_normal((16, 8)).astype("float32")
Y = np.random.RandomState(1).standard_normal((16, 4)).astype("float32")


def kept(model):
    """Which weights are free: those that a step makes differ from zero."""
    model.train_on_batch(X, Y)
    return keras.ops.convert_to_numpy(model.layers[0].kernel.value) != 0


def test_rigl_takes_the_largest_gradients_whatever_their_sign():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    (momentum,) = (v for v in model.optimizer.variables if tuple(v.shape) == (8, 4))
    pruning = km.MagnitudePruning(
        0.5,
        schedule="constant",
        unit="step",
        frequency=1,
        end=20,
        regrow=km.pruning.RigL(0.25),
    )
    pruning.attach(model)
    pruning.update(0)
    before = kept(model)
    assert before.sum() == 16
    # A weight that has just gone may come back, but for its gradient.
    gradients = np.where(before, 0.0, np.random.RandomState(2).uniform(-1, 1, (8, 4)))
    momentum.assign(gradients)
    pruning.update(1)
    after = kept(model)
    back = after & ~before
    size = np.abs(gradients)
    assert 0 < back.sum() < 6
    assert size[back].min() > size[~before & ~back].max()
    assert (gradients[back] < 0).any(), "the case has both signs"
    pruning.release()


@pytest.mark.backend_independent
@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_how_much_is_exchanged(progress):
    falling = 0.2 * (1 + math.cos(math.pi * progress))
    assert km.pruning.RigL(0.4).compute_fraction(progress) == pytest.approx(falling)
    constant = 0.4 if progress < 1 else 0
    assert km.pruning.SET(0.4).compute_fraction(progress) == constant


@pytest.mark.backend_independent
def test_random_numbers_are_those_of_a_seed_and_a_position():
    variables = [keras.Variable(np.ones(shape)) for shape in ((2, 3), (4, 5))]

    def draw(seed, position):
        regrowth = km.pruning.SET(0.4, seed)
        return regrowth.compute_potentials(None, variables, position)

    first = draw(1, 2)
    assert [array.shape for array in first] == [(2, 3), (4, 5)]
    assert all((array >= 0).all() and (array < 1).all() for array in first)
    assert np.array_equal(first[1], draw(1, 2)[1])
    for other in (draw(0, 2), draw(1, 3), draw(2, 1)):
        assert not np.array_equal(first[1], other[1])
