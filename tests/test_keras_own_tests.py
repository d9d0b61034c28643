"""Keras's own tests of recurrent layers, with layers of this library in their place.

They are installed with Keras from 3.15.1 on. What they count is adapted: a set of neurons
has one trainable weight, its positions, two that are not trained, `plasticity` and
`ramp`, and the loss of kernels that do not learn; a kernel of blocks has one weight that
is not trained, where they are. All else must be as it is without this library.
"""

import dataclasses
import functools
import inspect
import types
from unittest import mock

import keras
import pytest

pytest.importorskip(
    "keras.src.layers.rnn.rnn_test",
    reason=f"Keras {keras.__version__} is installed without its tests",
)
from keras.src import testing
from keras.src.layers.rnn import (
    bidirectional_test,
    gru_test,
    lstm_test,
    rnn_test,
    simple_rnn_test,
    stacked_rnn_cells_test,
    time_distributed_test,
)

import keras_moduli as km
from keras_moduli.layers._recurrent import _Cell
from keras_moduli.layers._sparse_cell import SparseCell

# They ask what is the same on every backend: one that compiles little answers quickly.
pytestmark = [] if keras.backend.backend() == "torch" else pytest.mark.slow
L = km.layers
COUNTED = {
    "expected_num_trainable_weights": 1,
    "expected_num_non_trainable_weights": 2,
    "expected_num_non_trainable_variables": 2,
    "expected_num_losses": 1,
}


def wrap(name):
    """A layer of Keras in a `Moduli`, called as the layer is."""
    cls = getattr(keras.layers, name)
    return lambda *args, **kwargs: L.Moduli(cls(*args, **kwargs))


@keras.saving.register_keras_serializable("test_keras_own_tests")
class OneStateRNNCell(_Cell, rnn_test.OneStateRNNCell):
    """A cell of a test, which learns its geometry."""

    gates = 1

    def get_config(self):
        sizes = {"units": self.units, "state_size": self.state_size}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("test_keras_own_tests")
@dataclasses.dataclass(frozen=True)
class Full(km.connectivity.Connectivity):
    """All of a kernel, whatever its size: one block for each gate."""

    def connect(self, rows, units, *, gates=1, recurrent=False):
        indices = gates * ((0,),)
        return km.connectivity.BlockLayout(rows, gates * units, (rows, units), indices)


def fill(name, **others):
    """A sparse layer, which leaves nothing out, called as that of Keras is."""
    cls = getattr(L, f"Sparse{name}")
    layer = functools.partial(cls, connectivity=Full(), **others)
    layer.from_config = cls.from_config
    return layer


KINDS = ("SimpleRNN", "GRU", "LSTM")
RECURRENT = [name for kind in KINDS for name in (kind, f"{kind}Cell")]
LEARNED = {name: getattr(L, f"Moduli{name}") for name in RECURRENT}
SPARSE = {name: fill(name) for name in RECURRENT}
SPARSER = {name: fill(name, input_connectivity=Full()) for name in RECURRENT}
MODULES = (
    simple_rnn_test,
    gru_test,
    lstm_test,
    bidirectional_test,
    stacked_rnn_cells_test,
)
# They ask which kernel of cuDNN a layer has. For blocks there is none.
SKIPPED = {
    "test_fused_gru_eligibility",
    "test_fused_lstm_eligibility",
    "test_keeps_use_cudnn",
}
# By the name of a suite, whose layers those of this library replace.
PLACES = {
    "": dict.fromkeys(MODULES, LEARNED)
    | {
        rnn_test: {},
        time_distributed_test: {name: wrap(name) for name in ("Dense", "Conv2D")},
    },
    "sparse": dict.fromkeys(MODULES, SPARSE)
    | {time_distributed_test: {"Dense": fill("Dense")}},
    "sparse_inputs": dict.fromkeys((gru_test, bidirectional_test), SPARSER),
}


def count_sets(layer):
    """How many sets of neurons a layer, once it is built, has positions of."""
    layers = layer._flatten_layers()
    return sum(
        1 if isinstance(inner, L.LearnedGeometry) else 2 * isinstance(inner, L.Moduli)
        for inner in layers
    )


def count_blocks(layer):
    """How many kernels of blocks a layer has, once it is built."""
    layers = list(layer._flatten_layers())
    cells = [inner for inner in layers if isinstance(inner, SparseCell)]
    given = sum(cell.input_connectivity is not None for cell in cells)
    return len(cells) + given + sum(isinstance(x, L.SparseDense) for x in layers)


class InThePlaceOfKeras:
    """Puts layers of this library where a test case of Keras has those of Keras."""

    def setUp(self):
        super().setUp()
        self.trained = False
        if self.suite and self._testMethodName in SKIPPED:
            self.skipTest("There is no kernel of cuDNN for blocks")
        self.addCleanup(keras.config.enable_traceback_filtering)
        layers = types.SimpleNamespace(**vars(keras.layers) | self.names)
        ours = {"layers": layers}
        if not self.suite:
            ours["OneStateRNNCell"] = OneStateRNNCell
        for name, value in ours.items():
            if hasattr(self.place, name):
                self.enterContext(mock.patch.object(self.place, name, value))

    def run_layer_test(self, layer_cls, init_kwargs, **expected):
        layer = layer_cls(**init_kwargs)
        sets, blocks = count_sets(layer), count_blocks(layer)
        for name, count in COUNTED.items():
            if expected.get(name) is not None:
                expected[name] += count * sets + blocks * ("non_trainable" in name)
        if self.place is time_distributed_test:
            # It calls `layer.call`, so that no wrapper's layer learns of its precision.
            expected["run_mixed_precision_check"] = False
        # Once for each kind of layer, since each is compiled.
        expected["run_training_check"] = not self.trained
        self.trained = True
        super().run_layer_test(layer_cls, init_kwargs, **expected)


def make_cases():
    """Yields for each test case of Keras a name and a case with ours in its place."""
    for suite, places in PLACES.items():
        for module, names in places.items():
            name = module.__name__.split(".")[-1].removesuffix("_test")
            name = "Test_" + "_".join(filter(None, (suite, name)))
            (case,) = (
                value
                for value in vars(module).values()
                if inspect.isclass(value) and issubclass(value, testing.TestCase)
            )
            values = {"place": module, "names": names, "suite": suite}
            yield name, type(name, (InThePlaceOfKeras, case), values)


globals().update(make_cases())
