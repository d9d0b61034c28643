"""Constraints of Keras, as blocks take them."""

from typing import Any

import keras
from keras import ops

from keras_moduli.connectivity._kernel import BlockKernel

Tensor = Any

_NORMS = (
    keras.constraints.MaxNorm,
    keras.constraints.MinMaxNorm,
    keras.constraints.UnitNorm,
)
_ELEMENTWISE = (keras.constraints.NonNeg,)
# Axes of (inputs, outputs), and of blocks.
_AXES = {(0,): 2, (0, 1): [0, 1, 2]}


def adapt_constraint(kernel: BlockKernel) -> None:
    """Makes the constraint of a kernel mean of its blocks what it means of the dense one.

    Those of Keras that bound the norm of what reaches each output, which is `axis=0` of
    (inputs, outputs), bound it along the last axis of the blocks (J, c, K·b).

    Args:
        kernel: Of which the weights have the constraint that the user gave.

    Raises:
        ValueError: If blocks cannot tell what the constraint wants to know.

    Examples:
        >>> import keras_moduli as km
        >>> rule = km.connectivity.Random(density=1 / 4, block=(8, 8))
        >>> layer = km.layers.SparseDense(
        ...     32, connectivity=rule, kernel_constraint="max_norm"
        ... )
        >>> layer.build((None, 32))
        >>> layer.kernel.constraint.axis  # `build` has adapted it
        2
    """
    constraint = kernel.weights.constraint
    if constraint is None or type(constraint) in _ELEMENTWISE:
        return
    if type(constraint) not in _NORMS or _list_axes(constraint) not in _AXES:
        raise ValueError(_refuse(constraint))
    config = constraint.get_config() | {"axis": _AXES[_list_axes(constraint)]}
    adapted = type(constraint).from_config(config)
    kernel.weights.constraint = _Inside(adapted, kernel) if kernel.sticks_out else adapted


def _list_axes(constraint: Any) -> tuple[int, ...]:
    axis = constraint.axis
    axes = axis if isinstance(axis, list | tuple) else [axis]
    return tuple(sorted(int(a) % 2 for a in axes))


def _refuse(constraint: Any) -> str:
    name = type(constraint).__name__
    if type(constraint) in _NORMS:
        name += f"(axis={constraint.axis})"
    return (
        f"{name} cannot be told of a kernel of which only blocks exist. Expected NonNeg, "
        "or MaxNorm, MinMaxNorm or UnitNorm with `axis=0`, what reaches each output, or "
        "`axis=[0, 1]`, all. Another one, of blocks (columns of blocks, outputs, inputs),"
        " can be given to the weight when the layer is built, and again when it is "
        "loaded, since no config has it: `layer.recurrent_kernel.constraint = ...`, "
        "or `layer.kernel.constraint` of a SparseDense."
    )


class _Inside(keras.constraints.Constraint):
    """A constraint that sees no weights beyond the edge of a kernel."""

    def __init__(self, constraint: Any, kernel: BlockKernel) -> None:
        self.constraint = constraint
        self.kernel = kernel

    def __call__(self, weights: Tensor) -> Tensor:
        """Returns the weights, zero beyond the edge."""
        weights = ops.convert_to_tensor(weights)
        return self.constraint(self.kernel.cut(weights))
