"""Whether a fast model is the same function: both are called on inputs of their kind."""

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _backend, _keras_private
from keras_moduli._containers import view_graph
from keras_moduli.sparse._tree import Node, grow
from keras_moduli.sparse.converters import find_converter

Array = NDArray[Any]
Outputs = list[Array]

# Sizes of axes that a model leaves open: the least that it takes, since convolutions and
# pools take no less than they are wide.
_OPEN_SIZES = (3, 16, 64)
# How far rounding may go, relative to the size of outputs, by how a layer computes.
_ROUNDING = {"float64": 1e-6, "float32": 1e-3, "bfloat16": 0.2, "float16": 0.05}


def check_layers(fast: Iterable[tuple[Node, Any]], tolerance: float) -> None:
    """Compares each fast layer with the one whose place it takes.

    Raises:
        ValueError: If outputs differ by more than the tolerance, for their size.
    """
    for leaf, new in fast:
        converter = find_converter(leaf.layer)
        assert converter is not None
        shape = converter.sample_shape(leaf.layer)
        if shape is None:
            continue
        x = np.random.RandomState(0).uniform(-1, 1, shape).astype("float32")
        outputs = [_predict(layer, x) for layer in (leaf.layer, new)]
        error, size = _measure(*outputs)
        if error > tolerance * size:
            raise ValueError(_explain(leaf.layer, leaf.path, error, size, tolerance))


def check_model(
    model: keras.Model, new: keras.Model, changed: Sequence[str], tolerance: float
) -> None:
    """Compares a whole model with the one that it was made of, if inputs can be made up.

    Raises:
        ValueError: If outputs differ by more than the tolerance, for their size.
    """
    found = _find_inputs(model)
    if found is None:
        return
    x, expected = found
    error, size = _measure(expected, _call(new, x))
    if error <= tolerance * size or _measure(expected, _call(model, x))[0] > 0:
        return  # or it is random, by a generator that is no part of it
    layer = _find_first_difference(model, new, x, tolerance)
    path = "" if layer is None else layer.name
    is_fast = layer is None or any(f"{name}/".startswith(f"{path}/") for name in changed)
    if is_fast:
        raise ValueError(_explain(layer or model, path, error, size, tolerance))
    raise ValueError(
        f"Layer {path!r}, a {type(layer).__name__}, was made anew from its config, and "
        f"the model's outputs differ from there on, by {error:.2g} where they are up to "
        f"{size:.2g}. `get_config` of its class must return all arguments of `__init__`, "
        "and state that is no weight must be saved by `save_own_variables` or "
        "`save_assets`."
    )


def _explain(layer: Any, path: str, error: float, size: float, tolerance: float) -> str:
    name = f"layer {path!r}" if path else f"model {layer.name!r}"
    differs = (
        f"The sparse form of {name} differs by {error:.2g}, where outputs are up to "
        f"{size:.2g}: "
    )
    if error <= _ROUNDING.get(_find_dtype(layer), 1e-3) * size:
        return (
            f"{differs}more than tolerance={tolerance:g}, by rounding, in half "
            "precision or with large weights. Pass a larger `tolerance`."
        )
    leave = f"exclude={path!r}" if path else "exclude=[...] of the names of its layers"
    return f"{differs}no rounding, but another function. Leave it alone by `{leave}`."


def _find_dtype(layer: Any) -> str:
    kinds = [leaf.layer.compute_dtype for leaf in grow(layer).leaves()]
    return max(kinds, key=lambda kind: _ROUNDING.get(kind, 0.0), default="float32")


def _find_first_difference(
    model: keras.Model, new: keras.Model, x: Any, tolerance: float
) -> Any:
    """Returns the first layer of a graph with other outputs, or None."""
    for old_layer, new_layer in zip(model.layers, new.layers, strict=False):
        try:
            outputs = [
                _call(keras.Model(view_graph(graph).input, layer.output), x)
                for graph, layer in ((model, old_layer), (new, new_layer))
            ]
        except Exception:  # it is not in the graph by its first call, or there is none
            continue
        error, size = _measure(*outputs)
        if error > tolerance * size:
            return old_layer
    return None


def _measure(expected: Outputs, found: Outputs) -> tuple[float, float]:
    """Returns the largest difference, and the size of the outputs that have it."""
    worst = (0.0, 1.0)
    for a, b in zip(expected, found, strict=True):
        if a.dtype.kind not in "fV" or not a.size:
            continue  # classes and words jump by rounding
        a, b = a.astype(np.float64), b.astype(np.float64)
        size = max(1.0, float(np.abs(a[np.isfinite(a)]).max(initial=0.0)))
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        error = float(np.where(same, 0.0, np.abs(a - b)).max())
        error = float("inf") if np.isnan(error) else error
        worst = max(worst, (error, size), key=lambda pair: pair[0] / pair[1])
    return worst


def _call(model: keras.Model, x: Any) -> Outputs:
    """Returns the outputs of a model, and leaves its state as it was."""
    states = [(v, ops.convert_to_numpy(v)) for v in _find_state(model)]
    try:
        return _predict(model, x, training=False)
    finally:
        for variable, value in states:
            variable.assign(value)


def _find_state(model: keras.Model) -> list[Any]:
    states = [
        state
        for layer in _keras_private.iterate_layers(model)
        for state in keras.tree.flatten(getattr(layer, "states", None))
    ]
    others = [v for v in model.variables if not v.trainable]
    return [v for v in [*states, *others] if isinstance(v, keras.Variable)]


def _predict(layer: Any, x: Any, **kwargs: Any) -> Outputs:
    return _to_arrays(_backend.compute_without_gradients(layer, x, **kwargs))


def _to_arrays(outputs: Any) -> Outputs:
    return [ops.convert_to_numpy(y) for y in keras.tree.flatten(outputs) if y is not None]


def _find_inputs(model: keras.Model) -> tuple[Any, Outputs] | None:
    """Returns inputs that a model takes, and its outputs, or None."""
    for size in _OPEN_SIZES:
        try:
            x = _make_inputs(model, size)
            outputs = _call(model, x)
        except Exception:
            continue
        if any(np.isfinite(y).all() for y in outputs if y.dtype.kind in "fV"):
            return x, outputs
    return None


def _make_inputs(model: keras.Model, size: int) -> Any:
    draw = _Inputs(model, size)
    if isinstance(model, keras.Function):
        return keras.tree.map_structure(draw.make, model.input)
    if hasattr(model, "inputs") and model.inputs:
        return draw.make(model.inputs[0])
    shapes = model.get_build_config()["input_shape"]
    return keras.tree.map_shape_structure(
        lambda shape: draw.make(keras.KerasTensor(shape)), shapes
    )


class _Inputs:
    """What inputs of a model may be: which integers, and which words."""

    def __init__(self, model: keras.Model, size: int) -> None:
        self.size = size
        self.random = np.random.RandomState(0)
        layers = [leaf.layer for leaf in grow(model).leaves()]
        self.known = [
            x.input_dim for x in layers if isinstance(x, keras.layers.Embedding)
        ]
        words = [w for x in layers if hasattr(x, "get_vocabulary") for w in _read(x)]
        self.words = words or ["a", "b"]

    def make(self, tensor: Any) -> Any:
        """Returns an array as one of the inputs may be."""
        batch, *shape = tensor.shape
        full = [2 if batch is None else batch]
        full += [self.size if axis is None else axis for axis in shape]
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if dtype == "string":
            return ops.convert_to_tensor(self.random.choice(self.words, full), "string")
        if dtype == "bool":
            return self.random.uniform(size=full) < 0.5
        if self.known or "float" not in dtype:
            integers = self.random.randint(0, min([*self.known, 8]), full)
            return ops.convert_to_tensor(integers, dtype)
        return ops.convert_to_tensor(self.random.uniform(-1, 1, full), dtype)


def _read(lookup: Any) -> list[str]:
    return [word for word in lookup.get_vocabulary() if isinstance(word, str)]
