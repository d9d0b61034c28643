"""Keras's own tests of recurrent layers, with layers of this library in their place.

They are installed with Keras from 3.15.1 on. What they count is adapted: a set of neurons
has one trainable weight, its positions, two that are not trained, `plasticity` and
`ramp`, and the loss of kernels that do not learn. All else must be as it is without this
library.
"""

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


RECURRENT = {
    name: getattr(L, f"Moduli{name}")
    for kind in ("SimpleRNN", "GRU", "LSTM")
    for name in (kind, f"{kind}Cell")
}
NAMES = {
    simple_rnn_test: RECURRENT,
    gru_test: RECURRENT,
    lstm_test: RECURRENT,
    bidirectional_test: RECURRENT,
    stacked_rnn_cells_test: RECURRENT,
    rnn_test: {},
    time_distributed_test: {name: wrap(name) for name in ("Dense", "Conv2D")},
}


def count_sets(layer):
    """How many sets of neurons a layer, once it is built, has positions of."""
    layers = layer._flatten_layers()
    return sum(
        1 if isinstance(inner, L.LearnedGeometry) else 2 * isinstance(inner, L.Moduli)
        for inner in layers
    )


class InThePlaceOfKeras:
    """Puts layers of this library where a test case of Keras has those of Keras."""

    def setUp(self):
        super().setUp()
        self.trained = False
        self.addCleanup(keras.config.enable_traceback_filtering)
        layers = types.SimpleNamespace(**vars(keras.layers) | NAMES[self.place])
        for name, ours in {"layers": layers, "OneStateRNNCell": OneStateRNNCell}.items():
            if hasattr(self.place, name):
                self.enterContext(mock.patch.object(self.place, name, ours))

    def run_layer_test(self, layer_cls, init_kwargs, **expected):
        sets = count_sets(layer_cls(**init_kwargs))
        for name, count in COUNTED.items():
            if expected.get(name) is not None:
                expected[name] += count * sets
        if self.place is time_distributed_test:
            # It calls `layer.call`, so that no wrapper's layer learns of its precision.
            expected["run_mixed_precision_check"] = False
        # Once for each kind of layer, since each is compiled.
        expected["run_training_check"] = not self.trained
        self.trained = True
        super().run_layer_test(layer_cls, init_kwargs, **expected)


def make_cases():
    """Yields for each test case of Keras a name and a case with ours in its place."""
    for module in NAMES:
        name = "Test_" + module.__name__.split(".")[-1].removesuffix("_test")
        (case,) = (
            value
            for value in vars(module).values()
            if inspect.isclass(value) and issubclass(value, testing.TestCase)
        )
        yield name, type(name, (InThePlaceOfKeras, case), {"place": module})


globals().update(make_cases())
