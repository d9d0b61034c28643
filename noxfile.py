"""Checks: `nox` runs them all but the slow tests, which `nox -s slow` runs.

Everything runs in the environment that nox itself is installed in: there is nothing to
set up twice. Only `package` makes a fresh one, to install what users would.
"""

import importlib.util
import pathlib
import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "package", "tests", "docs"]

BACKENDS = ["tensorflow", "jax", "torch"]
ENVIRONMENT = {
    # One thread each: PyTorch with two threads on two busy cores is many times slower.
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Tests compile thousands of small programs and run each a few times: compiling them
    # without optimizing takes half the time.
    "XLA_FLAGS": "--xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true",
}


def python(session, *arguments, **environment):
    session.run(sys.executable, "-m", *arguments, env=ENVIRONMENT | environment)


independent = []  # the backend whose run has what no backend changes: the first


def run_tests(session, backend, marked):
    if importlib.util.find_spec(backend) is None:
        session.skip(f"{backend} is not installed")
    independent.append(backend)
    session.log(f"tests marked backend_independent run on {independent[0]}")
    python(
        session,
        *["pytest", "-n", "2", "--dist", "worksteal", "-m", marked],
        *["--backend-independent-on", independent[0], *session.posargs],
        KERAS_BACKEND=backend,
        # What JAX has compiled once, in any process, it compiles no more.
        JAX_COMPILATION_CACHE_DIR=str(session.cache_dir / "jax"),
        JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES="-1",
    )


@nox.session
@nox.parametrize("backend", BACKENDS)
def tests(session, backend):
    """The test suite, in a process of its own for each backend."""
    run_tests(session, backend, "not slow")


@nox.session
@nox.parametrize("backend", BACKENDS)
def slow(session, backend):
    """What the test suite leaves out: more models, of kinds that it has already."""
    run_tests(session, backend, "slow")


@nox.session
def lint(session):
    """Style and formatting."""
    python(session, "ruff", "check")
    python(session, "ruff", "format", "--check")


@nox.session
def types(session):
    """Type annotations of the package."""
    python(session, "mypy")


@nox.session
def docs(session):
    """The documentation site, which must build without a warning."""
    if importlib.util.find_spec("mkdocs") is None:
        session.skip("mkdocs is not installed")
    python(session, "mkdocs", "build", "--strict")


# What a user does first, anywhere but beside the sources.
FIRST_STEPS = """
import keras, keras_moduli as km
assert "site-packages" in km.__file__, km.__file__
layer = km.layers.ModuliSimpleRNN(8)
model = keras.Sequential([keras.Input((5, 2)), layer])
km.save_compressed(model, "model.keras")
km.load_compressed("model.keras").summary()
"""


@nox.session(venv_backend="venv")
def package(session):
    """The sdist and the wheel, and the wheel in a fresh environment, on JAX."""
    folder = pathlib.Path(session.create_tmp()).resolve()
    for old in folder.glob("*.*"):
        old.unlink()
    # The wheel is built from the sdist, which shows that that is whole.
    session.run(sys.executable, "-m", "build", "--outdir", folder, external=True)
    files = sorted(folder.glob("keras_moduli-*"))
    assert [file.suffix for file in files] == [".whl", ".gz"], files
    session.run(sys.executable, "-m", "twine", "check", "--strict", *files, external=True)
    session.install(f"{files[0]}[jax]")
    session.chdir(folder)
    session.run("python", "-c", FIRST_STEPS, env={"KERAS_BACKEND": "jax"})
    session.run("keras-moduli", "sparsity", "model.keras", env={"KERAS_BACKEND": "jax"})
