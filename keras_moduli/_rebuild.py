"""Models made anew, of other layers or of copies."""

from collections.abc import Callable
from typing import Any

import keras

from keras_moduli import _copies
from keras_moduli._containers import find_container

Layer = Any
Convert = Callable[[Any], Any]


class Rebuild:
    """Makes new layers of old ones: one of each, wherever and however often it occurs.

    Args:
        replace: Returns what takes the place of a layer, or None for a copy.
        edit: Changes the configs of which copies are made, in place.
        keep_classes: Whether models stay of their classes, also of those that cannot be
            made of other layers: then these are made from their configs.
    """

    def __init__(
        self,
        replace: Convert = lambda layer: None,
        edit: Callable[[Any], None] = lambda config: None,
        keep_classes: bool = False,
    ) -> None:
        self.replace = replace
        self.edit = edit
        self.keep_classes = keep_classes
        self._made: dict[int, Layer] = {}
        self._old: dict[int, Layer] = {}
        self._copies: set[Layer] = set()
        self._copied: dict[int, None] = {}
        self._depth = 0

    def __call__(self, layer: Layer) -> Layer:
        """Returns the new layer of an old one."""
        if id(layer) not in self._made:
            self._made[id(layer)] = self._make(layer)
            self._old[id(layer)] = layer
        if not self._depth and self._made[id(layer)] in self._copies:
            self._copied[id(layer)] = None
        return self._made[id(layer)]

    @property
    def pairs(self) -> list[tuple[Layer, Layer]]:
        """All old layers and the new ones, from the outside in."""
        pairs = [(self._old[key], self._made[key]) for key in reversed(self._old)]
        return [pair for pair in pairs if isinstance(pair[0], keras.layers.Layer)]

    @property
    def copied(self) -> list[tuple[Layer, Layer]]:
        """The layers that are not made of others, and were not replaced."""
        return [(self._old[key], self._made[key]) for key in self._copied]

    def pair_inside(self) -> list[tuple[Layer, Layer]]:
        """Returns the layers that were copied and all inside of them, with the copies.

        Raises:
            ValueError: If a copy has other layers inside, or shares others.
        """
        found: dict[int, tuple[Layer, Layer]] = {}
        for layer, copy in self.copied:
            for old, new in _copies.pair_layers(layer, copy):
                if found.setdefault(id(old), (old, new))[1] is not new:
                    raise ValueError(
                        f"Layer {layer.name!r} shares {old.name!r} with another layer, "
                        "and its copy does not: `get_config` of "
                        f"{type(layer).__name__} must describe what is inside."
                    )
        return list(found.values())

    def _make(self, layer: Layer) -> Layer:
        if not isinstance(layer, keras.layers.Layer):
            return _copy_operation(layer)
        if (new := self.replace(layer)) is not None:
            return new
        container = find_container(layer)
        if container is None or (self.keep_classes and not container.keeps_class(layer)):
            return self._copy(layer)
        new, new_parts = container.rebuild(layer, self)
        self._made.update(
            {key: part for key, part in new_parts.items() if key in self._old}
        )
        return new

    def _copy(self, layer: Layer) -> Layer:
        self._depth += 1
        try:
            new = _copies.copy_layer(layer, self, self.edit)
        finally:
            self._depth -= 1
        new.name = layer.name  # not all classes take one
        self._copies.add(new)
        return new


def _copy_operation(operation: Any) -> Any:
    """Returns a new operation between layers; what cannot be copied holds no state."""
    try:
        return type(operation).from_config(operation.get_config())
    except Exception:
        return operation


def build_copies(rebuild: Rebuild) -> list[tuple[Layer, Layer]]:
    """Builds what was copied, and returns all layers inside of it with the copies."""
    _copies.build_like(rebuild.copied)
    inside = rebuild.pair_inside()
    _copies.build_like(inside)
    return inside


def carry_flags(rebuild: Rebuild) -> None:
    """Makes layers trainable or not, as the old ones are."""
    for old, new in [*rebuild.pairs, *rebuild.pair_inside()]:
        if new.trainable != old.trainable:
            new.trainable = old.trainable


def carry_everything(rebuild: Rebuild) -> None:
    """Gives all that was copied the weights and the state of the old layers.

    Raises:
        ValueError: If a copy is not made as the old layer is.
    """
    for old, new in build_copies(rebuild):
        _copies.carry_state(old, new)
    carry_flags(rebuild)
    for old, new in rebuild.copied:
        _copies.carry_values(old, new)
