"""What goes wrong while a model trains or is saved: kills, NaN, full disks, Ctrl-C."""

import csv
import inspect
import os
import random
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_moduli as km
from tests.backends import CURRENT, ROOT

independent = pytest.mark.backend_independent
X = np.random.RandomState(0).standard_normal((32, 8)).astype("float32")
Y = X.sum(axis=1, keepdims=True)
BAD = np.where(np.arange(32)[:, None] == 20, np.nan, X)  # in batch 2 of 4


def numpy(x):
    return np.array(keras.ops.convert_to_numpy(x))


# -- kills --


@pytest.mark.slow
def test_a_killed_run_comes_to_the_bits_of_one_that_was_not(tmp_path):
    """`benchmarks/faults.py`, in small."""
    output = tmp_path / "faults.csv"
    command = [sys.executable, "benchmarks/faults.py", "--kinds", "learned", "Rewire"]
    few = ["--kills", "2", "--epochs", "5"]
    subprocess.run(
        [*command, *few, "--backends", CURRENT, "--output", output],
        cwd=ROOT,
        check=True,
    )
    with open(output, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["learned", "Rewire"]
    for row in rows:
        assert row["kills"] == row["resumes"] == "2"
        assert row["equal"] == row["runs"] > "0"


@independent
def test_the_guide_shows_the_backup_that_is_tried(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    source = inspect.getsource(__import__("fault_runs").WholeBackup)
    assert source in (ROOT / "docs" / "guide.md").read_text()


class Stop(keras.callbacks.Callback):
    """Breaks a run off in the middle of epoch 2."""

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 2 and batch == 2:
            raise KeyboardInterrupt

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch


@pytest.mark.slow
def test_what_is_pruned_stays_so_from_a_backup_in_the_middle_of_an_epoch(tmp_path):
    """Keras does steps of it again, with the weights that they have left."""

    def run(*callbacks):
        model = keras.Sequential([keras.Input((8,)), DENSE(16), DENSE(1)])
        model.compile("adam", "mse")
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1)
        pruning = km.MagnitudePruning(0.75, unit="step", frequency=1, end=14)
        callbacks = [backup, pruning, *callbacks]
        data = {"batch_size": 8, "epochs": 4, "shuffle": False, "verbose": 0}
        try:
            model.fit(X, Y, **data, callbacks=callbacks)
        except KeyboardInterrupt:
            callbacks.clear()
        return read_state(model)

    broken, resumed = run(Stop()), run()
    assert sum(masks.sum() for masks in broken) > 80
    assert sum(masks.sum() for masks in resumed) == 0.75 * (8 * 16 + 16)
    for before, after in zip(broken, resumed, strict=True):
        assert after[before].all()


# -- NaN --


def make_sparse(units):
    rule = km.connectivity.SmallWorld("torus", density=1 / 4, block=(2, 2))
    return km.layers.SparseDense(units, connectivity=rule)


STEPS = {"unit": "step", "frequency": 2}
PAIRS = {"structure": (2, 2), "select": "dense/"}
DENSE, MODULI = keras.layers.Dense, km.layers.Moduli
KINDS = {
    "magnitude": (DENSE, lambda: km.MagnitudePruning(0.5, **STEPS, end=14)),
    "RigL": (DENSE, lambda: km.MagnitudePruning(0.5, **STEPS, end=14, regrow="rigl")),
    "SET": (DENSE, lambda: km.MagnitudePruning(0.5, **STEPS, end=14, regrow="set")),
    "blocks": (DENSE, lambda: km.MagnitudePruning(0.5, **STEPS, end=14, **PAIRS)),
    "learned": (
        lambda units: MODULI(DENSE(units), "sphere", strength=1e-2),
        lambda: km.MagnitudePruning(0.5, **STEPS, end=14, score="geometric"),
    ),
    "Rewire": (make_sparse, lambda: km.Rewire(0.5, 2, "random")),
}
QUICK = ("RigL", "Rewire")
expected = pytest.mark.filterwarnings("ignore:Training was stopped before")
each_kind = pytest.mark.parametrize(
    "kind", [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in KINDS]
)


class BeforeNaN(keras.callbacks.Callback):
    """What is masked and where blocks are, after the update before the bad batch."""

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 2:
            self.state = read_state(self.model)


def read_state(model):
    weights = [numpy(w.value) for w in model.weights if len(w.shape) > 1]
    return [(w == 0) & np.signbit(w) if w.dtype.kind == "f" else w for w in weights]


def fit_bad(kind, *callbacks):
    """Trains with NaN in batch 2 of 4 of each epoch, and returns what is where before."""
    make_layer, make_callback = KINDS[kind]
    model = keras.Sequential([keras.Input((8,)), make_layer(16), DENSE(1)])
    # XLA takes TensorFlow many seconds, and JAX has nothing else.
    model.compile("adam", "mse", jit_compile=CURRENT == "jax")
    before = BeforeNaN()
    callbacks = [make_callback(), before, *callbacks]
    error = ""
    try:
        model.fit(BAD, Y, 8, epochs=4, shuffle=False, verbose=0, callbacks=callbacks)
    except ValueError as caught:
        error = str(caught)
    callbacks.clear()
    assert any(np.isnan(numpy(w)).any() for w in model.trainable_variables)
    # All is as it was, of what was not NaN's to destroy.
    for old, new in zip(before.state, read_state(model), strict=True):
        np.testing.assert_array_equal(new, old)
    assert any(old.any() for old in before.state)
    assert not any("mask" in v.path for v in model.optimizer.variables)
    assert all(
        v.constraint is None for v in model.trainable_variables if "kernel" in v.path
    )
    return error


@expected
@each_kind
def test_training_that_stops_at_nan_keeps_masks_and_blocks(kind):
    assert fit_bad(kind, keras.callbacks.TerminateOnNaN()) == ""


@each_kind
def test_nan_is_an_error_when_weights_are_ranked(kind):
    error = fit_bad(kind)
    assert "not finite" in error
    assert "TerminateOnNaN" in error


def test_positions_that_are_nan_are_told():
    layer = km.layers.ModuliSimpleRNN(8, manifold="torus")
    model = keras.Sequential([keras.Input((4, 2)), layer])
    points = numpy(layer.embedding)
    assert km.geometry(model).rows[0].verdict == "fine"
    points[3] = np.nan
    layer.embedding.assign(points)
    report = km.geometry(model)
    assert report.rows[0].verdict == "not finite"
    assert "TerminateOnNaN" in str(report)
    monitor = km.GeometryMonitor()
    monitor.set_model(model)
    logs = {}
    with pytest.warns(UserWarning, match=r"not finite.*NaN or infinite.*clipnorm=1.0"):
        monitor.on_epoch_end(0, logs)
    assert np.isnan(logs["spread moduli_simple_rnn/recurrent_kernel"])


# -- files --


@pytest.fixture
def saved(tmp_path):
    """A trained model, and a file of it as it was before."""
    model = keras.Sequential([keras.Input((64,)), DENSE(256), DENSE(64)])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    path = tmp_path / "folder" / "model.keras"
    path.parent.mkdir()
    km.save_compressed(model, path, include_optimizer=True)
    old = path.read_bytes()
    model.layers[0].bias.assign(np.ones(256))
    return model, path, old


def check_file(path, old):
    """Asserts that a file is the old one or, whole, that of the model as it is now."""
    assert os.listdir(path.parent) == [path.name]
    if path.read_bytes() != old:
        assert (numpy(km.load_compressed(path).layers[0].bias) == 1).all()
        return True
    return False


@independent
@pytest.mark.slow
def test_a_save_that_is_interrupted_leaves_the_old_file_or_the_new(saved):
    """Ctrl-C at random moments of it."""
    model, path, old = saved
    variables = list(model.optimizer.variables)

    def interrupt(*_):
        raise KeyboardInterrupt

    rng, interrupted = random.Random(0), 0
    handler = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(20):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.001, 0.1))
                km.save_compressed(model, path, include_optimizer=True)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if check_file(path, old):
                path.write_bytes(old)
    finally:
        signal.signal(signal.SIGALRM, handler)
    assert interrupted > 5
    assert [id(v) for v in model.optimizer.variables] == [id(v) for v in variables]
    km.save_compressed(model, path, include_optimizer=True)
    assert check_file(path, old)


@pytest.fixture
def small_disk(tmp_path):
    """A folder with room for 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("may not mount a file system")
    yield folder
    subprocess.run(["umount", folder], check=True)


@independent
@pytest.mark.slow
def test_a_disk_that_is_full_is_an_error_that_leaves_what_was_there(saved, small_disk):
    model, *_ = saved
    path = small_disk / "model.keras"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match=r"No space left on device: .*model\.keras"):
        km.save_compressed(model, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(small_disk) == ["model.keras"]


# Forked before anything is computed: each would take seconds to import what is needed,
# which is TensorFlow too where it is installed.
WRITING = """
import contextlib, os, signal, keras, numpy as np, keras_moduli as km
with contextlib.suppress(ImportError):
    import tensorflow
def make(number):
    model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(64)])
    model.set_weights([np.full((32, 64), number), np.full(64, number)])
    return model
writers = []
for number in (1, 2):
    if not (writer := os.fork()):
        model = make(number)
        while True:
            km.save_compressed(model, "folder/model.keras")
    writers.append(writer)
seen, reads = set(), 0
try:
    while len(seen) < 2 or reads < 20:
        if os.path.exists("folder/model.keras"):
            weights = km.load_compressed("folder/model.keras").get_weights()
            values = {float(v) for w in weights for v in w.flat}
            assert len(values) == 1, values
            seen |= values
            reads += 1
finally:
    for writer in writers:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
"""


@independent
@pytest.mark.slow
def test_two_processes_that_save_to_one_path_leave_whole_files(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, "-c", WRITING], cwd=tmp_path, env=environment, check=True
    )
    path = folder / "model.keras"
    weights = km.load_compressed(path).get_weights()
    assert len({float(v) for w in weights for v in w.flat}) == 1
    # Whoever is killed between naming a file and its last step leaves that name.
    assert len(os.listdir(folder)) <= 3
