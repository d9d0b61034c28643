"""Layers that are made of others: the one place that looks into them."""

import abc
from collections.abc import Callable
from typing import Any

import keras

Layer = Any
Convert = Callable[[Any], Any]


class Container(abc.ABC):
    """A kind of layer that is made of others, and rebuilt of what they become."""

    @abc.abstractmethod
    def holds(self, layer: Layer) -> bool:
        """Returns whether a layer is of this kind."""

    @abc.abstractmethod
    def parts(self, layer: Layer) -> list[Layer]:
        """Returns the layers that it is made of."""

    @abc.abstractmethod
    def keeps_class(self, layer: Layer) -> bool:
        """Returns whether what `rebuild` returns is of the same class."""

    @abc.abstractmethod
    def rebuild(self, layer: Layer, convert: Convert) -> tuple[Layer, dict[int, Layer]]:
        """Returns a new layer, and what each part is in it, by the part's `id`.

        Args:
            layer: Of this kind.
            convert: Makes a new layer of a part.
        """


class _Sequential(Container):
    """Layers that are called one after another."""

    def holds(self, layer: Layer) -> bool:
        return isinstance(layer, keras.Sequential) and _calls_as_keras(layer)

    def parts(self, layer: Layer) -> list[Layer]:
        return list(layer.layers)

    def keeps_class(self, layer: Layer) -> bool:
        return _is_made_of(layer, "layers")

    def rebuild(self, layer: Layer, convert: Convert) -> tuple[Layer, dict[int, Layer]]:
        new_parts = {id(part): convert(part) for part in layer.layers}
        # One that takes several inputs knows none of them.
        inputs = [] if not hasattr(layer, "inputs") else _copy_inputs(view_graph(layer))
        layers = [*inputs, *(new_parts[id(part)] for part in layer.layers)]
        make = type(layer) if self.keeps_class(layer) else keras.Sequential
        return make(layers, name=layer.name), new_parts


class _Functional(Container):
    """A graph of layers and operations."""

    def holds(self, layer: Layer) -> bool:
        is_graph = isinstance(layer, keras.Model) and isinstance(layer, keras.Function)
        return is_graph and _calls_as_keras(layer)

    def parts(self, layer: Layer) -> list[Layer]:
        return list(layer.layers)

    def keeps_class(self, layer: Layer) -> bool:
        return _is_made_of(layer, "inputs", "outputs")

    def rebuild(self, layer: Layer, convert: Convert) -> tuple[Layer, dict[int, Layer]]:
        new_parts: dict[int, Any] = {}

        def convert_once(part: Layer) -> Layer:
            new_parts[id(part)] = convert(part)
            return new_parts[id(part)]

        def call(new: Layer, *args: Any, **kwargs: Any) -> Any:
            find = _Weights(layer, new_parts).find
            args, kwargs = keras.tree.map_structure(find, (args, kwargs))
            return new(*args, **kwargs)

        view = view_graph(layer)
        inputs = keras.tree.pack_sequence_as(view.input, _copy_inputs(view))
        new = keras.models.clone_model(view, inputs, convert_once, call)
        make = type(layer) if self.keeps_class(layer) else keras.Model
        return make(new.input, new.output, name=layer.name), new_parts


class _Bidirectional(Container):
    """Keras's, which copies the layers that it is given."""

    def holds(self, layer: Layer) -> bool:
        return type(layer) is keras.layers.Bidirectional

    def parts(self, layer: Layer) -> list[Layer]:
        return [layer.forward_layer, layer.backward_layer]

    def keeps_class(self, layer: Layer) -> bool:
        return True

    def rebuild(self, layer: Layer, convert: Convert) -> tuple[Layer, dict[int, Layer]]:
        config = layer.get_config()
        for name in ("layer", "backward_layer"):
            config.pop(name, None)
        forward, backward = map(convert, self.parts(layer))
        new = keras.layers.Bidirectional(forward, backward_layer=backward, **config)
        pairs = zip(self.parts(layer), self.parts(new), strict=True)
        return new, {id(part): new_part for part, new_part in pairs}


class _TimeDistributed(Container):
    """Keras's, around any layer, or a model."""

    def holds(self, layer: Layer) -> bool:
        return type(layer) is keras.layers.TimeDistributed

    def parts(self, layer: Layer) -> list[Layer]:
        return [layer.layer]

    def keeps_class(self, layer: Layer) -> bool:
        return True

    def rebuild(self, layer: Layer, convert: Convert) -> tuple[Layer, dict[int, Layer]]:
        config = layer.get_config()
        del config["layer"]
        new_part = convert(layer.layer)
        new = keras.layers.TimeDistributed(new_part, **config)
        return new, {id(layer.layer): new_part}


_CONTAINERS = (_Sequential(), _Functional(), _Bidirectional(), _TimeDistributed())


def find_container(layer: Layer) -> Container | None:
    """Returns how a layer is made of others, None for one that is not."""
    return next((kind for kind in _CONTAINERS if kind.holds(layer)), None)


def _calls_as_keras(model: keras.Model) -> bool:
    """Whether calling a model is calling its layers, and nothing of its class's own."""
    return all(
        getattr(type(model), name).__module__.split(".")[0] == "keras"
        for name in ("call", "__call__")
    )


def _is_made_of(model: keras.Model, *arguments: str) -> bool:
    """Whether a class makes models of the arguments that Keras's own makes them of."""
    code = type(model).__init__.__code__
    own = code.co_varnames[1 : code.co_argcount]
    takes_all = bool(code.co_flags & 0x04 and code.co_flags & 0x08)
    return takes_all or own[: len(arguments)] == arguments


def view_graph(model: keras.Model) -> keras.Model:
    """Returns a model of the same graph, which is not compiled, so neither is a clone."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs, model.outputs)
    return keras.Model(model.input, model.output, name=model.name)


def _copy_inputs(view: keras.Model) -> list[Any]:
    kinds = keras.layers.InputLayer
    layers = [part for part in view.operations if isinstance(part, kinds)]
    by_output = {id(layer.output): layer for layer in layers}
    configs = [by_output[id(tensor)].get_config() for tensor in view.inputs]
    return [kinds.from_config(config).output for config in configs]


class _Weights:
    """The weights that a graph uses outside of their layers: tied ones."""

    def __init__(self, model: keras.Model, new_parts: dict[int, Layer]) -> None:
        self.model = model
        self.new_parts = new_parts

    def find(self, value: Any) -> Any:
        """Returns the new variable of an old one, anything else as it is."""
        if not isinstance(value, keras.Variable):
            return value
        for part in self.model.layers:
            variables = part.variables
            index = [i for i, v in enumerate(variables) if v is value]
            if index:
                return self._find_in(part, index[0], value)
        return value

    def _find_in(self, part: Layer, index: int, value: Any) -> Any:
        new = self.new_parts.get(id(part))
        variables = [] if new is None else new.variables
        shapes = [tuple(v.shape) for v in part.variables]
        if [tuple(v.shape) for v in variables] != shapes:
            raise ValueError(
                f"The graph of model {self.model.name!r} uses the weight {value.path!r} "
                f"outside of layer {part.name!r}, so that the layer cannot become "
                f"another. Leave it alone by `exclude={part.name!r}`."
            )
        return variables[index]
