"""The benchmarks measure what they say, in small; no test looks at a time."""

import argparse

import pytest

from tests.backends import ROOT


@pytest.fixture
def load(monkeypatch):
    """Imports a script of the benchmarks."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return __import__


@pytest.mark.backend_independent
def test_new_rows_take_the_place_of_old_ones_of_the_same(load):
    merge = load("harness").merge
    old = [{"units": "512", "ms": "1"}, {"units": "1024", "ms": "2"}]
    new = [{"units": 1024, "ms": 3.0}, {"units": 2048, "ms": 4.0}]
    merged = merge(old, new, ("units",))
    assert merged == [old[0], *new]
    assert merge(merged, new, ("units",)) == merged


@pytest.mark.backend_independent
@pytest.mark.parametrize(("name", "calls"), [("interleaved", 2), ("hot", 10)])
def test_contestants_take_turns(load, name, calls):
    harness, seen = load("harness"), []
    contestants = {key: lambda key=key: seen.append(key) for key in "ab"}
    times = getattr(harness, name)(contestants, repeats=3)
    assert {key: len(found) for key, found in times.items()} == {"a": 3, "b": 3}
    a_round = ["a"] * calls + ["b"] * calls
    assert seen == a_round * (len(seen) // len(a_round))
    assert len(seen) > 3 * len(a_round)  # some rounds do not count


def test_training_has_a_row_for_each_contestant(load):
    args = argparse.Namespace(
        fan_in=32, block=(16, 16), steps=2, repeats=1, skip_dense=True
    )
    rows = list(load("training").compare("SimpleRNN", 64, args))
    found = [row["contestant"] for row in rows]
    assert found[:2] == ["sparse", "narrow, Keras"]
    assert rows[0]["over sparse"] == 1
    assert not any("dense" in name for name in found)
    assert all(row["low"] <= row["ms"] <= row["high"] for row in rows)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_growth_is_measured_of_sparse_and_dense(load, kind):
    args = {"repeats": 1, "batch": 2, "time": 3, "fan_in": 32, "block": (16, 16)}
    row = load("scaling").evaluate(kind, 64, args)
    assert row["step s"] > 0
    assert row["build s"] > 0
    assert row["peak GiB"] >= 0


@pytest.mark.backend_independent
def test_picture_of_growth_is_the_same_for_the_same_figures(load, tmp_path):
    pytest.importorskip("matplotlib")
    rows = [
        {"backend": "jax", "layer": layer, "units": n, "step s": n, "peak GiB": 1 + n}
        for layer in ("sparse", "dense")
        for n in (64, 128)
    ]
    for name in ("one.svg", "two.svg"):
        load("scaling").draw(rows, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
