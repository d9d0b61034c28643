"""What Keras does not promise: each name that `_keras_private` touches, held to its use.

A test that fails here says which function of `_keras_private` Keras has changed.
"""

import keras
import numpy as np
import pytest
from keras.src.saving.serialization_lib import ObjectSharingScope

import keras_moduli as km
from keras_moduli import _backend
from keras_moduli import _keras_private as private
from tests.backends import CURRENT


@pytest.fixture
def model():
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    network.compile(keras.optimizers.Adam(), "mse")
    network.optimizer.build(network.trainable_variables)
    return network


def test_track_is_the_inverse_of_untrack(model):
    optimizer, variables = model.optimizer, list(model.optimizer.variables)
    chosen = variables[-2:]
    private.untrack(optimizer, chosen)
    assert [v.path for v in optimizer.variables] == [v.path for v in variables[:-2]]
    private.track(optimizer, chosen)
    assert all(a is b for a, b in zip(optimizer.variables, variables, strict=True))


def test_get_sharding_is_that_of_the_distribution(model):
    assert private.get_sharding(model.weights[0]) is None
    if CURRENT != "jax":  # the only backend that lays variables out
        return
    devices = keras.distribution.list_devices()
    mesh = keras.distribution.DeviceMesh((len(devices),), ["batch"], devices)
    distribution = keras.distribution.DataParallel(device_mesh=mesh)
    with distribution.scope():
        variable = keras.Variable(np.zeros((2, 2)))
    assert private.get_sharding(variable) is not None


def test_find_call_tells_each_place_of_a_graph_apart():
    shared = keras.layers.Dense(3)
    x = keras.Input((3,))
    first = shared(x)
    second = keras.ops.add(shared(first), 1.0)
    operation, args, kwargs, outputs = private.find_call(second)
    assert (operation.name, args[1], kwargs) == ("add", 1.0, {})
    assert outputs[0] is second
    places = [private.find_call(tensor) for tensor in (first, args[0])]
    assert all(call.operation is shared for call in places)
    assert [call.args[0] for call in places] == [x, first]


def test_find_mask_is_what_a_layer_is_given():
    x = keras.Input((3, 2))
    y = keras.layers.Masking()(x)
    z = keras.layers.GRU(2)(y)
    assert private.find_mask(x) is None
    assert private.find_mask(y) is private.find_call(z).kwargs["mask"]


def test_is_graph_is_whether_a_model_does_what_its_graph_says():
    class Trained(keras.Model):
        def train_step(self, data):
            raise NotImplementedError

    class Called(keras.Model):
        def call(self, x):
            return -super().call(x)

    x = keras.Input((3,))
    y = keras.layers.Dense(2)(x)
    for model in (keras.Model(x, y), keras.Sequential([x]), Trained(x, y)):
        assert private.is_graph(model)
    for other in (Called(x, y), keras.layers.Dense(2)):
        assert not private.is_graph(other)


def test_mark_shared_lets_keras_know_an_object_again():
    shared = keras.layers.Dense(3)
    config = private.mark_shared(keras.saving.serialize_keras_object(shared), shared)
    with ObjectSharingScope():  # as within `load_model`
        first, second = map(keras.saving.deserialize_keras_object, [config] * 2)
    assert first is second


def test_iterate_optimizers_ends_at_the_one_that_updates():
    inner = keras.optimizers.SGD()
    outer = keras.optimizers.LossScaleOptimizer(inner)
    assert list(private.iterate_optimizers(outer)) == [outer, inner]
    assert list(private.iterate_optimizers(inner)) == [inner]


def test_find_optimizer_asks_those_that_share_the_work():
    network = keras.Sequential([keras.Input((4, 2)), km.layers.ModuliSimpleRNN(3)])
    optimizer = km.embedding_optimizer("adam", 0.05)
    optimizer.build(network.trainable_variables)
    layer = network.layers[0]
    found = [
        private.find_optimizer(optimizer, variable)
        for variable in (layer.embedding, layer.cell.kernel)
    ]
    assert found == optimizer.optimizers


OPTIMIZERS = {  # how many momenta, and averages, each keeps
    "SGD": ({"momentum": 0.9}, 1, 0),
    "Adam": ({"use_ema": True}, 1, 1),
    "Nadam": ({}, 1, 0),
    "Adamax": ({}, 1, 0),
    "Lion": ({}, 1, 0),
    "RMSprop": ({"momentum": 0.9}, 1, 0),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_slots_are_momenta_and_averages(model, name):
    arguments, momenta, averages = OPTIMIZERS[name]
    optimizer = getattr(keras.optimizers, name)(**arguments)
    optimizer.build(model.trainable_variables)
    kernel = model.weights[0]
    slots = list(private.iterate_slots(optimizer, kernel))
    assert all(slot.shape == kernel.shape for slot in slots)
    assert sum(map(private.is_momentum, slots)) == momenta
    assert sum(map(private.is_average, slots)) == averages
    others = list(private.iterate_slots(optimizer, model.weights[1]))
    assert not {id(slot) for slot in slots} & {id(slot) for slot in others}


def test_outside_of_trace_has_values_while_a_model_is_traced():
    seen = []

    class Look(keras.layers.Layer):
        def call(self, x):
            value = keras.ops.convert_to_numpy
            seen.append(
                _backend.compute_outside_of_trace(lambda: value(keras.ops.ones(3) + 1))
            )
            return x

    keras.Model(x := keras.Input((2,)), Look()(x))
    network = keras.Sequential([keras.Input((2,)), Look()])
    network.predict(np.zeros((1, 2)), verbose=0)
    assert len(seen) >= 2
    for value in seen:
        np.testing.assert_array_equal(value, [2, 2, 2])


def test_compiled_functions_read_the_weights_of_the_moment(model):
    double = _backend.compile_with_weights(model, lambda x: 2 * model(x))
    x = keras.ops.ones((1, 4))
    for value in (1.0, 3.0):
        model.set_weights([np.full((4, 3), value), np.zeros(3)])
        np.testing.assert_allclose(keras.ops.convert_to_numpy(double(x)), 8 * value)
