"""Which weights to prune, and why the others are left alone."""

import difflib
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from keras_moduli import _checks, _keras_private
from keras_moduli.connectivity import find_kernel, get_dense_shape
from keras_moduli.layers._wrapper import count_summed_axes
from keras_moduli.pruning import _geometry

Variable = Any
Choice = str | Sequence[str] | Callable[[Variable], bool]
Select = Choice | dict[str, float] | None

# The names that Keras's layers give to what they multiply by.
_KERNELS = ("kernel", "embeddings")
_NORMALIZATION = ("gamma", "beta", "scale", "moving_mean", "moving_variance")


def is_kernel(variable: Variable) -> bool:
    """Whether a weight is blocks, or named as what a layer multiplies by."""
    if find_kernel(variable) is not None:
        return True
    return variable.name.endswith(_KERNELS) and len(variable.shape) >= 2


def is_integer(variable: Variable) -> bool:
    """Whether a weight counts or points somewhere, as the indices of blocks do."""
    return "int" in keras.backend.standardize_dtype(variable.dtype)


_NAMED: dict[str, Callable[[Variable], bool]] = {
    "kernels": is_kernel,
    "recurrent": lambda v: v.name.endswith("recurrent_kernel"),
}


class Skipped(NamedTuple):
    """A weight that pruning leaves alone.

    Attributes:
        path: Path of the variable.
        label: The path, or what a report makes of it.
        shape: Its shape.
        reason: Why.

    Examples:
        >>> import keras_moduli as km
        >>> km.pruning.Skipped("dense/bias", "dense/bias", (3,), "bias").reason
        'bias'
    """

    path: str
    label: str
    shape: tuple[int, ...]
    reason: str


def check_select(select: Any) -> Select:
    """Returns `select` of `MagnitudePruning`, if it has a legal form."""
    if select is None or callable(select):
        return select
    if isinstance(select, dict):
        for pattern, value in select.items():
            _check_pattern(pattern)
            if not 0 <= _checks.real(f"select[{pattern!r}]", value) < 1:
                raise ValueError(
                    f"`select[{pattern!r}]` is the fraction of weights set to zero, in "
                    f"[0, 1). Received: {_checks.shorten(value)}"
                )
        return select
    patterns = [select] if isinstance(select, str) else select
    if not isinstance(patterns, list | tuple) or not patterns:
        raise TypeError(
            "`select` must be 'kernels', 'recurrent', a regular expression over variable "
            "paths or a list of them, a function of a variable such as "
            "`lambda v: v.name == 'recurrent_kernel'`, or a dict from regular expression "
            f"to final sparsity. Received: select={_checks.shorten(select)}"
        )
    for pattern in patterns:
        _check_pattern(pattern)
    return select


def _check_pattern(pattern: Any) -> None:
    if not isinstance(pattern, str):
        raise TypeError(
            "`select` must name variables by strings, regular expressions over their "
            f"paths. Received: {pattern!r}"
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"`select` has a malformed regular expression: {error}. Received: {pattern!r}"
        ) from None


def prunable_variables(model: keras.Model, select: Select = None) -> list[Variable]:
    """Returns the weights of a model that pruning would choose.

    Args:
        model: A built Keras model.
        select: As in `MagnitudePruning`.

    Returns:
        List of `keras.Variable`, in the order of `model.trainable_variables`.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the model is not built, nothing is selected, a pattern matches
            nothing, or two entries of a dict match the same variable.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> [v.name for v in km.pruning.prunable_variables(model)]
        ['kernel']
    """
    return [variable for variable, _ in find_sparsities(model, select)]


def find_sparsities(
    model: keras.Model, select: Select
) -> list[tuple[Variable, float | None]]:
    """Returns the chosen weights, with the sparsities that `select` gives, if it does."""
    variables = _checks.built_model(model).trainable_variables
    if select is None or callable(select):
        chosen: list[tuple[Variable, float | None]]
        matches = select or is_kernel
        chosen = [(v, None) for v in variables if 0 not in v.shape and matches(v)]
    else:
        embeddings = _identify_embeddings(model)
        legal = [v for v in variables if _explain_never(v, embeddings) is None]
        chosen = _match(select, legal, model)
    if not chosen:
        raise ValueError(
            "Nothing to prune: no trainable variable is selected. The model has "
            f"{[v.path for v in variables]}. Pass `select=`, a function of a variable."
        )
    return chosen


def _match(
    select: Any, variables: list[Variable], model: keras.Model
) -> list[tuple[Variable, float | None]]:
    patterns = [select] if isinstance(select, str) else select
    matching: dict[int, str] = {}  # by index: variables compare by their values
    for pattern in patterns:
        matches = _make_matcher(pattern, model)
        indices = [i for i, v in enumerate(variables) if matches(v)]
        if not indices:
            raise ValueError(_describe_no_match(pattern, [v.path for v in variables]))
        twice = next((i for i in indices if i in matching), None)
        if isinstance(select, dict) and twice is not None:
            raise ValueError(
                f"`select` gives two sparsities to {variables[twice].path!r}, which both "
                f"{matching[twice]!r} and {pattern!r} match. Make one of them narrower; "
                "`$` ends a path."
            )
        matching |= dict.fromkeys(indices, pattern)
    values = select if isinstance(select, dict) else {}
    return [(variables[i], values.get(matching[i])) for i in sorted(matching)]


def _make_matcher(pattern: str, model: keras.Model) -> Callable[[Variable], bool]:
    if pattern in _NAMED:
        return _NAMED[pattern]
    search = re.compile(pattern).search
    return lambda v: any(map(search, (v.path, shorten_path(v.path, model))))


def shorten_path(path: str, model: keras.Model) -> str:
    """Returns a path without what all repeat: the model, and a layer's own cell."""
    path = path.removeprefix(f"{model.name}/")
    own = r"(?<=/)(?<!stacked_rnn_cells/)((simple_rnn|gru|lstm)_)?cell/"
    return re.sub(own, "", path)


def _describe_no_match(pattern: str, paths: list[str]) -> str:
    near = difflib.get_close_matches(pattern, paths, n=3, cutoff=0.0)
    return (
        f"`select` matches no weight that can be pruned: {pattern!r} is found in no "
        f"path. The nearest paths are {near}."
    )


def list_skipped(model: keras.Model, chosen: Sequence[Variable]) -> tuple[Skipped, ...]:
    """Returns the weights of a model that are not among the chosen, with the reasons.

    Args:
        model: A built Keras model.
        chosen: What is pruned.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
        >>> chosen = km.pruning.prunable_variables(model)
        >>> [(s.shape, s.reason) for s in km.pruning.list_skipped(model, chosen)]
        [((3,), 'bias')]
    """
    taken = {id(v) for v in chosen}
    embeddings = _identify_embeddings(model)
    return tuple(
        Skipped(v.path, v.path, tuple(v.shape), _explain(v, embeddings))
        for v in model.weights
        if id(v) not in taken and math.prod(v.shape) > 1
    )


def _explain(variable: Variable, embeddings: set[int]) -> str:
    if (reason := _explain_never(variable, embeddings)) is not None:
        return reason
    if not is_kernel(variable):
        return "not named as a kernel: choose it by `select`"
    return "not trainable" if not variable.trainable else "not selected"


def _identify_embeddings(model: keras.Model) -> set[int]:
    return {id(variable) for variable in _geometry.list_embeddings(model)}


def _explain_never(variable: Variable, embeddings: set[int]) -> str | None:
    """Returns why no pattern selects this weight, whatever it matches."""
    if id(variable) in embeddings:
        return "positions of neurons"
    if "bias" in variable.name:
        return "bias"
    if variable.name in _NORMALIZATION:
        return "normalization"
    if len(variable.shape) < 2:
        return "has one axis"
    if 0 in variable.shape:
        return "is empty"
    return "integers, as where blocks lie" if is_integer(variable) else None


# Kernels in which outputs stand before inputs, or with them.
_OUTPUTS_FIRST = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)


def count_input_axes(model: keras.Model) -> dict[int, int]:
    """Returns how many leading axes of kernels are inputs, by the `id` of the variable.

    0 if inputs do not stand first; no entry where all axes but the last are.
    """
    axes: dict[int, int] = {}
    for layer in _keras_private.iterate_layers(model):
        kernel = getattr(layer, "kernel", None)
        if not isinstance(kernel, keras.Variable):
            continue
        if isinstance(layer, keras.layers.EinsumDense):
            axes[id(kernel)] = count_summed_axes(layer.equation)
        elif isinstance(layer, _OUTPUTS_FIRST):
            axes[id(kernel)] = 0
    return axes


def count_gates(model: keras.Model) -> dict[int, int]:
    """Returns how many gates kernels have side by side, by the `id` of the variable.

    3 in a GRU, 4 in an LSTM; no entry of what has none. A recurrent kernel has units in
    its last axis but one and gates · units in the last, also in ConvLSTM; the input
    kernel of the same layer or cell is as wide.
    """
    gates: dict[int, int] = {}
    for layer in _keras_private.iterate_layers(model):
        recurrent = getattr(layer, "recurrent_kernel", None)
        if not isinstance(recurrent, keras.Variable) or len(recurrent.shape) < 2:
            continue
        *_, units, width = get_dense_shape(recurrent)
        if not units:
            continue
        for kernel in (recurrent, getattr(layer, "kernel", None)):
            if (
                isinstance(kernel, keras.Variable)
                and get_dense_shape(kernel)[-1] == width
            ):
                gates[id(kernel)] = 1 if width % units else width // units
    return gates
