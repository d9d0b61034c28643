"""One set of neurons that several layers touch stays one, however a model is copied."""

import json
import re
import zipfile

import keras
import numpy as np
import pytest

import keras_moduli as km

L = km.layers


def make_model():
    """Outer and inner model share a set of neurons; another has an equal config."""
    shared = L.NeuronEmbedding("sphere", name="cortex")
    apart = L.NeuronEmbedding("sphere", name="cortex")
    sequences = keras.Input((5, 6))
    inner = L.ModuliGRU(6, embedding=shared, return_sequences=True)(sequences)
    inner = keras.Model(sequences, inner, name="inner")
    x = keras.Input((5, 4))
    h = L.Moduli(keras.layers.Dense(6), output_embedding=shared, name="first")(x)
    return keras.Model(x, L.ModuliSimpleRNN(6, embedding=apart, name="last")(inner(h)))


def held(model):
    """The embeddings that the layers of `make_model` hold, in its order."""
    inner = model.get_layer("inner").layers[-1].neurons
    return [
        model.get_layer("first").output_embedding,
        inner,
        model.get_layer("last").neurons,
    ]


def save(model, path):
    model.save(path)
    with zipfile.ZipFile(path) as file:
        return file.read("config.json")


def without_addresses(config):
    """Keras marks dtype policies and initializers of its own by their addresses."""
    return re.sub(rb', "shared_object_id": \d{6,}', b"", config)


WAYS = {
    "clone_model": keras.models.clone_model,
    "from_config": lambda model: keras.Model.from_config(model.get_config()),
    "json": lambda model: keras.models.model_from_json(model.to_json()),
    "serialize": lambda model: keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(model)
    ),
}


@pytest.mark.backend_independent
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_shares_what_the_model_shares(way):
    model = make_model()
    for _ in range(2):
        copy = WAYS[way](model)
        first, inner, last = held(copy)
        assert first is inner
        assert first is not last
        assert not {id(e) for e in held(copy)} & {id(e) for e in held(model)}
        assert len(copy.weights) == len(model.weights)


def test_a_file_is_a_value_and_shares_what_the_model_shares(tmp_path):
    model = make_model()
    config = save(model, tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    first, inner, last = held(loaded)
    assert first is inner
    assert first is not last
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    again = save(loaded, tmp_path / "again.keras")
    keras.backend.clear_session()
    another = save(make_model(), tmp_path / "another.keras")
    wanted = without_addresses(config)
    assert wanted.count(b"shared_object_id") == 2
    assert without_addresses(again) == wanted
    assert without_addresses(another) == wanted


@pytest.mark.backend_independent
def test_a_config_is_a_value():
    for layer in (
        L.ModuliSimpleRNN(3, manifold="torus"),
        L.ModuliLSTMCell(3, manifold=km.manifolds.Torus(np.int64(2), np.float32([5, 6]))),
        L.Moduli(keras.layers.Dense(3), output_embedding=L.NeuronEmbedding()),
        L.NeuronEmbedding(initializer="ones"),
        km.ModuliRegularizer(
            strength=np.float32(0.5), power=np.int64(2), embedding=np.ones((3, 2))
        ),
    ):
        config = layer.get_config()
        text = json.dumps(config)
        assert "shared_object_id" not in text
        assert type(layer).from_config(json.loads(text)).get_config() == config
        if isinstance(layer, keras.layers.Layer) and layer.get_config().get("units"):
            layer.build((None, 4) if "Cell" in type(layer).__name__ else (None, 5, 4))
            assert layer.get_config() == config


@pytest.mark.backend_independent
def test_what_a_layer_made_and_another_took_is_shared_too(tmp_path):
    first = L.Moduli(keras.layers.Dense(6), name="first")
    first.build((None, 4))
    model = keras.Sequential([keras.Input((4,)), first])
    model.add(
        L.Moduli(
            keras.layers.Dense(2), input_embedding=first.output_embedding, name="second"
        )
    )
    model.save(tmp_path / "model.keras")
    copies = [
        keras.models.clone_model(model),
        model.__class__.from_config(model.get_config()),
    ]
    for copy in [*copies, keras.saving.load_model(tmp_path / "model.keras")]:
        a, b = copy.layers
        assert a.output_embedding is b.input_embedding
        assert len(copy.weights) == len(model.weights)


@pytest.mark.backend_independent
def test_both_directions_have_neurons_of_their_own(tmp_path):
    model = keras.Sequential(
        [keras.Input((5, 4)), keras.layers.Bidirectional(L.ModuliSimpleRNN(3))]
    )
    model.save(tmp_path / "model.keras")
    copies = [
        keras.models.clone_model(model),
        keras.saving.load_model(tmp_path / "model.keras"),
    ]
    for copy in [model, *copies]:
        layer = copy.layers[0]
        assert layer.forward_layer.neurons is not layer.backward_layer.neurons
        assert len(copy.weights) == len(model.weights)
