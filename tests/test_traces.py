"""Nothing that is computed inside of a trace outlives it.

Keras calls layers with tensors that have no values: in its symbolic pass, on PyTorch on
the device "meta", and in compiled steps. Whatever is kept of those calls must not be seen
by any later one.
"""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import ops

import keras_moduli as km
from keras_moduli.layers._embedding import _OnManifold
from keras_moduli.manifolds._base import _sample_distances
from keras_moduli.pruning._lottery import _FixedMask
from tests import cases
from tests.backends import CURRENT

K, L = keras.layers, km.layers
RNG = np.random.RandomState(0)
X = RNG.standard_normal((4, 6, cases.FEATURES)).astype("float32")
LAYOUT = km.sparse.BlockLayout(8, 8, (4, 4), ((0,), (1,)))
GATES = km.sparse.BlockLayout(8, 24, (4, 4), tuple((j % 2,) for j in range(6)))


def array(x):
    return ops.convert_to_numpy(x)


def fast_layers():
    gated = L.SparseGRU(8, connectivity=GATES, input_connectivity=GATES)
    return [
        L.SparseSimpleRNN(8, connectivity=LAYOUT, order=[7, 6, 5, 4, 3, 2, 1, 0]),
        keras.Sequential([K.Dense(8), gated]),
    ]


def charged(**options):
    regularizer = km.ModuliRegularizer("sphere", "dog", strength=0.1, **options)
    return K.Dense(cases.FEATURES, kernel_regularizer=regularizer)


def all_layers():
    """Of every kind: fast, learned, and charged by a regularizer."""
    names = (
        "ModuliGRU",
        "fixed positions",
        "Moduli(EinsumDense)",
        "TimeDistributed",
    )
    layers = [cases.LAYERS[name]() for name in names]
    layers += [charged(), charged(permute_seed=1)]
    return layers + fast_layers()


def few_layers():
    return [L.ModuliSimpleRNN(8), L.Moduli(K.Dense(4)), charged(), fast_layers()[0]]


def make_model(layers):
    inputs = keras.Input(X.shape[1:])
    outputs = [K.Flatten()(layer(inputs)) for layer in layers]
    model = keras.Model(inputs, K.Concatenate()(outputs))
    for weight in model.weights:
        if "blocks" in weight.path:
            weight.assign(RNG.uniform(-0.5, 0.5, weight.shape))
    return model


def describe(model):
    """Outputs and penalties of a model that is called as it is, without a trace."""
    outputs = array(model(X))
    return [outputs, np.array([float(array(loss)) for loss in model.losses])]


def same(got, expected):
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_symbolic_then_compiled_then_eager():
    model = make_model(all_layers())
    model.compile("sgd", "mse")
    loss = model.evaluate(X, np.zeros((len(X), *model.output_shape[1:])), verbose=0)
    outputs, penalties = describe(model)
    assert len(penalties) > 6
    np.testing.assert_allclose(
        loss, np.square(outputs).mean() + penalties.sum(), rtol=1e-4
    )


def test_copies_that_are_traced_first(tmp_path):
    model = make_model(few_layers())
    expected = describe(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.compile("sgd", "mse")
    targets = np.zeros(expected[0].shape, "float32")
    loss = loaded.evaluate(X, targets, verbose=0)
    np.testing.assert_allclose(
        loss, np.square(expected[0]).mean() + expected[1].sum(), rtol=1e-4
    )
    for other in (
        loaded,
        keras.models.clone_model(loaded),
        copy.deepcopy(loaded),
        keras.Model.from_config(loaded.get_config()),
    ):
        other(keras.Input(X.shape[1:]))
        other.set_weights(model.get_weights())
        same(describe(other), expected)


class Inside(K.Layer):
    """Makes and builds layers while a model is traced."""

    def build(self, shape):
        _sample_distances.cache_clear()  # as in a process that has made no layer yet
        self.layers = few_layers()

    def call(self, x):
        outputs = [ops.reshape(layer(x), (len(X), -1)) for layer in self.layers]
        return ops.concatenate(outputs, axis=-1)


class Lazy(keras.Model):
    """Builds its layers when it is first called."""

    def __init__(self):
        super().__init__()
        self.inside = Inside()

    def call(self, x):
        return self.inside(x)


def test_made_and_built_inside_a_trace():
    model = Lazy()
    predicted = model.predict(X, verbose=0)
    outputs, penalties = describe(model)
    same([outputs], [predicted])
    assert len(penalties) > 3
    assert np.isfinite(penalties).all()


def list_functions():
    """What layers and steps call: each of a tensor (4, n), with n."""
    for case in cases.MANIFOLDS.values():
        yield case.manifold.ambient_dim, _OnManifold(case.manifold)
    for name in ("klein_bottle", "finite_metric"):
        yield 4, km.ModuliRegularizer(cases.MANIFOLDS[name].manifold, output_seed=2)
    yield 4, km.ModuliRegularizer("torus", permute_seed=1, communicability=True)
    yield 4, _FixedMask(np.eye(4) > 0, None)


class Apply(K.Layer):
    """Calls functions of a tensor."""

    def __init__(self):
        super().__init__()
        self.functions = list(list_functions())

    def call(self, x):
        made = [ops.sum(function(x[:, :n])) for n, function in self.functions]
        return ops.stack(made)[None]


def test_functions_symbolic_then_compiled_then_eager():
    width = max(n for n, _ in list_functions())
    x = RNG.uniform(-0.4, 0.4, (4, width)).astype("float32")
    layer = Apply()
    model = keras.Sequential([keras.Input((width,), batch_size=4), layer])
    expected = model.predict(x, verbose=0)
    same([array(layer(x))], [expected])
    *_, (_, regularizer), _ = layer.functions
    found = [array(r(x[:, :4])) for r in (copy.deepcopy(regularizer), regularizer)]
    same(found[:1], found[1:])


@pytest.mark.skipif(CURRENT != "torch", reason="what PyTorch has")
def test_indices_of_blocks_are_kept_as_arrays():
    import torch

    layer = km.sparse.BlockSparseEinsumDense("ab,bc->ac", 8, LAYOUT)
    layer.build((None, 8))
    layer.blocks.assign(RNG.uniform(-1, 1, layer.blocks.shape))
    x = RNG.standard_normal((3, 8)).astype("float32")
    expected = x @ LAYOUT.unpack(array(layer.blocks))
    with torch.inference_mode():
        same([array(layer(x))], [expected])
    with torch.device("meta"):
        indices = LAYOUT.inputs.on_device_of(torch.ones(2))
    assert indices.device.type == "meta"
    for layout in (LAYOUT, copy.deepcopy(LAYOUT), pickle.loads(pickle.dumps(LAYOUT))):
        assert not layout.inputs._copies
        layer.layout = layout
        y = layer(x)
        same([array(y)], [expected])
        y.sum().backward()  # which a tensor of inference mode would not let
