"""The layers of a model as a tree."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keras_moduli._containers import Container, find_container


@dataclass(frozen=True, eq=False)
class Node:
    """A layer in its place in a model; the first, if it is in several.

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
        """Yields this node and all below it, each once."""
        yield from {node: None for _, node in self.places()}

    def places(self, path: str = "") -> Iterator[tuple[str, "Node"]]:
        """Yields this node and all below it, by each of the paths that lead there."""
        yield path, self
        prefix = f"{path}/" if path else ""
        for part in self.parts:
            yield from part.places(f"{prefix}{part.layer.name}")

    def leaves(self) -> Iterator["Node"]:
        """Yields the nodes that are not made of others."""
        return (node for node in self.nodes() if node.container is None)


def grow(layer: Any) -> Node:
    """Returns the tree of a layer or model."""
    return _grow(layer, "", {})


def _grow(layer: Any, path: str, known: dict[int, Node]) -> Node:
    if id(layer) in known:
        return known[id(layer)]
    container = find_container(layer)
    inside = [] if container is None else container.parts(layer)
    prefix = f"{path}/" if path else ""
    parts = tuple(_grow(part, f"{prefix}{part.name}", known) for part in inside)
    known[id(layer)] = Node(path, layer, container, parts)
    return known[id(layer)]
