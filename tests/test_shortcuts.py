"""What is asked of a layer, and a part of it knows."""

import h5py
import keras
import numpy as np
import pytest

import keras_moduli as km
from tests.cases import CONNECTIVITIES, FEATURES, LAYERS

C, K, L = km.connectivity, keras.layers, km.layers
UNITS = 64
SHAPE = (None, 6, FEATURES)
RULES = {
    **{name: make(1 / 4, (8, 8)) for name, make in CONNECTIVITIES.items()},
    "mask": C.FromMask.of(np.ones((UNITS, UNITS), bool), (8, 8)),
}
SPARSE = {
    "SparseSimpleRNN": L.SparseSimpleRNN,
    "SparseGRU": L.SparseGRU,
    "SparseLSTM": L.SparseLSTM,
    "SparseSimpleRNNCell": L.SparseSimpleRNNCell,
    "SparseGRUCell": L.SparseGRUCell,
    "SparseLSTMCell": L.SparseLSTMCell,
    "SparseDense": L.SparseDense,
}
LEARNED = {
    "ModuliSimpleRNN": L.ModuliSimpleRNN,
    "ModuliGRU": L.ModuliGRU,
    "ModuliLSTM": L.ModuliLSTM,
    "ModuliSimpleRNNCell": L.ModuliSimpleRNNCell,
    "ModuliGRUCell": L.ModuliGRUCell,
    "ModuliLSTMCell": L.ModuliLSTMCell,
    "Moduli(Dense)": lambda n, **k: L.Moduli(K.Dense(n), **k),
    "Moduli(LSTM)": lambda n, **k: L.Moduli(K.LSTM(n), **k),
    "Moduli(SparseGRU)": lambda n, **k: L.Moduli(make_sparse("SparseGRU", n), **k),
}


def make_sparse(name, units=UNITS, rule=RULES["local"]):
    return SPARSE[name](units, connectivity=rule)


def find_cell(layer):
    """Returns the cell that does the work, or nothing."""
    inner = getattr(layer, "layer", layer)
    return getattr(inner, "cell", inner if hasattr(inner, "state_size") else None)


def assert_kernel_is_that_of_the_cell(layer):
    """As in Keras, it is no attribute before the layer is built."""
    cell = find_cell(layer)
    assert not hasattr(layer, "recurrent_kernel")
    layer.build(SHAPE[::2] if layer is cell else SHAPE)
    if cell is None:
        assert not hasattr(layer, "recurrent_kernel")
    else:
        assert layer.recurrent_kernel is cell.recurrent_kernel


@pytest.mark.parametrize("name", LEARNED)
def test_learned_layers_say_where_their_neurons_live(name):
    make = LEARNED[name]
    assert make(UNITS).manifold == km.manifolds.Euclidean()
    for given in ("torus", km.manifolds.Sphere(2, 3.0)):
        layer = make(UNITS, manifold=given)
        assert layer.manifold == km.manifolds.get(given)
        copy = type(layer).from_config(layer.get_config())
        assert copy.manifold == layer.manifold
    neurons = L.NeuronEmbedding("klein_bottle")
    shared = "output_embedding" if name.startswith("Moduli(") else "embedding"
    layer = make(UNITS, **{shared: neurons})
    assert layer.manifold is neurons.manifold
    with pytest.raises(AttributeError):
        layer.manifold = km.manifolds.Torus()
    assert_kernel_is_that_of_the_cell(layer)


@pytest.mark.parametrize("rule", RULES)
def test_sparse_layers_say_by_which_manifold_they_are_connected(rule):
    rule = RULES[rule]
    has_geometry = isinstance(rule, C.Local | C.SmallWorld)
    for name in SPARSE:
        layer = make_sparse(name, rule=rule)
        assert layer.manifold == (rule.manifold if has_geometry else None)


@pytest.mark.parametrize("name", SPARSE)
def test_sparse_layers_have_the_kernel_of_their_cell(name):
    layer = make_sparse(name)
    if name == "SparseDense":
        assert not hasattr(layer, "recurrent_kernel")
    else:
        assert_kernel_is_that_of_the_cell(layer)


def test_what_sparsify_makes_has_them_too():
    model = keras.Sequential([keras.Input(SHAPE[1:]), L.ModuliLSTM(UNITS), K.Dense(8)])
    kernel = np.kron(np.eye(UNITS // 8), np.ones((8, 8)))
    model.layers[0].recurrent_kernel.assign(np.tile(kernel, 4))
    layer = km.sparsify(model, block=(8, 8)).layers[0]
    assert type(layer) is L.SparseLSTM
    assert layer.recurrent_kernel is layer.cell.recurrent_kernel
    assert layer.manifold is None, "a mask says nothing of geometry"


def test_files_do_not_hold_them(tmp_path):
    """Keras saves what layers have as attributes, properties too, if it is a layer."""
    made = [make() for make in LAYERS.values()]
    made += [make_sparse(name) for name in ("SparseSimpleRNN", "SparseGRU")]
    made += [L.Moduli(make_sparse("SparseLSTM"))]
    inputs = keras.Input(SHAPE[1:])
    model = keras.Model(inputs, [layer(inputs) for layer in made])
    model.save_weights(tmp_path / "model.weights.h5")
    saved = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visit(saved.append)
    parts = {part for name in saved for part in name.split("/")}
    assert {"cell", "neurons", "vars"} <= parts
    assert not {"manifold", "recurrent_kernel"} & parts
