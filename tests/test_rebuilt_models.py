"""A model that was rebuilt, by `sparsify` or as a lottery ticket, is the same model."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_moduli as km
from keras_moduli._rebuild import Rebuild, carry_everything
from tests.backends import CURRENT, needs

K = keras.layers
RNG = np.random.RandomState(0)
X = RNG.standard_normal((4, 8)).astype("float32")
T = RNG.standard_normal((4, 6, 5)).astype("float32")
IDS = RNG.randint(0, 9, (3, 8))
BLOCK = (8, 8)


def array(value):
    return ops.convert_to_numpy(value)


def assert_same(a, b, by=1e-5):
    pairs = zip(keras.tree.flatten(a), keras.tree.flatten(b), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(array(one), array(other), rtol=by, atol=by)


def chain(*layers, shape=(8,)):
    return keras.Sequential([keras.Input(shape), *layers])


def weights_of(model):
    """All but where blocks are."""
    return [w for w in model.weights if not w.name.endswith("_indices")]


def assert_sparsified(model, x, **arguments):
    """Returns the fast form, which has the names and the size of the model."""
    fast = km.sparsify(model, **{"block": BLOCK} | arguments)
    sizes = [sum(np.prod(w.shape) for w in weights_of(m)) for m in (fast, model)]
    assert sizes[0] == sizes[1] or arguments.get("exclude")
    assert [layer.name for layer in fast.layers] == [a.name for a in model.layers]
    assert not fast.compiled
    assert_same(fast(x), model(x))
    return fast


def prune_half(model):
    for weight in model.trainable_weights:
        if weight.name == "kernel":
            weight.assign(array(weight) * (np.indices(weight.shape).sum(0) % 2))
    return model


# -- graphs --


def with_masks():
    ids = keras.Input((8,), dtype="int32")
    return keras.Model(ids, K.LSTM(16)(K.Embedding(9, 8, mask_zero=True)(ids)))


def with_operations():
    x = keras.Input((8,))
    h = K.Dense(16)(x)
    return keras.Model(x, K.Dense(8)(h + ops.tanh(K.Dense(16)(h))))


def with_structures():
    inputs = {"a": keras.Input((8,), name="a"), "b": keras.Input((8,), name="b")}
    h = K.Concatenate()([K.Dense(16)(inputs["a"]), inputs["b"]])
    return keras.Model(inputs, {"first": K.Dense(8)(h), "second": (h, h[:, ::2])})


def with_arguments():
    x = keras.Input((8,))
    h = K.Dropout(0.5, seed=1)(K.Dense(16)(x), training=True)
    return keras.Model(x, K.Dense(8)(h))


def between_two_layers():
    h = K.Dense(8)(keras.Input((8,)))
    return keras.Model(h, K.Dense(16)(h))


GRAPHS = {
    "masks": (with_masks, IDS),
    "operations": (with_operations, X),
    "structures": (with_structures, {"a": X, "b": X}),
    "random by a seed": (with_arguments, X),
    "between two layers": (between_two_layers, X),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_graph_is_rebuilt_with_all_that_is_in_it(name):
    make, x = GRAPHS[name]
    model = make()
    fast = assert_sparsified(model, x)
    assert [w.shape for w in fast.weights if "seed" in w.path] == [
        w.shape for w in model.weights if "seed" in w.path
    ]


def test_models_are_rebuilt_however_they_came_to_be(tmp_path):
    called = keras.Sequential([K.Dense(16), K.Dense(8)])
    called(X)
    declared = chain(K.Dense(16), K.Dense(8))
    declared.save(tmp_path / "model.keras")
    for model in (called, keras.saving.load_model(tmp_path / "model.keras")):
        assert isinstance(assert_sparsified(model, X), keras.Sequential)


class WithItsStep(keras.Model):
    """As in Keras's guide to `fit`: a graph with a step of its own."""

    def train_step(self, *arguments):
        return super().train_step(*arguments)


class Doubling(keras.Model):
    """Likewise, with a call of its own."""

    def call(self, inputs, training=None, mask=None):
        return 2.0 * super().call(inputs, training=training, mask=mask)


class Subclassed(keras.Model):
    """A model that is not a graph."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first, self.second = K.Dense(units), K.Dense(units)

    def call(self, inputs):
        return self.second(self.first(inputs))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Tower(keras.Sequential):
    """A Sequential that makes its own layers, and so takes none."""

    def __init__(self, units, **kwargs):
        super().__init__([K.Dense(units), K.Dense(units)], **kwargs)
        self.units = units

    def get_config(self):
        return {"units": self.units, "name": self.name}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def test_classes_of_models_stay_and_what_they_do():
    x = keras.Input((8,))
    fast = assert_sparsified(WithItsStep(x, K.Dense(16)(x)), X)
    assert type(fast) is WithItsStep
    doubling = Doubling(x, K.Dense(16)(x))
    assert "Doubling is known" in km.sparse.plan(doubling, BLOCK).rows[0].reason
    assert type(km.sparsify(doubling)) is Doubling
    assert_same(km.sparsify(doubling)(X), doubling(X))
    subclassed = Subclassed(8)
    subclassed(X)
    assert len(km.sparse.plan(subclassed).rows) == 2
    assert_same(km.sparsify(subclassed)(X), subclassed(X))
    assert_sparsified(keras.Model(x, K.Dense(16)(subclassed(x))), X)


@pytest.mark.backend_independent
def test_what_cannot_be_made_anew_is_named():
    class Without(keras.Model):
        def __init__(self, part):
            super().__init__()
            self.part = part

        def call(self, inputs):
            return self.part(inputs)

    model = Without(K.Dense(8))
    model(X)
    with pytest.raises(
        ValueError, match=r"'without', a Without, .* needs a `get_config`"
    ):
        km.sparsify(model)


# -- what is shared --


def test_shared_layers_stay_shared():
    shared, inner = K.Dense(8), keras.Input((8,))
    encoder = keras.Model(inner, K.Dropout(0.5)(shared(inner)))
    a, b = keras.Input((8,)), keras.Input((6, 8))
    alike = K.TimeDistributed(shared)(b)
    model = keras.Model([a, b], [encoder(encoder(a)), shared(a), alike])
    x = [X, RNG.standard_normal((2, 6, 8)).astype("float32")]
    for fast in (km.sparsify(model), assert_sparsified(model, x)):
        weights = [w for w in model.weights if "seed" not in w.path]
        assert len(weights_of(fast)) == len(weights)
    assert len(km.sparse.plan(model).rows) == 1, "one kernel, one row"
    path = f"{encoder.name}/{shared.name}"
    for name in (path, shared.name):
        row, *_ = km.sparse.plan(model, BLOCK, exclude=name).rows
        assert row.reason == "excluded"
    twice = chain(shared, K.ReLU(), shared)
    fast = assert_sparsified(twice, X)
    assert fast.layers[0] is fast.layers[2]


def test_weights_that_a_graph_uses_outside_of_their_layer():
    dense, x = K.Dense(8, name="tied"), keras.Input((8,))
    h = dense(x)
    model = keras.Model(x, ops.matmul(h, dense.kernel))
    with pytest.raises(ValueError, match=r"outside of layer 'tied'.*exclude='tied'"):
        km.sparsify(model, block=BLOCK)
    fast = km.sparsify(model)
    before = array(fast(X))
    assert_same(before, model(X))
    dense.kernel.assign(2.0 * array(dense.kernel))
    assert_same(fast(X), before)  # shares no weight


# -- state that is no weight, and what was set --


def test_comparing_leaves_the_state_of_a_layer_as_it_was():
    model = keras.Sequential(
        [keras.Input(batch_shape=(2, 5, 8)), K.GRU(16, stateful=True)]
    )
    model(np.random.RandomState(0).standard_normal((2, 5, 8)).astype("float32"))
    (state,) = model.layers[0].states
    before = array(state.value).copy()
    assert before.any()
    prune_half(model)
    fast = km.sparsify(model, block=BLOCK)
    assert type(fast.layers[0]) is not K.GRU
    np.testing.assert_array_equal(array(state.value), before)


@pytest.mark.backend_independent
def test_a_ticket_is_of_the_class_of_its_model():
    x = keras.Input((8,))
    for model in (WithItsStep(x, K.Dense(16)(x)), Tower(8)):
        model(X)
        assert type(km.lottery_ticket(prune_half(model))) is type(model)


@needs("tensorflow")  # for a layer that puts numbers into bins
def test_what_layers_have_adapted_to():
    normal, bins = K.Normalization(), K.Discretization(num_bins=4)
    normal.adapt(100 + X)
    bins.adapt(X[:, 0])
    x = keras.Input((8,))
    h = K.Concatenate()([normal(x), ops.cast(bins(x), "float32")])
    model = keras.Model(x, K.Dense(8)(h))
    assert_sparsified(model, 100 + X)
    ticket = km.lottery_ticket(prune_half(model))
    assert abs(float(array(ticket.get_layer(normal.name)(100 + X)).mean())) < 0.1
    normal.adapt(X)  # the ticket keeps its own
    rewound = km.lottery_ticket(model, rewind=ticket)
    assert abs(float(array(rewound.get_layer(normal.name)(100 + X)).mean())) < 0.1


@pytest.mark.skipif(CURRENT != "tensorflow", reason="only TensorFlow has tensors of text")
def test_words_that_layers_know():
    import tensorflow as tf

    lookup = K.StringLookup()
    lookup.adapt(["a", "b", "c"])
    x = keras.Input((4,), dtype="string")
    h = K.Flatten()(K.Embedding(4, 8)(lookup(x)))
    model = keras.Model(x, K.Dense(8)(h))
    words = tf.constant([["a", "b", "a", "c"]])
    for new in (km.sparsify(model, block=BLOCK), km.lottery_ticket(prune_half(model))):
        assert new.get_layer(lookup.name).get_vocabulary() == lookup.get_vocabulary()
    assert_same(km.sparsify(model, block=BLOCK)(words), model(words))


def stateful(layer):
    return keras.Sequential([keras.Input(batch_shape=(4, 6, 5)), layer])


@pytest.mark.parametrize("convert", [False, True])
def test_states_are_carried_and_left_alone(convert):
    model = stateful(K.GRU(16, stateful=True))
    model(T)
    before = [array(state) for state in model.layers[0].states]
    fast = km.sparsify(model, block=BLOCK if convert else None)
    assert_same([state.value for state in model.layers[0].states], before)
    for _ in range(2):
        assert_same(fast(T), model(T))


def test_what_layers_are_set_to():
    dense, norm = K.Dense(8, dtype="mixed_float16"), K.BatchNormalization()
    inner = chain(K.Dense(8), K.Dense(8))
    model = chain(dense, norm, inner, K.Dense(8))
    dense.trainable = inner.layers[0].trainable = False
    norm.gamma.trainable = False
    for arguments in ({"block": BLOCK, "tolerance": 0.02}, {}):
        fast = km.sparsify(model, **arguments)
        flags = [[w.trainable for w in weights_of(m)] for m in (fast, model)]
        assert flags[0] == flags[1]
        assert fast.layers[0].dtype_policy == dense.dtype_policy
        assert [layer.trainable for layer in fast.layers] == [False, True, True, True]


# -- classes and functions that are not registered --


def relu(x):
    """Not Keras's."""
    return 2.0 * x


class Scaled(K.Layer):
    """A layer of a user's own, around another."""

    def __init__(self, inner, function, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.function = inner, function

    def build(self, shape):
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")
        self.inner.build(shape)

    def call(self, inputs):
        return self.function(self.inner(inputs)) * self.scale

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "inner": inner, "function": "a function"}

    @classmethod
    def from_config(cls, config):
        inner = keras.saving.deserialize_keras_object(config.pop("inner"))
        return cls(inner, **config)


class OwnCell(K.Layer):
    """A cell of a user's own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")

    def call(self, inputs, states):
        h = ops.tanh(inputs @ self.kernel + states[0])
        return h, [h]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Ridge(keras.regularizers.Regularizer):
    """A regularizer of a user's own."""

    def __call__(self, weight):
        return 0.0 * ops.sum(weight)

    def get_config(self):
        return {}


def test_nothing_has_to_be_registered():
    factor = 3.0
    layers = [
        K.Dense(8, activation=relu, kernel_regularizer=Ridge()),
        Scaled(K.Dense(8, activation=lambda x: x + 1.0), relu),
        K.Lambda(lambda x: factor * x, output_shape=lambda shape: shape),
        K.Dense(8, activation=lambda x: 0.5 * x),
    ]
    model = chain(*layers)
    model.compile("adam", lambda a, b: ops.mean(abs(a - b)))
    assert_sparsified(model, X)
    assert_same(km.sparsify(model)(X), model(X))
    recurrent = chain(K.RNN(OwnCell(8)), shape=(6, 5))
    assert_same(km.sparsify(recurrent)(T), recurrent(T))


# -- layers that hold their weights in other ways --


def test_fast_lora_and_quantized_layers(tmp_path):
    model = chain(K.Dense(16), K.Dense(16))
    fast = km.sparsify(model, block=BLOCK)
    assert_same(km.sparsify(fast)(X), fast(X))
    model.layers[0].enable_lora(2)
    model.layers[0].lora_kernel_b.assign(RNG.standard_normal((2, 16)))
    copied = Rebuild()
    new = copied(model)
    carry_everything(copied)
    assert_same(new(X), model(X))
    assert_same(new.layers[0].lora_kernel_b, model.layers[0].lora_kernel_b)
    model = chain(K.Dense(16), K.Dense(16))
    model.quantize("int8")
    copied = Rebuild()
    new = copied(model)
    carry_everything(copied)
    assert_same(new(X), model(X))


# -- the comparison --


class Lossy(K.Layer):
    """A layer whose config says less than it should."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs

    def get_config(self):
        return super().get_config()


class Noise(K.Layer):
    """Random, by a generator that is not its own."""

    def call(self, inputs):
        return inputs + keras.random.normal(ops.shape(inputs))

    def compute_output_shape(self, shape):
        return shape


@pytest.mark.backend_independent
def test_another_function_is_refused_and_named(monkeypatch):
    model = chain(K.Dense(8), Lossy(2.0, name="lossy"), K.Dense(8))
    with pytest.raises(ValueError, match=r"'lossy', a Lossy, was made anew") as refused:
        km.sparsify(model, block=BLOCK)
    assert "tolerance" not in str(refused.value)
    km.sparsify(chain(K.Dense(8), Noise()), block=BLOCK)
    call = km.layers.SparseDense.call
    model = chain(K.Dense(8, name="dense"))
    for factor, words in ((1.1, "exclude='dense'"), (1.0001, "larger `tolerance`")):
        wrong = lambda self, x, factor=factor, **_: factor * call(self, x)  # noqa: E731
        monkeypatch.setattr(km.layers.SparseDense, "call", wrong)
        with pytest.raises(ValueError, match=words) as refused:
            km.sparsify(model, block=BLOCK)
        assert ("tolerance" in str(refused.value)) == (factor < 1.01)


@pytest.mark.backend_independent
def test_tolerance_is_relative_to_the_size_of_outputs():
    model = chain(K.Dense(64), K.Dense(64))
    model.set_weights([1e3 * w for w in model.get_weights()])
    km.sparsify(model, block=BLOCK)


# -- lottery tickets --


def test_a_ticket_is_the_same_model_with_other_weights():
    shared, x = K.Dense(8), keras.Input((8,))
    encoder, frozen = keras.Model(x, shared(x)), K.Dense(8, trainable=False)
    a, b = keras.Input((8,)), keras.Input((8,))
    h = frozen(encoder(a) + shared(b))
    model = WithItsStep([a, b], K.Dense(1, kernel_initializer="he_normal")(h))
    loss = lambda a, b: ops.mean(abs(a - b))  # noqa: E731
    metrics = ["mae", keras.metrics.MeanSquaredError(name="squared")]
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=metrics)
    ticket = km.lottery_ticket(prune_half(model), seed=1)
    assert type(ticket) is WithItsStep
    assert ticket.loss is loss
    assert ticket.optimizer is not model.optimizer
    assert [w.shape for w in ticket.weights] == [w.shape for w in model.weights]
    assert [w.trainable for w in ticket.weights] == [w.trainable for w in model.weights]
    assert_same(ticket.get_layer(frozen.name).kernel, frozen.kernel)
    for m in (ticket, model):
        logs = m.fit([X, X], X[:, :1], verbose=0).history
        assert set(logs) == {"loss", "mae", "squared"}


@pytest.mark.backend_independent
def test_shared_positions_stay_shared_in_tickets_and_fast_models(tmp_path):
    neurons = km.layers.NeuronEmbedding("euclidean")
    model = chain(
        km.layers.Moduli(K.Dense(8), output_embedding=neurons),
        km.layers.Moduli(K.Dense(4), input_embedding=neurons),
    )
    ticket = km.lottery_ticket(prune_half(model))
    ticket.save(tmp_path / "ticket.keras")
    loaded = keras.saving.load_model(tmp_path / "ticket.keras")
    for new in (km.sparsify(model), ticket, loaded):
        assert len(new.weights) == len(model.weights)
        found = km.layers.find_embeddings(new)
        assert len(found) == len(km.layers.find_embeddings(model))


@pytest.mark.backend_independent
def test_a_ticket_goes_by_marked_zeros_and_marks_them():
    model = chain(K.Dense(8, kernel_initializer="identity"))
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="all exact zeros are taken for the mask"):
        km.lottery_ticket(model)
    kernel = np.eye(8)
    kernel[0, 1:5] = -0.0
    model.layers[0].kernel.assign(kernel)
    ticket = km.lottery_ticket(model, rewind=[np.ones((8, 8)), np.zeros(8)])
    found = array(ticket.layers[0].kernel)
    assert (found == 0).sum() == np.signbit(found).sum() == 4
    ticket.fit(X, X, verbose=0)
    assert np.signbit(array(ticket.layers[0].kernel)[0, 1:5]).all()
