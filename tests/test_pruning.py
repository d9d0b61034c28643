"""Masks: exact counts, that they hold in the compiled step, and leave no trace."""

import copy
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import keras_moduli as km
from keras_moduli.pruning import magnitude_masks, prunable_variables
from tests import oracles
from tests.backends import CURRENT

X = np.random.RandomState(0).standard_normal((64, 6, 3)).astype("float32")
Y = X.sum(axis=(1, 2), keepdims=False)[:, None]

# Ties are what counts go wrong on, so weights come from few values, zero among them.
WEIGHTS = arrays(
    "float32",
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0]),
)


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
    """Zeros before and after every step."""

    def __init__(self):
        super().__init__()
        self.positions = []

    def on_train_batch_end(self, batch, logs=None):
        self.positions.append(kernels(self.model) == 0)


@given(
    weights=st.lists(WEIGHTS, min_size=1, max_size=4),
    share=st.floats(0, 1),
    data=st.data(),
)
def test_masks_equal_the_oracle(weights, share, data):
    masks = [
        data.draw(arrays(bool, w.shape, elements=st.booleans()), label="mask")
        for w in weights
    ]
    for mask in masks:
        mask.ravel()[0] = True  # pruning always leaves one
    size = sum(w.size for w in weights)
    count = round(share * size)
    found = magnitude_masks(weights, masks, count)
    for mask, expected in zip(found, oracles.pruned(weights, masks, count), strict=True):
        np.testing.assert_array_equal(mask, expected)
        assert mask.any(), "every matrix keeps a weight"
    masked = sum(int((~m).sum()) for m in masks)
    exact = min(max(count, masked), size - len(weights))
    assert sum(int((~m).sum()) for m in found) == exact
    for before, after in zip(masks, found, strict=True):
        assert not (after & ~before).any(), "nothing revives"


@pytest.mark.parametrize("sparsity", [0.0, 0.37, 0.5, 0.9, 0.95, 0.999])
def test_exact_count_after_fit(sparsity):
    model = build()
    size = kernels(model).size
    fit(model, km.MagnitudePruning(sparsity))
    assert zeros(model) == min(round(sparsity * size), size - 3)


def test_exact_count_of_equal_weights_and_tiny_kernels():
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
    model.compile(keras.optimizers.SGD(0.0), "mse")  # so that they stay equal
    recorder = Recorder()
    pruning = km.MagnitudePruning(0.99, schedule="linear", end=3)
    with pytest.warns(UserWarning, match="66.7% zeros instead of 99.0%"):
        fit(model, pruning, recorder, epochs=5)
    counts = [int(position.sum()) for position in recorder.positions[::4]]
    # 12 weights in four kernels, of which two have one weight.
    assert counts == [0, 4, 8, 8, 8]
    assert all(row.zeros < row.size for row in km.sparsity(model).rows)


@pytest.mark.parametrize("jit_compile", [False, "auto"])
@pytest.mark.parametrize("regularizer", [None, keras.regularizers.L1(1e-2)])
def test_zeros_do_not_revive_between_updates(regularizer, jit_compile):
    model = build()
    if regularizer is not None:
        model = build(recurrent_regularizer=regularizer)
    model.compile(
        keras.optimizers.SGD(0.01, momentum=0.9), "mse", jit_compile=jit_compile
    )
    recorder = Recorder()
    fit(model, km.MagnitudePruning(0.95, schedule="linear", end=3), recorder, epochs=5)
    size = kernels(model).size
    counts = [int(position.sum()) for position in recorder.positions]
    assert counts == [
        round(0.95 * size * min(e, 3) / 3) for e in range(5) for _ in range(4)
    ]
    for before, after in zip(recorder.positions, recorder.positions[1:], strict=False):
        assert not (before & ~after).any()


def test_weights_that_are_kept_go_on_learning():
    model = build()
    pruning = km.MagnitudePruning(0.5, schedule="constant", end=0)
    with pytest.warns(UserWarning, match="before the first step"):
        fit(model, pruning, epochs=1)
    before = kernels(model)
    fit(model, km.MagnitudePruning(0.5), epochs=1 + 1)
    after = kernels(model)
    assert (before[before != 0] != after[before != 0]).all()


def test_default_schedule_leaves_the_last_quarter_to_recover():
    history = fit(build(), km.MagnitudePruning(0.8), epochs=8).history["sparsity"]
    assert history == sorted(history)
    assert history[0] == 0.0
    assert history[5] < history[6] == history[7] == pytest.approx(0.8, abs=0.01)


def test_a_model_that_was_trained_before_and_a_second_fit():
    model = build()
    fit(model, epochs=1)
    recorder = Recorder()
    fit(model, km.MagnitudePruning(0.5, end=1), recorder)
    at_half = kernels(model) == 0
    for position in recorder.positions[4:]:
        np.testing.assert_array_equal(position, at_half, "held in the step itself")
    assert at_half.sum() == round(0.5 * at_half.size)
    recorder = Recorder()
    fit(model, km.MagnitudePruning(0.9), recorder)
    at_ninety = kernels(model) == 0
    assert all((at_half <= position).all() for position in recorder.positions)
    assert at_ninety.sum() == round(0.9 * at_ninety.size)
    assert (at_half <= at_ninety).all(), "zeros of an earlier run are its masks"
    fit(model, epochs=1)
    assert zeros(model) < at_ninety.sum(), "without the callback nothing is held"


def test_a_model_that_is_built_by_fit():
    model = keras.Sequential([keras.layers.SimpleRNN(16), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    recorder = Recorder()
    pruning = km.MagnitudePruning(0.75, schedule="constant", end=0)
    with pytest.warns(UserWarning, match="before the first step"):
        fit(model, pruning, recorder, epochs=1)
    assert zeros(model) == round(0.75 * kernels(model).size)
    assert [int(p.sum()) for p in recorder.positions] == [zeros(model)] * 4


def test_a_subclassed_model_with_dictionary_inputs():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.rnn = keras.layers.LSTM(8)
            self.out = keras.layers.Dense(1)

        def call(self, inputs):
            return self.out(self.rnn(inputs["x"]))

    model = Model()
    model.compile("adam", "mse")
    pruning = km.MagnitudePruning(0.9)
    model.fit({"x": X}, Y, epochs=4, callbacks=[pruning], verbose=0)
    assert zeros(model) == round(0.9 * kernels(model).size)


@pytest.mark.parametrize("cell", [keras.layers.SimpleRNN, keras.layers.GRU])
def test_a_kernel_initialized_to_the_identity_can_learn(cell):
    """The network of Le et al. (2015): zeros off the diagonal are no mask."""
    layer = cell(8, recurrent_initializer=keras.initializers.Identity(0.5))
    model = keras.Sequential([keras.Input((5, 2)), layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = np.random.RandomState(0).standard_normal((32, 5, 2)).astype("float32")
    pruning = km.MagnitudePruning(0.25, select="recurrent")
    model.fit(x, x.sum((1, 2))[:, None], epochs=4, verbose=0, callbacks=[pruning])
    kernel = keras.ops.convert_to_numpy(layer.cell.recurrent_kernel.value)
    assert np.count_nonzero(kernel == 0) == 0.25 * kernel.size
    # As pruned and trained it is no start any more: a resumed run keeps its mask.
    again = km.MagnitudePruning(0.25, select="recurrent")
    model.fit(x, x.sum((1, 2))[:, None], epochs=2, verbose=0, callbacks=[again])
    later = keras.ops.convert_to_numpy(layer.cell.recurrent_kernel.value)
    np.testing.assert_array_equal(later == 0, kernel == 0)


def test_a_kernel_initialized_to_zero_can_learn():
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            keras.layers.SimpleRNN(16),
            keras.layers.Dense(1, kernel_initializer="zeros"),
        ]
    )
    model.compile("adam", "mse")
    fit(model, km.MagnitudePruning(0.5))
    assert (keras.ops.convert_to_numpy(model.layers[-1].kernel.value) != 0).any()


def test_a_constraint_that_was_there_is_kept_and_comes_back():
    constraint = keras.constraints.NonNeg()
    model = build(recurrent_constraint=constraint)
    fit(model, km.MagnitudePruning(0.5))
    kernel = model.layers[0].cell.recurrent_kernel
    assert kernel.constraint is constraint
    assert (keras.ops.convert_to_numpy(kernel.value) >= 0).all()
    assert model.layers[1].kernel.constraint is None


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1),
        lambda: keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.5),
        lambda: keras.optimizers.Adam(1e-2, gradient_accumulation_steps=2),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2)),
    ],
    ids=["AdamW", "EMA", "accumulation", "loss scale"],
)
def test_optimizers(optimizer):
    model = build(optimizer())
    fit(model, km.MagnitudePruning(0.9))
    assert zeros(model) == round(0.9 * kernels(model).size)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_dtype_policies(policy):
    keras.config.set_dtype_policy(policy)
    try:  # no backend can draw an orthogonal matrix in bfloat16
        model = build(recurrent_initializer="glorot_uniform")
        fit(model, km.MagnitudePruning(0.9))
    finally:
        keras.config.set_dtype_policy("float32")
    assert zeros(model) == round(0.9 * kernels(model).size)


def test_run_eagerly():
    model = build()
    model.compile("adam", "mse", run_eagerly=True)
    fit(model, km.MagnitudePruning(0.9))
    assert zeros(model) == round(0.9 * kernels(model).size)


def test_leaves_no_trace():
    model, twin = build(), build()
    fit(model, km.MagnitudePruning(0.9))
    fit(twin)
    kinds = [[(v.shape, v.dtype) for v in m.optimizer.variables] for m in (model, twin)]
    assert kinds[0] == kinds[1]
    assert all(v.constraint is None for v in model.trainable_variables)
    assert not {"save_own_variables", "load_own_variables"} & set(vars(model.optimizer))


def test_a_fit_that_was_interrupted_can_be_taken_up():
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    model = build()
    with pytest.raises(KeyboardInterrupt):
        fit(model, km.MagnitudePruning(0.5, end=1), Interrupt())
    assert zeros(model) == round(0.5 * kernels(model).size)
    # Of fewer weights than the interrupted run held: the others are let go as well.
    again = km.MagnitudePruning(0.9, select=lambda v: v.name == "recurrent_kernel")
    fit(model, again, epochs=4)
    assert km.sparsity(model).rows[1].zeros == round(0.9 * 256)
    assert all(v.constraint is None for v in model.trainable_variables)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "loss scale"])
def test_checkpoints_hold_pruned_weights_and_the_optimizer(tmp_path, before, wrapped):
    optimizer = keras.optimizers.Adam()
    if wrapped:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    model = build(optimizer)
    path = tmp_path / "checkpoint.keras"
    callbacks = [keras.callbacks.ModelCheckpoint(path), km.MagnitudePruning(0.9)]
    fit(model, *callbacks[:: 1 if before else -1])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        loaded = keras.saving.load_model(path)
    assert zeros(loaded) == zeros(model)
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_resumed_run_goes_on_with_its_masks(tmp_path):
    model = build()
    with pytest.warns(UserWarning, match="never starts"):
        fit(model, km.MagnitudePruning(0.9, end=6), epochs=4)
    model.save(tmp_path / "half.keras")
    loaded = keras.saving.load_model(tmp_path / "half.keras")
    before = kernels(loaded) == 0
    fit(loaded, km.MagnitudePruning(0.9, end=6), epochs=8, initial_epoch=4)
    after = kernels(loaded) == 0
    assert 0 < before.sum() < after.sum() == round(0.9 * after.size)
    assert (before <= after).all()


def test_validation_sees_pruned_weights():
    class Watch(keras.callbacks.Callback):
        seen = ()

        def on_test_begin(self, logs=None):
            self.seen = (*self.seen, zeros(self.model))

    watch = Watch()
    model = build()
    fit(model, watch, km.MagnitudePruning(0.9, end=2), validation_data=(X, Y))
    assert watch.seen[2:] == (round(0.9 * kernels(model).size),) * 2


def test_select():
    model = build()
    fit(model, km.MagnitudePruning(0.5, select=lambda v: v.name == "recurrent_kernel"))
    by_name = {row.label: row.sparsity for row in km.sparsity(model).rows}
    assert by_name == {
        "simple_rnn/kernel": 0,
        "simple_rnn/recurrent_kernel": 0.5,
        "dense/kernel": 0,
    }


def test_default_selection_leaves_out_biases_and_norms():
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(9, 4)(inputs)
    x = keras.layers.MultiHeadAttention(2, 3)(x, x)
    x = keras.layers.LayerNormalization()(keras.layers.SeparableConv1D(4, 2)(x))
    x = keras.layers.Bidirectional(keras.layers.LSTM(3))(x)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    chosen = {v.name for v in prunable_variables(model)}
    assert chosen == {
        "embeddings",
        "kernel",
        "recurrent_kernel",
        "depthwise_kernel",
        "pointwise_kernel",
    }


def test_callback_can_be_copied_as_keras_tuner_does():
    model = build()
    fit(model, copy.deepcopy(km.MagnitudePruning(0.9)))
    assert zeros(model) == round(0.9 * kernels(model).size)


def test_final_sparsity_beyond_the_run_is_told():
    with pytest.warns(UserWarning, match="never starts"):
        fit(build(), km.MagnitudePruning(0.9, end=9))


@pytest.mark.skipif(CURRENT == "torch", reason="Keras has no such step on PyTorch")
def test_steps_per_execution():
    model = build()
    model.compile("adam", "mse", steps_per_execution=3)
    fit(model, km.MagnitudePruning(0.9))
    assert zeros(model) == round(0.9 * kernels(model).size)
