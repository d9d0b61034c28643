"""A file and a seed mean the same on every backend: all nine pairs of them.

Each backend saves in a process of its own, and loads there what all have saved.
"""

import itertools
import json

import pytest
from numpy.testing import assert_allclose as assert_close

from tests.backends import BACKENDS, installed, run_side_by_side
from tests.scripts import cross_backend


@pytest.mark.backend_independent
def test_saved_here_and_loaded_there(tmp_path):
    backends = [name for name in BACKENDS if installed(name)]
    run_side_by_side(backends, cross_backend.__name__, tmp_path, *backends)
    results = {b: json.loads((tmp_path / f"{b}.json").read_text()) for b in backends}
    for here, there in itertools.product(backends, repeat=2):
        told = {"err_msg": f"saved on {here}, loaded on {there}"}
        saved, loading = results[here], results[there]
        for name, rtol in (("pruned", 1e-6), ("learned", 1e-5)):
            a, b = loading["loaded"][here][name], saved[name]
            assert_close(a["predictions"], b["predictions"], atol=1e-5, **told)
            assert_close(a["losses"], b["losses"], rtol=rtol, **told)
        for a, b in zip(loading["positions"], saved["positions"], strict=True):
            assert_close(a, b, atol=1e-4, **told)
        for name, penalty in saved["penalties"].items():
            same = pytest.approx(penalty, rel=1e-6)
            assert loading["penalties"][name] == same, (name, here, there)
