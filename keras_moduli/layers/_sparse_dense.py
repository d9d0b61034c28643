"""A dense layer that is sparse from the first step."""

from typing import Any

import keras
from keras import ops

from keras_moduli import _keras_arguments
from keras_moduli._registry import PACKAGE
from keras_moduli.layers._block_weights import (
    add_blocks,
    get_connectivity,
    multiply_rows,
)
from keras_moduli.layers._shortcuts import HasConnectivity

Tensor = Any
Variable = Any


@keras.saving.register_keras_serializable(PACKAGE)
class SparseDense(HasConnectivity, keras.layers.Dense):
    """`keras.layers.Dense` that is sparse from the first step.

        y = activation(x @ kernel + bias)

    where the kernel has only the blocks of b inputs and c outputs that `connectivity`
    says: `kernel` is (units/c, c, K·b), for each of their columns K blocks, in the rows
    of blocks `kernel_indices`, (units/c, K). It is never dense. `manifold` is that of
    `connectivity`, if it has one. Inputs are (..., features) and outputs (..., units).

    Args:
        units: Number of outputs.
        *args: Those of `keras.layers.Dense`.
        connectivity: Of the kernel: a `keras_moduli.connectivity.Connectivity`, or a
            `BlockLayout`.
        **kwargs: Those of `keras.layers.Dense`, but `lora_rank`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; when the layer is built, if the connectivity
            has no kernel of this size.

    Examples:
        >>> import keras_moduli as km
        >>> rule = km.connectivity.SmallWorld("torus", density=1 / 4, block=(16, 16))
        >>> layer = km.layers.SparseDense(128, connectivity=rule)
        >>> layer.build((None, 256))
        >>> tuple(layer.kernel.shape), tuple(layer.kernel_indices.shape)
        ((8, 16, 64), (8, 4))

    Source: M. Khona, S. Chandra, J. J. Ma and I. R. Fiete, "Winning the lottery with
    neural connectivity constraints", Neural Computation (2023).
    """

    def __init__(
        self, units: int, *args: Any, connectivity: Any = None, **kwargs: Any
    ) -> None:
        if kwargs.get("lora_rank"):
            raise ValueError(
                "LoRA adds a dense kernel, which a SparseDense does not have. Leave "
                f"`lora_rank` out. Received: lora_rank={kwargs['lora_rank']}"
            )
        super().__init__(
            **_keras_arguments.check(super().__init__, units, *args, **kwargs)
        )
        if self.quantization_mode is not None:
            raise ValueError(
                "Blocks are not quantized. Type a dtype such as 'float32' or "
                "'mixed_bfloat16', or `km.densify(layer).quantize(mode)` for a trained "
                f"layer. Received: dtype={self.dtype_policy.name!r}"
            )
        self.connectivity = get_connectivity("connectivity", connectivity)

    def add_weight(self, *args: Any, **kwargs: Any) -> Variable:
        """Adds blocks where Keras's layer adds its kernel."""
        if args or kwargs.get("name") != "kernel":
            return super().add_weight(*args, **kwargs)
        weights, self.kernel_indices = add_blocks(
            super().add_weight, self.connectivity, **kwargs
        )
        return weights

    def call(self, inputs: Tensor, training: Any = None) -> Tensor:
        """Returns activation(inputs @ kernel + bias)."""
        inputs = ops.cast(inputs, self.compute_dtype)
        y = multiply_rows(inputs, self.kernel, self.kernel_indices)
        if self.bias is not None:
            y = y + self.bias
        return y if self.activation is None else self.activation(y)

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        """Raises: there is no dense kernel to add to."""
        raise ValueError(
            "A SparseDense has no dense kernel for LoRA to add to. Type "
            "`km.densify(layer)` first."
        )

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Raises: blocks are not quantized."""
        raise NotImplementedError(
            "A SparseDense cannot be quantized. Type `km.densify(layer)` first."
        )

    def save_own_variables(self, store: Any) -> None:
        """Saves blocks, where they are, and the bias."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store: Any) -> None:
        """Loads blocks, where they are, and the bias."""
        keras.layers.Layer.load_own_variables(self, store)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        serialize = keras.saving.serialize_keras_object
        return {**super().get_config(), "connectivity": serialize(self.connectivity)}
