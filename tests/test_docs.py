"""The README and the pages are code: they run, and say what the results say."""

import re

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


@pytest.mark.backend_independent
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


@pytest.mark.backend_independent
def test_files_that_pages_point_to_exist():
    for page in PAGES:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


@pytest.mark.backend_independent
def test_tables_hold_what_the_results_say(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import fill_tables

    for name, makers in fill_tables.PAGES.items():
        page = (ROOT / "docs" / name).read_text()
        assert fill_tables.fill(page, makers) == page, name
