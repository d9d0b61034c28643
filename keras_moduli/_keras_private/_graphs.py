"""Layers of layers, and the graphs of models."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
from keras.src.models.functional import Functional


def iterate_layers(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yields a layer and all that are inside of it, which only models show."""
    yield from layer._flatten_layers()


_PROJECTIONS = {
    "query": "_query_dense",
    "key": "_key_dense",
    "gate": "_gate_dense",
    "value": "_value_dense",
    "attention_output": "_output_dense",
}


def get_projections(attention: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """Returns the projections of an attention layer by name, as they come in its weights.

    Not all are public: of `MultiHeadAttention` the gate is not, of `GroupQueryAttention`
    none is.
    """
    found = {name: getattr(attention, key, None) for name, key in _PROJECTIONS.items()}
    return {name: part for name, part in found.items() if part is not None}


def replace_projection(
    attention: keras.layers.Layer, name: str, new: keras.layers.Layer
) -> None:
    """Puts a layer in the place of a projection, whose weights are its no longer."""
    attribute = _PROJECTIONS[name]
    attention._tracker.untrack(getattr(attention, attribute))
    setattr(attention, attribute, new)


class Call(NamedTuple):
    """One call in the graph of a model.

    Attributes:
        operation: What is called: a layer, a model, or an operation of `keras.ops`.
        args: Positional arguments, with symbolic tensors.
        kwargs: Keyword arguments likewise.
        outputs: The symbolic tensors that it gives, flat.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Any]


def find_call(tensor: Any) -> Call:
    """Returns the call that made a symbolic tensor.

    A Functional model shows its operations, and not what it calls them on.
    """
    operation, index, _ = tensor._keras_history
    node = operation._inbound_nodes[index]
    return Call(operation, node.arguments.args, node.arguments.kwargs, node.outputs)


def find_mask(tensor: Any) -> Any:
    """Returns the mask that a symbolic tensor brings along, or None.

    Layers hand masks on beside their outputs, and nothing public shows them.
    """
    return getattr(tensor, "_keras_mask", None)


def is_graph(model: Any) -> bool:
    """Whether calling an object does nothing but evaluate the graph of a model.

    The class of Functional models has no public name.
    """
    kinds = [kind for kind in (keras.Sequential, Functional) if isinstance(model, kind)]
    names = ("call", "__call__")
    return bool(kinds) and all(
        getattr(type(model), name) is getattr(kinds[0], name) for name in names
    )
