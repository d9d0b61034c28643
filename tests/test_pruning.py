"""Runs of pruning: how they start, hold, are told apart, interrupted and resumed.

How masks hold in each way to train is in `test_pruning_matrix.py`.
"""

import contextlib
import copy

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.pruning import prunable_variables
from tests.backends import CURRENT

X = np.random.RandomState(0).standard_normal((64, 6, 3)).astype("float32")
Y = X.sum(axis=(1, 2), keepdims=False)[:, None]


def build(optimizer="adam", **arguments):
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            keras.layers.SimpleRNN(16, **arguments),
            keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse")
    return model


def kernels(model):
    return np.concatenate(
        [keras.ops.convert_to_numpy(v.value).ravel() for v in prunable_variables(model)]
    )


def zeros(model):
    return int((kernels(model) == 0).sum())


def fit(model, *callbacks, epochs=4, **arguments):
    return model.fit(
        X,
        Y,
        batch_size=16,
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
        **arguments,
    )


class Recorder(keras.callbacks.Callback):
    """Zeros after every step."""

    def __init__(self):
        super().__init__()
        self.positions = []

    def on_train_batch_end(self, batch, logs=None):
        self.positions.append(kernels(self.model) == 0)


class Fail(keras.callbacks.Callback):
    """Breaks a run off at the start of an epoch, before its first step."""

    def __init__(self, epoch=0):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KeyboardInterrupt


def test_a_run_with_defaults_from_start_to_end():
    """A copy, as KerasTuner makes one; then a run without the callback."""
    model, recorder = build(), Recorder()
    size, before = kernels(model).size, kernels(model)
    pruning = copy.deepcopy(km.MagnitudePruning(0.8))
    history = fit(model, pruning, recorder, epochs=8).history["sparsity"]
    wanted = [round(0.8 * size * (1 - (1 - min(e / 6, 1)) ** 3)) for e in range(8)]
    assert [int(p.sum()) for p in recorder.positions] == np.repeat(wanted, 4).tolist()
    assert history == pytest.approx([count / size for count in wanted])
    assert history[0] == 0.0
    assert history[5] < history[6] == history[7], "the last quarter is to recover"
    pruned = recorder.positions[-1]
    for earlier, later in zip(recorder.positions, recorder.positions[1:], strict=False):
        assert not (earlier & ~later).any(), "nothing revives"
    assert (kernels(model)[~pruned] != before[~pruned]).all(), "what is kept learns"
    copy.deepcopy(pruning)
    fit(model, epochs=1)
    assert zeros(model) < pruned.sum(), "without the callback nothing is held"


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_a_resumed_run_goes_on_with_its_masks(tmp_path, unit):
    model, end = build(), {"epoch": 6, "step": 24}[unit]
    arguments = {"unit": unit, "end": end, "frequency": 1}
    with pytest.warns(UserWarning, match="never starts"):
        fit(model, km.MagnitudePruning(0.9, **arguments), epochs=4)
    model.save(tmp_path / "half.keras")
    loaded, recorder = keras.saving.load_model(tmp_path / "half.keras"), Recorder()
    before = kernels(loaded) == 0
    pruning = km.MagnitudePruning(0.9, **arguments)
    fit(loaded, pruning, recorder, epochs=8, initial_epoch=4)
    after = kernels(loaded) == 0
    first, size = int(recorder.positions[0].sum()), after.size
    assert first == round(0.9 * size * (1 - (1 - 4 / 6) ** 3)), "it catches up at once"
    assert 0 < before.sum() < after.sum() == round(0.9 * size)
    assert (before <= after).all()


@pytest.mark.parametrize("sparsity", [0.0, 0.37, 0.5, 0.9, 0.95, 0.999])
def test_exact_counts(sparsity):
    """Without training: the steps between are those of other tests."""
    model = build()
    size = kernels(model).size
    pruning = km.MagnitudePruning(sparsity, schedule="linear", end=4)
    pruning.attach(model)
    for epoch in range(6):
        pruning.update(epoch)
        wanted = round(sparsity * size * min(epoch, 4) / 4)
        assert zeros(model) == min(wanted, size - 3)
        assert all(row.zeros < row.size for row in km.sparsity(model).rows)
    pruning.release()
    assert zeros(model) == min(round(sparsity * size), size - 3)


def test_exact_counts_of_equal_weights_and_tiny_kernels():
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            keras.layers.SimpleRNN(1),
            keras.layers.Dense(1),
            keras.layers.Dense(7),
        ]
    )
    for kernel in prunable_variables(model):
        kernel.assign(np.ones(kernel.shape))
    model.compile("sgd", "mse")
    pruning = km.MagnitudePruning(0.99, schedule="linear", end=3)
    pruning.attach(model)
    counts = []
    told = pytest.warns(UserWarning, match="66.7% zeros instead of 99.0%")
    for epoch in range(5):
        with told if epoch == 3 else contextlib.nullcontext():
            pruning.update(epoch)
        counts.append(zeros(model))
    # 12 weights in four kernels, of which two have one weight.
    assert counts == [0, 4, 8, 8, 8]
    assert all(row.zeros < row.size for row in km.sparsity(model).rows)


# -- models that `fit` builds --


class Subclassed(keras.Model):
    """Takes a dictionary, and has no shapes before it is called."""

    def __init__(self):
        super().__init__()
        self.rnn = keras.layers.LSTM(8)
        self.out = keras.layers.Dense(1)

    def call(self, inputs):
        return self.out(self.rnn(inputs["x"]))


def test_a_subclassed_model_that_is_built_by_fit():
    model, recorder = Subclassed(), Recorder()
    model.compile("adam", "mse")
    pruning = km.MagnitudePruning(0.75, schedule="constant", end=0)
    with pytest.warns(UserWarning, match="before the first step"):
        model.fit({"x": X}, Y, 16, epochs=2, callbacks=[pruning, recorder], verbose=0)
    wanted = round(0.75 * kernels(model).size)
    assert [int(p.sum()) for p in recorder.positions] == [wanted] * 8, "from step one"


def test_pruners_and_keep_zeros_of_a_model_that_is_built_by_fit():
    model = keras.Sequential(
        [
            keras.layers.SimpleRNN(16),
            keras.layers.Dense(4, name="kept", kernel_initializer=sparse_initializer),
            keras.layers.Dense(1, name="last"),
        ]
    )
    model.compile("adam", "mse")
    recorder = Recorder()
    steps = {"unit": "step", "end": 6, "frequency": 2, "scope": "layer"}
    fit(
        model,
        km.MagnitudePruning(0.75, select="recurrent"),
        km.KeepZeros(select="kept/kernel"),
        km.MagnitudePruning(0.5, **steps, select=["rnn_cell/kernel", "last"]),
        recorder,
    )
    assert {row.label: row.sparsity for row in km.sparsity(model).rows} == {
        "simple_rnn/kernel": 0.5,
        "simple_rnn/recurrent_kernel": 0.75,
        "kept/kernel": 0.5,
        "last/kernel": 0.5,
    }
    for earlier, later in zip(recorder.positions, recorder.positions[1:], strict=False):
        assert not (earlier & ~later).any(), "nothing revives"
    assert all(v.constraint is None for v in model.trainable_variables)


def sparse_initializer(shape, dtype=None):
    return keras.ops.convert_to_tensor(
        np.where(np.indices(shape).sum(axis=0) % 2, 0.3, 0.0), dtype
    )


def test_a_run_that_broke_off_before_the_model_was_built_leaves_nothing():
    model = keras.Sequential([keras.layers.SimpleRNN(4), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    for late in (km.MagnitudePruning(0.5), km.KeepZeros()):
        with pytest.raises(KeyboardInterrupt):
            fit(model, late, Fail())
    fit(model, km.MagnitudePruning(0.25, schedule="constant", select="recurrent"))
    assert [row.sparsity for row in km.sparsity(model).rows] == [0, 0.25, 0]
    assert all(v.constraint is None for v in model.trainable_variables)


@pytest.mark.skipif(CURRENT != "tensorflow", reason="elsewhere masks are on by then")
def test_who_waited_in_a_run_that_broke_off_is_not_attached_by_the_next():
    model = keras.Sequential([keras.layers.SimpleRNN(4), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    with pytest.raises(KeyboardInterrupt):
        fit(model, km.MagnitudePruning(0.5, schedule="constant"), Fail())
    fit(model, epochs=1)
    assert zeros(model) == 0
    assert all(v.constraint is None for v in model.trainable_variables)


# -- what is no mask, and what is kept --


def test_kernels_initialized_to_the_identity_or_to_zero_can_learn():
    """The network of Le et al. (2015): zeros off the diagonal are no mask."""
    identity = keras.initializers.Identity(0.5)
    layers = [
        keras.layers.SimpleRNN(8, recurrent_initializer=identity, return_sequences=True),
        keras.layers.GRU(8, recurrent_initializer=identity),
        keras.layers.Dense(1, kernel_initializer="zeros"),
    ]
    model = keras.Sequential([keras.Input((6, 3)), *layers])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    select = ["recurrent", "dense"]
    fit(model, km.MagnitudePruning(0.25, select=select, scope="layer"))
    chosen = prunable_variables(model, select)
    masks = [keras.ops.convert_to_numpy(v.value) != 0 for v in chosen]
    assert [int((~mask).sum()) for mask in masks] == [16, 48, 2]
    # As pruned and trained it is no start any more: a resumed run keeps its mask.
    fit(model, km.MagnitudePruning(0.25, select=select, scope="layer"), epochs=2)
    for variable, mask in zip(chosen, masks, strict=True):
        kept = keras.ops.convert_to_numpy(variable.value) != 0
        np.testing.assert_array_equal(kept, mask)


def test_a_constraint_that_was_there_is_kept_and_comes_back():
    constraint = keras.constraints.NonNeg()
    model = build(recurrent_constraint=constraint)
    fit(model, km.MagnitudePruning(0.5), epochs=2)
    kernel = model.layers[0].cell.recurrent_kernel
    assert kernel.constraint is constraint
    assert (keras.ops.convert_to_numpy(kernel.value) >= 0).all()
    assert zeros(model) >= round(0.5 * kernels(model).size)
    assert model.layers[1].kernel.constraint is None


# -- runs that go wrong --


def test_overlapping_and_interrupted_runs_are_forgotten():
    model = build()
    pruners = [km.MagnitudePruning(0.5), km.MagnitudePruning(0.9, select="recurrent")]
    for _ in range(2):
        with pytest.raises(ValueError, match=r"same weights.*recurrent_kernel"):
            fit(model, *pruners)
        assert all(v.constraint is None for v in model.trainable_variables)
    with pytest.raises(KeyboardInterrupt):
        fit(model, km.MagnitudePruning(0.5, end=1), Fail(epoch=3))
    assert zeros(model) == round(0.5 * kernels(model).size)
    # Of fewer weights than the interrupted run held: the others are let go as well.
    again = km.MagnitudePruning(0.9, select=lambda v: v.name == "recurrent_kernel")
    fit(model, again, epochs=4)
    assert km.sparsity(model).rows[1].zeros == round(0.9 * 256)
    assert all(v.constraint is None for v in model.trainable_variables)


def test_attaching_again_takes_off_what_was_left():
    model = build()
    km.MagnitudePruning(0.5, end=2).attach(model)
    again = km.MagnitudePruning(0.9, end=2)
    with pytest.warns(UserWarning, match="another MagnitudePruning"):
        again.attach(model)
    again.update(2)
    again.release()
    assert km.sparsity(model).total.zeros == round(0.9 * km.sparsity(model).total.size)
    assert len(model.optimizer.variables) == len(build().optimizer.variables) + 2 * 5


def test_running_means_are_zero_where_the_mask_is():
    """Else `fit` ends with the means of what weights were before they were pruned."""
    adam = keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9)
    model, recorder = build(adam), Recorder()
    fit(model, km.MagnitudePruning(0.8, end=3), recorder)
    pruned = recorder.positions[-1]
    assert pruned.sum() == round(0.8 * pruned.size)
    np.testing.assert_array_equal(kernels(model) == 0, pruned)
