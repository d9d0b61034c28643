"""The house: which way data flows, what may be imported, and that no case is missing."""

import ast
import importlib
import pathlib
import pkgutil

import keras_moduli as km
from keras_moduli import inhibitors, pruning, schedules
from keras_moduli.manifolds._base import _registry as manifolds_registry
from tests import cases

ROOT = pathlib.Path(km.__file__).parent

# A module may import what stands before it; the helpers with an underscore come first.
ORDER = [
    "_version",
    "_checks",
    "_backend",
    "_keras_private",
    "_registry",
    "_ordering",
    "_table",
    "numerics",
    "manifolds",
    "inhibitors",
    "penalties",
    "regularizers",
    "layers",
    "schedules",
    "pruning",
    "sparse",
    "report",
    "callbacks",
    "compression",
]


def imports(path):
    """Absolute names that a file imports, with the line they stand in."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def test_every_module_imports_only_what_stands_before_it():
    seen = set()
    for path in ROOT.rglob("*.py"):
        module = module_of(path)
        if module == "__init__":
            continue
        seen.add(module)
        for name in imports(path):
            if name.startswith("keras_moduli."):
                imported = name.split(".")[1]
                assert ORDER.index(imported) <= ORDER.index(module), (path, name)
    assert seen == set(ORDER)


def test_no_backend_is_imported():
    importing = set()
    for path in ROOT.rglob("*.py"):
        for name in imports(path):
            if name.split(".")[0] in {"tensorflow", "jax", "torch"}:
                importing.add(path.relative_to(ROOT).as_posix())
        for node in ast.parse(path.read_text()).body:
            names = getattr(node, "names", []) if isinstance(node, ast.Import) else []
            assert not {n.name for n in names} & {"tensorflow", "jax", "torch"}, path
    assert importing == {"_backend.py"}


def test_no_module_is_long():
    for path in ROOT.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 300, path


def test_every_registered_object_has_a_case():
    rows = {
        manifolds_registry: {type(case.manifold) for case in cases.MANIFOLDS.values()},
        inhibitors._registry: {type(row[0]) for row in cases.INHIBITORS.values()},
        schedules._registry: {type(row[0]) for row in cases.SCHEDULES.values()},
        pruning.regrowth._registry: {type(row) for row in cases.REGROWTHS},
        pruning.structures._registry: {type(row[0]) for row in cases.STRUCTURES.values()},
        pruning.scopes._registry: {type(row[0]) for row in cases.SCOPES.values()},
        pruning.scores._registry: {type(row) for row in cases.SCORES.values()},
    }
    for registry, classes in rows.items():
        assert set(registry.classes.values()) == classes, registry.kind


def test_public_names_exist_and_are_documented():
    modules = [
        importlib.import_module(f"keras_moduli.{info.name}")
        for info in pkgutil.iter_modules([str(ROOT)])
        if not info.name.startswith("_")
    ]
    for module in [km, *modules]:
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):
                assert value.__doc__, f"{module.__name__}.{name}"
