"""Recurrent layers that are sparse from the first step."""

import keras

from keras_moduli._registry import PACKAGE
from keras_moduli.layers._sparse_cells import (
    SparseGRUCell,
    SparseLSTMCell,
    SparseSimpleRNNCell,
)
from keras_moduli.layers._sparse_recurrent import SparseRNN, has_cell


@keras.saving.register_keras_serializable(PACKAGE)
@has_cell(SparseSimpleRNNCell)
class SparseSimpleRNN(SparseRNN):
    """`keras.layers.SimpleRNN` that is sparse from the first step.

        h ← activation(x + Rᵀ h)

    as `SparseSimpleRNNCell`, its `cell`, says. The recurrent kernel R is never dense:
    `recurrent_kernel` holds blocks of b inputs and c outputs, (units/c, c, K·b), and
    `cell.recurrent_kernel_indices` where they are, (units/c, K). `manifold` is that of
    `connectivity`, if it has one. All else is as in Keras, with its arguments, masks,
    states and shapes.

    Args:
        units: Number of neurons.
        *args: Those of `keras.layers.SimpleRNN`.
        connectivity: Of the recurrent kernel: a `keras_moduli.connectivity.Connectivity`,
            or a `BlockLayout`.
        input_connectivity: Likewise of the kernel of the inputs; None for a dense one.
        order: Permutation of the neurons: the k-th inside, in whose order the blocks are,
            is neuron `order[k]` outside, in outputs and states. None for none.
        **kwargs: Those of `keras.layers.SimpleRNN`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; when the layer is built, if the connectivity
            has no kernel of this size.

    Examples:
        >>> import keras_moduli as km
        >>> rule = km.connectivity.SmallWorld("torus", density=1 / 4, block=(16, 16))
        >>> layer = km.layers.SparseSimpleRNN(256, connectivity=rule)
        >>> layer.build((None, 10, 4))
        >>> tuple(layer.recurrent_kernel.shape), layer.manifold
        ((16, 16, 64), Torus(dim=2, period=10.0))

    Source: M. Khona, S. Chandra, J. J. Ma and I. R. Fiete, "Winning the lottery with
    neural connectivity constraints", Neural Computation (2023).
    """


@keras.saving.register_keras_serializable(PACKAGE)
@has_cell(SparseGRUCell)
class SparseGRU(SparseRNN):
    """`keras.layers.GRU` that is sparse from the first step.

        z, r, g ← x;  u, v, w ← Rᵀ h + b;  ĝ ← activation(g + σ(r + v)·w)
        h ← σ(z + u)·h + (1 − σ(z + u))·ĝ

    as `SparseGRUCell`, its `cell`, says. The recurrent kernel R is never dense:
    `recurrent_kernel` holds blocks of b inputs and c outputs, (3·units/c, c, K·b), and
    `cell.recurrent_kernel_indices` where they are, (3·units/c, K). `manifold` is that of
    `connectivity`, if it has one. All else is as in Keras, with its arguments, masks,
    states and shapes.

    Args:
        units: Number of neurons.
        *args: Those of `keras.layers.GRU`.
        connectivity: Of the recurrent kernel: a `keras_moduli.connectivity.Connectivity`,
            or a `BlockLayout`.
        input_connectivity: Likewise of the kernel of the inputs; None for a dense one.
        order: Permutation of the neurons: the k-th inside, in whose order the blocks are,
            is neuron `order[k]` outside, in outputs and states. None for none.
        **kwargs: Those of `keras.layers.GRU`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; when the layer is built, if the connectivity
            has no kernel of this size.

    Examples:
        >>> import keras_moduli as km
        >>> rule = km.connectivity.SmallWorld("torus", density=1 / 4, block=(16, 16))
        >>> layer = km.layers.SparseGRU(256, connectivity=rule)
        >>> layer.build((None, 10, 4))
        >>> tuple(layer.recurrent_kernel.shape), layer.manifold
        ((48, 16, 64), Torus(dim=2, period=10.0))

    Source: M. Khona, S. Chandra, J. J. Ma and I. R. Fiete, "Winning the lottery with
    neural connectivity constraints", Neural Computation (2023).
    """


@keras.saving.register_keras_serializable(PACKAGE)
@has_cell(SparseLSTMCell)
class SparseLSTM(SparseRNN):
    """`keras.layers.LSTM` that is sparse from the first step.

        i, f, g, o ← x + Rᵀ h
        c ← σ(f)·c + σ(i)·activation(g);  h ← σ(o)·activation(c)

    as `SparseLSTMCell`, its `cell`, says. The recurrent kernel R is never dense:
    `recurrent_kernel` holds blocks of b inputs and c outputs, (4·units/c, c, K·b), and
    `cell.recurrent_kernel_indices` where they are, (4·units/c, K). `manifold` is that of
    `connectivity`, if it has one. All else is as in Keras, with its arguments, masks,
    states and shapes.

    Args:
        units: Number of neurons.
        *args: Those of `keras.layers.LSTM`.
        connectivity: Of the recurrent kernel: a `keras_moduli.connectivity.Connectivity`,
            or a `BlockLayout`.
        input_connectivity: Likewise of the kernel of the inputs; None for a dense one.
        order: Permutation of the neurons: the k-th inside, in whose order the blocks are,
            is neuron `order[k]` outside, in outputs and states. None for none.
        **kwargs: Those of `keras.layers.LSTM`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If one is out of range; when the layer is built, if the connectivity
            has no kernel of this size.

    Examples:
        >>> import keras_moduli as km
        >>> rule = km.connectivity.SmallWorld("torus", density=1 / 4, block=(16, 16))
        >>> layer = km.layers.SparseLSTM(256, connectivity=rule)
        >>> layer.build((None, 10, 4))
        >>> tuple(layer.recurrent_kernel.shape), layer.manifold
        ((64, 16, 64), Torus(dim=2, period=10.0))

    Source: M. Khona, S. Chandra, J. J. Ma and I. R. Fiete, "Winning the lottery with
    neural connectivity constraints", Neural Computation (2023).
    """
