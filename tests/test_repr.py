"""What public objects look like at a prompt: the calls that make them."""

import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli._registry import Configuration
from keras_moduli.sparse import streaming, version_0_1
from keras_moduli.sparse.converters._dense import DenseConverter
from tests import cases
from tests.cases import C, I, M

pytestmark = pytest.mark.backend_independent

P, K = km.pruning, keras.layers
LAYOUT = C.BlockLayout(8, 8, (4, 4), ((0,), (1,)))
BANDED = C.Banded(0.5, (4, 4))
TABLES = {
    "manifold": {name: case.manifold for name, case in cases.MANIFOLDS.items()},
    "inhibitor": {name: row[0] for name, row in cases.INHIBITORS.items()},
    "schedule": {name: row[0] for name, row in cases.SCHEDULES.items()},
    "regrowth": {type(row).__name__: row for row in cases.REGROWTHS},
    "structure": {name: row[0] for name, row in cases.STRUCTURES.items()},
    "scope": {name: row[0] for name, row in cases.SCOPES.items()},
    "score": cases.SCORES,
    "connectivity": {
        name: make(0.5, (8, 8)) for name, make in cases.CONNECTIVITIES.items()
    },
}
# What is typed, and so comes back from `eval` in the names of the package.
TYPED = {
    **{f"{k}: {name}": row for k, rows in TABLES.items() for name, row in rows.items()},
    "layout": LAYOUT,
    "from mask": C.FromMask(LAYOUT),
    "timeline": P.Timeline("linear", 1, 5),
    "cost": km.regularizers.Cost(M.Torus(), I.Diffusion(), power=2),
    "cost model": km.sparse.CostModel((4, 8), 32),
    "regularizer": km.ModuliRegularizer("sphere", "diffusion", 0.1, seed=4),
    "regularizer by default": km.ModuliRegularizer(),
    "placement": km.regularizers.FixedPlacement(M.Torus(), 3),
    "pruning by default": km.MagnitudePruning(),
    "pruning": km.MagnitudePruning(
        0.7, schedule="linear", unit="step", end=9, scope="erk", select=["a", "b"]
    ),
    "pruning of blocks": km.MagnitudePruning(
        structure=(4, 4), score="geometric", regrow="rigl", zeros="all"
    ),
    "pruning of groups": km.MagnitudePruning(structure=P.NofM(2, 4)),
    "pruning by names": km.MagnitudePruning(select={"recurrent": 0.5}),
    "zeros": km.KeepZeros("recurrent", zeros="all"),
    "monitor": km.GeometryMonitor(2),
    "ramp": km.GeometrySchedule("cubic", end=5, freeze=9),
    "swap": km.NeuronSwap(2, sweeps=3),
    "rewire": km.Rewire(0.2, 50, "near", unit="epoch", seed=1),
    "pictures": km.callbacks.PlotGeometry("pictures", 5, kind="matrix"),
    "tensorboard": km.callbacks.TensorBoardGeometry("logs", kernel="gru"),
}


def build_sparse():
    layer = km.layers.SparseGRU(16, connectivity=BANDED)
    layer.build((None, 3, 2))
    return layer


def build_model():
    return keras.Sequential(
        [keras.Input((3, 2)), km.layers.ModuliGRU(8, name="gru"), K.Dense(1)]
    )


def make_penalty():
    layer = km.layers.Moduli(build_sparse())
    layer.build((None, 3, 2))
    return layer.recurrent_kernel.regularizer


def list_old_layers():
    cells = [
        version_0_1.BlockSparseSimpleRNNCell(LAYOUT),
        version_0_1.BlockSparseGRUCell(LAYOUT.repeat(3)),
        version_0_1.BlockSparseLSTMCell(LAYOUT.repeat(4)),
    ]
    return [
        *cells,
        version_0_1.BlockSparseRNN(cells[0]),
        version_0_1.BlockSparseDense(LAYOUT),
    ]


def list_layers():
    sparse = [
        make(8, connectivity=BANDED)
        for make in (
            km.layers.SparseDense,
            km.layers.SparseSimpleRNN,
            km.layers.SparseGRU,
            km.layers.SparseLSTM,
            km.layers.SparseSimpleRNNCell,
            km.layers.SparseGRUCell,
            km.layers.SparseLSTMCell,
        )
    ]
    learned = [make() for make in cases.LAYERS.values()]
    cells = [km.layers.ModuliSimpleRNNCell(4), km.layers.ModuliLSTMCell(4)]
    layouts = {
        "query": LAYOUT,
        "key": LAYOUT,
        "value": LAYOUT,
        "attention_output": LAYOUT,
    }
    made = [
        km.sparse.BlockSparseEinsumDense("abc,cd->abd", (None, 8), LAYOUT),
        km.sparse.BlockSparseMultiHeadAttention(2, 4, layouts=layouts),
        km.sparse.BlockSparseGroupQueryAttention(4, 2, 1, layouts=layouts),
    ]
    neurons = [km.layers.NeuronEmbedding(), km.layers.ModuliGRUCell(4)]
    return [*sparse, *learned, *cells, *made, *neurons, *list_old_layers()]


def list_parts():
    """What others hold or return, which nobody types."""
    kernel, penalty = C.find_kernel(build_sparse().recurrent_kernel), make_penalty()
    neurons, model = km.layers.NeuronEmbedding(), build_model()
    plan = km.sparse.plan(model)
    geometry, sparsity = km.geometry(model), km.sparsity(model)
    placed = km.placement(model)
    matrix = np.ones((4, 8))
    return [
        *(kernel, penalty, plan, plan.rows[0], geometry, geometry.rows[0]),
        *(sparsity, sparsity.rows[0], placed, placed.connections),
        km.layers.LearnedPlacement(neurons, neurons, taps=2),
        penalty.placement.positions(8, 8),
        km.regularizers.KernelLayout(2, 1, 4),
        km.sparse.CostModel().choose(matrix),
        km.sparse.Stream(model_of_steps(), 2),
        streaming.trace_model(model_of_steps()),
        P.scopes.Kernel(model.weights[0], 0.5),
        P.scopes.Global().compute_groups([P.scopes.Kernel(model.weights[0], 0.5)])[0],
        P.scopes.Part(0),
        DenseConverter(),
        P.structures.Units(matrix),
        P.Skipped("a/kernel", "a", (4, 8), "why"),
    ]


def model_of_steps():
    return keras.Sequential([keras.Input((None, 2)), K.GRU(4)])


def list_untyped():
    """What has arguments that are named only."""
    data = (np.ones((6, 3, 2)), np.ones((6, 1)))
    return [
        km.AtFinalSparsity(keras.callbacks.EarlyStopping()),
        km.MagnitudePruning(schedule=lambda p: p, select=lambda v: True),
        km.Rewire(data=data, batch_size=4),
        P.Timeline(lambda p: p),
        M.FiniteMetric(1 - np.eye(40)),
        C.FromMask.of(np.ones((64, 64), bool), (4, 4)),
        km.ModuliRegularizer(embedding=np.ones((8, 2))),
    ]


def list_public_classes():
    names = [info.name for info in pkgutil.walk_packages(km.__path__, "keras_moduli.")]
    modules = [importlib.import_module(name) for name in names if "._" not in name]
    values = [
        getattr(module, name)
        for module in [km, *modules]
        for name in getattr(module, "__all__", [])
    ]
    return {value for value in values if inspect.isclass(value)}


def test_no_public_object_shows_an_address():
    rows = [*TYPED.values(), *list_layers(), *list_parts(), *list_untyped()]
    for row in rows:
        assert " at 0x" not in repr(row), type(row)
    known = {cls for row in rows for cls in type(row).__mro__}
    classes = list_public_classes()
    assert len(classes) > 80
    assert not classes - known, "each public class has a row"


@pytest.mark.parametrize("name", TYPED)
def test_what_is_typed_comes_back(name):
    typed = TYPED[name]
    if "<" in repr(typed):
        assert "graph" in name, "only what is long has no text that can be typed"
        return
    modules = (km, km.callbacks, km.regularizers, km.sparse, P, P.scopes, P.scores)
    names = {
        name: value
        for module in (*modules, C, M, I)
        for name, value in vars(module).items()
        if inspect.isclass(value)
    }
    schedules = {type(row).__name__: type(row) for row in TABLES["schedule"].values()}
    made = eval(repr(typed), names | ({} if "inhibitor" in name else schedules))
    assert type(made) is type(typed)
    assert repr(made) == repr(typed)
    if isinstance(typed, Configuration):
        assert made == typed
    elif hasattr(typed, "get_config"):
        assert made.get_config() == typed.get_config()


def test_only_what_differs_from_a_default_is_shown():
    assert repr(km.MagnitudePruning()) == "MagnitudePruning()"
    assert repr(km.NeuronSwap(1, sweeps=4)) == "NeuronSwap(sweeps=4)"
    shown = repr(km.MagnitudePruning(0.7, scope="layer", schedule=abs))
    assert shown == "MagnitudePruning(sparsity=0.7, schedule=abs, scope=Layer())"
    data = (np.ones((6, 3)), np.ones(6))
    shown = repr(km.Rewire(0.2, data=data))
    arrays = "<ndarray of shape (6, 3)>, <ndarray of shape (6,)>, None"
    assert shown == f"Rewire(fraction=0.2, data=({arrays}))"
    stopping = keras.callbacks.EarlyStopping()
    assert repr(km.AtFinalSparsity(stopping)) == "AtFinalSparsity(EarlyStopping(...))"


def test_what_is_long_is_described():
    rule = C.FromMask.of(np.ones((64, 128), bool), (4, 8))
    layout = "<BlockLayout of 64 × 128 in blocks of 4 × 8: 16 of 16 in each column>"
    assert repr(rule) == f"FromMask(layout={layout})"
    assert repr(M.FiniteMetric(1 - np.eye(9))) == "<FiniteMetric of 9 elements>"
