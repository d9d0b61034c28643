"""Which zeros are masks: those that pruning has marked, and what is said of others."""

import warnings

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.pruning._marks import Reading, writes_marks

X = np.random.RandomState(0).standard_normal((32, 8)).astype("float32")
Y = X[:, :1]
IDS = np.random.RandomState(0).randint(0, 12, (32, 5))


def build(*layers):
    model = keras.Sequential([keras.Input((8,)), *layers])
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    return model


def dense():
    return build(keras.layers.Dense(16, "tanh"), keras.layers.Dense(1))


def fit(model, *callbacks, x=X, epochs=4, **arguments):
    callbacks = list(callbacks)
    return model.fit(x, Y, 8, epochs=epochs, verbose=0, callbacks=callbacks, **arguments)


def numpy(variable):
    return keras.ops.convert_to_numpy(variable.value)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
def test_marks_are_read_whatever_the_type(dtype):
    variable = keras.Variable([[0.0, -0.0], [1.0, -2.0]], dtype=dtype, name="w")
    reading = Reading([variable])
    assert reading.has_marks
    assert reading.unmarked == [("w", 1)]
    (marked,), (every,), (none,) = map(reading.get_masks, ("marked", "all", "none"))
    np.testing.assert_array_equal(marked, [[True, False], [True, True]])
    np.testing.assert_array_equal(every, [[False, False], [True, True]])
    assert none.all()


def test_initial_zeros_of_any_kernel_learn():
    """The identity, of any shape and several gates; tables with rows of zeros."""
    table = np.random.RandomState(0).standard_normal((12, 6))
    table[[0, 3]] = 0
    inputs = keras.Input((5,), dtype="int32")
    x = keras.layers.Embedding(12, 6, weights=[table], name="table")(inputs)
    x = keras.layers.GRU(6, recurrent_initializer="zeros", name="gru")(x)
    gru = keras.Model(inputs, keras.layers.Dense(1)(x))
    gru.get_layer("gru").cell.recurrent_kernel.assign(np.tile(np.eye(6), (1, 3)))
    gru.compile(keras.optimizers.Adam(1e-2), "mse")
    table, recurrent = gru.weights[0], gru.get_layer("gru").cell.recurrent_kernel
    learned = []

    def look(epoch, logs):
        if epoch == 1:
            kernel = numpy(recurrent)[:, :6][~np.eye(6, dtype=bool)]
            learned.append((numpy(table)[[0, 3]].all(), kernel.all()))

    looking = keras.callbacks.LambdaCallback(on_epoch_end=look)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(gru, km.MagnitudePruning(0.5, begin=2, end=3), looking, x=IDS)
    assert learned == [(True, True)]
    total = km.sparsity(gru).total
    assert total.zeros == round(0.5 * total.size)


def test_marks_go_with_every_file_and_every_run(tmp_path):
    """Weights alone, a model, arrays: a run that goes on finds its masks."""
    model = dense()
    fit(model, km.MagnitudePruning(0.75))
    masked = [np.signbit(w) & (w == 0) for w in model.get_weights()]
    assert sum(m.sum() for m in masked) == km.sparsity(model).total.zeros
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    others = [keras.saving.load_model(tmp_path / "m.keras"), dense(), dense()]
    others[1].load_weights(tmp_path / "m.weights.h5")
    others[2].set_weights(model.get_weights())
    for other in others:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            history = fit(other, km.KeepZeros(), epochs=1).history
        assert history["sparsity"] == [pytest.approx(0.75, abs=0.01)]
        for weight, mask in zip(other.get_weights(), masked, strict=True):
            np.testing.assert_array_equal(np.signbit(weight) & (weight == 0), mask)


class NonNegative(keras.constraints.Constraint):
    """Writes -0.0 as pruning does: a negative weight times 0."""

    def __call__(self, w):
        return w * keras.ops.cast(w >= 0, w.dtype)


def test_a_constraint_beneath_a_mask_is_asked_what_it_writes():
    model = dense()
    variable = model.trainable_variables[0]
    for inner in (NonNegative(), None):
        variable.constraint = inner
        pruning = km.MagnitudePruning(0.5, unit="step", end=1)
        pruning.attach(model)
        pruning.update(1)
        assert variable.constraint is not inner
        assert writes_marks(variable.constraint, variable) == (inner is not None)
        pruning.release()


def test_zeros_that_nobody_has_marked_are_told():
    def zeroed():
        model = dense()
        first = model.get_weights()
        first[0][:, :4] = 0.0
        model.set_weights(first)
        return model

    def held(model, *callbacks, epochs=1):
        fit(model, *callbacks, epochs=epochs)
        return int((numpy(model.weights[0])[:, :4] == 0).sum())

    with pytest.warns(UserWarning, match=r"are taken for masks: 32 of .*zeros='marked'"):
        assert held(zeroed(), km.KeepZeros()) == 32
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert held(zeroed(), km.KeepZeros(zeros="all")) == 32
        assert held(zeroed(), km.KeepZeros(zeros="marked")) == 0
        pruning = {"begin": 1, "end": 1}
        assert held(zeroed(), km.MagnitudePruning(0.5, zeros="all"), epochs=2) == 32
    trained = zeroed()
    trained.optimizer.build(trained.trainable_variables)
    trained.optimizer.iterations.assign(7)
    with pytest.warns(UserWarning, match="are taken for masks"):
        assert held(trained, km.MagnitudePruning(0.3, **pruning), epochs=2) == 32
    mixed = dense()
    fit(mixed, km.MagnitudePruning(0.5, end=1), epochs=2)
    kernel = numpy(mixed.weights[0]).copy()
    kernel[0] = 0.0
    mixed.weights[0].assign(kernel)
    with pytest.warns(UserWarning, match="are not taken for masks: 16 of"):
        fit(mixed, km.KeepZeros(), epochs=1)
    for callback in (km.KeepZeros, km.MagnitudePruning):
        with pytest.raises(ValueError, match="`zeros`"):
            callback(zeros="signed")


class Kill(keras.callbacks.Callback):
    """Breaks a run off."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3:
            raise RuntimeError("killed")


def test_what_has_come_back_and_not_moved_is_no_mask(tmp_path):
    """Units that are dead give no gradient, so that what regrows there stays at zero."""

    def run(*callbacks):
        keras.utils.set_random_seed(0)
        model = build(keras.layers.Dense(32, "relu"), keras.layers.Dense(1))
        backup = keras.callbacks.BackupAndRestore(tmp_path)
        pruning = km.MagnitudePruning(
            0.8, schedule="constant", scope="layer", regrow="set", end=5
        )
        fit(model, backup, pruning, *callbacks, epochs=6, shuffle=False)
        return model

    whole = run()
    with pytest.raises(RuntimeError, match="killed"):
        run(Kill())
    resumed = run()
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a), np.signbit(b))
