"""A file and a seed mean the same on every backend.

Each of the three runs of the suite saves here and loads on all three backends: nine
pairs in all.
"""

import json

import keras
import numpy as np
import pytest

import keras_moduli as km
from tests import cross_backend
from tests.backends import BACKENDS, CURRENT, installed, run_on


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a trained and pruned model, and the figures that it has here."""
    folder = tmp_path_factory.mktemp("saved")
    keras.utils.set_random_seed(0)
    model = cross_backend.model()
    model.compile("adam", "mse")
    x = cross_backend.X
    pruning = km.MagnitudePruning(0.8)
    model.fit(x, np.ones((len(x), 1)), epochs=4, callbacks=[pruning], verbose=0)
    model.save(folder / "model.keras")
    learned = cross_backend.learned()
    places = cross_backend.places_after_an_epoch(learned)
    learned.save(folder / "learned.keras")
    return folder, cross_backend.figures(model) | {
        "places": places,
        "learned": learned.predict(x, verbose=0).tolist(),
        "learned_regularization": [float(loss) for loss in learned.losses],
    }


@pytest.mark.parametrize("backend", BACKENDS)
def test_saved_here_and_loaded_there(saved, backend):
    if not installed(backend):
        pytest.skip(f"{backend} is not installed")
    folder, here = saved
    run_on(backend, cross_backend.__name__, folder)
    there = json.loads((folder / f"{backend}.json").read_text())
    np.testing.assert_allclose(there["predictions"], here["predictions"], atol=1e-5)
    np.testing.assert_allclose(there["regularization"], here["regularization"], rtol=1e-6)
    for name, loss in here["losses"].items():
        assert there["losses"][name] == pytest.approx(loss, rel=1e-6), (name, CURRENT)
    for a, b in zip(there["places"], here["places"], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    np.testing.assert_allclose(there["learned"], here["learned"], atol=1e-5)
    np.testing.assert_allclose(
        there["learned_regularization"], here["learned_regularization"], rtol=1e-5
    )
