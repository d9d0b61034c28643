"""Copies of layers: set up as the old ones are, and in the same state.

A layer is copied by its class and its config; whether Keras can save it does not matter:
classes and functions are those of the layer itself, not what a registry has for a name.
"""

import tempfile
import types
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from keras_moduli import _keras_private

Layer = Any
Pairs = list[tuple[Layer, Layer]]


def copy_layer(
    layer: Layer,
    copy_part: Callable[[Layer], Layer],
    edit: Callable[[Any], None],
    kind: Any = None,
) -> Layer:
    """Returns a new layer from the class and the config of another, not built.

    Args:
        layer: The layer.
        copy_part: Makes what takes the place of a layer inside of it.
        edit: Changes the config, in place.
        kind: Another class, which knows what the config says then.

    Raises:
        ValueError: If its class cannot make one.
    """
    inside = list(_keras_private.iterate_layers(layer))[1:]
    try:
        config, described = _keras_private.describe(layer, inside)
    except Exception as error:
        raise ValueError(_explain(layer, error)) from error
    made = {id(part): copy_part(part) for part in described}
    edit(config)
    live = config | _find_functions(layer, config)
    kind, errors = kind or type(layer), []
    for function, argument in (
        (kind.from_config, live),
        (kind.from_config, dict(config)),
        (kind, live),
    ):
        try:
            with keras.saving.custom_object_scope(_find_custom_objects(layer, config)):
                return _keras_private.read_config(function, dict(argument), made)
        except Exception as error:
            errors.append(error)
    raise ValueError(_explain(layer, errors[0])) from errors[0]


def _explain(layer: Layer, error: Exception) -> str:
    is_model = isinstance(layer, keras.Model)
    parts = " Or do this to the models inside of it, one by one." * is_model
    return (
        f"{'Model' if is_model else 'Layer'} {layer.name!r}, a {type(layer).__name__}, "
        "cannot be made anew: its class needs a `get_config` that returns all arguments "
        f"of `__init__`, and a `from_config` if some are layers.{parts} Keras says: "
        f"{' '.join(str(error).split())[:200]}"
    )


def _find_functions(layer: Layer, config: dict[str, Any]) -> dict[str, Any]:
    """Returns the functions of users that a config has under their names."""
    found = {key: _get_argument(layer, key) for key in config}
    return {
        key: value
        for key, value in found.items()
        if isinstance(value, types.FunctionType) and not _is_of_keras(value)
    }


def _find_custom_objects(layer: Layer, config: dict[str, Any]) -> dict[str, Any]:
    """Returns classes and functions of users that a layer holds, by their names."""
    arguments = [_get_argument(layer, key) for key in config]
    values = [*vars(layer).values(), *arguments]
    found: dict[str, Any] = {}
    for value in values:
        kind = value if isinstance(value, types.FunctionType) else type(value)
        is_described = kind is value or hasattr(kind, "from_config")
        if is_described and not _is_of_keras(kind):
            found[kind.__name__] = kind
    return found


def _get_argument(layer: Layer, name: str) -> Any:
    """Returns what a layer was given for an argument, if it keeps it by the name."""
    return getattr(layer, name, getattr(layer, f"_{name}", None))


def _is_of_keras(kind: Any) -> bool:
    return str(kind.__module__).split(".")[0] == "keras"


def copy_object(value: Any) -> Any:
    """Returns a new optimizer or metric like another; a name or a function as it is."""
    if not hasattr(value, "from_config"):
        return value
    with keras.saving.custom_object_scope(_find_custom_objects(value, {})):
        return type(value).from_config(value.get_config())


def pair_layers(old: Layer, new: Layer) -> Pairs:
    """Returns the layers inside of a layer, itself first, each with that of its copy.

    Raises:
        ValueError: If the copy has others.
    """
    olds, news = (list(_keras_private.iterate_layers(x)) for x in (old, new))
    kinds = [[type(x) for x in layers] for layers in (olds, news)]
    if kinds[0] != kinds[1]:
        names = [[kind.__name__ for kind in one] for one in kinds]
        raise ValueError(
            f"Layer {old.name!r} cannot be made anew from its config: {names[0]} became "
            f"{names[1]}. `get_config` of {type(old).__name__} must return all that "
            "makes it what it is, and `__init__` or `build` make all layers inside."
        )
    return list(zip(olds, news, strict=True))


def build_like(pairs: Pairs) -> None:
    """Builds the copies whose old layers are built, for the same shapes."""
    for old, new in pairs:
        if old.built and not new.built and (config := old.get_build_config()):
            new.build_from_config(config)


def pair_variables(old: Layer, new: Layer) -> Iterator[tuple[Any, Any]]:
    """Yields the variables of a layer, each with that of its copy.

    Raises:
        ValueError: If the copy has others.
    """
    olds, news = old.variables, new.variables
    shapes = [[tuple(v.shape) for v in variables] for variables in (olds, news)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"{type(old).__name__} {old.name!r} cannot be made anew from its config: its "
            f"{len(shapes[0])} weights, of shapes {shapes[0]}, became {len(shapes[1])}, "
            f"{shapes[1]}. It needs a `get_config` that says all, and layers that build "
            "all their weights in `build`."
        )
    yield from zip(olds, news, strict=True)


def carry_state(old: Layer, new: Layer) -> None:
    """Gives a layer all of another's state, but what layers inside of it hold.

    That is what Keras would save, files included, and then the values themselves: Keras
    saves some layers as others that compute the same.
    """
    if _overrides(new, "load_own_variables"):
        store: dict[str, Any] = {}
        old.save_own_variables(store)
        if store:
            new.load_own_variables({k: _to_array(value) for k, value in store.items()})
    if hasattr(old, "save_assets") and hasattr(new, "load_assets"):
        with tempfile.TemporaryDirectory() as folder:
            old.save_assets(folder)
            new.load_assets(folder)
    copy_states(old, new)


def copy_states(old: Layer, new: Layer, order: Any = None) -> None:
    """Gives a stateful recurrent layer the states of another: they are no weights.

    Args:
        old: The other.
        new: The layer.
        order: Its k-th neuron is neuron `order[k]` of the other; None for the same.
    """
    states = [keras.tree.flatten(getattr(x, "states", None)) for x in (old, new)]
    for a, b in zip(*states, strict=True):
        if isinstance(a, keras.Variable):
            value = _to_array(a)
            b.assign(value if order is None else value[..., list(order)])


def carry_values(old: Layer, new: Layer) -> None:
    """Gives the variables of a layer the values of another's, and whether they train."""
    for a, b in pair_variables(old, new):
        copy_value(a, b)
        if a.trainable != b.trainable:
            b.trainable = a.trainable


def copy_value(old: Any, new: Any) -> None:
    """Gives a variable the value of another."""
    # Through NumPy: on JAX two variables must not share a buffer that a step donates.
    new.assign(_to_array(old))


def _overrides(layer: Layer, name: str) -> bool:
    return getattr(type(layer), name) is not getattr(keras.layers.Layer, name)


def _to_array(value: Any) -> Any:
    # Not its `value`: of scalars on several devices NumPy makes no array.
    is_variable = isinstance(value, keras.Variable)
    is_of_backend = is_variable or ops.is_tensor(value)
    return ops.convert_to_numpy(value) if is_of_backend else value
