"""Each public docstring stands alone: a summary, arguments, shapes, errors, an example.

griffe reads them, as it does for the pages of reference. CONTRIBUTING.md has the rules.
"""

import ast
import builtins
import dataclasses
import functools
import inspect
import pathlib
import re
import sys
from typing import Any

import pytest

import keras_moduli as km
from keras_moduli import _checks
from keras_moduli.regularizers._cost import OPTIONS

griffe = pytest.importorskip("griffe")
pytestmark = pytest.mark.backend_independent

ARRAY = re.compile(r"\b(Tensor|Array|ArrayLike|NDArray)\b")
SHAPE = re.compile(r"\b(shapes?|[Ss]calar|matrix_shape)\b|\([^()]*,[^()]*\)")
TOLD = re.compile(r"(Returns|Yields|Whether|Rebuilds) ")
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
CONSTRUCTORS = ("__init__", "__post_init__")
# What a class of ours raises when Keras builds it or calls it, which it has to say too.
BY_KERAS = ("build", "call")


@dataclasses.dataclass(frozen=True)
class Public:
    """A class, a function, or a method or property of a class.

    Attributes:
        name: With its module.
        node: Where it is defined.
        owner: The class of a method or property.
        value: The class or function.
    """

    name: str
    node: Any
    owner: Any = None
    value: Any = None

    @property
    def is_class(self):
        return isinstance(self.node, ast.ClassDef)

    @property
    def is_property(self):
        decorators = map(ast.unparse, self.node.decorator_list)
        return any("property" in decorator for decorator in decorators)

    @functools.cached_property
    def doc(self):
        return ast.get_docstring(self.node) or ""

    @functools.cached_property
    def summary(self):
        return self.doc.partition("\n")[0]

    @property
    def result(self):
        """The annotation of what it returns, or nothing."""
        returns = None if self.is_class else self.node.returns
        return "" if returns is None else ast.unparse(returns).replace("None", "")

    @functools.cached_property
    def arguments(self):
        """What is said of each argument; results have attributes instead."""
        sections = self.read("parameters", "attributes")
        return {item.name.lstrip("*"): item.description for item in sections}

    def read(self, *kinds):
        parts = _parse(self.doc)
        return [item for part in parts if part.kind.value in kinds for item in part.value]


@functools.cache
def _parse(doc):
    return griffe.Docstring(doc).parse("google", warnings=False)


@functools.cache
def find_nodes(module):
    """Classes, functions and methods of a module, by qualified name."""
    found = {}
    tree = ast.parse(pathlib.Path(sys.modules[module].__file__).read_text())
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = node
        for child in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(child, ast.FunctionDef):
                found[f"{node.name}.{child.name}"] = child
    return found


def find_modules(module=km):
    yield module
    for name in module.__all__:
        if inspect.ismodule(value := getattr(module, name)):
            yield from find_modules(value)


def list_ours(cls):
    """The classes of this package of which it is one, those that define first."""
    return [c for c in reversed(cls.__mro__) if c.__module__.startswith("keras_moduli")]


def find_methods(cls):
    """Methods that are ours, where they are first: not what Keras says of its own."""
    ours = list_ours(cls)
    known = {name for c in {*cls.__mro__} - {*ours} for name in vars(c)}
    for owner in ours:
        for qualname, node in find_nodes(owner.__module__).items():
            holder, _, name = qualname.rpartition(".")
            if holder == owner.__qualname__ and name not in known and name[0] != "_":
                known.add(name)
                yield Public(f"{owner.__module__}.{qualname}", node, owner)


@functools.cache
def find_public():
    found = {}
    for module in find_modules():
        for value in (getattr(module, name) for name in module.__all__):
            if inspect.ismodule(value) or isinstance(value, str):
                continue
            where = inspect.unwrap(value)
            node = find_nodes(where.__module__)[where.__qualname__]
            public = Public(f"{where.__module__}.{where.__qualname__}", node, None, where)
            methods = find_methods(value) if inspect.isclass(value) else ()
            found |= {one.name: one for one in (public, *methods)}
    return found


def list_parameters(public):
    """The names that a call takes, and those of them that stand for any number."""
    value = public.value
    if public.owner is not None:
        value = inspect.unwrap(getattr(public.owner, public.node.name))
    elif public.is_class and not hasattr(value, "__signature__"):
        # Python 3.11.2 shows the `__new__` of Keras's layers, which takes anything.
        value = functools.partial(value.__init__, None)
    parameters = inspect.signature(value).parameters
    variadic = {name for name, p in parameters.items() if p.kind in VARIADIC}
    return {*parameters} - {"self"}, variadic


def list_annotations(public):
    every = [] if public.is_class else ast.walk(public.node.args)
    return {
        a.arg: ast.unparse(a.annotation)
        for a in every
        if isinstance(a, ast.arg) and a.annotation is not None
    }


def check_summary(public):
    """The first line is a sentence."""
    if not re.match(r".+\.(\n\n|$)", public.doc):
        yield f"the first line is no sentence: {public.summary!r}"


def check_arguments(public):
    """`Args:` has the parameters; a method may name them in its first sentence."""
    if public.is_property or (public.is_class and inspect.isabstract(public.value)):
        return
    names, variadic = list_parameters(public)
    names |= find_options(public.value) if public.is_class else set()
    told = set(public.arguments) | find_arguments_elsewhere(public)
    if public.owner is not None and not public.arguments:
        told |= set(re.findall(r"\w+", public.summary))
    if missing := names - variadic - told:
        yield f"not under Args: {sorted(missing)}"
    extra = set(public.arguments) - names
    if extra and not public.read("attributes"):  # results have properties too
        yield f"under Args, and no parameters: {sorted(extra)}"


def find_options(cls):
    """The fields of a `Cost` that constructors take out of `**kwargs`."""
    options = set()
    for owner in list_ours(cls):
        module = owner.__module__
        node = find_nodes(module).get(f"{owner.__qualname__}.__init__", ast.Module([]))
        for part in ast.walk(node):
            match part:
                case ast.Call(
                    ast.Name("take_options"), [_, ast.Starred(ast.Name(known))]
                ):
                    options |= {*OPTIONS} - {*getattr(sys.modules[module], known)}
    return options


def find_arguments_elsewhere(public):
    """Arguments of the classes of ours that `**kwargs` are said to be of."""
    told = set()
    for name in re.findall(r"`(\w+)`", public.arguments.get("kwargs", "")):
        others = [o for o in find_public().values() if o.name.endswith(f".{name}")]
        for other in others:
            told |= set(other.arguments) | find_arguments_elsewhere(other)
    return told


def check_returns(public):
    """What it returns is under `Returns:`, or in the first sentence."""
    is_told = TOLD.match(public.doc) or public.read("returns", "yields")
    if public.result and not public.is_property and not is_told:
        yield f"returns {public.result}, and says nothing of it"


def check_shapes(public):
    """Of each array that comes or goes a shape is said."""
    summary = public.summary if public.owner is not None else ""
    for name, annotation in list_annotations(public).items():
        said = public.arguments.get(name, summary)
        if ARRAY.search(annotation) and not SHAPE.search(said):
            yield f"no shape of {name}"
    said = " ".join(item.description for item in public.read("returns")) or public.summary
    if ARRAY.search(public.result) and not SHAPE.search(said):
        yield "no shape of what it returns"


def check_errors(public):
    """`Raises:` has all that it raises itself, and nothing that there is not."""
    written = " ".join(str(item.annotation) for item in public.read("raises"))
    told = set(re.findall(r"\w+", written))
    if missing := find_errors(public) - told:
        yield f"not under Raises: {sorted(missing)}"
    if strange := {name for name in told if not hasattr(builtins, name)}:
        yield f"under Raises, and no exceptions: {sorted(strange)}"


def find_errors(public):
    if not public.is_class:
        of = public.owner or public.value
        qualname = public.node.name
        if public.owner is not None:
            qualname = f"{of.__qualname__}.{qualname}"
        return trace(of.__module__, qualname, checks=public.owner is None)
    ours = list_ours(public.value)
    found = [
        trace(c.__module__, f"{c.__qualname__}.{n}") for c in ours for n in CONSTRUCTORS
    ]
    found += [
        trace(c.__module__, f"{c.__qualname__}.{n}", checks=False)
        for c in ours
        for n in BY_KERAS
    ]
    return set().union(*found)


@functools.cache
def trace(module, qualname, checks=True):
    """What a function raises, with private ones of its module, and `_checks`."""
    node = find_nodes(module).get(qualname)
    if not isinstance(node, ast.FunctionDef):
        return frozenset()
    owner, found = qualname.rpartition(".")[0], set()
    for part in ast.walk(node):
        match part:
            case ast.Raise(exc=ast.Call(func=ast.Name(id=name)) | ast.Name(id=name)):
                found.add(name)
            case ast.Call(func=ast.Attribute(attr="takes_tensors"), args=[*axes]):
                of_any = all(ast.literal_eval(least) == 0 for least in axes)
                found |= {"TypeError"} if of_any else {"TypeError", "ValueError"}
            case ast.Attribute(value=ast.Name(id="_checks"), attr=name) if checks:
                if name != "takes_tensors":
                    found |= trace(_checks.__name__, name)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                if name[0] == "_" and f"{owner}.{name}" != qualname:
                    found |= trace(module, f"{owner}.{name}", checks)
            case ast.Name(id=name) if name != qualname:
                if name[0] == "_" or module == _checks.__name__:
                    found |= trace(module, name, checks)
    return frozenset(name for name in found if hasattr(builtins, name))


def check_example(public):
    """A class or a function has an example, which the doctests run."""
    examples = [
        part.value for part in _parse(public.doc) if part.kind.value == "examples"
    ]
    texts = [text for example in examples for _, text in example]
    if public.owner is None and not any(">>> " in text for text in texts):
        yield "no example under Examples"


RULES = [
    check_summary,
    check_arguments,
    check_returns,
    check_shapes,
    check_errors,
    check_example,
]


@pytest.mark.parametrize("rule", RULES)
def test_public_docstrings(rule):
    public = find_public().values()
    faults = [f"{one.name}: {fault}" for one in public for fault in rule(one)]
    assert len(public) > 300
    assert not faults, "\n".join(["", *faults])


def _say_nothing(x: "Array") -> "Array":  # noqa: F821
    """Nothing"""  # noqa: D415
    raise ValueError


def test_what_is_missing_is_noticed():
    node = find_nodes(__name__)["_say_nothing"]
    public = Public("_say_nothing", node, None, _say_nothing)
    assert [rule for rule in RULES if not list(rule(public))] == []
