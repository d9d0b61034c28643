"""Files that the library writes: whole or not at all, and such that Keras reads them."""

import contextlib
import os
import pathlib
import random
import resource
import signal
import stat
import subprocess
import sys
import time
import tracemalloc
import warnings
import zipfile

import h5py
import keras
import matplotlib
import numpy as np
import pytest
from keras.src.saving import saving_lib

import keras_moduli as km
from keras_moduli import _files, compression
from keras_moduli.__main__ import main
from keras_moduli.callbacks import _tensorboard
from keras_moduli.plot import _style

matplotlib.use("Agg")
# All but how Keras stores the types of numbers.
independent = pytest.mark.backend_independent


def make_model(kernel=None):
    layer = km.layers.ModuliSimpleRNN(32, manifold=km.manifolds.Euclidean(2), name="rnn")
    model = keras.Sequential([keras.Input((5, 2)), layer, keras.layers.Dense(1)])
    if kernel is not None:
        layer.cell.recurrent_kernel.assign(kernel)
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


def save(model, path):
    km.save_compressed(model, path)


def draw(model, path):
    figure = km.plot.matrix(model).figure
    try:
        _style.write(figure, path)
    finally:
        matplotlib.pyplot.close(figure)


def draw_while_training(model, path):
    callback = km.callbacks.PlotGeometry(path.parent, kind="matrix")
    callback.set_model(model)
    callback.on_train_begin()


def film(model, path):
    picture = path.parent / "geometry-0000.png"
    if not picture.exists():
        draw_while_training(model, picture)
    callback = km.callbacks.PlotGeometry(path.parent)
    callback._written = [picture] * 3
    callback.on_train_end()


def write_positions(model, path):
    _tensorboard._write_projector(path.parent, km.placement(model))


POSITIONS = "rnn_recurrent_kernel.tsv"
WRITERS = {
    "save_compressed": (save, "model.keras"),
    "figure": (draw, "figure.png"),
    "picture": (draw_while_training, "geometry-0000.png"),
    "film": (film, "geometry.gif"),
    "positions": (write_positions, None),
}
each_writer = pytest.mark.parametrize(
    ("write", "name"), WRITERS.values(), ids=WRITERS.keys()
)


def find_name(model, name):
    label = km.placement(model).label.replace("/", "_").replace(" ", "_")
    return name or f"{label}.tsv"


def get_mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@contextlib.contextmanager
def no_room(size):
    """Within, no file may grow beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@independent
@each_writer
def test_a_file_keeps_its_mode_and_a_new_one_has_that_of_the_umask(
    write, name, model, tmp_path
):
    path = tmp_path / find_name(model, name)
    umask = os.umask(0o027)
    try:
        write(model, path)
        assert get_mode(path) == 0o640
        path.chmod(0o600)
        write(model, path)
        assert get_mode(path) == 0o600
    finally:
        os.umask(umask)


@independent
@each_writer
def test_a_link_leads_where_it_led(write, name, model, tmp_path):
    path = tmp_path / find_name(model, name)
    target = tmp_path / "elsewhere" / "target"
    target.parent.mkdir()
    path.symlink_to(pathlib.Path("elsewhere", "target"))
    for content in (b"", b"old"):
        if content:
            target.write_bytes(content)
        write(model, path)
        assert path.is_symlink()
        assert target.stat().st_size > 100
        assert os.listdir(target.parent) == ["target"]


@independent
@each_writer
def test_a_full_disk_leaves_what_was_there(write, name, model, tmp_path):
    path = tmp_path / find_name(model, name)
    write(model, path)
    others = {file.name for file in tmp_path.iterdir()}
    path.write_bytes(b"old")
    with (
        pytest.raises(OSError, match=path.name) as caught,
        warnings.catch_warnings(),
        no_room(path.stat().st_size + 200),
    ):
        write(model, path)
    assert str(caught.value) == f"[Errno 27] File too large: '{path}'"
    assert path.read_bytes() == b"old"
    assert {file.name for file in tmp_path.iterdir()} <= others


@independent
def test_the_command_says_of_which_file_the_disk_is_full(model, tmp_path, capsys):
    source, target = tmp_path / "source.keras", tmp_path / "target.keras"
    model.save(source)
    target.write_bytes(b"old")
    with no_room(1000):
        assert main(["compress", str(source), str(target)]) == 1
    assert capsys.readouterr().err.startswith(f"keras-moduli: {target}: File too large")
    assert target.read_bytes() == b"old"


@independent
def test_what_cannot_be_written_is_an_error_of_that_path(model, tmp_path, monkeypatch):
    folder = tmp_path / "folder.keras"
    folder.mkdir()
    circle = tmp_path / "circle.keras"
    circle.symlink_to(circle)
    fixed = tmp_path / "fixed.keras"
    fixed.write_bytes(b"old")
    fixed.chmod(0o444)
    monkeypatch.setattr(os, "access", lambda path, how: get_mode(path) & 0o200)  # of root
    nowhere = pathlib.Path("/proc/model.keras")
    for path in (folder, circle, fixed, nowhere):
        with pytest.raises(OSError, match=r"\.keras'") as caught:
            km.save_compressed(model, path)
        assert caught.value.filename == os.fspath(path)
    assert fixed.read_bytes() == b"old"
    assert circle.is_symlink()
    assert len(os.listdir(tmp_path)) == 3
    assert not os.listdir(folder)


@independent
def test_what_is_read_back_wrong_does_not_replace(model, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    path.write_bytes(b"old")

    def add(archive, name, source, method):
        plain_add(archive, name, source, method)
        archive.fp.seek(-1, 1)
        archive.fp.write(b"?")

    plain_add = compression._add
    monkeypatch.setattr(compression, "_add", add)
    monkeypatch.setattr(zipfile, "ZIP_LZMA", zipfile.ZIP_STORED)
    with pytest.raises(OSError, match=r"metadata.json.*not written as it is.*model"):
        km.save_compressed(model, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.keras"]


@independent
def test_devices_are_written_to(model):
    with _files.replace("/dev/null") as file:
        file.write(b"nothing")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@independent
def test_a_file_system_without_unnamed_files_will_do(model, tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "_UNNAMED", 0)
    path = tmp_path / "model.keras"
    for _ in range(2):
        km.save_compressed(model, path)
        path.chmod(0o600)
    with pytest.raises(ZeroDivisionError), _files.replace(path) as file:
        file.write(b"half" and bytes(1 // 0))
    assert os.listdir(tmp_path) == ["model.keras"]
    km.load_compressed(path)


SAVING = """
import os, signal, zipfile, keras, keras_moduli as km
def kill(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
zipfile.LZMACompressor.compress = kill
model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(64)])
km.save_compressed(model, "models/model.keras")
"""


@independent
@pytest.mark.skipif(not _files._UNNAMED, reason="of Linux")
def test_a_killed_save_leaves_nothing(tmp_path):
    path = tmp_path / "models" / "model.keras"
    path.parent.mkdir()
    path.write_bytes(b"old")
    root = str(pathlib.Path(km.__file__).parents[1])
    killed = subprocess.run(
        [sys.executable, "-c", SAVING],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
    )
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(path.parent) == ["model.keras"]
    assert path.read_bytes() == b"old"


# Of the module alone, which starts at once.
WRITING = f"""
import runpy, sys
replace = runpy.run_path({_files.__file__!r})["replace"]
while True:
    with replace("file") as file:
        for _ in range(64):
            file.write(sys.argv[1].encode() * 4096)
"""


def start_writing(folder, letter):
    return subprocess.Popen([sys.executable, "-S", "-c", WRITING, letter], cwd=folder)


def is_whole(content):
    return content in (b"a" * (64 * 4096), b"b" * (64 * 4096))


@independent
def test_two_processes_that_write_one_path_leave_one_whole_file(tmp_path):
    writers = [start_writing(tmp_path, letter) for letter in "ab"]
    path, seen = tmp_path / "file", set()
    try:
        deadline = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < deadline:
            if path.exists():
                content = path.read_bytes()
                assert is_whole(content)
                seen.add(content[0])
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert len(seen) == 2
    assert is_whole(path.read_bytes())


@independent
def test_whoever_is_killed_while_writing_leaves_the_old_file_or_the_new(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * (64 * 4096))
    rng = random.Random(0)
    for _ in range(20):
        writer = start_writing(tmp_path, "b")
        time.sleep(rng.uniform(0.02, 0.2))
        writer.kill()
        writer.wait()
        # One killed between naming a file and its last step leaves that name.
        for file in tmp_path.iterdir():
            assert is_whole(file.read_bytes())
    assert len(os.listdir(tmp_path)) < 20


# -- what Keras refuses --


@keras.saving.register_keras_serializable("test_files")
class Vocabulary(keras.layers.Layer):
    """Has a file in the archive."""

    def save_assets(self, folder):
        pathlib.Path(folder, "words.txt").write_bytes(b"word " * 100_000)

    def load_assets(self, folder):
        self.words = pathlib.Path(folder, "words.txt").read_bytes()

    def call(self, x):
        return x


FLOORS = [  # the second since Keras 3.15.1
    "_ZIP_MEMBER_BOMB_FLOOR_BYTES",
    "_ZIP_EXTRACT_BOMB_FLOOR_BYTES",
    "_H5_DATASET_BOMB_FLOOR_BYTES",
]


@pytest.fixture
def low_limits(monkeypatch):
    """The limits of Keras, at sizes that tests can afford."""
    floor = 1 << 16
    for name in FLOORS:
        monkeypatch.setattr(saving_lib, name, floor, raising=False)
    monkeypatch.setattr(compression, "_FLOOR", floor, raising=False)


@pytest.mark.parametrize("assets", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_files_of_zeros_are_read(assets, dtype, tmp_path, low_limits):
    layers = [keras.layers.Dense(700, dtype=dtype), keras.layers.Dense(1, dtype=dtype)]
    model = keras.Sequential([keras.Input((700,)), *layers])
    if assets:
        model.add(Vocabulary())
    weights = [keras.ops.cast(np.zeros(w.shape), dtype) for w in model.weights]
    weights[0] = keras.ops.slice_update(weights[0], (7, 9), keras.ops.ones((1, 1), dtype))
    model.set_weights(weights)
    model.compile("adam", "mse")
    size = km.save_compressed(model, tmp_path / "model.keras")
    assert size < 20_000 + 500_000 * assets  # weights are small, the vocabulary stored
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for old, new in zip(model.weights, loaded.weights, strict=True):
        assert new.dtype == old.dtype
        old, new = (
            keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) for x in (old, new)
        )
        np.testing.assert_array_equal(new, old)
    if assets:
        assert loaded.layers[-1].words == b"word " * 100_000


@independent
def test_limits_are_those_of_keras():
    floors = [getattr(saving_lib, name, None) for name in FLOORS]
    assert floors in ([1 << 32, compression._FLOOR, 1 << 32], [1 << 32, None, 1 << 32])
    assert saving_lib._ZIP_MEMBER_MAX_EXPANSION == compression._EXPANSION
    assert saving_lib._H5_DATASET_MAX_EXPANSION == 1000


@independent
def test_an_archive_is_that_of_keras(tmp_path):
    """The same members and arrays, bit for bit, when nothing is left out."""
    model = make_model()
    model.add(Vocabulary())
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "keras.keras")
    km.save_compressed(model, tmp_path / "ours.keras", include_optimizer=True)
    compression.save(model, tmp_path / "stored.keras")
    archives = [zipfile.ZipFile(path) for path in sorted(tmp_path.iterdir())]
    names = archives[0].namelist()
    for archive in archives[1:]:
        assert archive.namelist() == names
        for name in set(names) - {"metadata.json", compression._WEIGHTS}:
            assert archive.read(name) == archives[0].read(name), name
        assert read_arrays(archive) == read_arrays(archives[0])


def read_arrays(archive):
    """All that HDF5 holds, by name."""
    found = {}

    def read(name, item):
        value = item[()].tobytes() if isinstance(item, h5py.Dataset) else None
        found[name] = (value, dict(item.attrs))

    with h5py.File(archive.open(compression._WEIGHTS)) as file:
        file.visititems(read)
    assert len(found) > 20
    return found


def test_a_member_is_never_expanded_at_once(tmp_path):
    """LZMA makes thousands of bytes of one, and zipfile sets it no limit."""
    path, size = tmp_path / "zeros.keras", 96 << 20
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("zeros", bytes(size))
    assert path.stat().st_size < size / 5000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="it has no"):
            km.load_compressed(path)
        assert tracemalloc.get_traced_memory()[1] < 0.7 * size
    finally:
        tracemalloc.stop()
