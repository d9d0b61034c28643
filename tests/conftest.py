"""One backend a process; Hypothesis without deadlines, since a first call compiles."""

import hypothesis
import keras
import pytest

hypothesis.settings.register_profile(
    "suite", max_examples=40, deadline=None, derandomize=True
)
hypothesis.settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _fresh_names():
    """Layer names, and so variable paths, do not depend on the tests run before."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
