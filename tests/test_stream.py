"""A stream gives what its model gives for the sequence so far, or says why it cannot."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_moduli as km
from tests.backends import CURRENT
from tests.cases import table

K, L = keras.layers, km.layers
RNG = np.random.RandomState(0)
X = RNG.standard_normal((2, 5, 4)).astype("float32")
X[0, 2:4] = X[1, 0] = 0.0  # for masks
WORDS = RNG.randint(1, 6, (2, 5))
WORDS[0, 3] = WORDS[1, 0] = 0


def array(x):
    return ops.convert_to_numpy(x)


def functional(make, shape=(None, 4), **kwargs):
    inputs = keras.Input(shape, **kwargs)
    return keras.Model(inputs, make(inputs))


def draw_weights(model):
    for weight in model.weights:
        if "float" in weight.dtype and "embedding" not in weight.name:
            shift = 0.5 if "variance" in weight.path else 0.0  # which is positive
            drawn = RNG.uniform(-0.5, 0.5, weight.shape)
            weight.assign(np.abs(drawn) + shift if shift else drawn)
    return model


def check(model, x=X, atol=1e-5, whole=False):
    """Compares the outputs of all steps, or of each prefix, with the model's."""
    stream = km.sparse.Stream(model, batch_size=len(x))
    for _ in range(2):
        steps = [stream.step(x[:, t]) for t in range(x.shape[1])]
        stream.reset()
    if whole:
        for t in (1, x.shape[1] - 1):
            expected = model(x[:, : t + 1])
            keras.tree.map_structure(
                lambda a, b: np.testing.assert_allclose(a, array(b), atol=atol),
                steps[t],
                expected,
            )
    else:
        got = np.stack(steps, axis=1)
        np.testing.assert_allclose(got, array(model(x)), atol=atol)
        assert np.abs(got).max() > 1e-3


def chain(*layers, shape=(None, 4)):
    return keras.Sequential([keras.Input(shape), *layers])


SEQUENCES = {"return_sequences": True}


def branches(x):
    """Each kind of layer that treats time steps alike, on its own."""
    normalization = K.Normalization()
    normalization.adapt(X)
    layers = [
        K.BatchNormalization(),
        K.LayerNormalization(),
        K.UnitNormalization(),
        K.RMSNormalization(),
        normalization,
        K.Rescaling(0.5, offset=[0.0, 1.0, 2.0, 3.0]),
        K.Dense(3, activation="softmax"),
        K.Dense(3, activation=K.LeakyReLU()),
        K.EinsumDense("btx,xyz->btyz", (None, 2, 3), bias_axes="z"),
        K.EinsumDense("...x,xy->...y", 3, bias_axes="y"),
        K.TimeDistributed(K.Dense(3)),
        K.TimeDistributed(K.Lambda(lambda x: x - keras.ops.mean(x, -1, keepdims=True))),
        K.Conv1D(3, 1, activation="relu"),
        K.Activation("tanh"),
        K.Activation(keras.activations.gelu),
        K.ReLU(max_value=0.5),
        K.LeakyReLU(),
        K.ELU(),
        K.PReLU(shared_axes=[1]),
        K.Softmax(),
        K.Softmax(axis=2),
        K.Dropout(0.5),
        K.GaussianNoise(1.0),
        K.SpatialDropout1D(0.5),
        L.Moduli(K.Dense(3)),
        keras.Sequential([K.Dense(3), K.Identity()]),
    ]
    made = [layer(x) for layer in layers]
    made = [K.TimeDistributed(K.Flatten())(y) if len(y.shape) > 3 else y for y in made]
    return K.Concatenate()(made)


def operations(x):
    h = K.GRU(4, **SEQUENCES)(x)
    made = [
        h + x,
        1.0 - h,
        2.0 * h * np.arange(4, dtype="float32"),
        x[..., :2],
        x[:, :, 1:3],
        x[:, :, None, 1],
        ops.tanh(h),
        keras.activations.relu(x),
        ops.softmax(x),
        ops.mean(x, axis=-1, keepdims=True),
        ops.expand_dims(ops.max(x, axis=2), -1),
        ops.where(x > 0, h, -x),
        ops.clip(x, -0.5, 0.5),
        ops.cumsum(x, axis=-1),
        ops.concatenate([x, h], axis=-1),
        ops.split(x, 2, axis=-1)[1],
        ops.matmul(h, np.ones((4, 2), "float32")),
        ops.one_hot(ops.cast(x[:, :, 0] > 0, "int32"), 2),
        K.Add()([x, h]),
        K.Multiply()([x, h, h]),
    ]
    return ops.concatenate([ops.cast(y, "float32") for y in made], axis=-1)


def shared(x):
    """A layer called twice, on two branches, and a model inside."""
    rnn = K.SimpleRNN(4, **SEQUENCES)
    inner = functional(lambda x: K.Add()([x, K.LSTM(4, **SEQUENCES)(x)]))
    y = K.Subtract()([rnn(x), rnn(inner(x))])
    return inner(K.Dense(4)(y))


def masked(x):
    """A mask that passes a norm, a sum, a model, and layers that keep it or not."""
    y = K.Masking()(x)
    z = K.LayerNormalization()(K.LSTM(4, **SEQUENCES)(y))
    inner = chain(K.Dropout(0.5), K.GRU(4, **SEQUENCES))(K.Add()([y, z]))
    inner = K.GRU(4, **SEQUENCES)(inner)
    zeros = K.RNN(K.GRUCell(4), zero_output_for_mask=True, **SEQUENCES)(z)
    learned = L.Moduli(K.SimpleRNN(4, **SEQUENCES))(y)
    return K.Concatenate()([y, z, inner, zeros, learned, K.LSTM(4, **SEQUENCES)(x)])


def words(x):
    y = K.Embedding(6, 4, mask_zero=True)(x)
    given = K.GRU(4, **SEQUENCES)(K.Dense(4)(y), mask=ops.not_equal(x, 2))
    return K.Concatenate()([K.SimpleRNN(4, **SEQUENCES)(y), given])


class Leaky(K.Layer):
    """A cell of one's own, whose output is not its state."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, x, states, training=True):
        state = 0.7 * states[0] + x @ self.kernel
        return (0.0 if training else 1.0) * ops.tanh(state), [state]


def cells(x):
    stack = [K.LSTMCell(3), L.ModuliGRUCell(4), K.SimpleRNNCell(4)]
    y = K.RNN(K.StackedRNNCells(stack), **SEQUENCES)(x)
    made = [K.RNN(Leaky(3), **SEQUENCES)(y)]
    if CURRENT != "jax":  # where Keras cannot run a stack of one cell
        made.append(K.RNN(K.StackedRNNCells([K.LSTMCell(4)]), **SEQUENCES)(x))
    return K.Concatenate()([y, *made])


def images(x):
    y = K.TimeDistributed(keras.Sequential([K.Conv2D(3, 2), K.Flatten()]))(x)
    return K.LSTM(4, **SEQUENCES)(y)


EACH_STEP = {
    "layers": (lambda: functional(branches), X),
    "operations": (lambda: functional(operations), X),
    "shared layers": (lambda: functional(shared), X),
    "masks": (lambda: functional(masked), X),
    "words": (lambda: functional(words, (None,), dtype="int32"), WORDS),
    "cells": (lambda: functional(cells), X),
    "no time steps known": (lambda: chain(K.GRU(3, **SEQUENCES), shape=(5, 4)), X),
    "images": (lambda: functional(images, (None, 3, 3, 2)), RNG.rand(2, 3, 3, 3, 2)),
}


@pytest.mark.parametrize(("make", "x"), **table(EACH_STEP))
def test_each_step(make, x):
    check(draw_weights(make()), x)


PIECES = (
    lambda x: K.GRU(4, **SEQUENCES)(x),
    lambda x: K.Add()([x, K.LSTM(4, **SEQUENCES)(x)]),
    lambda x: K.LayerNormalization()(x),
    lambda x: K.Dense(4, "relu")(K.Concatenate()([x, ops.tanh(x)])),
    lambda x: K.Masking()(K.Rescaling(2.0)(x)),
    lambda x: chain(K.Dropout(0.2), K.SimpleRNN(4, **SEQUENCES))(x),
    lambda x: ops.flip(x, axis=-1) * ops.sigmoid(x),
)


# Keras compiles each model anew but on PyTorch.
@pytest.mark.parametrize("seed", range(12 if CURRENT == "torch" else 2))
def test_random_models(seed):
    rng = np.random.RandomState(seed)

    def make(x):
        y = x
        for piece in rng.permutation(len(PIECES))[:5]:
            y = PIECES[piece](x if rng.rand() < 0.2 else y)
        return K.Concatenate()([x, y])

    check(draw_weights(functional(make)))


def ends(x):
    """What depends on a whole sequence, and layers of any kind on it."""
    y, h, c = K.LSTM(4, return_sequences=True, return_state=True)(x)
    last = K.GRU(4)(K.Masking()(y))
    other = K.Conv1D(2, 2)(K.Reshape((2, 2))(last))
    end = K.Dense(3)(K.Concatenate()([last, K.Flatten()(other), y[:, -1], h]))
    return {"end": end, "state": c, "last": ops.mean(y[:, -1], axis=1), "each": last + h}


def test_what_depends_on_the_whole_sequence():
    check(draw_weights(functional(ends)), whole=True)


@pytest.mark.parametrize("zero", [False, True])
def test_the_end_of_a_masked_sequence(zero):
    layer = K.LSTM(4, return_state=True, zero_output_for_mask=zero)
    x = np.concatenate([X, 0 * X[:, :1]], axis=1)  # the last step masked, too
    check(draw_weights(functional(lambda x: layer(K.Masking()(x)))), x, whole=True)


def test_a_loaded_model(tmp_path):
    model = draw_weights(chain(K.Masking(), K.GRU(3, **SEQUENCES), K.Dense(2)))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    check(loaded)
    np.testing.assert_array_equal(array(loaded(X)), array(model(X)))


def block_sparse(**kwargs):
    layout = km.sparse.BlockLayout(4, 12, (2, 4), ((0,), (1,), (0,)))
    return km.layers.SparseGRU(4, connectivity=layout, order=[2, 0, 3, 1], **kwargs)


def test_states_of_fast_layers_are_in_the_order_that_callers_know():
    layer = block_sparse(return_state=True)
    check(draw_weights(functional(lambda x: layer(K.Masking()(x)))), whole=True)


def test_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inner = functional(lambda x: x + K.Dense(4)(x), dtype="float32")
        layers = [K.LSTM(4, **SEQUENCES), inner, block_sparse(**SEQUENCES)]
        check(draw_weights(chain(*layers)), atol=0.02)
    finally:
        keras.config.set_dtype_policy("float32")


def test_stateful_layers_begin_with_zeros_or_not_at_all():
    model = keras.Sequential(
        [keras.Input(batch_shape=(2, 5, 4)), K.GRU(3, stateful=True)]
    )
    expected = array(model(X))
    with pytest.raises(ValueError, match="reset_state"):
        km.sparse.Stream(model, batch_size=2)
    model.layers[0].reset_state()
    stream = km.sparse.Stream(model, batch_size=2)
    steps = [stream.step(X[:, t]) for t in range(5)]
    np.testing.assert_allclose(steps[-1], expected, atol=1e-5)
    assert not array(model.layers[0].states[0]).any(), "the layer's own is left alone"


def test_quantized_and_low_rank_layers():
    model = draw_weights(chain(K.GRU(3, **SEQUENCES), K.Dense(8), K.Dense(4)))
    model.layers[1].enable_lora(2)
    draw_weights(model)
    model.layers[2].quantize("int8")
    check(model)


def test_numbers_are_converted_as_by_the_model():
    model = draw_weights(chain(K.Embedding(6, 3), K.GRU(3), shape=(None,)))
    check(model, WORDS.astype("float64"), whole=True)


# -- what is refused --


class Custom(K.Layer):
    """Looks at all time steps, as each of the following does."""

    def call(self, x):
        return x - ops.mean(x, axis=1, keepdims=True)


class CustomDense(K.Dense):
    """A subclass of what is known."""

    def call(self, x):
        return super().call(ops.cumsum(x, axis=1))


class CustomLSTM(K.LSTM):
    """A subclass of what is known."""

    def inner_loop(self, x, *args, **kwargs):
        return super().inner_loop(ops.flip(x, axis=1), *args, **kwargs)


class Noise(K.Layer):
    """Differs from call to call."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.generator = keras.random.SeedGenerator(0)

    def compute_output_shape(self, shape):
        return shape

    def call(self, x):
        return x + keras.random.normal(ops.shape(x), seed=self.generator)


class Model(keras.Model):
    """Does more than its graph."""

    def call(self, x):
        return super().call(ops.flip(x, axis=1))


def adapted_to_time(x):
    layer = K.Normalization(axis=1)
    layer.adapt(X)
    return layer(x)


def with_states(x):
    y, h, c = K.LSTM(4, return_sequences=True, return_state=True)(x)
    return K.LSTM(4)(y, initial_state=[h, c])


def masked_stack(x):
    return K.RNN(K.StackedRNNCells([K.GRUCell(3), K.GRUCell(3)]))(K.Masking()(x))


# Each with the shape of a sequence and a word of the message.
REFUSALS = {
    "mean over time": (lambda x: ops.mean(x, 1), "axis of time"),
    "mean over all": (lambda x: ops.mean(x), "axis of time"),
    "max of a negative axis": (lambda x: ops.max(x, -2), "axis of time"),
    "softmax over time": (lambda x: ops.softmax(x, 1), "axis of time"),
    "cumulated": (lambda x: ops.cumsum(x, 1), "axis of time"),
    "joined in time": (lambda x: ops.concatenate([x, x], 1), "axis of time"),
    "joined with constants": (
        lambda x: ops.concatenate([x, np.ones((1, 5, 1), "float32")], -1), "constants"),
    "transposed": (lambda x: ops.transpose(x, (0, 2, 1)), "more than one time step"),
    "reshaped": (lambda x: ops.reshape(x, (-1, 4, 5)), "more than one time step"),
    "einsum": (lambda x: ops.einsum("btx,bsx->bts", x, x), "more than one time step"),
    "product of steps": (
        lambda x: ops.matmul(x, ops.matmul(np.ones((4, 5), "float32"), x)), "one matrix"),
    "product from the left": (
        lambda x: ops.matmul(np.ones((5, 5), "float32"), x), "one matrix"),
    "first step": (lambda x: x[:, 0], "some of the time steps"),
    "first steps": (lambda x: x[:, :3], "some of the time steps"),
    "every other step": (lambda x: x[:, ::2], "some of the time steps"),
    "reversed": (lambda x: x[:, ::-1], "some of the time steps"),
    "shifted ranks": (lambda x: K.Dense(5)(x) + x[:, :, 0], "different ranks"),
    "position": (lambda x: x + np.ones((5, 4), "float32"), "constant of shape"),
    "clipped by position": (
        lambda x: ops.clip(x, np.zeros((5, 1), "float32"), 1.0), "constant of shape"),
    "end in each step": (
        lambda x: x + ops.expand_dims(x[:, -1], 1), "whole sequence"),
    "initial state": (with_states, "whole sequence"),
    "given state": (
        lambda x: K.GRU(4)(x, initial_state=np.ones((2, 4), "float32")), "initial state"),
    "softmax layer": (lambda x: K.Softmax(axis=1)(x), "axis of time"),
    "softmax of both axes": (lambda x: K.Softmax(axis=[1, 2])(x), "axis of time"),
    "softmax of masks": (lambda x: K.Softmax()(K.Masking()(x)), "mask"),
    "batch norm of time": (lambda x: K.BatchNormalization(axis=1)(x), "axis of time"),
    "layer norm of time": (lambda x: K.LayerNormalization(axis=[1, 2])(x), "axis of"),
    "group norm": (lambda x: K.GroupNormalization(2)(x), "more than one time step"),
    "unit norm of time": (lambda x: K.UnitNormalization(axis=1)(x), "axis of time"),
    "statistics of time": (adapted_to_time, "axis of time"),
    "slopes of time": (lambda x: K.PReLU()(x), "constant of shape"),
    "scales of time": (
        lambda x: K.Rescaling(np.ones((5, 1), "float32"))(x), "constant of shape"),
    "einsum over time": (lambda x: K.EinsumDense("btx,ts->bsx", (5, 4))(x), "equation"),
    "einsum with bias of time": (
        lambda x: K.EinsumDense("btx,xy->bty", (5, 4), bias_axes="ty")(x), "constant"),
    "einsum of ellipsis": (lambda x: K.EinsumDense("...tx,tx->...t", 5)(x), "equation"),
    "activation": (lambda x: K.Dense(3, lambda x: ops.flip(x, 1))(x), "activation"),
    "convolution": (lambda x: K.Conv1D(4, 2)(x), "more than one time step"),
    "causal": (lambda x: K.Conv1D(4, 2, padding="causal")(x), "more than one time step"),
    "strides": (lambda x: K.Conv1D(4, 1, strides=2)(x), "more than one time step"),
    "pooling": (lambda x: K.GlobalMaxPooling1D()(x), "more than one time step"),
    "flattened": (lambda x: K.Flatten()(x), "more than one time step"),
    "permuted": (lambda x: K.Permute((2, 1))(x), "more than one time step"),
    "attention": (lambda x: K.Attention()([x, x]), "more than one time step"),
    "both ways": (lambda x: K.Bidirectional(K.GRU(3))(x), "more than one time step"),
    "backwards": (lambda x: K.GRU(3, go_backwards=True)(x), "backwards"),
    "backwards in Moduli": (
        lambda x: L.Moduli(K.GRU(3, go_backwards=True))(x), "backwards"),
    "decoder": (lambda x: K.LSTM(4)(K.RepeatVector(3)(K.GRU(4)(x))), "another's end"),
    "masks of stacked cells": (masked_stack, "masked time steps"),
    "training": (lambda x: K.Dropout(0.5)(x, training=True), "training=True"),
    "custom layer": (lambda x: Custom()(x), "TimeDistributed"),
    "subclass of Dense": (lambda x: CustomDense(3)(x), "TimeDistributed"),
    "subclass of LSTM": (lambda x: CustomLSTM(3)(x), "TimeDistributed"),
    "lambda": (
        lambda x: K.Lambda(lambda x: x[:, ::-1], output_shape=(5, 4))(x), "more than"),
    "custom model": (
        lambda x: Model(y := keras.Input((5, 4)), K.Dense(4)(y))(x), "TimeDistributed"),
    "inside a model": (
        lambda x: chain(K.Dense(4), K.Conv1D(3, 2, name="inner"), shape=(5, 4))(x),
        "'inner'"),
    "random numbers": (lambda x: K.TimeDistributed(Noise())(x), "random numbers"),
    "random end": (lambda x: Noise()(x[:, -1]), "random numbers"),
}  # fmt: skip


@pytest.mark.backend_independent
@pytest.mark.parametrize(("make", "word"), **table(REFUSALS))
def test_refusals(make, word):
    model = functional(lambda x: make(K.GRU(4, name="front", **SEQUENCES)(x)), (5, 4))
    with pytest.raises(ValueError, match="A Stream cannot take") as caught:
        km.sparse.Stream(model)
    assert word in str(caught.value)


@pytest.mark.backend_independent
def test_models_that_are_no_graph_of_one_sequence():
    one, two = keras.Input((5, 4)), keras.Input((5, 4))
    pair = keras.Model([one, two], K.GRU(3)(one + two))
    with pytest.raises(ValueError, match="one input"):
        km.sparse.Stream(pair)
    with pytest.raises(ValueError, match="`call` of its own"):
        km.sparse.Stream(Model(one, K.GRU(3)(one)))
    flat = keras.Sequential([keras.Input((4,)), K.Dense(3)])
    with pytest.raises(ValueError, match="last of which is time"):
        km.sparse.Stream(flat)
    twins = K.GRU(4, stateful=True, return_sequences=True)
    x = keras.Input(batch_shape=(2, 5, 4))
    with pytest.raises(ValueError, match="more than one place"):
        km.sparse.Stream(keras.Model(x, twins(twins(x))), 2)
    inner = K.TimeDistributed(K.SimpleRNN(3, stateful=True))
    steps = ops.expand_dims(K.GRU(4, return_sequences=True)(x), -1)
    with pytest.raises(ValueError, match="a layer inside, is stateful"):
        km.sparse.Stream(keras.Model(x, inner(steps)), 2)


def test_steps_of_another_shape_are_refused():
    stream = km.sparse.Stream(chain(K.GRU(3)), batch_size=2)
    for shape in ((2, 3), (1, 4), (2, 5, 4), (4,)):
        with pytest.raises(ValueError, match=r"\(2, 4\)"):
            stream.step(np.ones(shape, "float32"))
