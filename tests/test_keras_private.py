"""What Keras does not promise: each name that `_keras_private` touches, held to its use.

A test that fails here says which function of `_keras_private` Keras has changed.
"""

import io
import json
import weakref
import zipfile

import h5py
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
    more = optimizer.add_variable((), initializer="zeros", name="more")
    assert optimizer.variables[-1] is more
    private.untrack(optimizer, [more])
    assert len(optimizer.variables) == len(variables)


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


def test_marks_are_those_that_keras_looks_up():
    config = keras.saving.serialize_keras_object(keras.layers.Dense(3))
    config = config | {"shared_object_id": 7}
    with ObjectSharingScope():  # as within `load_model`
        first, second = map(keras.saving.deserialize_keras_object, [config] * 2)
    assert first is second


def test_iterate_layers_finds_cells_and_layers_of_layers():
    cell = keras.layers.GRUCell(3)
    inner = keras.Sequential([keras.Input((4, 2)), keras.layers.RNN(cell)])
    model = keras.Sequential([keras.Input((4, 2)), inner])
    layers = list(private.iterate_layers(model))
    for layer in (model, inner, inner.layers[0], cell):
        assert any(layer is other for other in layers)


def test_find_callback_list_knows_who_calls(model):
    class Ask(keras.callbacks.Callback):
        found = None

        def on_epoch_begin(self, epoch, logs=None):
            self.found = weakref.ref(private.find_callback_list())
            assert self in self.found().callbacks

    callback = Ask()
    assert private.find_callback_list() is None
    model.fit(np.ones((2, 4)), np.ones((2, 3)), verbose=0, callbacks=[callback])
    assert callback.found() is None, "nothing keeps the list alive"


def test_is_frozen_tells_state_from_constants():
    state, other = keras.Variable(1.0), keras.Variable(2.0)
    assert not private.is_frozen(state)
    with keras.StatelessScope(state_mapping=[(state, state.value)]):
        assert not private.is_frozen(state)
        assert private.is_frozen(other)


def test_objects_are_shared_within_one_call_that_copies_a_model():
    made = []

    @keras.saving.register_keras_serializable("test_keras_private")
    class Holder(keras.layers.Layer):
        def __init__(self, held, **kwargs):
            super().__init__(**kwargs)
            self.held = keras.layers.Dense(3) if held is None else held

        def get_config(self):
            held = keras.saving.serialize_keras_object(self.held)
            return {**super().get_config(), "held": private.mark_shared(held, self.held)}

        @classmethod
        def from_config(cls, config):
            made.append(config["held"].get("shared_object_id"))
            held = private.deserialize_shared(config.pop("held"))
            return cls(held, **config)

    one = Holder(None)
    network = keras.Sequential([one, Holder(one.held), Holder(None)])
    for _ in range(2):
        a, b, c = keras.models.clone_model(network).layers
        assert a.held is b.held is not one.held
        assert a.held is not c.held
    assert made == [0, 0, 1] * 2
    assert "shared_object_id" not in one.get_config()["held"]
    a, b = (Holder.from_config(one.get_config()) for _ in range(2))
    assert a.held is not b.held


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


def test_iterate_layers_finds_what_no_model_shows():
    inner = keras.layers.Dense(3)
    wrapper = keras.layers.TimeDistributed(inner)
    assert list(private.iterate_layers(wrapper)) == [wrapper, inner]


@pytest.mark.parametrize("gate", [False, True])
def test_projections_are_all_that_attention_multiplies_by(gate):
    shape = (None, 5, 8)
    for layer in (
        keras.layers.MultiHeadAttention(2, 4, use_gate=gate),
        keras.layers.GroupQueryAttention(4, 2, 1, use_gate=gate),
    ):
        layer.build(shape, shape)
        projections = private.get_projections(layer)
        assert {part.name for part in projections.values()} == set(projections)
        weights = [w for part in projections.values() for w in part.weights]
        assert all(a is b for a, b in zip(weights, layer.weights, strict=True))


def test_a_projection_that_is_replaced_is_called_and_its_weights_are_gone():
    class Nothing(keras.layers.Layer):
        def call(self, x):
            return keras.ops.zeros((*x.shape[:2], 2, 4))

    class Attention(keras.layers.MultiHeadAttention):
        def build(self, query_shape, value_shape, key_shape=None):
            super().build(query_shape, value_shape, key_shape)
            private.replace_projection(self, "value", Nothing())

    layer = Attention(2, 4)
    x = np.ones((2, 5, 8), "float32")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x, x)), 0.0)
    assert len(layer.weights) == 6


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


def test_iterate_layers_finds_what_only_models_show():
    layer = keras.layers.TimeDistributed(keras.layers.RNN(keras.layers.GRUCell(3)))
    assert list(private.iterate_layers(layer)) == [
        layer,
        layer.layer,
        layer.layer.cell,
    ]


def test_configs_are_read_with_other_layers_inside():
    inner, other = keras.layers.Dense(3), keras.layers.Dense(3)
    outer = keras.layers.TimeDistributed(inner)
    config, described = private.describe(outer, [inner, other])
    assert described == [inner]
    made = private.read_config(type(outer).from_config, config, {id(inner): other})
    assert made.layer is other
    assert "shared_object_id" not in str(outer.get_config())
    arguments = {"units": 3}
    assert private.read_config(keras.layers.Dense, arguments, {}).units == 3


def test_get_compile_arguments_has_the_objects_themselves(model):
    def loss(a, b):
        return keras.ops.mean(a - b)

    model.compile("adam", loss, metrics=["mae"])
    arguments = private.get_compile_arguments(model)
    assert arguments["loss"] is loss
    assert arguments["metrics"] == ["mae"]
    model.compile(**arguments)


def test_is_fitting_tells_a_running_fit_from_one_that_a_traceback_keeps(model):
    seen = []

    class Look(keras.callbacks.Callback):
        def set_model(self, model):
            self.look()

        def on_epoch_end(self, epoch, logs=None):
            self.look()
            raise KeyboardInterrupt

        def look(self):
            seen.append(private.find_callback_list())
            assert private.is_fitting(seen[0])

    model.compile("sgd", "mse")
    with pytest.raises(KeyboardInterrupt) as kept:
        model.fit(np.ones((2, 4)), np.ones((2, 3)), verbose=0, callbacks=[Look()])
    assert len(seen) == 2
    assert seen[0] is seen[1]
    assert kept.tb is not None
    assert not private.is_fitting(seen[0])
    assert not private.is_fitting(None)


def test_describe_model_says_how_it_is_compiled(model):
    config, metadata = map(json.loads, private.describe_model(model))
    assert config["class_name"] == "Sequential"
    assert config["compile_config"]["loss"] == "mse"
    assert metadata["keras_version"] == keras.__version__


def test_write_state_is_what_keras_saves(model):
    for skip, groups in (([], {"optimizer"}), ([model.optimizer], set())):
        weights, assets = io.BytesIO(), zipfile.ZipFile(io.BytesIO(), "w")
        private.write_state(model, weights, assets, skip)
        with h5py.File(weights) as file:
            assert set(file) - {"layers", "vars"} == groups
            stored = file["layers/dense/vars/0"][()]
        np.testing.assert_array_equal(stored, model.get_weights()[0])
