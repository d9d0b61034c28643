"""`EinsumDense` whose kernel is blocks."""

import functools
import re
from dataclasses import dataclass
from typing import Any, Self

import keras
from keras import ops

from keras_moduli import _checks, _keras_arguments
from keras_moduli._registry import PACKAGE
from keras_moduli.connectivity._layout import BlockLayout, get_layout

Tensor = Any

# As Keras takes them, the axes left out before or behind.
_FORMS = re.compile(r"(\.*)([a-zA-Z]+)(\.*),([a-zA-Z]+)->(\.*)([a-zA-Z]+)(\.*)")
_DOTS = "..."
# Labels of the axes left out, which no equation has.
_LEFT_OUT = "0123456789"


@dataclass(frozen=True)
class MatrixProduct:
    """An einsum of inputs and a kernel that is a product of two matrices.

    Attributes:
        inputs: Labels of the inputs, "..." among them if axes are left out.
        kernel: Labels of the kernel.
        outputs: Labels of the outputs, as those of the inputs.
    """

    inputs: str
    kernel: str
    outputs: str

    @classmethod
    def of(cls, equation: str) -> Self:
        """Returns what an equation says.

        Raises:
            ValueError: If it is not the product of two matrices.
        """
        if not isinstance(equation, str):
            raise TypeError(
                "`equation` must be a string such as 'abc,cde->abde'. "
                f"Received: equation={_checks.shorten(equation)}"
            )
        match = _FORMS.fullmatch(equation)
        obstacle = "is none of one input and one kernel" if match is None else ""
        if match is not None:
            before, x, behind, kernel, before_y, y, behind_y = match.groups()
            obstacle = _find_obstacle(x, kernel, y)
            if (before, behind) != (before_y, behind_y) or (before and behind):
                obstacle = "leaves out other axes of the inputs than of the outputs"
        if match is None or obstacle:
            raise ValueError(f"the equation {equation!r} {obstacle}")
        return cls(before + x + behind, kernel, before_y + y + behind_y)

    @property
    def summed(self) -> str:
        """Labels of the axes that are summed over, in the order of the kernel."""
        return "".join(label for label in self.kernel if label in self.inputs)

    @property
    def kept(self) -> str:
        """Labels of the axes that outputs have from the kernel, in its order."""
        return "".join(label for label in self.kernel if label in self.outputs)

    @property
    def order(self) -> tuple[int, ...]:
        """The axes of the kernel in the order that makes it a matrix."""
        return tuple(self.kernel.index(label) for label in self.summed + self.kept)

    def label_axes(self, rank: int) -> tuple[str, str]:
        """Returns a label for each axis of inputs of a rank, and of their outputs."""
        left_out = _LEFT_OUT[: rank - len(self.inputs.replace(_DOTS, ""))]
        inputs, outputs = (
            labels.replace(_DOTS, left_out) for labels in (self.inputs, self.outputs)
        )
        return inputs, outputs


def _find_obstacle(x: str, kernel: str, y: str) -> str:
    """Returns why labels are not those of a product of matrices, or nothing."""
    if any(len(set(labels)) < len(labels) for labels in (x, kernel, y)):
        return "has an axis twice"
    for label in kernel:
        if (label in x) == (label in y):
            return f"has the kernel's axis {label!r} in inputs and outputs"
    for label in x:
        if label not in kernel + y:
            return f"sums over {label!r} without the kernel"
    if not set(kernel) & set(x) or not set(kernel) & set(y):
        return "is not a product of matrices"
    return ""


def _transpose(x: Tensor, labels: str, wanted: str) -> Tensor:
    axes = tuple(labels.index(label) for label in wanted)
    return x if labels == wanted else ops.transpose(x, axes)


@keras.saving.register_keras_serializable(PACKAGE)
class BlockSparseEinsumDense(keras.layers.Layer):
    """`keras.layers.EinsumDense` with a block-sparse kernel.

    Regularizers and constraints, which prediction does not have, are left out.

    Args:
        equation: As in `EinsumDense`, such as `"abc,cde->abde"`. Each axis of the kernel
            is one of the inputs or one of the outputs, never of both.
        output_shape: As in `EinsumDense`.
        layout: Where the blocks are: a `BlockLayout` of the kernel as a matrix, its rows
            the axes that are summed over, and its columns those that outputs keep.
        activation: As in `EinsumDense`.
        bias_axes: As in `EinsumDense`.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the equation is not a product of matrices, or an argument is out of
            range.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> layout = km.sparse.BlockLayout(64, 32, (16, 16), ((0,), (3,)))
        >>> shape = (None, 4, 8)
        >>> layer = km.sparse.BlockSparseEinsumDense("abc,cde->abde", shape, layout)
        >>> tuple(layer(np.ones((5, 6, 64))).shape)
        (5, 6, 4, 8)
    """

    def __init__(
        self,
        equation: str,
        output_shape: Any,
        layout: BlockLayout,
        activation: Any = None,
        bias_axes: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**_keras_arguments.check(super().__init__, **kwargs))
        self.layout = get_layout(layout)
        self.equation = equation
        try:
            self.product = MatrixProduct.of(equation)
        except ValueError as error:
            raise ValueError(f"No product of blocks by `equation`: {error}") from None
        self.partial_output_shape = _check_output_shape(output_shape)
        self.activation = _keras_arguments.resolve("activation", activation)
        self.bias_axes = _check_bias_axes(bias_axes, self.product)

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Adds the blocks and the bias."""
        inputs, outputs = self.product.label_axes(len(input_shape))
        output_shape = self.compute_output_shape(input_shape)
        before = dict(zip(inputs, input_shape, strict=True))
        after = dict(zip(outputs, output_shape, strict=True))
        self.kept_shape = tuple(after[label] for label in self.product.kept)
        sizes = [before[label] for label in self.product.summed]
        matrix = _multiply(sizes), _multiply(self.kept_shape)
        if matrix != (self.layout.rows, self.layout.columns):
            raise ValueError(
                f"The layout is one of {self.layout.rows} × {self.layout.columns}, and "
                f"the kernel is {matrix[0]} × {matrix[1]}, for input_shape={input_shape}"
            )
        self.blocks = self.add_weight(
            shape=self.layout.shape, initializer="zeros", name="blocks"
        )
        self.bias = None
        if self.bias_axes is not None:
            first = min(map(outputs.index, self.bias_axes))
            labels = outputs[first:]
            shape = [after[k] if k in self.bias_axes else 1 for k in labels]
            self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias")

    def call(self, inputs: Tensor) -> Tensor:
        """Returns activation(einsum(equation, inputs, kernel) + bias)."""
        labels, outputs = self.product.label_axes(len(inputs.shape))
        free = "".join(k for k in labels if k not in self.product.summed)
        x = _transpose(inputs, labels, free + self.product.summed)
        shape = ops.shape(x)[: len(free)]
        flat = ops.cast(ops.reshape(x, (-1, self.layout.rows)), self.compute_dtype)
        y = self.layout.product(flat, self.blocks)
        y = ops.reshape(y, (*shape, *self.kept_shape))
        y = _transpose(y, free + self.product.kept, outputs)
        # As Keras adds it, which on TensorFlow is not always as `+` would.
        return self.activation(y if self.bias is None else ops.add(y, self.bias))

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Returns what `EinsumDense` returns."""
        labels = self.product.inputs.replace(_DOTS, "")
        is_open = _DOTS in self.product.inputs
        if len(input_shape) < len(labels) or len(input_shape) > len(labels) + 9 * is_open:
            raise ValueError(
                f"The inputs of `equation={self.equation!r}` have {len(labels)} axes"
                f"{' or more' * is_open}. Received: input_shape={tuple(input_shape)}"
            )
        dense = keras.layers.EinsumDense(
            self.equation, self.partial_output_shape, name="dense"
        )
        try:
            return tuple(dense.compute_output_shape(input_shape))
        except IndexError:
            raise ValueError(
                f"`output_shape` is not that of `equation={self.equation!r}`. "
                f"Received: output_shape={self.partial_output_shape}"
            ) from None

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        return {
            **super().get_config(),
            "equation": self.equation,
            "output_shape": self.partial_output_shape,
            "layout": keras.saving.serialize_keras_object(self.layout),
            "activation": keras.activations.serialize(self.activation),
            "bias_axes": self.bias_axes,
        }


def _check_output_shape(value: Any) -> tuple[int | None, ...]:
    sizes = value if isinstance(value, tuple | list) else [value]
    if not sizes or value is None:
        raise TypeError(
            "`output_shape` must be a number or a shape, such as (None, 64). "
            f"Received: output_shape={value!r}"
        )
    size = functools.partial(_checks.integer, minimum=1)
    return tuple(_checks.optional(size, "output_shape", n) for n in sizes)


def _check_bias_axes(value: Any, product: MatrixProduct) -> str | None:
    known = product.outputs.replace(_DOTS, "")
    if value is not None and not (isinstance(value, str) and value):
        raise TypeError(
            f"`bias_axes` must be some of the labels {known!r} of the outputs, or None. "
            f"Received: bias_axes={_checks.shorten(value)}"
        )
    if value is not None and not set(value) <= set(known):
        raise ValueError(
            f"`bias_axes` must be some of the labels {known!r} of the outputs, or None. "
            f"Received: bias_axes={_checks.shorten(value)}"
        )
    return value


def _multiply(sizes: Any) -> int | None:
    """Returns a product, None if a size is not known."""
    product = 1
    for size in sizes:
        if size is None:
            return None
        product *= size
    return product
