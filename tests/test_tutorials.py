"""The tutorials run, are short, and need nothing but Keras and the library."""

import ast
import re
import runpy
import sys

import pytest

from tests.backends import ROOT

EXAMPLES = ROOT / "examples"
TUTORIALS = sorted(path.stem for path in EXAMPLES.glob("[!_]*.py"))
SMALL = {
    "adding_problem": "--units 16 --epochs 2 --batches 4 --seeds 2 --control permuted",
    "custom_training_loop": "--steps 41",
    "fast_inference": "--units 32 --block 8 8 --epochs 2 --sequences 128",
    "learned_geometry": "--units 16 --epochs 1 --walks 128",
    "transformer": "--data {root}/README.md --width 16 --steps 8 --blocks 1 --epochs 1",
}
SAYS = {
    "adding_problem": [
        "test MSE, permuted",
        r"\n1 +\d\.\d+",
        r"median +\d\.\d+",
        r"9[45]\.\d+%",
    ],
    "custom_training_loop": ["step 40: loss", "90.00%", "of waves not trained on"],
    "fast_inference": [
        "rnn recurrent_kernel stays dense: .* too small to gain",
        "fast: MSE",
        "step 2:",
    ],
    "learned_geometry": ["Drew the neurons", "embedding|rnn"],
    "transformer": ["bits per character", "stream"],
}


EVERYWHERE = ("custom_training_loop", "transformer")  # no two backends do the same there
RUNS = [
    pytest.param(
        name, marks=[] if name in EVERYWHERE else [pytest.mark.backend_independent]
    )
    for name in TUTORIALS
]


@pytest.mark.parametrize("name", RUNS)
def test_tutorial_runs(name, tmp_path, monkeypatch, capsys):
    arguments = SMALL[name].format(root=ROOT).split()
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for pattern in SAYS[name]:
        assert re.search(pattern, printed), (pattern, printed)
    files = {path.name for path in tmp_path.rglob("*.*")}
    if name == "fast_inference":
        assert files == {"pruned.keras", "fast.keras"}
    if name == "learned_geometry":
        assert files == {"learned_geometry.png"}


@pytest.mark.backend_independent
@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial_is_short_and_alone(name):
    source = (EXAMPLES / f"{name}.py").read_text()
    assert len(source.splitlines()) <= 60
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name).split(".")[0]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    library = {"keras", "keras_moduli"}
    assert library <= imported
    assert imported - library <= {"numpy", "matplotlib", *sys.stdlib_module_names}
    assert f"({name}.py)" in (EXAMPLES / "README.md").read_text()
