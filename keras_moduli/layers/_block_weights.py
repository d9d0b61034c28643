"""Weights that are blocks, in the place of those that Keras's layers add."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _backend, connectivity, regularizers
from keras_moduli.connectivity import BlockKernel, BlockLayout
from keras_moduli.connectivity._kernel import add_extension
from keras_moduli.connectivity._layout import to_columns, to_rows

Tensor = Any
Variable = Any


def add_blocks(
    add_weight: Callable[..., Variable],
    rule: connectivity.Connectivity,
    shape: tuple[int, int],
    gates: int = 1,
    recurrent: bool = False,
    **kwargs: Any,
) -> tuple[Variable, Variable]:
    """Adds a weight of blocks, and one of where they are.

    Args:
        add_weight: Of the layer that they belong to.
        rule: How the kernel is connected.
        shape: Of the dense kernel, (rows, gates · units).
        gates: How many kernels lie beside each other.
        recurrent: Whether the inputs are the neurons themselves.
        **kwargs: What else the layer says of the dense kernel.

    Returns:
        The variables of the blocks (J, c, K·b) and of their rows (J, K).
    """
    rows, columns = shape
    layout = rule.connect(rows, columns // gates, gates=gates, recurrent=recurrent)
    if (layout.rows, layout.columns) != (rows, columns):
        raise ValueError(
            f"The connectivity is of a kernel of {layout.rows} × {layout.columns}; this "
            f"one is of {rows} × {columns}. Received: connectivity={rule!r}"
        )
    kwargs["initializer"] = _adapt_initializer(kwargs.get("initializer"), layout, gates)
    weights = add_weight(shape=layout.shape, **kwargs)
    indices = add_weight(
        name=f"{kwargs['name']}_indices",
        shape=(layout.shape[0], len(layout.indices[0])),
        initializer=lambda shape, dtype=None: ops.convert_to_tensor(
            np.array(layout.indices),
            "int32",  # without, JAX under bfloat16 makes floats
        ),
        dtype="int32",
        trainable=False,
    )
    kernel = BlockKernel(
        weights, indices, rows, columns, layout.block, gates, rule, recurrent
    )
    kernel.attach()
    regularizers.charge_blocks(kernel)
    connectivity.adapt_constraint(kernel)
    return weights, indices


class BlockProduct:
    """The product with a kernel of blocks, as steps of one call take it.

    Args:
        weights: Blocks (J, c, K·b), as tensor or variable.
        indices: Rows of blocks (J, K).
        kernel: What is known of them.
        batch: Size of the batch, for which 1 has a form of its own.
        first: Columns of blocks from here,
        last: to here.
    """

    def __init__(
        self,
        weights: Tensor,
        indices: Tensor,
        kernel: BlockKernel,
        batch: Any,
        first: int = 0,
        last: int | None = None,
    ) -> None:
        height = kernel.block[0]
        down = -(-kernel.rows // height)
        self.rows = kernel.rows
        self.excess = down * height - kernel.rows
        self.is_vector = _backend.is_known_to_be_one(batch)
        columns = slice(first, last)
        weights = ops.convert_to_tensor(weights)
        indices = ops.convert_to_tensor(indices)
        weights, indices = add_extension(kernel, weights, indices)
        if first or last is not None:
            weights, indices = weights[columns], indices[columns]
        count = weights.shape[0] * weights.shape[1]
        self.columns = min(count, kernel.columns - first * weights.shape[1])
        self.sites = _backend.locate_blocks(indices, down, height, self.is_vector)
        turned = self.is_vector
        self.operand = ops.transpose(weights, (0, 2, 1)) if turned else weights

    def __call__(self, x: Tensor) -> Tensor:
        """Returns columns (columns, batch) or a vector, of (rows, batch) or a vector."""
        if x.shape[0] != self.rows:
            raise ValueError(
                f"The kernel has {self.rows} inputs. Received: {x.shape[0]} of them"
            )
        if self.excess:
            x = ops.pad(x, ((0, self.excess), *[(0, 0)] * (len(x.shape) - 1)))
        if self.is_vector:
            y = _backend.multiply_vector(x, self.operand, self.sites)
        else:
            y = _backend.multiply_blocks(x, self.operand, self.sites)
        y = _backend.name_product(y)
        return y if y.shape[0] == self.columns else y[: self.columns]


def multiply_rows(x: Tensor, weights: Variable, indices: Variable) -> Tensor:
    """Returns x @ kernel, of rows (..., rows)."""
    kernel = connectivity.find_kernel(weights)
    assert kernel is not None
    weights = ops.convert_to_tensor(weights)
    x = ops.cast(x, weights.dtype)  # integers, such as Keras's layers take too
    if x.shape[-1] != kernel.rows:
        raise ValueError(
            f"The kernel has {kernel.rows} inputs. Received: {x.shape[-1]} features"
        )
    sizes = x.shape[:-1]  # of an empty batch, -1 would be of any size
    is_known = all(isinstance(size, int) for size in sizes)
    flat = ops.reshape(x, (math.prod(sizes) if is_known else -1, kernel.rows))
    batch = flat.shape[0]
    product = BlockProduct(weights, indices, kernel, batch)
    y = to_rows(product(to_columns(flat, batch)), batch)
    return ops.reshape(y, (*ops.shape(x)[:-1], kernel.columns))


def _adapt_initializer(initializer: Any, layout: BlockLayout, gates: int) -> Any:
    """Returns an initializer of blocks that keeps the scale which one of kernels keeps.

    A neuron of blocks has fewer inputs, and reaches fewer outputs, than one of all.
    """
    initializer = keras.initializers.get(initializer)
    if initializer is None:
        return None
    kinds: dict[type, Any] = {
        keras.initializers.VarianceScaling: _scale_variance,
        keras.initializers.Orthogonal: _draw_orthogonal,
        keras.initializers.Identity: _place_identity,
    }
    found = (draw for kind, draw in kinds.items() if isinstance(initializer, kind))
    draw = next(found, _draw_each)

    def initialize(shape: Any, dtype: Any = None) -> Tensor:
        blocks = draw(initializer, layout, dtype)
        if layout.inside.all():
            return blocks
        # What sticks out of the kernel is no connection, and has no gradient.
        return ops.where(layout.inside, blocks, ops.zeros_like(blocks))

    return initialize


def _draw_each(initializer: Any, layout: BlockLayout, dtype: Any) -> Tensor:
    """Returns what an initializer says of a kernel of as many inputs and all outputs."""
    across, c, width = layout.shape
    kernel = initializer((width, across * c), dtype=dtype)
    return ops.reshape(ops.transpose(kernel), layout.shape)


def _scale_variance(initializer: Any, layout: BlockLayout, dtype: Any) -> Tensor:
    across, c, width = layout.shape
    outputs = across * c * width / layout.rows  # that an input reaches
    drawn = {"fan_in": width, "fan_out": across * c, "fan_avg": width + across * c}
    wanted = {"fan_in": width, "fan_out": outputs, "fan_avg": width + outputs}
    mode = initializer.mode
    scale = math.sqrt(max(1.0, drawn[mode]) / max(1.0, wanted[mode]))
    blocks = _draw_each(initializer, layout, dtype)
    return blocks * ops.cast(scale, blocks.dtype)


def _draw_orthogonal(initializer: Any, layout: BlockLayout, dtype: Any) -> Tensor:
    """Returns blocks whose columns are orthonormal, or rows where they are fewer.

    So the norm of states is kept on average: each column of blocks turns its inputs and
    takes c of them, or where it has fewer than c, has each of them more than once.
    """
    across, c, width = layout.shape
    tall = (across, max(c, width), min(c, width))
    normal = keras.initializers.RandomNormal(0.0, 1.0, seed=initializer.seed)
    q, r = ops.qr(normal(tall, dtype="float32"))
    q = q * ops.sign(ops.diagonal(r, axis1=1, axis2=2))[:, None, :]
    blocks = q if width < c else ops.transpose(q, (0, 2, 1))
    scale = math.sqrt(min(1.0, layout.rows / layout.columns) * max(1.0, c / width))
    return ops.cast(initializer.gain * scale * blocks, dtype or keras.config.floatx())


def _place_identity(initializer: Any, layout: BlockLayout, dtype: Any) -> Tensor:
    across, c, width = layout.shape
    height = layout.block[0]
    inputs = np.array(layout.indices)[:, :, None] * height + np.arange(height)
    outputs = np.arange(across * c).reshape(across, c)
    ones = inputs.reshape(across, 1, width) == outputs[:, :, None]
    wanted = min(layout.rows, layout.columns)
    if layout.columns > layout.rows or ones.sum() < wanted:
        raise ValueError(
            "An identity needs a square kernel whose diagonal is there. Choose another "
            f"initializer, such as 'orthogonal'. Received: {layout.rows} × "
            f"{layout.columns}, with {int(ones.sum())} weights on the diagonal."
        )
    gain = float(initializer.gain)
    return ops.convert_to_tensor(gain * ones, dtype or keras.config.floatx())


def get_connectivity(name: str, value: Any) -> connectivity.Connectivity:
    """Returns a rule from what a layer was given as argument `name`."""
    if isinstance(value, connectivity.BlockLayout):
        return connectivity.FromMask(value)
    if value is None or hasattr(value, "shape"):
        what = "nothing" if value is None else f"an array of shape {tuple(value.shape)}"
        raise TypeError(
            f"`{name}` must say which blocks there are. Type a rule, such as "
            f"{name}=km.connectivity.SmallWorld('torus', density=1 / 16), or for a mask "
            f"km.connectivity.FromMask.of(mask, block=(16, 64)). Received: {what}"
        )
    try:
        return connectivity.get(value)
    except (TypeError, ValueError) as error:
        message = str(error).replace("`connectivity`", f"`{name}`")
        named = message if name in message else f"`{name}`: {message}"
        raise type(error)(named) from None
