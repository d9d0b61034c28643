"""What has gone wrong in other projects by their public trackers, tried here."""

import sys
import warnings

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.pruning._marks import Reading
from tests.backends import CURRENT

X = np.random.RandomState(0).standard_normal((32, 8)).astype("float32")
Y = X[:, :1]


def build(*layers, optimizer=None):
    layers = layers or (keras.layers.Dense(16), keras.layers.Dense(1))
    model = keras.Sequential([keras.Input((8,)), *layers])
    model.compile(optimizer or keras.optimizers.Adam(0.05), "mse")
    return model


def fit(model, *callbacks, epochs=4, y=Y):
    model.fit(X, y, 16, epochs=epochs, verbose=0, callbacks=[*callbacks])
    return model


def fraction_of_zeros(model):
    total = km.sparsity(model).total
    return total.zeros / total.size


def test_a_norm_is_that_of_what_is_left():
    """keras-team/keras#474, tensorflow/tfjs#3345: norm constraints that do nothing."""
    norm = keras.constraints.UnitNorm(axis=0)
    model = build(keras.layers.Dense(16, kernel_constraint=norm), keras.layers.Dense(1))
    fit(model, km.MagnitudePruning(0.5, end=2))
    for pruned in (model, fit(km.lottery_ticket(model), epochs=1)):
        norms = np.linalg.norm(pruned.get_weights()[0], axis=0)
        np.testing.assert_allclose(norms, 1, atol=1e-5)
        assert fraction_of_zeros(pruned) == pytest.approx(0.5, abs=0.01)


class AtLeastZero(keras.constraints.Constraint):
    """By a product, which leaves -0.0."""

    def __call__(self, weight):
        return weight * keras.ops.cast(weight >= 0, weight.dtype)


def test_a_bound_is_no_mask():
    """keras-team/keras#7532, #7628: weights of "-0.0" at the bound of a constraint."""
    layer = keras.layers.Dense(16, kernel_constraint=AtLeastZero())
    model = build(layer, keras.layers.Dense(1))
    fit(model, km.MagnitudePruning(0.25, begin=2, end=2))
    kernel = model.get_weights()[0]
    masks = Reading([layer.kernel, model.weights[2]]).get_masks("marked")
    assert sum((~mask).sum() for mask in masks) == 36
    assert (kernel >= 0).all()
    layer.kernel.assign(np.where(np.eye(8, 16), kernel, -0.0))
    with pytest.warns(UserWarning, match=r"own constraints .* 12\d of .*zeros='none'"):
        fit(model, km.MagnitudePruning(0.25), epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, km.KeepZeros(zeros="marked"), epochs=1)


def test_masks_written_as_products_are_told():
    """pytorch/tutorials#905: `weight * mask` is -0.0 in half of its zeros."""
    model = build()
    first = model.get_weights()
    first[0] *= np.arange(16) % 2
    model.set_weights(first)
    with pytest.warns(UserWarning, match="are not taken for masks: .*zeros='all'"):
        fit(model, km.MagnitudePruning(0.1, end=1), epochs=2)
    model.set_weights(first)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, km.MagnitudePruning(0.1, end=1, zeros="all"), epochs=2)
    assert (model.get_weights()[0][:, ::2] == 0).all()


class Interrupt(keras.callbacks.Callback):
    """Breaks off the third epoch."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


def test_after_an_interruption_a_custom_loop_holds_nothing():
    """Lightning-AI/pytorch-lightning#1099: Ctrl-C in a notebook, which keeps `fit`."""
    model = build()
    first = model.get_weights()
    with pytest.raises(KeyboardInterrupt) as kept:
        fit(model, km.MagnitudePruning(0.9, end=1), Interrupt())
    model.set_weights(first)
    for _ in range(2):
        model.train_on_batch(X, Y)
    assert fraction_of_zeros(model) == 0
    assert kept.tb is not None
    assert "make_train_function" not in vars(model)


class Freeze(keras.callbacks.Callback):
    """Freezes all layers in the midst of a run, without compiling."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            for layer in self.model.layers:
                layer.trainable = False


@pytest.mark.skipif(CURRENT == "jax", reason="not in Keras itself")
def test_what_is_frozen_in_a_callback_is_pruned_on():
    """tensorflow/tensorflow#47906, keras-team/keras#3268."""
    model = build()
    fit(model, km.MagnitudePruning(0.5, end=3), Freeze())
    kernels = model.get_weights()[::2]
    assert sum((k == 0).sum() for k in kernels) == 72
    assert model.history.history["sparsity"][-1] == 0.5


def test_the_best_epoch_of_a_tuner_is_told(tmp_path, monkeypatch):
    """keras-team/keras-tuner#392, whose searches save the best epoch of each trial."""

    class SaveBestEpoch(keras.callbacks.Callback):
        def __init__(self, figure):
            super().__init__()
            self.figure = figure
            self.best_value = np.inf
            self.filepath = str(tmp_path / "best.weights.h5")

        def on_epoch_end(self, epoch, logs=None):
            self.best_value = min(self.best_value, logs.get(self.figure, np.inf))

    def log(epoch, logs):
        logs["score"] = epoch

    module = type(sys)("keras_tuner.src.engine.tuner_utils")
    module.SaveBestEpoch = SaveBestEpoch
    monkeypatch.setitem(sys.modules, module.__name__, module)
    figure = keras.callbacks.LambdaCallback(on_epoch_end=log)
    pruning = km.MagnitudePruning(0.5, end=2)
    with pytest.warns(UserWarning, match=r"SaveBestEpoch has saved.*AtFinalSparsity"):
        fit(build(), pruning, figure, SaveBestEpoch("score"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(build(), pruning, km.AtFinalSparsity(figure), SaveBestEpoch("score"))


def attend():
    inputs = keras.Input((3, 16))
    attention = keras.layers.MultiHeadAttention(2, 8, use_bias=False)
    model = keras.Model(inputs, attention(inputs, inputs))
    model.compile("adam", "mse")
    return model, attention


@pytest.mark.parametrize("structure", [(4, 8), km.pruning.NofM(2, 4)], ids=str)
def test_structures_are_of_the_inputs_of_attention(structure):
    """tensorflow/model-optimization#743: groups along another axis of some kernels."""
    model, attention = attend()
    x = np.random.RandomState(0).standard_normal((4, 3, 16))
    sparsity = None if isinstance(structure, km.pruning.NofM) else 0.5
    pruning = km.MagnitudePruning(sparsity, structure=structure, scope="layer")
    model.fit(x, x, epochs=2, verbose=0, callbacks=[pruning])
    for layer in (attention.query_dense, attention.output_dense):
        kept = keras.ops.convert_to_numpy(layer.kernel).reshape(16, 16) != 0
        groups = kept.reshape(4, 4, 16)
        if sparsity is None:
            assert (groups.sum(1) == 2).all()
        else:
            blocks = groups.reshape(4, 4, 2, 8).sum((1, 3))
            assert set(blocks.ravel()) == {0, 32}
            assert (blocks.sum(0) == 64).all()


def test_structures_need_inputs_that_stand_first():
    inputs = keras.Input((4, 4, 8))
    outputs = keras.layers.Conv2DTranspose(4, 2, name="up")(inputs)
    model = keras.Model(inputs, keras.layers.Flatten()(outputs))
    model.compile("adam", "mse")
    pruning = km.MagnitudePruning(structure=km.pruning.NofM(2, 4), end=4)
    with pytest.raises(ValueError, match=r"'up/kernel'.*are its inputs.*`select`"):
        pruning.attach(model)
    pruning = km.MagnitudePruning(0.5, end=4)
    pruning.attach(model)
    assert pruning.update(4)
    pruning.release()
    assert fraction_of_zeros(model) == 0.5


class Export(keras.callbacks.Callback):
    """Exports in the midst of a run."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.model.export(self.path, format="tf_saved_model", verbose=False)


@pytest.mark.skipif(CURRENT != "tensorflow", reason="a format of TensorFlow")
def test_a_compiled_model_is_exported_while_and_after_it_is_pruned(tmp_path):
    """tensorflow/tensorflow#54507, #34266: layers that do not export."""
    import tensorflow as tf

    paths = [str(tmp_path / name) for name in ("while", "after")]
    model = build()
    fit(model, km.MagnitudePruning(0.5, end=1), Export(paths[0]))
    model.export(paths[1], format="tf_saved_model", verbose=False)
    while_pruned, after = map(tf.saved_model.load, paths)
    assert while_pruned.serve(X).shape == (32, 1)
    np.testing.assert_allclose(after.serve(X), model(X), atol=1e-6)
    fit(model, km.KeepZeros(), epochs=1)
    assert fraction_of_zeros(model) == 0.5
