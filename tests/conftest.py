"""One backend a process; Hypothesis without deadlines, since a first call compiles."""

import collections
import os

import hypothesis
import keras
import pytest

os.environ["COLUMNS"] = "100"  # what tables are as wide as
CURRENT = keras.backend.backend()
LEFT = pytest.StashKey[list]()  # where the tests are that another backend's run has
OPTION = "--backend-independent-on"

hypothesis.settings.register_profile(
    "suite", max_examples=40, deadline=None, derandomize=True
)
hypothesis.settings.register_profile(  # for `--hypothesis-profile=long`
    "long", max_examples=4000, deadline=None, print_blob=True
)
hypothesis.settings.register_profile(  # of mutation testing, which runs tests very often
    "mutation",
    hypothesis.settings.get_profile("suite"),
    max_examples=4,
    suppress_health_check=list(hypothesis.HealthCheck),  # a slow machine is no mutant
)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _fresh_names():
    """Layer names, and so variable paths, do not depend on the tests run before."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def pytest_addoption(parser):
    parser.addoption(
        OPTION,
        metavar="BACKEND",
        default=CURRENT,
        help="leave tests marked `backend_independent` to the run on this backend",
    )


def pytest_configure(config):
    config.stash[LEFT] = []
    marker = "requires_trainable_backend: of Keras's own tests, as all of ours do"
    config.addinivalue_line("markers", marker)


def pytest_report_header(config):
    where = config.getoption(OPTION)
    return f"backend: {CURRENT}; backend-independent tests run on {where}"


def pytest_collection_modifyitems(config, items):
    for item in items:
        if (
            isinstance(item, pytest.DoctestItem)
            and "keras_moduli/plot" in item.path.as_posix()
        ):
            item.add_marker("backend_independent")
    if config.getoption(OPTION) == CURRENT:
        return
    left = [item for item in items if item.get_closest_marker("backend_independent")]
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=left)
    config.stash[LEFT] = [item.nodeid.partition("::")[0] for item in left]


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = session.config.stash[LEFT]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    node.config.stash[LEFT] = getattr(node, "workeroutput", {}).get("left", [])


def pytest_terminal_summary(terminalreporter, config):
    if files := collections.Counter(config.stash[LEFT]):
        told = ", ".join(f"{file} ({count})" for file, count in sorted(files.items()))
        where = config.getoption(OPTION)
        terminalreporter.write_line(f"left to the run on {where}: {told}")


@pytest.fixture(autouse=True, scope="module")
def _free_memory():
    """JAX keeps every program that it has compiled: 5 GB of them by the end."""
    yield
    keras.backend.clear_session()
    if CURRENT == "jax":
        import jax

        jax.clear_caches()
