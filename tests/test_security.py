"""Files of strangers: what they name is not run, and what they hold stays where it is.

SECURITY.md says what is defended and what is not.
"""

import contextlib
import json
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.__main__ import main
from tests.backends import ROOT

pytestmark = pytest.mark.backend_independent
WEIGHTS, CONFIG = "model.weights.h5", "config.json"


@pytest.fixture(scope="module")
def model():
    """A model with an object of ours wherever there can be one."""
    cells = keras.layers.StackedRNNCells([km.layers.ModuliGRUCell(4)])
    shared = km.layers.NeuronEmbedding("sphere", initializer="zeros", trainable=False)
    local = km.connectivity.Local("torus", density=1, block=(4, 4))
    local = km.connectivity.Permuted(local, 1)
    product = km.manifolds.Product(["circle", km.manifolds.Euclidean(2)], [1.0, 0.5])
    penalty = km.ModuliRegularizer(product, km.inhibitors.Gaussian(), output_seed=1)
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            keras.layers.RNN(cells, return_sequences=True),
            keras.layers.Bidirectional(
                km.layers.SparseSimpleRNN(8, connectivity=local, return_sequences=True)
            ),
            km.layers.ModuliLSTM(4, kernel_constraint="non_neg"),
            km.layers.SparseDense(8, connectivity=local, kernel_regularizer="l2"),
            km.layers.Moduli(
                keras.layers.Dense(4, kernel_regularizer=penalty),
                output_embedding=shared,
            ),
            km.layers.Moduli(keras.layers.Dense(1), input_embedding=shared),
        ]
    )
    model.compile(km.embedding_optimizer("adam"), "mse")
    return model


def find_places(config, path=()):
    """Where objects stand in a config: paths of keys."""
    if isinstance(config, dict) and "class_name" in config:
        yield path
    if isinstance(config, dict | list):
        items = config.items() if isinstance(config, dict) else enumerate(config)
        for key, value in items:
            yield from find_places(value, (*path, key))


def put(config, path, value):
    """A copy of a config with another value at a place."""
    copy = json.loads(json.dumps(config))
    inside = copy
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    return copy


def write_code(path):
    """What a stranger would run, as objects in a config."""
    code = f"lambda x: (open({str(path)!r}, 'w'), x)[1]"
    command = ["touch", str(path)]
    popen = {"module": "subprocess", "class_name": "Popen", "registered_name": None}
    function = {"module": "os", "class_name": "function", "config": "system"}
    return {
        "bytecode": keras.saving.serialize_keras_object(keras.layers.Lambda(eval(code))),
        "class": popen | {"config": {"args": command}},
        "legacy class": {"class_name": "subprocess>Popen", "config": {"args": command}},
        "function": function | {"registered_name": "function"},
    }


@pytest.mark.parametrize("kind", ["bytecode", "class", "legacy class", "function"])
def test_no_config_runs_code_wherever_it_stands(kind, model, tmp_path):
    proof = tmp_path / "proof"
    config = json.loads(model.to_json())
    places = [path for path in find_places(config) if path]
    assert len(places) > 40
    for path in places:
        hostile = put(config, path, write_code(proof)[kind])
        # Some places are read by nobody, such as how a model is to be compiled.
        with contextlib.suppress(Exception):
            keras.saving.deserialize_keras_object(hostile)(np.zeros((1, 5, 3)))
        assert not proof.exists(), path


def rewrite(source, target, **members):
    """A copy of an archive in which some members are others."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name not in members:
                new.writestr(name, old.read(name))
        for name, data in members.items():
            new.writestr(name, data)
    return target


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return path


def load_by_command(path):
    assert main(["sparsity", str(path)]) == 0


@pytest.mark.parametrize("load", [km.load_compressed, load_by_command])
def test_no_file_runs_code(load, saved, tmp_path):
    with zipfile.ZipFile(saved) as archive:
        config = json.loads(archive.read(CONFIG))
    proof = tmp_path / "proof"
    last = ("config", "layers", len(config["config"]["layers"]) - 1)
    for kind, code in write_code(proof).items():
        text = json.dumps(put(config, last, code))
        path = rewrite(saved, tmp_path / "hostile.keras", **{CONFIG: text})
        with pytest.raises((SystemExit, AssertionError, TypeError, ValueError)):
            load(path)
        assert not proof.exists(), kind


def test_an_archive_writes_nothing_elsewhere(saved, tmp_path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    names = ["../../evil", "assets/../../../evil", str(tmp_path / "evil")]
    path = rewrite(saved, inside / "model.keras", **dict.fromkeys(names, b"evil"))
    km.load_compressed(path)
    assert set(tmp_path.rglob("*")) == before | {path}


@pytest.mark.parametrize("kind", ["external link", "external data"])
def test_weights_are_read_from_the_file_alone(kind, saved, tmp_path):
    """HDF5 can name other files, whose content would become weights."""
    secret, weights = tmp_path / "secret.h5", tmp_path / WEIGHTS
    with zipfile.ZipFile(saved) as archive:
        weights.write_bytes(archive.read(WEIGHTS))
    with h5py.File(weights, "r+") as file:
        names = []
        file.visit(names.append)
        names = [name for name in names if isinstance(file[name], h5py.Dataset)]
        shape, size = file[names[0]].shape, file[names[0]].nbytes
        with h5py.File(secret, "w") as other:
            other["x"] = np.full(shape, 42, "float32")
        del file[names[0]]
        if kind == "external link":
            file[names[0]] = h5py.ExternalLink(str(secret), "/x")
        else:
            raw = [(str(secret), 0, size)]
            file.create_dataset(names[0], shape, "float32", external=raw)
    path = rewrite(saved, tmp_path / "model.keras", **{WEIGHTS: weights.read_bytes()})
    with pytest.raises(ValueError, match=r"[Nn]ot allowed|link"):
        km.load_compressed(path)


def test_the_page_names_tests_that_exist():
    text = (ROOT / "SECURITY.md").read_text()
    named = re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", text)
    assert len(named) > 8
    for file, test in named:
        source = (ROOT / file).read_text()
        assert not test or f"def {test}(" in source, (file, test)
