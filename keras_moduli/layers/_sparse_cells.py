"""Keras's recurrent cells, whose recurrent kernels are blocks."""

from typing import Any

import keras
from keras import ops

from keras_moduli._registry import PACKAGE
from keras_moduli.connectivity._layout import to_columns, to_rows
from keras_moduli.layers._block_weights import BlockProduct
from keras_moduli.layers._sparse_cell import SparseCell

Tensor = Any


@keras.saving.register_keras_serializable(PACKAGE)
class SparseSimpleRNNCell(SparseCell, keras.layers.SimpleRNNCell):
    """`keras.layers.SimpleRNNCell` that is sparse from the first step.

        h ← activation(x + Rᵀ h)

    where x are the inputs times their kernel, with their bias, and R, the recurrent
    kernel, has only the blocks of b inputs and c outputs that `connectivity` says:
    `recurrent_kernel` is (units/c, c, K·b), for each of their columns K blocks, in the
    rows of blocks `recurrent_kernel_indices`.

    Args:
        units: Number of neurons.
        *args: Those of `keras.layers.SimpleRNNCell`.
        connectivity: Of the recurrent kernel: a `keras_moduli.connectivity.Connectivity`,
            or a `BlockLayout`.
        input_connectivity: Likewise of the kernel of the inputs; None for a dense one.
        **kwargs: Those of `keras.layers.SimpleRNNCell`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; when the layer is built, if the connectivity
            has no kernel of this size.

    Examples:
        >>> import keras, keras_moduli as km
        >>> rule = km.connectivity.SmallWorld("torus", density=1 / 4, block=(16, 16))
        >>> cell = km.layers.SparseSimpleRNNCell(256, connectivity=rule)
        >>> layer = keras.layers.RNN(cell)
        >>> layer.build((None, 10, 4))
        >>> tuple(cell.recurrent_kernel.shape)
        (16, 16, 64)

    Source: M. Khona, S. Chandra, J. J. Ma and I. R. Fiete, "Winning the lottery with
    neural connectivity constraints", Neural Computation (2023).
    """

    gates, kind = 1, "plain"

    def step(
        self,
        x: Tensor,
        states: list[Tensor],
        products: list[BlockProduct],
        mask: Any,
        *constants: Tensor,
    ) -> list[Tensor]:
        """Returns the next state."""
        return [activate(self.activation, x + _multiply(states[0], products, mask))]


@keras.saving.register_keras_serializable(PACKAGE)
class SparseLSTMCell(SparseCell, keras.layers.LSTMCell):
    """`keras.layers.LSTMCell` that is sparse from the first step.

        i, f, g, o ← x + Rᵀ h
        c ← σ(f)·c + σ(i)·activation(g);  h ← σ(o)·activation(c)

    where x are the inputs times their kernel, with their bias, σ is the recurrent
    activation and R, the recurrent kernel, has only the blocks of b inputs and c outputs
    that `connectivity` says: `recurrent_kernel` is (4·units/c, c, K·b), for each of
    their columns K blocks, in the rows of blocks `recurrent_kernel_indices`.

    Args:
        units: Number of neurons.
        *args: Those of `keras.layers.LSTMCell`.
        connectivity: Of the recurrent kernel: a `keras_moduli.connectivity.Connectivity`,
            or a `BlockLayout`.
        input_connectivity: Likewise of the kernel of the inputs; None for a dense one.
        **kwargs: Those of `keras.layers.LSTMCell`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; when the layer is built, if the connectivity
            has no kernel of this size.

    Examples:
        >>> import keras, keras_moduli as km
        >>> rule = km.connectivity.SmallWorld("torus", density=1 / 4, block=(16, 16))
        >>> cell = km.layers.SparseLSTMCell(256, connectivity=rule)
        >>> layer = keras.layers.RNN(cell)
        >>> layer.build((None, 10, 4))
        >>> tuple(cell.recurrent_kernel.shape)
        (64, 16, 64)

    Source: M. Khona, S. Chandra, J. J. Ma and I. R. Fiete, "Winning the lottery with
    neural connectivity constraints", Neural Computation (2023).
    """

    gates, kind = 4, "lstm"

    def step(
        self,
        x: Tensor,
        states: list[Tensor],
        products: list[BlockProduct],
        mask: Any,
        *constants: Tensor,
    ) -> list[Tensor]:
        """Returns the next states."""
        h, c = states
        x, n = x + _multiply(h, products, mask), self.units
        i, f = activate_pair(self.recurrent_activation, x[: 2 * n])
        g = activate(self.activation, x[2 * n : 3 * n])
        o = activate(self.recurrent_activation, x[3 * n :])
        c = f * c + i * g
        return [o * activate(self.activation, c), c]


@keras.saving.register_keras_serializable(PACKAGE)
class SparseGRUCell(SparseCell, keras.layers.GRUCell):
    """`keras.layers.GRUCell` that is sparse from the first step.

        z, r, g ← x;  u, v, w ← Rᵀ h + b;  ĝ ← activation(g + σ(r + v)·w)
        h ← σ(z + u)·h + (1 − σ(z + u))·ĝ

    where x are the inputs times their kernel, with their bias, σ is the recurrent
    activation and R, the recurrent kernel, has only the blocks of b inputs and c outputs
    that `connectivity` says: `recurrent_kernel` is (3·units/c, c, K·b), for each of
    their columns K blocks, in the rows of blocks `recurrent_kernel_indices`.

    With `reset_after=False`, w is that of σ(r + v)·h, and blocks of c outputs must divide
    the units.

    Args:
        units: Number of neurons.
        *args: Those of `keras.layers.GRUCell`.
        connectivity: Of the recurrent kernel: a `keras_moduli.connectivity.Connectivity`,
            or a `BlockLayout`.
        input_connectivity: Likewise of the kernel of the inputs; None for a dense one.
        **kwargs: Those of `keras.layers.GRUCell`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; when the layer is built, if the connectivity
            has no kernel of this size.

    Examples:
        >>> import keras, keras_moduli as km
        >>> rule = km.connectivity.SmallWorld("torus", density=1 / 4, block=(16, 16))
        >>> cell = km.layers.SparseGRUCell(256, connectivity=rule)
        >>> layer = keras.layers.RNN(cell)
        >>> layer.build((None, 10, 4))
        >>> tuple(cell.recurrent_kernel.shape)
        (48, 16, 64)

    Source: M. Khona, S. Chandra, J. J. Ma and I. R. Fiete, "Winning the lottery with
    neural connectivity constraints", Neural Computation (2023).
    """

    gates, kind = 3, "gru"

    def step(
        self,
        x: Tensor,
        states: list[Tensor],
        products: list[BlockProduct],
        mask: Any,
        *constants: Tensor,
    ) -> list[Tensor]:
        """Returns the next state."""
        h, n = states[0], self.units
        if self.reset_after:
            inner = _multiply(h, products, mask)
            inner = inner + constants[0] if constants else inner
        else:
            first = None if mask is None else mask[:2]
            inner = _multiply(h, products[:-1], first)
        z, r = activate_pair(self.recurrent_activation, x[: 2 * n] + inner[: 2 * n])
        if self.reset_after:
            candidate = r * inner[2 * n :]
        else:
            candidate = products[-1](r * (h if mask is None else h * mask[2]))
        g = activate(self.activation, x[2 * n :] + candidate)
        return [z * h + (1 - z) * g]


def _multiply(h: Tensor, products: list[BlockProduct], mask: Any) -> Tensor:
    """Returns Rᵀ h, of what each gate keeps of the states."""
    if isinstance(mask, list):
        pairs = zip(products, mask, strict=True)
        return ops.concatenate([product(h * kept) for product, kept in pairs], axis=0)
    (product,) = products
    return product(h if mask is None else h * mask)


# Those that Keras's own cells use; any other may look along the last axis.
_ELEMENTWISE = tuple(
    map(keras.activations.get, ("tanh", "sigmoid", "relu", "hard_sigmoid", "linear"))
)


def activate(activation: Any, x: Tensor) -> Tensor:
    """Returns an activation of columns, which may look along the last axis of rows."""
    if activation in _ELEMENTWISE:
        return activation(x)
    batch = 1 if len(x.shape) == 1 else None
    return to_columns(activation(to_rows(x, batch)), batch)


def activate_pair(activation: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the activations of two gates, one below the other."""
    n = x.shape[0] // 2
    if activation in _ELEMENTWISE:  # at once: PyTorch pays for each operation
        y = activation(x)
        return y[:n], y[n:]
    return activate(activation, x[:n]), activate(activation, x[n:])
