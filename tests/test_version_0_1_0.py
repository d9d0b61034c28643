"""What version 0.1.0 saved on any backend loads, predicts and costs as it did then.

The files are in data/version_0_1_0, beside the script that made them.
"""

import json
import pathlib

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.regularizers import find_regularizer
from tests.backends import BACKENDS, installed

FOLDER = pathlib.Path(__file__).parent / "data" / "version_0_1_0"
# Keras itself loads an optimizer that was saved under PyTorch only where PyTorch is.
LOADABLE = [name for name in BACKENDS if name != "torch" or installed("torch")]
KINDS = ("fixed", "learned", "pruned", "block_sparse")
X = np.random.RandomState(0).standard_normal((4, 6, 3)).astype("float32")


def loaded(kind, backend):
    """A model from its file, and what it predicted and cost when it was saved."""
    path = FOLDER / f"{kind}_{backend}"
    figures = json.loads(path.with_suffix(".json").read_text())
    return keras.saving.load_model(path.with_suffix(".keras")), figures


def costs(losses):
    """Losses without the zeros that stand for positions whose kernels all learn."""
    values = [float(keras.ops.convert_to_numpy(loss)) for loss in losses]
    return [value for value in values if value]


@pytest.mark.parametrize("kind", KINDS)
def test_predicts_and_costs_as_it_did(kind):
    for backend in LOADABLE:
        model, figures = loaded(kind, backend)
        predictions = keras.ops.convert_to_numpy(model(X))
        np.testing.assert_allclose(
            predictions, figures["predictions"], atol=1e-5, err_msg=backend
        )
        # A learned penalty is the difference of two terms, each rounded; the constant
        # that keeps it above 0 came later.
        for penalty in filter(None, map(find_regularizer, model.weights)):
            object.__setattr__(penalty.cost, "farthest", 0.0)
        np.testing.assert_allclose(
            costs(model.losses),
            costs(figures["losses"]),
            rtol=1e-5,
            atol=5e-7 if kind == "learned" else 0,
            err_msg=backend,
        )


def test_every_file_is_of_a_kind_and_a_backend():
    names = {path.stem for path in FOLDER.glob("*.keras")}
    assert names == {f"{kind}_{backend}" for kind in KINDS for backend in BACKENDS}


def test_zeros_and_optimizers_are_those_that_were_saved():
    for backend in LOADABLE:
        pruned, _ = loaded("pruned", backend)
        total = km.sparsity(pruned).total
        assert total.zeros / total.size == pytest.approx(0.5, abs=0.02)  # in whole blocks
        assert int(pruned.optimizer.iterations) == 4
        learned, _ = loaded("learned", backend)
        assert int(learned.optimizer.iterations) == 4
