"""How runs end: as planned, early, by an exception; and what they leave behind.

`EarlyStopping` and `ModelCheckpoint` are Keras's own. An `Until` in their place is what
breaks a run off.
"""

import warnings

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.pruning._masks import find_masks
from tests.backends import CURRENT

X = np.random.RandomState(0).standard_normal((32, 8)).astype("float32")
Y = X[:, :1]


def build(*layers, optimizer="adam"):
    layers = layers or (keras.layers.Dense(16), keras.layers.Dense(1))
    model = keras.Sequential([keras.Input((8,)), *layers])
    model.compile(optimizer, "mse")
    return model


def fit(model, *callbacks, epochs=4, **arguments):
    return model.fit(
        X, Y, 16, epochs=epochs, verbose=0, callbacks=[*callbacks], **arguments
    )


def fraction_of_zeros(model):
    total = km.sparsity(model).total
    return total.zeros / total.size


def assert_no_trace(model):
    assert not find_masks(model.trainable_variables)
    assert all(v.constraint is None for v in model.trainable_variables)
    assert "make_train_function" not in vars(model)
    names = [v.path for v in model.optimizer.variables]
    assert not [name for name in names if name.endswith("mask")]


class Score(keras.callbacks.Callback):
    """A figure that is best at one epoch."""

    def __init__(self, best):
        super().__init__()
        self.best = best

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = abs(epoch - self.best)


class Until(keras.callbacks.Callback):
    """Raises at the end of an epoch, or as training begins."""

    def __init__(self, epoch, error=KeyboardInterrupt):
        super().__init__()
        self.epoch = epoch
        self.error = error

    def on_train_begin(self, logs=None):
        if self.epoch is None:
            raise self.error

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise self.error


def early_stopping(**arguments):
    return keras.callbacks.EarlyStopping("score", mode="min", **arguments)


def test_an_early_stop_is_said():
    model, pruning = build(), km.MagnitudePruning(0.9)
    with pytest.warns(UserWarning, match=r"final sparsity.*start_from_epoch=30") as seen:
        fit(model, Score(1), pruning, early_stopping(patience=2), epochs=40)
    assert len([w for w in seen if w.category is UserWarning]) == 1
    assert fraction_of_zeros(model) < 0.5
    assert_no_trace(model)


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
def test_restored_weights_are_said_and_stay_as_they_are(is_first):
    """Whatever the order: the masks of the last epoch do not cut weights of another."""
    model = build()
    callbacks = [km.MagnitudePruning(0.9, end=4)]
    callbacks.insert(0 if is_first else 1, early_stopping(restore_best_weights=True))
    snapshot = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: snapshots.append(model.get_weights())
    )
    snapshots = []
    with pytest.warns(UserWarning, match="final sparsity.*AtFinalSparsity"):
        fit(model, Score(1), snapshot, *callbacks, epochs=6)
    for weight, best in zip(model.get_weights(), snapshots[1], strict=True):
        np.testing.assert_array_equal(weight, best)
    assert_no_trace(model)


def test_the_best_at_the_final_sparsity(tmp_path):
    """Two ways: `start_from_epoch`, and callbacks that see the end only."""
    path = tmp_path / "best.keras"
    checkpoint = keras.callbacks.ModelCheckpoint(
        path, monitor="score", mode="min", save_best_only=True
    )
    waiting = early_stopping(patience=1, restore_best_weights=True)
    model = build()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(
            model,
            Score(1),
            km.AtFinalSparsity(checkpoint),
            km.MagnitudePruning(0.9, end=4),
            km.AtFinalSparsity(waiting),
            epochs=12,
        )
    assert (waiting.best_epoch, waiting.stopped_epoch) == (4, 5)
    size = km.sparsity(model).total.size
    for sparse in (model, keras.saving.load_model(path)):
        assert km.sparsity(sparse).total.zeros == round(0.9 * size)
    stopping = early_stopping(restore_best_weights=True, start_from_epoch=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, Score(1), km.MagnitudePruning(0.95, end=2), stopping, epochs=4)
    assert km.sparsity(model).total.zeros == round(0.95 * size)


def test_a_best_that_was_saved_too_early_is_said(tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(
        tmp_path / "best.keras", monitor="score", mode="min", save_best_only=True
    )
    model = build()
    with pytest.warns(UserWarning, match=r"saved as the best.*AtFinalSparsity"):
        fit(model, Score(1), checkpoint, km.MagnitudePruning(0.9, end=3))
    assert fraction_of_zeros(model) == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("compiles_again", [False, True])
@pytest.mark.parametrize("keeps_traceback", [False, True])
def test_after_an_interruption_nothing_is_held(compiles_again, keeps_traceback):
    """Also in a notebook, which keeps the traceback, and with it the whole `fit`."""
    model = build()
    first = model.get_weights()
    with pytest.raises(KeyboardInterrupt) as kept:
        fit(model, km.MagnitudePruning(0.9, end=1), Until(2))
    if not keeps_traceback:
        del kept
        assert_no_trace(model)
    if compiles_again:
        model.compile("adam", "mse")
    model.set_weights(first)
    fit(model)
    assert fraction_of_zeros(model) == 0
    assert_no_trace(model)


def test_after_a_failed_start_the_next_run_is_as_any():
    model = build()
    with pytest.raises(OSError, match="none"):
        fit(model, km.MagnitudePruning(0.5), Until(None, OSError("none")))
    fit(model, km.MagnitudePruning(0.5))
    assert fraction_of_zeros(model) == 0.5
    with pytest.raises(OSError, match="none"):
        fit(model, Until(None, OSError("none")), km.MagnitudePruning(0.9))
    before = fraction_of_zeros(model)
    fit(model, km.KeepZeros())
    assert fraction_of_zeros(model) == before
    assert_no_trace(model)


def test_a_failed_start_of_a_model_that_is_built_by_fit():
    model = keras.Sequential([keras.layers.Dense(16), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(OSError, match="none"):
        fit(model, km.MagnitudePruning(0.9), Until(None, OSError("none")))
    fit(model, epochs=1)
    assert fraction_of_zeros(model) == 0
    assert_no_trace(model)
    fit(model, km.MagnitudePruning(0.5))
    assert fraction_of_zeros(model) == pytest.approx(0.5, abs=0.01)


def test_evaluate_and_predict_leave_a_model_alone():
    model, pruning = build(), km.MagnitudePruning(0.5)
    model.evaluate(X, Y, verbose=0, callbacks=[pruning])
    model.predict(X, verbose=0, callbacks=[km.KeepZeros()])
    assert_no_trace(model)
    fit(model, km.MagnitudePruning(0.5), validation_data=(X, Y))
    assert fraction_of_zeros(model) == 0.5
    model.evaluate(X, Y, verbose=0, callbacks=[pruning])

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.evaluate(X, Y, verbose=0, callbacks=[pruning])

    fit(model, pruning, Look())
    assert fraction_of_zeros(model) == 0.5
    assert_no_trace(model)


def test_a_callback_driven_by_hand():
    pruning = km.MagnitudePruning(0.5, end=2)
    for call in (
        lambda: pruning.on_train_begin(),
        lambda: pruning.on_epoch_begin(0),
        lambda: pruning.on_epoch_end(0, {}),
        lambda: km.KeepZeros().on_epoch_begin(0),
    ):
        with pytest.raises(ValueError, match="has no model"):
            call()
    model = build()
    pruning.set_model(model)
    pruning.on_train_begin()
    for epoch in range(4):
        pruning.on_epoch_begin(epoch)
        model.train_on_batch(X, Y)
        pruning.on_epoch_end(epoch, {})
    pruning.on_train_end()
    assert fraction_of_zeros(model) == 0.5
    assert_no_trace(model)


def test_a_loop_that_compiles_after_attach_is_told():
    model, pruning = build(), km.MagnitudePruning(0.5, unit="step", end=2)
    pruning.attach(model)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"compile.*before `attach"):
        pruning.update(0)
    pruning.release()


@pytest.mark.skipif(CURRENT != "jax", reason="only there a step is outside of variables")
def test_a_step_of_another_optimizer_is_told():
    model, pruning = build(), km.MagnitudePruning(0.5, unit="step", end=2)
    pruning.attach(model)
    other = keras.optimizers.SGD()
    other.build(model.trainable_variables)
    values = [v.value for v in model.trainable_variables]
    with pytest.raises(ValueError, match="another one"):
        other.stateless_apply([v.value for v in other.variables], values, values)
    pruning.release()


@pytest.mark.parametrize("optimizer", ["adam", object(), 3])
def test_an_optimizer_is_an_object_of_keras(optimizer):
    with pytest.raises(TypeError, match=r"`optimizer` must be the keras\.optimizers"):
        km.MagnitudePruning(0.5, end=4).attach(build(), optimizer)
