"""Which weights RigL brings back, seen from outside."""

import keras
import numpy as np

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
