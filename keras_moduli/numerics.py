"""Roots, norms and angles whose gradients are finite everywhere.

The only file that knows about singular gradients; write manifolds and inhibitors of your
own on it. Every function takes and returns tensors of any backend and any floating type.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _checks

__all__ = [
    "absolute",
    "angle",
    "expm",
    "line_angle",
    "norm",
    "normalize",
    "sqrt",
    "squared_norm",
    "wrap",
]

Tensor = Any


@_checks.takes_tensors(0)
def absolute(x: Tensor) -> Tensor:
    """|x| with derivative 0 at 0 on every backend.

    `ops.abs` has derivative 1 at 0 on JAX, where it would revive pruned weights.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the same shape.

    Raises:
        TypeError: If `x` does not hold real numbers.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.numerics.absolute(-2.0))
        2.0
    """
    return x * ops.stop_gradient(ops.sign(x))


@_checks.takes_tensors(0)
def sqrt(x: Tensor) -> Tensor:
    """√x for x ≥ 0 with derivative 0 at 0; of NaN, NaN.

    Args:
        x: Tensor of any shape.

    Returns:
        Tensor of the same shape, 0 where x is negative.

    Raises:
        TypeError: If `x` does not hold real numbers.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.numerics.sqrt(9.0))
        3.0
    """
    positive = x > 0
    # Both branches of a `where` are differentiated, so the inner one must be safe too.
    return ops.where(positive, ops.sqrt(ops.where(positive, x, ops.ones_like(x))), 0 * x)


@_checks.takes_tensors(1)
def squared_norm(x: Tensor) -> Tensor:
    """Σᵢ xᵢ² over the last axis.

    Args:
        x: Tensor of shape (..., n).

    Returns:
        Tensor of shape (...).

    Raises:
        TypeError: If `x` does not hold real numbers.
        ValueError: If it has no axis.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.numerics.squared_norm([3.0, 4.0]))
        25.0
    """
    size = x.shape[-1]
    if not (ops.is_tensor(x) and 0 < size <= 4):
        return ops.sum(ops.square(x), axis=-1)
    # Written out: a reduction over a short last axis is not vectorized.
    return sum(map(ops.square, ops.unstack(x, num=size, axis=-1)))


@_checks.takes_tensors(1)
def norm(x: Tensor) -> Tensor:
    """‖x‖ over the last axis, with gradient 0 at 0.

    Args:
        x: Tensor of shape (..., n).

    Returns:
        Tensor of shape (...).

    Raises:
        TypeError: If `x` does not hold real numbers.
        ValueError: If it has no axis.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.numerics.norm([3.0, 4.0]))
        5.0
    """
    return sqrt(squared_norm(x))


@_checks.takes_tensors(1)
def normalize(x: Tensor) -> Tensor:
    """x/‖x‖ over the last axis; the origin, which has no direction, goes to e₀.

    Args:
        x: Tensor of shape (..., n).

    Returns:
        Tensor of the same shape, of unit vectors.

    Raises:
        TypeError: If `x` does not hold real numbers.
        ValueError: If it has no axis.

    Examples:
        >>> import keras_moduli as km
        >>> unit = km.numerics.normalize([[0.0, 2.0], [0.0, 0.0]])
        >>> float(unit[0, 1]), float(unit[1, 0])
        (1.0, 1.0)
    """
    # Scaled first: squares of what is beyond 1e19 are infinite in float32, and 0 of what
    # is below 1e-23; in float16 they are so soon.
    far = 1.0 if keras.backend.standardize_dtype(x.dtype) == "float16" else 1e9
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=-1, keepdims=True))
    scaled = (largest > far) | ((largest < 1 / far) & (largest > 0))
    x = x / ops.where(scaled, largest, ops.ones_like(largest))
    length = norm(x)[..., None]
    at_origin = length == 0
    pole = ops.convert_to_tensor(np.eye(1, x.shape[-1])[0], x.dtype)
    return ops.where(at_origin, pole, x / ops.where(at_origin, 1.0, length))


@_checks.takes_tensors(1, 1)
def angle(x: Tensor, y: Tensor) -> Tensor:
    """The angle in [0, π] between unit vectors.

    2·atan2(‖x−y‖, ‖x+y‖) is exact to rounding at every angle; arccos⟨x, y⟩ reads 0
    below 1e-4 and has no derivative at 0 and π.

    Args:
        x: Tensor of shape (..., n), of unit vectors.
        y: The same, of a shape that broadcasts with that of `x`.

    Returns:
        Tensor of the broadcast shape without its last axis, in radians.

    Raises:
        TypeError: If one does not hold real numbers.
        ValueError: If one has no axis.

    Examples:
        >>> import keras_moduli as km
        >>> round(float(km.numerics.angle([1.0, 0.0], [0.0, 1.0])), 4)
        1.5708
    """
    return 2.0 * ops.arctan2(norm(x - y), norm(x + y))


@_checks.takes_tensors(1, 1)
def line_angle(x: Tensor, y: Tensor) -> Tensor:
    """The angle in [0, π/2] between the lines through unit vectors x and y.

    Args:
        x: Tensor of shape (..., n), of unit vectors.
        y: The same, of a shape that broadcasts with that of `x`.

    Returns:
        Tensor of the broadcast shape without its last axis, in radians.

    Raises:
        TypeError: If one does not hold real numbers.
        ValueError: If one has no axis.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.numerics.line_angle([1.0, 0.0], [-1.0, 0.0]))  # the same line
        0.0
    """
    difference, total = norm(x - y), norm(x + y)
    return 2.0 * ops.arctan2(
        ops.minimum(difference, total), ops.maximum(difference, total)
    )


@_checks.takes_tensors(0)
def wrap(x: Tensor, period: float | Tensor) -> Tensor:
    """The representative of x modulo `period` that lies in [−period/2, period/2].

    Args:
        x: Tensor of any shape.
        period: Above 0: a number, or a tensor of a shape that broadcasts with that of
            `x`.

    Returns:
        Tensor of the broadcast shape.

    Raises:
        TypeError: If `x` does not hold real numbers.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.numerics.wrap(8.0, 10.0))
        -2.0
    """
    return x - period * ops.stop_gradient(ops.round(x / period))


@_checks.takes_tensors(2)
def expm(matrix: Tensor) -> Tensor:
    """The matrix exponential Σ Aᵏ/k!, over the last two axes, differentiable.

    Scaling and squaring with a Taylor polynomial: exp(A) = exp(A/2ˢ)^(2ˢ). The norm that
    sets s is not known when a step is compiled, so all squarings are there and those
    beyond s are passed over. Good to float rounding for ‖A‖₁ up to 2⁹.

    Args:
        matrix: A, of shape (..., n, n).

    Returns:
        Tensor of the same shape.

    Raises:
        TypeError: If `matrix` does not hold real numbers.
        ValueError: If it has less than two axes.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.numerics.expm([[0.0, 1.0], [0.0, 0.0]])[0, 1])
        1.0
    """
    norm_1 = ops.max(ops.sum(ops.abs(ops.stop_gradient(matrix)), axis=-2))
    squarings = ops.ceil(ops.log2(ops.maximum(norm_1, 0.5)) + 1.0)
    scaled = matrix / ops.power(ops.cast(2.0, matrix.dtype), squarings)
    identity = ops.eye(matrix.shape[-1], dtype=matrix.dtype)
    result = identity + scaled / _TAYLOR_TERMS
    for k in range(_TAYLOR_TERMS - 1, 0, -1):  # Horner
        result = identity + ops.matmul(scaled, result) / k
    for step in range(_MOST_SQUARINGS):
        result = ops.where(step < squarings, ops.matmul(result, result), result)
    return result


_TAYLOR_TERMS = 8  # (1/2)⁹/9! is below the rounding of float32
_MOST_SQUARINGS = 10
