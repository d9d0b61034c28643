"""From a pruned model to a fast one: a plan is executed."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _checks
from keras_moduli.sparse._plan import PlanRow, SparsePlan
from keras_moduli.sparse._planner import Exclude
from keras_moduli.sparse._planner import plan as make_plan
from keras_moduli.sparse._tree import Node, grow
from keras_moduli.sparse.converters import find_converter, list_kernels

Rows = dict[str, PlanRow]


def sparsify(
    model: keras.Model,
    plan: SparsePlan | tuple[int, int] | None = None,
    tolerance: float = 1e-5,
    *,
    block: tuple[int, int] | None = None,
    batch_size: int = 1,
    exclude: Exclude = (),
) -> keras.Model:
    """Returns the same function as a pruned model, faster.

    `SimpleRNN`, `GRU`, `LSTM`, their Moduli forms, `Bidirectional` of these and `Dense`
    get kernels that hold only the blocks that are not zero, in Sequential and Functional
    models. Neurons are put in an order that brings connected ones together: along the
    manifold of their embedding, or by reverse Cuthill–McKee (if scipy is there) without
    one. What would not be faster stays as it is; `keras_moduli.sparse.plan(model)` says
    what and why. Prune with `MagnitudePruning(structure=(16, 64))` to gain most.

    Args:
        model: A built model, pruned.
        plan: A `SparsePlan` of this model, to be executed as it is. Without one,
            `keras_moduli.sparse.plan` makes it by the other arguments. A pair: `block`.
        tolerance: How far the outputs of a sparse layer may be from those of the layer
            whose place it takes, for inputs of order 1. Checked for each.
        block: (b, c), blocks of b inputs and c outputs for all layers; None to choose
            for each layer, dense where none is faster.
        batch_size: Number of sequences that the model will be called on at once.
        exclude: Layers to leave alone: a name, a list of names as the rows of a plan have
            them, or a function of a layer. What is inside of such a layer is too.

    Returns:
        A new model, not compiled. It shares no weight with `model`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the model is not built or cannot be cloned by Keras, the plan is
            not one of this model, or outputs differ by more than the tolerance.

    Example:

    >>> import keras, numpy as np, keras_moduli as km
    >>> model = keras.Sequential([keras.Input((5, 2)), keras.layers.SimpleRNN(512)])
    >>> kernel = model.layers[0].cell.recurrent_kernel
    >>> _ = kernel.assign(np.kron(np.eye(16), np.ones((32, 32)) / 32))
    >>> fast = km.sparsify(model)
    >>> fast.count_params() < model.count_params() / 10
    True
    """
    settings = {"block": block, "batch_size": batch_size, "exclude": exclude}
    return _execute(model, _choose_plan(model, plan, tolerance, **settings))


def _choose_plan(
    model: keras.Model, plan: Any, tolerance: float, **settings: Any
) -> SparsePlan:
    _checks.built_model(model)
    if not isinstance(plan, SparsePlan):
        settings["block"] = _choose_block(plan, settings["block"])
        return make_plan(model, tolerance=tolerance, **settings)
    block, batch_size, exclude = settings.values()
    if tolerance != 1e-5 or block is not None or batch_size != 1 or exclude:
        raise ValueError(
            "A plan brings its block, batch_size, tolerance and exclude. Pass them to "
            "`km.sparse.plan`, and only the plan to `km.sparsify`."
        )
    return plan


def _choose_block(first: Any, block: Any) -> Any:
    if first is not None and not isinstance(first, tuple | list | int | float):
        raise TypeError(
            "`plan` must be a SparsePlan, such as `km.sparse.plan(model)`, or a pair of "
            f"integers. Received: an object of type {type(first).__name__}"
        )
    if first is not None and block is not None:
        raise ValueError(
            f"`block` is given twice. Received: {first!r} and block={block!r}"
        )
    return block if first is None else first


def _execute(model: keras.Model, plan: SparsePlan) -> keras.Model:
    tree = grow(model)
    rows = _assign_rows(tree, plan, model.name)
    new, pairs = _rebuild(tree, rows)
    for leaf, new_layer in pairs:
        _load(leaf, new_layer, rows[leaf], plan.tolerance)
    return new


def _assign_rows(tree: Node, plan: SparsePlan, name: str) -> dict[Node, Rows]:
    """Returns the rows of each leaf, if they are those that a plan of it would have."""
    remaining, assigned = list(plan.rows), {}
    for leaf in tree.leaves():
        kernels = list_kernels(leaf.layer)
        own, remaining = remaining[: len(kernels)], remaining[len(kernels) :]
        present = [(leaf.path, key, tuple(v.shape)) for key, v in kernels.items()]
        planned = [(row.layer, row.name, row.kernel) for row in own]
        if planned != present:
            raise ValueError(_describe_misfit(name, planned, present))
        assigned[leaf] = {row.name: row for row in own}
    if remaining:
        planned = [(row.layer, row.name, row.kernel) for row in remaining]
        raise ValueError(_describe_misfit(name, planned, []))
    return assigned


def _describe_misfit(name: str, planned: list[Any], present: list[Any]) -> str:
    return (
        f"The plan is not one of model {name!r}: it has {planned or 'no row'} where the "
        f"model has {present or 'no kernel'}. Make one by `km.sparse.plan(model)`; edit "
        "its rows, and leave all of them in their order."
    )


def _rebuild(node: Node, rows: dict[Node, Rows]) -> tuple[Any, list[tuple[Node, Any]]]:
    """Returns a node's new layer, and all leaves in it with theirs, still empty."""
    if node.container is None:
        return _build_leaf(node, rows[node]), []
    parts = {id(part.layer): part for part in node.parts}
    pairs: list[tuple[Node, Any]] = []

    def convert(layer: Any) -> Any:
        if id(layer) not in parts:  # an operation between layers
            return _copy(layer)
        new_part, inner = _rebuild(parts[id(layer)], rows)
        pairs.extend(inner)
        return new_part

    new, new_parts = node.container.rebuild(node.layer, convert)
    for key, part in parts.items():
        if part.container is None and key in new_parts:
            pairs.append((part, new_parts[key]))
    return new, pairs


def _build_leaf(leaf: Node, rows: Rows) -> Any:
    if not _changes(rows):
        return _copy(leaf.layer)
    converter = find_converter(leaf.layer)
    if converter is None:
        raise ValueError(
            f"The plan has blocks for layer {leaf.path!r}, a "
            f"{type(leaf.layer).__name__}, of which no fast form is known."
        )
    return converter.build(leaf.layer, rows)


def _changes(rows: Rows) -> bool:
    return any(row.block is not None for row in rows.values())


def _copy(layer: Any) -> Any:
    return layer.__class__.from_config(layer.get_config())


def _load(leaf: Node, new: Any, rows: Rows, tolerance: float) -> None:
    converter = find_converter(leaf.layer)
    if converter is None or not _changes(rows):
        new.set_weights(leaf.layer.get_weights())
        return
    converter.load(leaf.layer, new, rows)
    shape = converter.sample_shape(leaf.layer)
    if shape is not None:
        _compare(leaf.layer, new, shape, tolerance)


def _compare(layer: Any, new: Any, shape: tuple[int, ...], tolerance: float) -> None:
    x = np.random.RandomState(0).uniform(-1, 1, shape).astype("float32")
    outputs = [keras.tree.flatten(one(x))[0] for one in (layer, new)]
    a, b = (ops.convert_to_numpy(y).astype(np.float64) for y in outputs)
    if (error := float(np.abs(a - b).max())) > tolerance:
        raise ValueError(
            f"The sparse form of layer {layer.name!r} differs by {error:.2g}, more than "
            f"tolerance={tolerance:g}: rounding, in half precision or with large weights."
            " Pass a larger `tolerance`."
        )
