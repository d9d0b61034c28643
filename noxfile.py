"""Checks: `nox` runs them all but the slow tests, which `nox -s slow` runs.

Everything runs in the environment that nox itself is installed in: there is nothing to
set up twice. Only `package` and `versions` make fresh ones, of what users would install.
"""

import importlib.util
import pathlib
import re
import sys

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "package", "tests", "docs"]

BACKENDS = ["torch", "jax", "tensorflow"]  # the fastest first: see `independent`
ENVIRONMENT = {
    # One thread each: PyTorch with two threads on two busy cores is many times slower.
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Tests compile thousands of small programs and run each a few times: compiling them
    # without optimizing takes half the time.
    "XLA_FLAGS": "--xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true",
}
# A flag that not every XLA knows, and who does not ends at once. It halves that again.
FAST_TO_COMPILE = {"jax": ["--xla_cpu_use_fusion_emitters=false"]}


def python(session, *arguments, **environment):
    session.run(sys.executable, "-m", *arguments, env=ENVIRONMENT | environment)


independent = []  # the backend whose run has what no backend changes: the first


def run_tests(session, backend, marked, runner=("pytest",)):
    if importlib.util.find_spec(backend) is None:
        session.skip(f"{backend} is not installed")
    independent.append(backend)
    session.log(f"tests marked backend_independent run on {independent[0]}")
    python(
        session,
        *[*runner, "-n", "2", "--dist", "worksteal", "-m", marked],
        *["--backend-independent-on", independent[0], *session.posargs],
        KERAS_BACKEND=backend,
        XLA_FLAGS=" ".join([ENVIRONMENT["XLA_FLAGS"], *FAST_TO_COMPILE.get(backend, [])]),
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
def coverage(session):
    """Lines and branches of the package that the test suite runs on any backend."""
    python(session, "coverage", "erase")
    for backend in filter(importlib.util.find_spec, BACKENDS):
        run_tests(session, backend, "not slow", ("coverage", "run", "-m", "pytest"))
    python(session, "coverage", "combine")
    python(session, "coverage", "report")


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
    alone = {"KERAS_BACKEND": "jax", "PYTHONPATH": ""}  # not the sources
    session.run("python", "-c", FIRST_STEPS, env=alone)
    session.run("keras-moduli", "sparsity", "model.keras", env=alone)


PROJECT = nox.project.load_toml("pyproject.toml")["project"]
OLDEST, NEWEST = PROJECT["requires-python"].removeprefix(">="), "3.13"
RELEASES = [
    nox.param(python, age, backend, id=f"{age}-{backend}")
    for python, age in [(OLDEST, "oldest"), (NEWEST, "newest")]
    for backend in BACKENDS
]
# What uses the parts of Python, Keras and the backends that change.
CHANGED_FILES = "keras_private version_0_1_0 versions files layers regularizers pruning"
CHANGING = [
    *[f"tests/test_{name}.py" for name in CHANGED_FILES.split()],
    "tests/test_docs.py::test_code_on_pages_runs[README.md]",
]


def find_pins(age, backend):
    """What pip is to install: what pyproject.toml allows, or the least of it."""
    extras = PROJECT["optional-dependencies"]
    allowed = PROJECT["dependencies"] + extras[backend] + extras["viz"]
    return [pin.replace(">=", "==") if age == "oldest" else pin for pin in allowed]


def find_cpu_build(session, pin):
    """The newest build of PyTorch without CUDA that fits a pin, or the pin itself."""
    least = pin.removeprefix("torch").lstrip("=>")
    listed = session.run("pip", "index", "versions", "torch", silent=True)
    for build in re.findall(r"[\d.]+\+cpu", listed):
        if "==" not in pin or build.startswith(f"{least}."):
            return f"torch=={build}"
    session.warn(
        f"No CPU build of {pin} found, so that gigabytes of CUDA come with it. "
        "PIP_EXTRA_INDEX_URL says where to look for one."
    )
    return pin


@nox.session(venv_backend="venv")
@nox.parametrize(["python", "age", "backend"], RELEASES)
def versions(session, age, backend):
    """The oldest and the newest of everything, with one backend and no other."""
    pins = find_pins(age, backend)
    if backend == "torch":
        torch = next(pin for pin in pins if pin.startswith("torch"))
        pins[pins.index(torch)] = find_cpu_build(session, torch)
    session.install("-e", ".", "pytest", "pytest-xdist", "hypothesis", *pins)
    session.run("pip", "list")
    session.run(
        *["pytest", "-n", "2", "--dist", "worksteal", "-m", "not slow"],
        *session.posargs or CHANGING,
        env=ENVIRONMENT | {"KERAS_BACKEND": backend},
    )
