"""The house: which way data flows, what may be imported, and that no case is missing."""

import ast
import importlib
import inspect
import pathlib
import pkgutil
import re

import pytest

import keras_moduli as km
from keras_moduli import inhibitors, pruning, schedules
from keras_moduli.connectivity._base import _registry as connectivity_registry
from keras_moduli.manifolds._base import _registry as manifolds_registry
from tests import cases

ROOT = pathlib.Path(km.__file__).parent
pytestmark = pytest.mark.backend_independent

# A module may import what stands before it; the helpers with an underscore come first.
ORDER = [
    "_version",
    "_checks",
    "_keras_arguments",
    "_files",
    "_backend",
    "_keras_private",
    "_rows",
    "_training",
    "_registry",
    "_repr",
    "_ordering",
    "_table",
    "_containers",
    "_copies",
    "_rebuild",
    "_inhibitor",
    "_swaps",
    "numerics",
    "manifolds",
    "inhibitors",
    "connectivity",
    "penalties",
    "regularizers",
    "layers",
    "schedules",
    "pruning",
    "rewiring",
    "sparse",
    "report",
    "plot",
    "callbacks",
    "compression",
    "_commands",
    "__main__",
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
    assert {path.split("/")[0] for path in importing} == {"_backend"}


# Likewise within the larger packages.
INSIDE = {
    "regularizers": "_cost _placement _base _evaluation _moduli _blocks "
    "_controls _assignment",
    "layers": "_shortcuts _embedding _placement _learned _recurrent _block_weights "
    "_sparse_cell _sparse_cells _sparse_recurrent _sparse_layers _sparse_dense _wrapper",
    "pruning": "structures _ranking _timeline _clock _geometry _selection _densities "
    "scopes scores regrowth _marks _masks _rule _run _endings _late _fit _keep_zeros "
    "_callback _final _lottery",
    "connectivity": "_layout _grid _assignment _islands _base _local _plain _given "
    "_kernel _constraint",
    "sparse": "_orders _report _cost _plan version_0_1 _einsum _attention "
    "converters _tree _planner _comparison _convert _densify streaming _stream",
    "rewiring": "_timeline _moves _growth _run _callback",
    "callbacks": "_optimizer _schedule _monitor _swap _plot _tensorboard",
    "report": "_labels _sparsity _geometry _connections _placement _strength",
    "plot": "_style _layouts _target _neurons _matrix _distances _inhibitor _manifold "
    "_history _sparsity _speed _persistence _overview",
}


def test_files_of_a_package_import_only_what_stands_before_them():
    for package, files in INSIDE.items():
        order = files.split()
        present = {p.stem for p in (ROOT / package).iterdir()} - {
            "__init__",
            "__pycache__",
        }
        assert present == set(order), package
        for path in (ROOT / package).rglob("*.py"):
            if path == ROOT / package / "__init__.py":
                continue
            own = order.index(path.relative_to(ROOT / package).with_suffix("").parts[0])
            for name in imports(path):
                parts = name.split(".")
                if parts[:2] == ["keras_moduli", package] and parts[2] in order:
                    assert order.index(parts[2]) <= own, (path, name)


def trees():
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def test_no_module_and_no_function_is_long():
    for path, tree in trees():
        assert len((ROOT / path).read_text().splitlines()) <= 300, path
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 50, (path, node.name)


def test_only_one_file_asks_which_backend_runs():
    for path, _ in trees():
        asks = "backend.backend()" in (ROOT / path).read_text()
        assert not asks or path.startswith("_backend/"), path


def test_only_one_file_touches_what_keras_does_not_promise():
    """No other takes an attribute with an underscore that is not defined here."""
    defined, taken = {"_replace"}, []  # that of a named tuple
    for path, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                defined.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                defined.add(node.id)
            elif isinstance(node, ast.Attribute):
                if isinstance(node.ctx, ast.Store):
                    defined.add(node.attr)
                elif re.match("_[a-z]", node.attr):
                    taken.append((path, node.attr))
            elif isinstance(node, ast.ImportFrom) and node.module.startswith("keras.src"):
                taken.append((path, node.module))
    files = {path for path, name in taken if name not in defined}
    assert {path.split("/")[0] for path in files} == {"_keras_private"}


def test_what_the_outside_files_offer_is_used():
    outside = [
        *sorted((ROOT / "_backend").glob("*.py")),
        *sorted((ROOT / "_keras_private").glob("_[a-z]*.py")),
    ]
    texts = {path: (ROOT / path).read_text() for path, _ in trees()}
    for file in (path.relative_to(ROOT).as_posix() for path in outside):
        others = "".join(text for path, text in texts.items() if path != file)
        functions = re.findall(r"^def ([a-z]\w+)", texts[file], re.M)
        assert functions
        for function in functions:
            assert f".{function}(" in others, (file, function)


def test_nothing_concrete_is_overridden():
    """Classes are abstract or final: a method of ours is defined once on each line."""
    classes = {
        value
        for info in pkgutil.walk_packages(km.__path__, "keras_moduli.")
        for value in vars(importlib.import_module(info.name)).values()
        if isinstance(value, type) and value.__module__.startswith("keras_moduli")
    }
    assert len(classes) > 50
    for cls in classes:
        for name in vars(cls).keys() - {"__init__", "__repr__", "__str__"}:
            base = next((b for b in cls.__mro__[1:] if name in vars(b)), object)
            if not base.__module__.startswith("keras_moduli"):
                continue
            method = getattr(vars(base)[name], "__func__", vars(base)[name])
            if inspect.isfunction(method) and not name.startswith("__"):
                assert getattr(method, "__isabstractmethod__", False), (cls, name)


def test_every_registered_object_has_a_case():
    rows = {
        manifolds_registry: {type(case.manifold) for case in cases.MANIFOLDS.values()},
        inhibitors._registry: {type(row[0]) for row in cases.INHIBITORS.values()},
        connectivity_registry: {
            km.connectivity.FromMask,
            *(type(make(0.5, (4, 4))) for make in cases.CONNECTIVITIES.values()),
        },
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
