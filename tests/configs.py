"""A valid object of each registered class, whose configs tests make invalid."""

import keras
import numpy as np

import keras_moduli as km
from tests import cases

L, K, C, S = km.layers, keras.layers, km.connectivity, km.sparse
OLD = km.sparse.version_0_1
REGULARIZER = {"strength": 1e-4, "power": 2, "gates": 2, "permute_seed": 1}
RULE = C.Local(km.manifolds.Torus(2, (5.0, 6.0)), 0.5, (2, 2), 3)
SQUARE = S.BlockLayout(8, 8, (4, 4), ((0,), (1,)))


def _gated(gates):
    return S.BlockLayout(4, 4 * gates, (4, 4), ((0,),) * gates)


def _list_plain():
    """Returns what is frozen data, of the table of all cases."""
    manifolds = [case.manifold for case in cases.MANIFOLDS.values()]
    rows = [*cases.INHIBITORS.values(), *cases.SCHEDULES.values()]
    rows += [*cases.STRUCTURES.values(), *cases.SCOPES.values()]
    rules = [make(0.5, (4, 4)) for make in cases.CONNECTIVITIES.values()]
    others = [*cases.REGROWTHS, *cases.SCORES.values(), C.FromMask(SQUARE), SQUARE]
    return [*manifolds, *(row[0] for row in rows), *rules, *others]


def _list_regularizers():
    points = np.arange(8.0).reshape(4, 2)
    return [
        km.ModuliRegularizer("torus", seed=1, output_seed=2, input_axes=1, **REGULARIZER),
        km.ModuliRegularizer("torus", embedding=points, output_embedding=points),
        L._embedding._OnManifold("sphere"),
    ]


def _list_recurrent():
    sparse = {"connectivity": RULE, "dropout": 0.1, "recurrent_dropout": 0.2, "seed": 3}
    learned = {"manifold": "sphere", "permute_seed": 1, "dropout": 0.1, "seed": 3}
    names = [
        f"{kind}{end}" for kind in ("SimpleRNN", "GRU", "LSTM") for end in ("", "Cell")
    ]
    return [
        *(getattr(L, f"Moduli{name}")(4, **learned) for name in names),
        *(getattr(L, f"Sparse{name}")(4, **sparse) for name in names),
        L.SparseGRU(4, connectivity=SQUARE, input_connectivity=RULE, order=[2, 0, 1, 3]),
    ]


def _list_layers():
    layout = S.BlockLayout(64, 32, (16, 16), ((0,), (3,)))
    cells = [
        OLD.BlockSparseSimpleRNNCell(SQUARE, K.Dense(8)),
        OLD.BlockSparseLSTMCell(_gated(4)),
        OLD.BlockSparseGRUCell(_gated(3)),
    ]
    attention = {"layouts": {"query": SQUARE}, "dropout": 0.1, "seed": 1}
    return [
        L.NeuronEmbedding("torus", seed=1),
        L.Moduli(K.Dense(4), "torus", power=2),
        L.Moduli(K.Dense(4), output_embedding=L.NeuronEmbedding("circle")),
        L.SparseDense(4, connectivity=RULE),
        S.BlockSparseEinsumDense("abc,cde->abde", (None, 4, 8), layout, bias_axes="e"),
        S.BlockSparseMultiHeadAttention(2, 4, **attention),
        S.BlockSparseGroupQueryAttention(4, 2, 1, **attention),
        OLD.BlockSparseDense(SQUARE, "relu"),
        *cells,
        OLD.BlockSparseRNN(cells[0], order=[1, 0, 2, 3, 4, 5, 6, 7]),
    ]


def list_objects():
    """Returns valid objects, at least one of each registered class."""
    return [*_list_plain(), *_list_regularizers(), *_list_recurrent(), *_list_layers()]


def list_classes():
    """Returns all registered classes of the package that have a config of their own."""
    found = keras.saving.get_custom_objects()
    ours = {cls for name, cls in found.items() if name.startswith("keras_moduli")}
    return {
        cls
        for cls in ours
        if cls.__module__.startswith("keras_moduli")
        and not issubclass(cls, keras.optimizers.OptimizerMap)
    }
