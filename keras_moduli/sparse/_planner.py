"""Making a plan of a model."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_moduli import _checks
from keras_moduli.sparse._cost import Choice, CostModel
from keras_moduli.sparse._plan import PlanRow, SparsePlan
from keras_moduli.sparse._tree import Node, grow
from keras_moduli.sparse.converters import (
    explain_missing,
    find_converter,
    list_kernels,
    to_array,
)

Exclude = str | Sequence[str] | Callable[[Any], bool]


def plan(
    model: keras.Model,
    block: tuple[int, int] | None = None,
    *,
    batch_size: int = 1,
    tolerance: float = 1e-5,
    exclude: Exclude = (),
) -> SparsePlan:
    """Returns what `sparsify` would do to a model, to look at, to edit, or to execute.

    Args:
        model: As in `sparsify`.
        block: As in `sparsify`.
        batch_size: As in `sparsify`.
        tolerance: As in `sparsify`.
        exclude: As in `sparsify`.

    Returns:
        A `SparsePlan`: `print` shows a table, `rows` holds the data, and
        `sparsify(model, plan)` executes it.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the model is not built, or `exclude` names a layer that it does
            not have.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 2)), keras.layers.SimpleRNN(16)])
        >>> km.sparse.plan(model).rows[0].reason
        'a kernel of 16 × 16 is too small to gain'
    """
    tree = grow(_checks.built_model(model))
    batch_size = _checks.integer("batch_size", batch_size, minimum=1)
    if block is not None:
        block = _checks.pair("block", block, "(16, 64), or None to choose")
    costs = CostModel(block, batch_size)
    excluded = _find_excluded(tree, exclude)
    reasons = _find_shared(tree) | dict.fromkeys(excluded, "excluded")
    rows = [
        row
        for leaf in tree.leaves()
        for row in _plan_leaf(leaf, reasons.get(leaf), costs)
    ]
    return SparsePlan(tuple(rows), batch_size, tolerance)


def _find_shared(tree: Node) -> dict[Node, str]:
    """Returns the leaves that have a kernel which another has too, and what to say."""
    holders: dict[int, list[Node]] = {}
    for leaf in tree.leaves():
        for kernel in list_kernels(leaf.layer).values():
            holders.setdefault(id(kernel), []).append(leaf)
    return {
        leaf: "it shares a kernel with layer " + next(x.path for x in all_ if x != leaf)
        for all_ in holders.values()
        if len(set(all_)) > 1
        for leaf in all_
    }


def _plan_leaf(leaf: Node, reason: str | None, costs: CostModel) -> Iterator[PlanRow]:
    kernels = list_kernels(leaf.layer)
    converter = find_converter(leaf.layer)
    if reason is not None:
        choices = dict.fromkeys(kernels, Choice(None, reason))
    elif converter is None:
        reason = explain_missing(leaf.layer)
        choices = dict.fromkeys(kernels, Choice(None, reason))
    else:
        choices = converter.choose(leaf.layer, costs)
    for name, kernel in kernels.items():
        yield _make_row(leaf.path, name, kernel, choices[name])


def _make_row(layer: str, name: str, kernel: Any, choice: Choice) -> PlanRow:
    permutation = choice.permutation
    return PlanRow(
        layer,
        name,
        tuple(kernel.shape),
        float((to_array(kernel) == 0).mean()),
        None if choice.layout is None else choice.layout.block,
        order=choice.order,
        speed=choice.speed,
        reason=choice.reason,
        layout=choice.layout,
        permutation=None if permutation is None else tuple(permutation.tolist()),
    )


def _find_excluded(tree: Node, exclude: Any) -> set[Node]:
    """Returns the leaves that are excluded, or inside of what is."""
    matches = _match_names(tree, exclude)
    if matches is None:
        matches = {node for node in tree.nodes() if node.path and exclude(node.layer)}
    return {leaf for node in matches for leaf in node.leaves()}


def _match_names(tree: Node, exclude: Any) -> set[Node] | None:
    """Returns the nodes that have one of the names, None for a function."""
    if callable(exclude) and not isinstance(exclude, type):
        return None
    names = [exclude] if isinstance(exclude, str) else exclude
    if not isinstance(names, list | tuple | set) or not all(
        isinstance(name, str) for name in names
    ):
        raise TypeError(
            "`exclude` must be the name of a layer, a list of names, or a function of a "
            "layer such as `lambda layer: layer.name == 'head'`. "
            f"Received: exclude={exclude!r}"
        )
    places = [(path, node) for path, node in tree.places() if path]
    known = [path for path, _ in places]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"`exclude` names no layer of the model: {name!r}.{hint} Its layers are "
                f"{known}."
            )
    return {node for path, node in places if path in names}
