"""The README and the pages are code: they run, and say what the results say."""

import importlib.util
import inspect
import re

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli import inhibitors
from keras_moduli.manifolds import _base as manifolds
from tests.backends import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED = [*PAGES, *(ROOT / f"{name}.md" for name in ("SECURITY", "CONTRIBUTING"))]
LONG = [PAGES[0], *(ROOT / "docs" / "tutorials").glob("*.md")]
OTHER = "torch" if keras.backend.backend() == "jax" else "jax"  # of tutorials
# What the README's reader has already: a task.
TASK = {
    "x": np.random.RandomState(0).uniform(size=(32, 6, 2)).astype("float32"),
    "y": np.ones((32, 10), "float32"),
}


def blocks(page, language="python"):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page,
            id=page.name,
            marks=[pytest.mark.backend_independent] if page in LONG[1:] else [],
        )
        for page in PAGES
    ],
)
def test_code_on_pages_runs(page, tmp_path, monkeypatch):
    if page.name == "digits.md" and importlib.util.find_spec(OTHER) is None:
        pytest.skip(f"loads a file in another backend, {OTHER}: not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
    names = dict(TASK)
    for block in blocks(page):
        code = shorten(block) if page in LONG else block
        exec(compile(code, str(page), "exec"), names)
    plt.close("all")


def shorten(code):
    """What readers wait half a minute for, in seconds."""
    code = re.sub(r"epochs=\d\d", "epochs=2", code)
    code = re.sub(r"(walks = |size=\()\d{4}\b", r"\g<1>64", code)
    code = code.replace("UNITS, SEEDS = 64, 5", "UNITS, SEEDS = 16, 2")
    code = re.sub(r"np.split\((\w), \[500\]\)", r"np.split(\1[:160], [80])", code)
    return re.sub(r"\b1024,$", "128,", code, flags=re.M)


@pytest.mark.backend_independent
def test_tutorials_have_what_they_print_and_draw():
    """As `docs/run_tutorials.py` wrote it."""
    pages = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
    assert len(pages) == 5
    for page in pages:
        printed, text = blocks(page, "text"), page.read_text()
        assert len(printed) > 1, page.name
        assert all(printed), page.name
        assert re.search(r"!\[.+\]\(\.\./images/\w+\.svg\)", text), page.name


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
    for page in LINKED:
        for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


@pytest.mark.backend_independent
def test_files_that_the_guide_for_contributors_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    names = re.findall(r"`([\w/]+\.py)`", text)
    assert len(names) > 8
    for name in names:
        assert any((ROOT / folder / name).exists() for folder in (".", "keras_moduli")), (
            name
        )


@pytest.mark.backend_independent
def test_tables_hold_what_the_results_say(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import fill_tables

    for name, makers in fill_tables.PAGES.items():
        page = (ROOT / "docs" / name).read_text()
        assert fill_tables.fill(page, makers) == page, name


@pytest.mark.backend_independent
def test_regularizer_shows_the_signature_that_it_takes():
    parameters = inspect.signature(km.ModuliRegularizer).parameters
    assert list(parameters)[:3] == ["manifold", "inhibitor", "strength"]
    defaults = {name: p.default for name, p in parameters.items()}
    assert km.ModuliRegularizer(**defaults).get_config() == (
        km.ModuliRegularizer().get_config()
    )
    with pytest.raises(TypeError, match="unexpected keyword argument 'dispersion'"):
        km.ModuliRegularizer(dispersion=1.0)
