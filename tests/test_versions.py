"""What a release saved loads, predicts, costs and goes on training as it did then.

The files are in data/version_*/files.zip; data/make_files.py made them with that release.
"""

import json
import re
import zipfile

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.regularizers import find_regularizer
from tests.backends import CURRENT, ROOT
from tests.data import make_files

ARCHIVES = sorted((ROOT / "tests" / "data").glob("version_*/files.zip"))
ROWS = [
    pytest.param(archive, name[:-6], id=f"{archive.parent.name}-{name[:-6]}")
    for archive in ARCHIVES
    for name in zipfile.ZipFile(archive).namelist()
    if name.endswith(".keras")
]
MADE_ON = "torch"


def load(archive, name, folder, **options):
    """A model from its file, and what it did when it was saved."""
    with zipfile.ZipFile(archive) as files:
        path = files.extract(f"{name}.keras", folder)
        figures = json.loads(files.read(f"{name}.json"))
    return km.load_compressed(path, **options), figures


def check(model, figures, tolerance):
    # The constant that keeps a learned penalty above 0 came later.
    for penalty in filter(None, map(find_regularizer, model.weights)):
        object.__setattr__(penalty.cost, "farthest", 0.0)
    told = make_files.tell(model)
    np.testing.assert_allclose(
        told["predictions"], figures["predictions"], rtol=tolerance, atol=tolerance
    )
    # Without the zeros that stand for positions whose kernels all learn.
    losses = [[x for x in each["losses"] if x] for each in (told, figures)]
    np.testing.assert_allclose(*losses, rtol=10 * tolerance, atol=tolerance / 10)


@pytest.mark.parametrize(("archive", "name"), ROWS)
def test_predicts_and_costs_as_it_did(archive, name, tmp_path):
    model, figures = load(archive, name, tmp_path, compile=False)
    check(model, figures["then"], 1e-5)


@pytest.mark.slow
@pytest.mark.skipif(
    CURRENT != MADE_ON,
    reason=f"Keras saves its optimizer for {MADE_ON} as a class of that backend",
)
@pytest.mark.parametrize(("archive", "name"), ROWS)
def test_goes_on_training_as_it_did(archive, name, tmp_path):
    """With its optimizer, its moments, its schedule and its zeros."""
    model, figures = load(archive, name, tmp_path)
    check(make_files.go_on(name, model), figures["later"], 1e-4)
    assert not np.isnan(keras.ops.convert_to_numpy(model(make_files.X))).any()


def test_there_are_files_of_every_release():
    """The changelog says which were released."""
    text = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## ([\d.]+)$", text, re.M)
    assert released
    names = {f"version_{release.replace('.', '_')}" for release in released}
    assert names == {archive.parent.name for archive in ARCHIVES}
