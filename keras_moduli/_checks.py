"""Argument checks: what was expected, what came, and what to type."""

import functools
import inspect
import math
import numbers
import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., Any])

MOST = 2**63 - 1  # what a size, a seed or a count can be anywhere
MOST_DIMENSIONS = 4096
MOST_FACTORS = 16  # of a product, different ones: each a formula to compile
_FLOAT32 = np.finfo(np.float32)  # in which most numbers are put to use


def real(name: str, value: Any, *, minimum: float = -math.inf) -> float:
    """`value` as a finite Python float that is at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"`{name}` must be a number. Received: {name}={shorten(value)}")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        number = math.inf
    if not abs(number) <= float(_FLOAT32.max) or number < minimum:
        bound = "" if minimum == -math.inf else f" and at least {minimum:g}"
        raise ValueError(
            f"`{name}` must be finite{bound}, in float32. "
            f"Received: {name}={shorten(value)}"
        )
    return number


def positive(name: str, value: Any) -> float:
    """`value` as a finite Python float above 0, also in float32."""
    value = real(name, value, minimum=0.0)
    if 0 < value < float(_FLOAT32.tiny):
        raise ValueError(
            f"`{name}` must be at least {_FLOAT32.tiny:.3g}, as float32 takes less for 0."
            f" Received: {name}={value!r}"
        )
    if value == 0:
        raise ValueError(f"`{name}` must be above 0. Received: {name}={shorten(value)}")
    return value


def integer(
    name: str, value: Any, *, minimum: int, maximum: int = MOST, hint: str = ""
) -> int:
    """`value` as a Python int from `minimum` to `maximum`; `hint` says what to type."""
    try:
        if isinstance(value, bool):
            raise TypeError
        value = operator.index(value)
    except TypeError:
        raise TypeError(
            f"`{name}` must be an integer. Received: {name}={shorten(value)}"
        ) from None
    if value < minimum:
        raise ValueError(
            f"`{name}` must be at least {minimum}. Received: {name}={shorten(value)}"
        )
    if value > maximum:
        raise ValueError(
            f"`{name}` must be at most {maximum}{hint and f': {hint}'}. "
            f"Received: {name}={shorten(value)}"
        )
    return value


def dimension(name: str, value: Any) -> int:
    """`value` as the dimension of a manifold, whose distances are to be paid for."""
    return integer(name, value, minimum=1, maximum=MOST_DIMENSIONS)


def power(name: str, value: Any) -> int:
    """`value` as a power of |w|."""
    hint = "of higher ones nothing is left in float32; 1 is the paper's, 2 as in L2"
    return integer(name, value, minimum=1, maximum=64, hint=hint)


def pair(name: str, value: Any, example: str) -> tuple[int, int]:
    """`value` as two Python ints that are at least 1; `example` says what to type."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(
            f"`{name}` must be a pair of integers, such as {example}. "
            f"Received: {name}={shorten(value)}"
        )
    first, second = (integer(name, part, minimum=1) for part in value)
    return first, second


def shape(name: str, value: Any) -> tuple[int, ...]:
    """`value` as a shape: a tuple of Python ints that are at least 1."""
    if not isinstance(value, tuple | list) or not value:
        raise TypeError(
            f"`{name}` must be a shape, such as (8, 8). Received: {name}={shorten(value)}"
        )
    return tuple(integer(name, size, minimum=1) for size in value)


def seed(name: str, value: Any) -> int:
    """`value` as a seed of `numpy.random.RandomState`."""
    value = integer(name, value, minimum=0)
    if value >= 2**32:
        raise ValueError(
            f"`{name}` must be below 2**32. Received: {name}={shorten(value)}"
        )
    return value


def fraction(name: str, value: Any) -> float:
    """`value` as a Python float strictly between 0 and 1."""
    value = positive(name, value)
    if value >= 1:
        raise ValueError(f"`{name}` must be below 1. Received: {name}={shorten(value)}")
    return value


def finite_weights(variables: Iterable[Any], reader: str) -> None:
    """Raises a ValueError if weights are NaN or infinite, which nobody can rank.

    Args:
        variables: The weights, or what an optimizer keeps of them.
        reader: Who wants to rank them, the subject of a sentence.
    """
    if found := [text for v in variables if (text := _count_not_finite(v))]:
        raise ValueError(
            f"{reader} and some numbers are not finite: {', '.join(found)}. Training "
            "has diverged before. Lower the learning rate or type `clipnorm=1.0` in the "
            "optimizer; `keras.callbacks.TerminateOnNaN()` stops `fit` where it happens."
        )


def _count_not_finite(variable: Any) -> str:
    values = ops.convert_to_numpy(variable.value)
    if not (bad := int(values.size - np.isfinite(values).sum())):
        return ""
    nan = int(np.isnan(values).sum())
    kind = "NaN" if nan == bad else "infinite" if not nan else f"{nan} of them NaN"
    return f"{bad:,} of {values.size:,} of {variable.path!r} ({kind})"


def boolean(name: str, value: Any) -> bool:
    """`value`, True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(
            f"`{name}` must be True or False. Received: {name}={shorten(value)}"
        )
    return bool(value)


def choice(name: str, value: Any, allowed: tuple[str, ...]) -> str:
    """`value`, one of the strings in `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(
            f"`{name}` must be one of {list(allowed)}. Received: {name}={shorten(value)}"
        )
    return value


def label(name: str, value: Any) -> str:
    """`value` as a name of a variable, from which Keras and PyTorch make paths."""
    if not isinstance(value, str) or not value or set(value) & set("./"):
        kind = ValueError if isinstance(value, str) else TypeError
        raise kind(
            f"`{name}` must be a string such as 'embedding', without '/' and '.'. "
            f"Received: {name}={shorten(value)}"
        )
    return value


def optional(check: Callable[[str, Any], Any], name: str, value: Any) -> Any:
    """`value` as another check returns it, or None as it is."""
    return None if value is None else check(name, value)


def built_model(value: Any) -> keras.Model:
    """`value`, a Keras model that has its weights."""
    if not isinstance(value, keras.Model):
        raise TypeError(f"Expected a keras.Model. Received: {shorten(value)}")
    if not value.weights:
        raise ValueError(
            f"Model {value.name!r} has no weights yet. Build it first, by "
            "`model.build(input_shape)` or by calling it on a batch."
        )
    return value


def has_weights(model: keras.Model | None) -> bool:
    """Whether there is anything in a model yet; None, of which nobody knows, counts."""
    return model is None or bool(model.weights)


def is_built(model: keras.Model) -> bool:
    """Whether a model has all its weights: also one that has only a `train_step`."""
    parts = model.layers
    return bool(model.built or (parts and all(layer.built for layer in parts)))


def array(value: Any, name: str = "points") -> NDArray[np.float64]:
    """A new float64 array of a list, an array, or a tensor of any backend.

    Lists and arrays never become tensors, which inside a compiled step have no values.
    """
    try:
        if not isinstance(value, np.ndarray | list | tuple):
            value = ops.convert_to_numpy(value)
        if np.asarray(value).dtype.kind in "SUcMm":  # which NumPy would read as numbers
            raise TypeError
        return np.array(value, np.float64)
    except (AttributeError, OverflowError, TypeError, ValueError):
        raise TypeError(_explain_not_numbers(name, value)) from None


def tensor(value: Any, name: str) -> Any:
    """`value` as a tensor of the backend."""
    try:
        return ops.convert_to_tensor(value)
    except (AttributeError, OverflowError, RuntimeError, TypeError, ValueError):
        raise TypeError(_explain_not_numbers(name, value)) from None


def takes_tensors(*axes: int) -> Callable[[F], F]:
    """Returns a decorator that checks the first arguments of a function of tensors.

    Args:
        *axes: How many axes each has at least.
    """

    def decorate(function: F) -> F:
        names = [*inspect.signature(function).parameters][: len(axes)]

        @functools.wraps(function)
        def checked(*values: Any, **keywords: Any) -> Any:
            given = list(values)
            for number, (name, least) in enumerate(zip(names, axes, strict=True)):
                if number < len(given):
                    given[number] = _real_tensor(given[number], name, least)
                elif name in keywords:
                    keywords[name] = _real_tensor(keywords[name], name, least)
            return function(*given, **keywords)

        return checked  # type: ignore[return-value]

    return decorate


def _real_tensor(value: Any, name: str, least: int) -> Any:
    if not keras.ops.is_tensor(value):
        is_known = hasattr(value, "shape") and hasattr(value, "dtype")
        if not is_known or isinstance(value, np.ndarray | np.generic):
            value = tensor(value, name)
    if str(value.dtype).startswith(("complex", "torch.complex")):
        raise TypeError(f"`{name}` must hold real numbers. Received: {value.dtype}")
    if len(value.shape) < least:
        raise ValueError(
            f"`{name}` must have at least {least} axes. "
            f"Received: {name}.shape={tuple(value.shape)}"
        )
    return value


def _explain_not_numbers(name: str, value: Any) -> str:
    return (
        f"`{name}` must be a tensor, an array or nested lists of numbers. "
        f"Received: {name}={shorten(value)} (of type {type(value).__name__})"
    )


def shorten(value: Any) -> str:
    """Returns the repr of what came, or the start of a long one."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return "a very large integer"
    return text if len(text) <= 60 else f"{text[:57]}..."
