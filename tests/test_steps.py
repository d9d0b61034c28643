"""Steps of a run: counted where they happen, whatever the optimizer's own count says."""

import keras
import numpy as np
import pytest

import keras_moduli as km
from tests.backends import CURRENT, custom_loop

X = np.random.RandomState(0).standard_normal((64, 8)).astype("float32")
Y = X[:, :1]


def build(optimizer="adam"):
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(16), keras.layers.Dense(1)]
    )
    model.compile(optimizer, "mse")
    return model


def fit(model, *callbacks, **arguments):
    arguments = {"x": X, "y": Y, "batch_size": 8} | arguments
    return model.fit(verbose=0, callbacks=list(callbacks), **arguments).history


def by_step(sparsity=0.9, **arguments):
    return km.MagnitudePruning(sparsity, unit="step", frequency=1, **arguments)


def schedule(progress):
    return 0.9 * (1 - (1 - min(progress, 1)) ** 3)


@pytest.mark.parametrize("accumulated", [None, 4])
def test_a_run_starts_at_its_first_step_whatever_came_before(accumulated):
    """Eight batches, two steps if gradients of four are added up, in an epoch."""
    optimizer = keras.optimizers.Adam(gradient_accumulation_steps=accumulated)
    model, steps = build(optimizer), 8 // (accumulated or 1)
    fit(model, epochs=5)
    sparsity = fit(model, by_step(), epochs=8)["sparsity"]
    assert sparsity[-1] == pytest.approx(0.9, abs=0.01)
    end = int(0.75 * 8 * steps)
    for epoch in range(4):  # the last update of an epoch is before its last step
        last = (epoch + 1) * steps - 1
        assert sparsity[epoch] == pytest.approx(schedule(last / end), abs=0.01)


def test_a_generator_of_unknown_length():
    def batches():
        for start in range(0, 64, 8):
            yield X[start : start + 8], Y[start : start + 8]

    model = build()
    with pytest.raises(ValueError, match="`end` must be given"):
        model.fit(batches(), verbose=0, callbacks=[by_step()])
    model.fit(batches(), verbose=0, callbacks=[by_step(end=4)])
    assert km.sparsity(model).total.sparsity == pytest.approx(0.9, abs=0.01)


def test_a_resumed_run_counts_from_its_start():
    model = build()
    fit(model, epochs=2)
    with pytest.warns(UserWarning, match="never starts"):
        first = fit(model, by_step(end=24), epochs=2)["sparsity"]
    rest = fit(model, by_step(end=24), epochs=4, initial_epoch=2)["sparsity"]
    for epoch, sparsity in enumerate(first + rest):
        last = (8 * (epoch + 1) - 1) / 24
        assert sparsity == pytest.approx(schedule(last), abs=0.01)


class Own(keras.Model):
    """Trains by an optimizer of its own, and never calls itself."""

    def __init__(self, inner, is_built):
        super().__init__()
        self.inner = inner
        self.own = keras.optimizers.Adam(1e-2)
        self.built = is_built

    def train_step(self, *arguments):
        return _own_steps[CURRENT](self, *arguments)


def _tensorflow_step(model, data):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model.inner(data[0]) - data[1]) ** 2)
    variables = model.inner.trainable_variables
    model.own.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    return {"loss": loss}


def _torch_step(model, data):
    model.zero_grad()
    loss = keras.ops.mean((model.inner(data[0]) - data[1]) ** 2)
    loss.backward()
    variables = model.inner.trainable_variables
    model.own.apply([v.value.grad for v in variables], variables)
    return {"loss": loss}


_own_steps = {"tensorflow": _tensorflow_step, "torch": _torch_step}


@pytest.mark.skipif(
    CURRENT == "jax", reason="there a step takes state, as the loop below"
)
@pytest.mark.parametrize("is_built", [True, False][: 1 + (CURRENT == "tensorflow")])
def test_a_train_step_with_an_optimizer_of_its_own(is_built):
    model = Own(build(), is_built)
    model.compile("sgd")
    model.fit(X, Y, 8, epochs=4, verbose=0, callbacks=[by_step(0.5)])
    total = km.sparsity(model).total
    assert total.zeros == round(0.5 * total.size)


def test_a_custom_loop_with_an_optimizer_of_its_own():
    """And of a model that was never compiled."""
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16)])
    optimizer, pruning = keras.optimizers.Adam(1e-2), by_step(0.5, end=4)
    pruning.attach(model, optimizer)

    def before(step, write, read):
        if pruning.due(step):
            write()
            pruning.update(step)
            read()

    custom_loop(model, optimizer, X, np.ones((64, 16), "float32"), 6, before)
    pruning.release()
    assert km.sparsity(model).total.zeros == 64


@pytest.mark.skipif(CURRENT != "tensorflow", reason="a strategy of TensorFlow")
def test_steps_under_mirrored_strategy():
    import tensorflow as tf

    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = build()
    fit(model, by_step(), epochs=2)
    assert km.sparsity(model).total.sparsity == pytest.approx(0.9, abs=0.01)
    fit(model, km.MagnitudePruning(0.95), epochs=4)
    assert km.sparsity(model).total.sparsity == pytest.approx(0.95, abs=0.01)


@pytest.mark.skipif(CURRENT != "tensorflow", reason="a strategy of TensorFlow")
@pytest.mark.parametrize("learns", [True, False])
def test_scalars_are_read_under_mirrored_strategy(learns):
    """Of which NumPy makes no array, unlike of other mirrored weights."""
    import tensorflow as tf

    callback = km.GeometrySchedule("linear", end=1) if learns else km.NeuronSwap()
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        layer = km.layers.ModuliSimpleRNN(8, embedding_trainable=learns)
        model = keras.Sequential([keras.Input((3, 8)), layer])
        model.compile("sgd", "mse")
        x = np.repeat(X[:8, None], 3, axis=1)
        model.fit(x, x[:, 0], epochs=1, verbose=0, callbacks=[callback])
        copy = km.sparsify(model)
    np.testing.assert_allclose(copy(x), model(x), atol=1e-6)
