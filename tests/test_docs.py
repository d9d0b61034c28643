"""The README, the pages and the examples are code: they run."""

import csv
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import keras_moduli as km
from keras_moduli import inhibitors
from keras_moduli.manifolds import _base as manifolds
from tests.backends import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What the README's reader has already: a task.
TASK = {
    "x": np.random.RandomState(0).uniform(size=(32, 6, 2)).astype("float32"),
    "y": np.ones((32, 10), "float32"),
}


def blocks(page, language="python"):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_on_pages_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = dict(TASK)
    for block in blocks(page):
        exec(compile(block, str(page), "exec"), names)


def test_readme_names_everything_that_has_a_name():
    text = (ROOT / "README.md").read_text()
    for name in [*km.manifolds.names(), *km.inhibitors.names()]:
        cls = (manifolds._registry.classes | inhibitors._registry.classes)[name].__name__
        assert (
            f"`{name}`" in text
            or f"`{cls}`" in text
            or name
            in {
                "so3",
                "difference_of_gaussians",
            }
        ), name


def test_files_that_pages_point_to_exist():
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_tables_hold_what_the_results_say(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import fill_tables

    for name, make in fill_tables.PAGES.items():
        page = (ROOT / "docs" / name).read_text()
        assert make(page) == page, name


def example(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_adding_problem_learns_prunes_saves_and_reports(tmp_path):
    script = "examples/adding_problem.py"
    small = ("--units", 32, "--epochs", 2, "--sparsity", 0.5, "--seeds", 2)
    done = example(script, *small, "--control", "permuted", "--output", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "test MSE" in done.stdout
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"0", "1"}
    labels = {row["label"] for row in rows}
    assert labels == {"rnn/kernel", "rnn/recurrent_kernel", "readout/kernel", "total"}
    totals = [row for row in rows if row["label"] == "total"]
    assert all(abs(float(row["sparsity"]) - 0.5) < 1e-3 for row in totals)
    assert all(float(row["error"]) < 0.2 for row in totals), "no worse than a guess"
    assert sorted(p.name for p in pathlib.Path(tmp_path).glob("*.keras")) == [
        "seed0.keras",
        "seed1.keras",
    ]


def test_fast_inference_trains_and_compares(tmp_path):
    script = "examples/fast_inference.py"
    small = ("--units", 32, "--block", 8, 8, "--epochs", 2, "--output", tmp_path)
    done = example(script, *small)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "too small to gain" in done.stdout
    assert "block-sparse" in done.stdout
    for name in ("pruned.keras", "fast.keras"):
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--manifold", "tours"], "Did you mean 'torus'?"),
        (["--inhibitor", "dgo"], "Did you mean 'dog'?"),
        (["--control", "l2"], "invalid choice: 'l2'"),
        (["--sparsity", "95"], "[0, 1)"),
        (["--strength", "-1"], "`strength`"),
        (["--units", "0"], "`units` must be at least 1"),
        (["--learning-rate", "0"], "`learning_rate` must be above 0"),
        (["--block", "8"], "8x16"),
        (["--epochs", "ten"], "invalid int value: 'ten'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_get_one_line(arguments, message, monkeypatch, capsys):
    import adding_problem
    import command_line

    with pytest.raises(SystemExit) as caught:
        command_line.parse(adding_problem.AddingProblem, arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_transformer_trains_prunes_and_loads(tmp_path):
    script = "examples/transformer.py"
    small = ("--width", 16, "--heads", 2, "--steps", 16, "--epochs", 1)
    done = example(script, "--data", "README.md", *small, "--output", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "bits per character" in done.stdout
    assert "attention_1/" in done.stdout
    assert (tmp_path / "transformer.keras").exists()


def test_learned_head_direction_learns(monkeypatch):
    import learned_head_direction as example

    monkeypatch.setattr(example, "BATCHES", 30)
    args = example.parse(["--units", "48", "--epochs", "8", "--verbose", "0"])
    model = example.train(args, seed=0, permuted=False)
    assert example.HeadDirection().error(model) < 45, "chance is 90"
    correlation, tuned = example.geometry_correlation(model)
    assert tuned > 10
    assert np.isfinite(correlation)
