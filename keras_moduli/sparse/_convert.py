"""From a pruned model to a fast one: a plan is executed."""

from typing import Any

import keras

from keras_moduli import _checks, _copies
from keras_moduli._rebuild import Rebuild, carry_everything
from keras_moduli.sparse._comparison import check_layers, check_model
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

    Recurrent layers and `Dense` become `keras_moduli.layers.SparseGRU` and its kin,
    without dropout, regularizers and constraints. `EinsumDense` and attention get blocks
    too, all also in `Bidirectional`, `TimeDistributed` and `Moduli`. Connected neurons
    are brought together: along the manifold of their embedding, or by reverse
    Cuthill–McKee (with scipy). All else, and what would not be faster or is not known
    exactly, stays: `keras_moduli.sparse.plan(model)` says why. Both models are compared
    on inputs made up for them. `MagnitudePruning(structure=(16, 64))` gains most.

    Args:
        model: A built model, pruned.
        plan: A `SparsePlan` of this model, to be executed as it is. Without one,
            `keras_moduli.sparse.plan` makes it by the other arguments. A pair: `block`.
        tolerance: How far outputs, of the model and of each sparse layer, may be from
            those before, relative to the largest of them if it is above 1.
        block: (b, c), blocks of b inputs and c outputs; None to choose for each layer.
        batch_size: Number of sequences that the model will be called on at once.
        exclude: Layers to leave alone, with what is inside of them: a name as rows of a
            plan have it, a list of names, or a function of a layer.

    Returns:
        A new model, not compiled. It shares no weight with `model`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the model is not built, a layer cannot be made anew, the plan is
            not one of this model, or outputs differ by more than the tolerance.

    Examples:
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
    rows = _assign_rows(grow(model), plan, model.name)
    changed = {id(leaf.layer): leaf for leaf in rows if _changes(rows[leaf])}

    def replace(layer: Any) -> Any:
        leaf = changed.get(id(layer))
        return None if leaf is None else _build_fast(leaf, rows[leaf])

    rebuild = Rebuild(replace)
    new = rebuild(model)
    fast = [(changed[id(a)], b) for a, b in rebuild.pairs if id(a) in changed]
    for leaf, new_layer in fast:
        _load(leaf, new_layer, rows[leaf])
    carry_everything(rebuild)
    check_layers(fast, plan.tolerance)
    check_model(model, new, [leaf.path for leaf, _ in fast], plan.tolerance)
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


def _build_fast(leaf: Node, rows: Rows) -> Any:
    converter = find_converter(leaf.layer)
    if converter is None:
        raise ValueError(
            f"The plan has blocks for layer {leaf.path!r}, a "
            f"{type(leaf.layer).__name__}, of which no fast form is known."
        )
    return converter.build(leaf.layer, rows)


def _changes(rows: Rows) -> bool:
    return any(row.block is not None for row in rows.values())


def _load(leaf: Node, new: Any, rows: Rows) -> None:
    converter = find_converter(leaf.layer)
    assert converter is not None
    if not new.built:  # in a model that is built when it is called
        new.build_from_config(leaf.layer.get_build_config())
    converter.load(leaf.layer, new, rows)
    _copies.copy_states(leaf.layer, new, getattr(new, "order", None))
