"""The layers of a model as a tree: the one place that looks into layers of layers."""

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras

Convert = Callable[[Any], Any]


class Container(abc.ABC):
    """A kind of layer that is made of others, and rebuilt of what they become."""

    @abc.abstractmethod
    def holds(self, layer: Any) -> bool:
        """Returns whether a layer is of this kind."""

    @abc.abstractmethod
    def parts(self, layer: Any) -> list[Any]:
        """Returns the layers that it is made of."""

    @abc.abstractmethod
    def rebuild(self, layer: Any, convert: Convert) -> tuple[Any, dict[int, Any]]:
        """Returns a new layer, and what each part is in it, by the part's `id`.

        Args:
            layer: Of this kind.
            convert: Makes a new layer of a part.
        """


class _Model(Container):
    """A model, or a model inside another."""

    def holds(self, layer: Any) -> bool:
        return isinstance(layer, keras.Model)

    def parts(self, layer: Any) -> list[Any]:
        return list(layer.layers)

    def rebuild(self, layer: Any, convert: Convert) -> tuple[Any, dict[int, Any]]:
        new_parts: dict[int, Any] = {}
        raised_by_parts: list[Exception] = []

        def convert_once(part: Any) -> Any:
            try:
                new_parts[id(part)] = convert(part)
            except Exception as error:
                raised_by_parts.append(error)
                raise
            return new_parts[id(part)]

        try:
            new = keras.models.clone_model(layer, clone_function=convert_once)
        except ValueError as error:
            if any(error is other for other in raised_by_parts):
                raise
            raise ValueError(
                f"Model {layer.name!r} cannot be rebuilt layer by layer: {error} Make it "
                "a Sequential or a Functional model."
            ) from error
        return new, new_parts


class _Bidirectional(Container):
    """Keras's, which copies the layers that it is given."""

    def holds(self, layer: Any) -> bool:
        return type(layer) is keras.layers.Bidirectional

    def parts(self, layer: Any) -> list[Any]:
        return [layer.forward_layer, layer.backward_layer]

    def rebuild(self, layer: Any, convert: Convert) -> tuple[Any, dict[int, Any]]:
        config = layer.get_config()
        for name in ("layer", "backward_layer"):
            config.pop(name, None)
        forward, backward = map(convert, self.parts(layer))
        new = keras.layers.Bidirectional(forward, backward_layer=backward, **config)
        pairs = zip(self.parts(layer), self.parts(new), strict=True)
        return new, {id(part): new_part for part, new_part in pairs}


class _TimeDistributed(Container):
    """Keras's, around any layer, or a model."""

    def holds(self, layer: Any) -> bool:
        return type(layer) is keras.layers.TimeDistributed

    def parts(self, layer: Any) -> list[Any]:
        return [layer.layer]

    def rebuild(self, layer: Any, convert: Convert) -> tuple[Any, dict[int, Any]]:
        config = layer.get_config()
        del config["layer"]
        new_part = convert(layer.layer)
        new = keras.layers.TimeDistributed(new_part, **config)
        return new, {id(layer.layer): new_part}


_CONTAINERS = (_Model(), _Bidirectional(), _TimeDistributed())


@dataclass(frozen=True, eq=False)
class Node:
    """A layer in its place in a model.

    Attributes:
        path: Its name; of a layer inside another with a slash. Empty for the model.
        layer: The layer.
        container: How it is made of others; None for a leaf.
        parts: The nodes of those.
    """

    path: str
    layer: Any
    container: Container | None
    parts: tuple["Node", ...]

    def nodes(self) -> Iterator["Node"]:
        """Yields this node and all below it."""
        yield self
        for part in self.parts:
            yield from part.nodes()

    def leaves(self) -> Iterator["Node"]:
        """Yields the nodes that are not made of others."""
        return (node for node in self.nodes() if node.container is None)


def grow(layer: Any, path: str = "") -> Node:
    """Returns the tree of a layer or model."""
    container = next((kind for kind in _CONTAINERS if kind.holds(layer)), None)
    if container is None:
        return Node(path, layer, None, ())
    prefix = f"{path}/" if path else ""
    parts = (grow(part, f"{prefix}{part.name}") for part in container.parts(layer))
    return Node(path, layer, container, tuple(parts))
