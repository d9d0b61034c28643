"""Several devices and processes train what one does: the scripts of the examples."""

import os
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_moduli as km
from tests.backends import CURRENT, ROOT, run_on

FOLDER = ROOT / "examples" / "distributed"
SAYS = r"same masks: True, largest difference of weights: [0-9]e[-+]\d\d"
# Of each script: the backend, what makes it small, and how often it compares.
SCRIPTS = {
    "jax_data_parallel": ("jax", "--networks fixed", 1),
    "jax_model_parallel": ("jax", "--networks sparse large", 2),
    "jax_processes": ("jax", "--networks fixed", 2),
    "tensorflow_mirrored": ("tensorflow", "--networks learned", 1),
    "tensorflow_workers": ("tensorflow", "--networks learned", 2),
    "torch_ddp": ("torch", "--networks learned sparse", 4),
}


def run(module, arguments):
    return subprocess.run(
        [sys.executable, "-m", f"examples.distributed.{module}", *arguments.split()],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_several_devices_train_what_one_does(name):
    backend, arguments, count = SCRIPTS[name]
    if backend != CURRENT:
        pytest.skip(f"is of {backend}")
    done = run(name, arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(re.findall(SAYS, done.stdout)) == count, done.stdout


@pytest.mark.slow
@pytest.mark.backend_independent
def test_workers_search_what_one_machine_does(tmp_path):
    small = "--trials 2 --units 16 --epochs 1 --batches 2"
    done = run("tuner_workers", f"{small} --output {tmp_path}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 of 2 trials, largest relative difference of errors" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(CURRENT != "tensorflow", reason="is of TensorFlow")
def test_a_strength_does_not_depend_on_devices():
    done = subprocess.run(
        [sys.executable, "-m", "tests.scripts.mirrored_strength"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    shared, alone = map(float, done.stdout.split())
    assert shared == pytest.approx(alone, rel=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(CURRENT != "tensorflow", reason="is of TensorFlow")
def test_fit_with_several_workers_fails_in_keras():
    """When it does not any more, the page and the script say too much."""
    done = run("tensorflow_workers", "--networks fixed --fit")
    assert done.returncode == 1
    assert "Attempt to convert a value (PerReplica" in done.stderr


@pytest.mark.backend_independent
def test_every_script_has_a_test_and_a_line_on_the_page():
    page = (ROOT / "docs" / "distributed.md").read_text()
    scripts = {p.stem for p in FOLDER.glob("*_*.py")} - {"__init__"}
    assert scripts - {"jax_settings", "jax_layouts"} == {*SCRIPTS, "tuner_workers"}
    for name in (*SCRIPTS, "tuner_workers"):
        assert f"`{name}.py`" in page, name


@pytest.mark.parametrize("regularizer", ["l2", km.ModuliRegularizer("circle")])
def test_blocks_with_a_penalty_move_by_gradients(regularizer):
    rule = km.connectivity.Local("circle", 1 / 2, block=(4, 4))
    layer = km.layers.SparseSimpleRNN(
        16, connectivity=rule, recurrent_regularizer=regularizer
    )
    model = keras.Sequential([keras.Input((3, 2)), layer])
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3, 2), "float32"), np.ones((4, 16), "float32")
    rewire = km.Rewire(1 / 2, frequency=1, data=(x, y))
    rewire.attach(model)
    assert rewire.update(1) > 0


@pytest.mark.skipif(CURRENT != "jax", reason="asks the compiler of JAX")
def test_memory_and_communication_are_as_the_page_says():
    """Of a kernel that is shared by columns: one number is sent, and no weight."""
    run_on("jax", "tests.scripts.distributed_costs")
