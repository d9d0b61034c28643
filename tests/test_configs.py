"""Every field of every public class is checked when an object is made, in any way."""

import functools
import inspect

import keras
import numpy as np
import pytest

import keras_moduli as km
from tests.configs import RULE, SQUARE, list_classes, list_objects

pytestmark = pytest.mark.backend_independent
INF = float("inf")
HOSTILE = [10**400, -(10**400), 10**5000, INF, -INF, INF - INF, True, "1", [], {}, None]
BRIEFLY = [10**400, INF - INF, "1"]  # in the second way of two
ARRAYS = ("distances", "embedding", "output_embedding")  # where True is 1
L = km.layers


def describe(config):
    """Returns numeric fields of a config, with functions that put others in."""
    for name, value in config.items():
        if is_number(value):
            yield name, lambda hostile: hostile
        elif isinstance(value, list | tuple) and (put := put_inside(value)):
            yield name, put


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def put_inside(values):
    """Returns what replaces the last number of nested lists, or None if there is none."""
    if not values:
        return None
    *before, last = values
    if is_number(last):
        return lambda hostile: [*before, hostile]
    put = put_inside(last) if isinstance(last, list | tuple) else None
    return put and (lambda hostile: [*before, put(hostile)])


def make(thing, config):
    """Makes an object as users do, who call its class."""
    parts = {name: getattr(thing, name) for name in ("layer", "cell") if name in config}
    if isinstance(thing, L.Moduli | km.sparse.version_0_1.BlockSparseRNN):
        return type(thing)(**(config | parts))
    return type(thing)(**config)


def may_be_none(cls, name):
    """Whether a class, Keras's included, has None as the default of an argument."""
    cell = getattr(cls, "cell_class", cls)
    bases = [*cls.__mro__[:-1], *cell.__mro__[:-1], km.regularizers.Cost]
    signatures = [inspect.signature(base) for base in bases]
    found = (s.parameters[name].default for s in signatures if name in s.parameters)
    return any(default is None for default in found)


def refuses(call, name):
    """Asserts that a call raises, of the argument, what argument checks raise."""
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert name in str(caught.value), caught.value


OBJECTS = list_objects()


def test_there_is_an_object_of_every_registered_class():
    assert {type(thing) for thing in OBJECTS} == list_classes()


@pytest.mark.parametrize("thing", OBJECTS, ids=lambda thing: type(thing).__name__)
def test_numbers_that_are_none_are_refused(thing):
    config = thing.get_config()
    for name, put in describe(config):
        is_optional = may_be_none(type(thing), name)
        for values, way in ((HOSTILE, make), (BRIEFLY, make_again)):
            for hostile in values:
                if hostile is None and (is_optional or name == "output_shape"):
                    continue
                if hostile is True and name in ARRAYS:
                    continue
                changed = config | {name: put(hostile)}
                refuses(functools.partial(way, thing, changed), name)


def make_again(thing, config):
    """Makes an object as loading does."""
    return type(thing).from_config(config)


def make_rewire(**arguments):
    return km.Rewire(**arguments)


MODEL = functools.cache(
    lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
)
# What is no registered class: a call, and valid arguments of it.
CALLS = {
    "pruning": (
        km.MagnitudePruning,
        {"sparsity": 0.5, "begin": 1, "end": 9, "frequency": 2},
    ),
    "timeline": (km.pruning.Timeline, {"begin": 1, "end": 9, "frequency": 2}),
    "rewire": (
        km.Rewire,
        {"fraction": 0.1, "frequency": 2, "begin": 1, "end": 9, "seed": 1}
        | {"batch_size": 4},
    ),
    "ramp": (km.GeometrySchedule, {"ramp": "linear", "begin": 1, "end": 2, "freeze": 3}),
    "monitor": (km.GeometryMonitor, {"frequency": 2}),
    "swap": (km.NeuronSwap, {"frequency": 2, "sweeps": 3}),
    "pictures": (
        km.callbacks.PlotGeometry,
        {"directory": "x", "every": 2, "seconds": 0.5},
    ),
    "board": (km.callbacks.TensorBoardGeometry, {"log_dir": "x", "every": 2}),
    "optimizer": (
        km.embedding_optimizer,
        {"optimizer": "adam", "learning_rate": 0.1},
    ),
    "L1": (km.matched_l1, {"regularizer": km.ModuliRegularizer(), "units": 4}),
    "for density": (
        km.inhibitors.Gaussian.for_density,
        {"manifold": "torus", "density": 0.2},
    ),
    "sample": (km.manifolds.Torus().sample, {"n": 3, "seed": 1}),
    "natural length": (km.manifolds.Torus().natural_length, {"density": 0.1}),
    "connect": (RULE.connect, {"rows": 4, "units": 4, "gates": 2}),
    "layout": (
        km.sparse.BlockLayout.of,
        {"mask": np.eye(4, dtype=bool), "block": (2, 2)},
    ),
    "shares": (km.pruning.erdos_renyi_kernel, {"shapes": [(4, 4)], "density": 0.5}),
    "penalty": (
        km.penalties.penalty,
        {"kernel": np.eye(2), "coefficients": np.eye(2), "power": 2},
    ),
    "slope": (
        km.penalties.slope,
        {"kernel": np.eye(2), "coefficients": np.eye(2), "power": 2},
    ),
    "permute": (km.penalties.permute, {"coefficients": np.eye(2), "seed": 2}),
    "suggestion": (
        lambda **k: km.suggest_strength(MODEL(), np.eye(4), np.eye(4), **k),
        {"share": 2.0},
    ),
    "sparsify": (
        lambda **k: km.sparsify(MODEL(), **k),
        {"tolerance": 1e-5, "block": (2, 2), "batch_size": 2},
    ),
    "lottery": (lambda **k: km.lottery_ticket(MODEL(), **k), {"seed": 2}),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_refuse_numbers_that_are_none(name):
    call, arguments = CALLS[name]
    optional = inspect.signature(call).parameters
    for field, put in describe(arguments):
        for hostile in HOSTILE:
            default = getattr(optional.get(field), "default", 0)
            if hostile is None and (default is None or field in ("sparsity", "block")):
                continue
            given = arguments | {field: put(hostile)}
            refuses(functools.partial(call, **given), field)
    numbers = {name for name, value in arguments.items() if name != "directory"}
    assert {field for field, _ in describe(arguments)} <= numbers


DENSE = {"class_name": "Dense", "config": {"units": 1}}
GRU = functools.partial(L.SparseGRU, 4, connectivity=RULE)
EINSUM = functools.partial(
    km.sparse.BlockSparseEinsumDense,
    equation="ab,bc->ac",
    output_shape=8,
    layout=SQUARE,
)
OLD = km.sparse.version_0_1
# Which argument is wrong, and a layer that has it: each came to light at build, or as
# another error.
LAYERS = {
    "units": lambda: L.ModuliGRU(True),
    "dropout": lambda: L.ModuliLSTM(4, dropout=50),
    "recurrent_dropout": lambda: GRU(recurrent_dropout=-1),
    "use_bias": lambda: L.SparseDense(4, connectivity=RULE, use_bias="no"),
    "kernel_initializer": lambda: GRU(kernel_initializer={}),
    "recurrent_initializer": lambda: L.ModuliGRU(4, recurrent_initializer="tours"),
    "embedding_initializer": lambda: L.ModuliGRU(4, embedding_initializer="tours"),
    "kernel_regularizer": lambda: GRU(kernel_regularizer=DENSE),
    "bias_constraint": lambda: GRU(bias_constraint=3),
    "activation": lambda: OLD.BlockSparseDense(SQUARE, {}),
    "dtype": lambda: L.SparseDense(4, connectivity=RULE, dtype=DENSE),
    "embedding_seed": lambda: L.ModuliGRU(4, embedding_seed="1"),
    "embedding": lambda: L.ModuliGRU(4, embedding=DENSE),
    "weight_name": lambda: L.NeuronEmbedding(weight_name="a/b"),
    "order": lambda: OLD.BlockSparseRNN(OLD.BlockSparseSimpleRNNCell(SQUARE), order="x"),
    "order of very many": lambda: L.SparseGRU(10**12, connectivity=RULE, order=[0]),
    "cell": lambda: OLD.BlockSparseRNN(keras.layers.GRUCell(4)),
    "projection": lambda: OLD.BlockSparseSimpleRNNCell(SQUARE, 3),
    "layout": lambda: OLD.BlockSparseDense(DENSE),
    "layouts": lambda: km.sparse.BlockSparseMultiHeadAttention(2, 4, layouts=[SQUARE]),
    "layouts by unknown names": lambda: km.sparse.BlockSparseMultiHeadAttention(
        2, 4, layouts={"querry": SQUARE}
    ),
    "key_dim": lambda: km.sparse.BlockSparseMultiHeadAttention(2, True, layouts={}),
    "head_dim": lambda: km.sparse.BlockSparseGroupQueryAttention(INF, 2, 1, layouts={}),
    "equation": lambda: EINSUM(equation=3),
    "output_shape": lambda: EINSUM(output_shape=[]),
    "bias_axes": lambda: EINSUM(bias_axes="x"),
    "bias_axes as a number": lambda: EINSUM(bias_axes=3),
    "connectivity": lambda: L.SparseDense(4, connectivity=DENSE),
    "input_connectivity": lambda: GRU(input_connectivity="x"),
    "layer": lambda: L.Moduli(3),
    "manifold": lambda: L.Moduli(keras.layers.Dense(4), DENSE),
    "inhibitor": lambda: L.Moduli(keras.layers.Dense(4), inhibitor=DENSE),
    "factors": lambda: km.manifolds.Product([3]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_name_what_is_wrong_when_they_are_made(name):
    refuses(LAYERS[name], name.split()[0])
