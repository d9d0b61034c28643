"""State belongs to a variable, whatever the names and shapes of others."""

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli import _keras_private as private

X = np.random.RandomState(0).standard_normal((32, 8)).astype("float32")
Y = X[:, :1]


def twins(optimizer):
    """Two submodels whose variables have the same paths."""

    def part(name):
        inputs = keras.Input((8,))
        return keras.Model(inputs, keras.layers.Dense(8, name="fc")(inputs), name=name)

    inputs = keras.Input((8,))
    outputs = keras.layers.add([part("a")(inputs), part("b")(inputs)])
    model = keras.Model(inputs, keras.layers.Dense(1)(outputs))
    model.compile(optimizer, "mse")
    return model


def fit(model, *callbacks, **arguments):
    callbacks = list(callbacks)
    return model.fit(X, Y, 8, verbose=0, callbacks=callbacks, **arguments)


def numpy(variable):
    return keras.ops.convert_to_numpy(variable.value)


def test_twins_with_moving_averages():
    model = twins(keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.5))
    history = fit(model, km.MagnitudePruning(0.5), epochs=4).history["sparsity"]
    total = km.sparsity(model).total
    assert total.zeros == round(0.5 * total.size) == round(history[-1] * total.size)


def test_each_twin_has_its_own_momentum():
    model = twins(keras.optimizers.Adam(1e-2))
    fit(model)
    a, b = (v for v in model.trainable_variables if v.path.endswith("fc/kernel"))
    assert a.path == b.path
    slots = [list(private.iterate_slots(model.optimizer, v)) for v in (a, b)]
    assert [len(own) for own in slots] == [2, 2]
    assert len({id(slot) for own in slots for slot in own}) == 4
    trained = model.trainable_variables
    for variable, own in zip((a, b), slots, strict=True):
        index = next(i for i, v in enumerate(trained) if v is variable)
        assert own[0] is model.optimizer._momentums[index]
    before = [numpy(slot) for slot in slots[1]]
    state = km.pruning._masks.MaskState([a, b], model.optimizer)
    first = [np.zeros(a.shape, bool), np.ones(b.shape, bool)]
    first[0][0, 0] = True
    state.assign(first, reset_moments=True)
    state.assign([np.ones(a.shape, bool)] * 2, reset_moments=True)
    state.release()
    assert np.count_nonzero(numpy(slots[0][0])) == 1, "what came back starts anew"
    for slot, values in zip(slots[1], before, strict=True):
        np.testing.assert_array_equal(numpy(slot), values)


class Two(keras.layers.Layer):
    """Two weights of one shape, the name of one a prefix of the other's."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(8, 8), name="kernel")
        self.kernel_out = self.add_weight(shape=(8, 8), name="kernel_out")

    def call(self, inputs):
        return inputs @ self.kernel @ self.kernel_out


def test_a_weight_beside_a_selected_one_is_left_alone():
    model = keras.Sequential([keras.Input((8,)), Two(), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.5), "mse")
    fit(model, km.MagnitudePruning(0.5, select="/kernel$"), epochs=4)
    kernel, beside, head = (numpy(v) for v in model.weights[:3])
    assert (beside != 0).all()
    assert (kernel == 0).sum() + (head == 0).sum() == round(0.5 * 72)


def test_optimizers_that_share_the_work_keep_their_own():
    """SGD without momentum has no slots to be known by."""
    model = twins("sgd")
    a, b = (v for v in model.trainable_variables if v.path.endswith("fc/kernel"))
    plain, adam = keras.optimizers.SGD(), keras.optimizers.Adam()
    plain.build([a])
    adam.build([b])

    class Both:
        optimizers = (plain, adam)

    assert private.find_optimizer(Both(), a) is plain
    assert private.find_optimizer(Both(), b) is adam
    assert list(private.iterate_slots(plain, a)) == []


@pytest.mark.parametrize(
    ("layer", "shape", "gates"),
    [
        (keras.layers.ConvLSTM2D(4, 3), (3, 5, 5, 2), 4),
        (keras.layers.RNN(keras.layers.GRUCell(4)), (3, 2), 3),
        (keras.layers.SimpleRNN(4), (3, 2), 1),
    ],
)
def test_gates_are_those_of_the_layer(layer, shape, gates):
    outer = keras.Sequential([keras.Input(shape), layer, keras.layers.Flatten()])
    model = keras.Sequential([keras.Input(shape), outer, keras.layers.Dense(1)])
    model.compile("adam", "mse")
    pruning = km.MagnitudePruning(0.75, scope="gate", end=0, schedule="constant")
    targets = pruning.rule.find_targets(model)
    assert [kernel.gates for kernel in targets.kernels] == [gates, gates, 1]
    x = np.ones((2, *shape), "float32")
    with pytest.warns(UserWarning, match="before the first step"):
        model.fit(x, np.ones((2, 1)), verbose=0, callbacks=[pruning])
    for row in km.sparsity(model, select=outer.name).rows:
        assert row.sparsity == pytest.approx(0.75, abs=0.03)
