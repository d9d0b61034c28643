"""Operations of `keras.ops` that treat each time step alike, by their exact type."""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
from keras import ops

from keras_moduli import _keras_private
from keras_moduli.sparse.streaming._values import (
    Arguments,
    Held,
    RefusalError,
    Result,
    Value,
    add_time,
    check_axes,
    check_constant,
    check_rank,
    fill,
    remove_time,
)

# Checks a call; returns whether its outputs are sequences.
Check = Callable[[Any, tuple[Any, ...], list[Value]], bool]

_ONE = (
    "abs absolute arccos arccosh arcsin arcsinh arctan arctanh bitwise_not celu ceil "
    "conjugate cos cosh deg2rad elu erf erfinv exp exp2 expm1 floor gelu hard_shrink "
    "hard_sigmoid hard_silu hard_swish hard_tanh imag isfinite isinf isnan leaky_relu "
    "log log10 log1p log2 log_sigmoid logical_not nan_to_num negative ones_like real "
    "reciprocal relu relu6 round rsqrt selu sigmoid sign silu sin sinh soft_shrink "
    "softplus softsign sparse_plus sparse_sigmoid sqrt square squareplus stop_gradient "
    "swish tan tanh tanh_shrink trunc zeros_like"
)
_TWO = (
    "add arctan2 bitwise_and bitwise_or bitwise_xor divide divide_no_nan equal "
    "floor_divide fmod greater greater_equal hypot less less_equal logaddexp logical_and "
    "logical_or logical_xor maximum minimum mod multiply not_equal power subtract "
    "true_divide"
)
_AXIS = (
    "all amax amin any argmax argmin argsort count_nonzero cumprod cumsum flip glu "
    "log_softmax logsumexp max mean median min prod softmax sort sparsemax std sum var"
)
_ACTIVATIONS = (
    "celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_tanh "
    "leaky_relu linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu "
    "soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid sparsemax "
    "squareplus tanh tanh_shrink threshold"
)


def _check_elementwise(operation: Any, args: tuple[Any, ...], given: list[Value]) -> bool:
    rank = check_rank(given)
    for constant in _list_constants(operation, args):
        check_constant(constant, rank)
    return True


def _check_axis(operation: Any, args: tuple[Any, ...], given: list[Value]) -> bool:
    check_axes(operation.axis, check_rank(given, at_least=3))
    _check_elementwise(operation, args, given)
    return True


def _check_new_axis(operation: Any, args: tuple[Any, ...], given: list[Value]) -> bool:
    check_axes(operation.axis, check_rank(given) + 1)
    return True


def _check_concatenation(
    operation: Any, args: tuple[Any, ...], given: list[Value]
) -> bool:
    if len(given) != len(args[0]):
        raise RefusalError("it joins constants to a sequence")
    check_axes(operation.axis, check_rank(given, at_least=3))
    return True


def _check_product(operation: Any, args: tuple[Any, ...], given: list[Value]) -> bool:
    """Of a sequence of vectors times a matrix."""
    matrix = args[1]
    if len(given) != 1 or isinstance(matrix, Value) or len(ops.shape(matrix)) > 2:
        raise RefusalError("it multiplies more than each time step by one matrix")
    check_rank(given, at_least=3)
    return True


def _check_key(operation: Any, args: tuple[Any, ...], given: list[Value]) -> bool:
    """Of a slice, which may be the latest step, too."""
    key, rank = args[1], given[0].rank
    key = list(key) if isinstance(key, tuple | list) else [key]
    if Ellipsis in key:
        at = key.index(Ellipsis)
        named = sum(part is not None for part in key) - 1
        key[at : at + 1] = [slice(None)] * (rank - named)
    key += [slice(None)] * (2 - len(key))
    if any(not isinstance(part, int | slice | None) for part in key):
        raise RefusalError("it takes what an array tells")
    if not _is_all(key[0]) or not (_is_all(key[1]) or key[1] == -1):
        raise RefusalError("it takes some of the time steps, or of the batch")
    return bool(key[1] != -1)


def _is_all(part: Any) -> bool:
    if not isinstance(part, slice):
        return False
    return part.start in (None, 0) and part.stop is None and part.step in (None, 1)


def _list_constants(operation: Any, args: Iterable[Any]) -> Iterator[Any]:
    yield from (arg for arg in args if not isinstance(arg, Value | str | None))
    yield from (v for v in vars(operation).values() if hasattr(v, "shape"))


@functools.cache
def find_checks() -> dict[type, Check]:
    """Returns what to check of each known type of operation.

    The types have no public names: they are those of what the public functions record.
    """
    x, y = (keras.KerasTensor(shape) for shape in ((1, 2, 4), (4, 4)))
    last = {"axis": -1}
    made = [(_check_elementwise, _try(ops, name, x)) for name in _ONE.split()]
    made += [(_check_elementwise, _try(ops, name, x, x)) for name in _TWO.split()]
    made += [(_check_axis, _try(ops, name, x, **last)) for name in _AXIS.split()]
    made += [
        (_check_elementwise, keras.activations.relu(x)),
        (_check_elementwise, ops.clip(x, 0.0, 1.0)),
        (_check_elementwise, ops.cast(x, "int32")),
        (_check_elementwise, ops.where(x, x, x)),
        (_check_elementwise, ops.threshold(x, 0.0, 0.0)),
        (_check_axis, ops.split(x, 2, -1)[0]),
        (_check_axis, ops.squeeze(keras.KerasTensor((1, 2, 1)), -1)),
        (_check_new_axis, ops.expand_dims(x, -1)),
        (_check_new_axis, ops.one_hot(keras.KerasTensor((1, 2), "int32"), 3)),
        (_check_product, ops.matmul(x, y)),
        (_check_concatenation, ops.concatenate([x, x])),
        (_check_key, x[:, :, :1]),
    ]
    return {
        type(_keras_private.find_call(tensor).operation): check
        for check, tensor in made
        if tensor is not None
    }


def _try(module: Any, name: str, *args: Any, **kwargs: Any) -> Any:
    """Returns what a function of this Keras gives, or None where it has none."""
    function = getattr(module, name, None)
    return None if function is None else function(*args, **kwargs)


@functools.cache
def _find_returning_inputs() -> frozenset[type]:
    """Returns the operations that may return the very tensor that they take."""
    x = keras.KerasTensor((1, 2, 4))
    made = (ops.cast(x, "int32"), ops.conjugate(x), ops.real(x), ops.stop_gradient(x))
    return frozenset(type(_keras_private.find_call(y).operation) for y in made)


@functools.cache
def find_activations() -> frozenset[Any]:
    """Returns the activations that are elementwise, or work along the last axis."""
    named = [getattr(keras.activations, name, None) for name in _ACTIVATIONS.split()]
    named += [getattr(ops, name, None) for name in _ONE.split()]
    return frozenset(function for function in named if function is not None)


def make_operation(operation: Any, template: Arguments, outputs: int) -> Result:
    """Returns how an operation on sequences runs on one time step.

    Args:
        operation: Of `keras.ops`.
        template: Positional and keyword arguments, with a `Value` for each tensor.
        outputs: How many tensors it returns.

    Raises:
        RefusalError: If it is not known to treat each time step alike.
    """
    args, kwargs = template
    given = [x for x in keras.tree.flatten(template) if isinstance(x, Value)]
    check = find_checks().get(type(operation))
    if check is None:
        raise RefusalError("it needs, or may need, more than one time step")
    is_sequence = check(operation, (*args, *kwargs.values()), given)
    is_masked = any(value.is_masked for value in given)
    if is_masked and type(operation) in _find_returning_inputs():
        raise RefusalError(
            "it may or may not lose the mask over time of its input, by the backend"
        )
    one_by_one = all(isinstance(arg, Value) for arg in args) and not kwargs

    def run(held: list[Held], state: Any) -> tuple[list[Held], Any]:
        tensors = [add_time(x) for x, _ in held]
        if one_by_one:
            made = operation(*tensors)
        else:
            new_args, new_kwargs = fill(template, tensors)
            made = operation(*new_args, **new_kwargs)
        made = keras.tree.flatten(made)
        return [(remove_time(x) if is_sequence else x, None) for x in made], state

    return Result(run, ((is_sequence, False),) * outputs)
