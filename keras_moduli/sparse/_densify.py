"""From layers that are sparse from the first step back to Keras's own."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_moduli import _checks, _copies, _keras_private
from keras_moduli import layers as sparse_layers
from keras_moduli._containers import find_container
from keras_moduli._rebuild import Rebuild, carry_everything
from keras_moduli.connectivity import BlockKernel, find_kernel, get_dense_shape
from keras_moduli.layers._sparse_cell import SparseCell
from keras_moduli.layers._sparse_recurrent import SparseRNN
from keras_moduli.regularizers import (
    DistancePenalty,
    ModuliRegularizer,
    find_regularizer,
)
from keras_moduli.sparse._attention import (
    BlockSparseGroupQueryAttention,
    BlockSparseMultiHeadAttention,
)
from keras_moduli.sparse._einsum import BlockSparseEinsumDense
from keras_moduli.sparse._orders import permute_columns, permute_neurons
from keras_moduli.sparse.converters._base import to_array, transfer
from keras_moduli.sparse.version_0_1 import BlockSparseDense, BlockSparseRNN

Array = NDArray[Any]
Layer = Any

MOST_WEIGHTS = 2**26  # of one dense kernel: 256 MiB in float32

_DENSE: dict[type, Any] = {
    sparse_layers.SparseDense: keras.layers.Dense,
    sparse_layers.SparseSimpleRNN: keras.layers.SimpleRNN,
    sparse_layers.SparseGRU: keras.layers.GRU,
    sparse_layers.SparseLSTM: keras.layers.LSTM,
    sparse_layers.SparseSimpleRNNCell: keras.layers.SimpleRNNCell,
    sparse_layers.SparseGRUCell: keras.layers.GRUCell,
    sparse_layers.SparseLSTMCell: keras.layers.LSTMCell,
}
_OF_SPARSIFY = (
    BlockSparseDense,
    BlockSparseEinsumDense,
    BlockSparseGroupQueryAttention,
    BlockSparseMultiHeadAttention,
    BlockSparseRNN,
)
_ONLY_SPARSE = ("connectivity", "input_connectivity", "order", "cell_name")


def densify(layer: Layer, *, limit: int | None = MOST_WEIGHTS) -> Layer:
    """Returns the same function with dense kernels, in Keras's own layers.

    `SparseDense`, `SparseSimpleRNN`, `SparseGRU`, `SparseLSTM` and their cells, also in
    `RNN`, `StackedRNNCells`, `Bidirectional`, `TimeDistributed` and models, become what
    they are the sparse forms of, with the neurons in the order that callers know. Where
    no block is, a kernel has masked zeros, as pruning writes them: `sparsify` makes
    blocks of the rest, and `KeepZeros` keeps them while the model trains, which makes
    weights of them otherwise. Nothing of this package is needed to load the result,
    unless the model has other things of it.

    Args:
        layer: A layer, a cell or a model, built.
        limit: The most weights that one dense kernel may have; None for any number.

    Returns:
        A new layer, or a model that is not compiled. It shares no weight with `layer`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If it is not built, a dense kernel would be too large, or a layer is
            of another class, whose dense form is not known.

    Examples:
        >>> import keras, keras_moduli as km
        >>> near = km.connectivity.Local("torus", density=1 / 4, block=(8, 8))
        >>> layers = [km.layers.SparseGRU(64, connectivity=near), keras.layers.Dense(1)]
        >>> dense = km.densify(keras.Sequential([keras.Input((10, 2)), *layers]))
        >>> gru = dense.layers[0]
        >>> type(gru).__name__, tuple(gru.cell.recurrent_kernel.shape)
        ('GRU', (64, 192))
        >>> round(km.sparsity(dense, select="recurrent").total.sparsity, 2)
        0.75
    """
    _check(layer, limit)
    inside = Rebuild(_make_dense)
    rebuild = Rebuild(lambda part: inside(part) if _is_to_replace(part) else None)
    new = rebuild(layer)
    _copies.build_like([(layer, new)])
    for old, dense in rebuild.pairs:
        if _is_to_replace(old):
            _copies.build_like([(old, dense)])
            _load(old, dense)
    carry_everything(rebuild)
    return new


def _check(layer: Any, limit: Any) -> None:
    limit = None if limit is None else _checks.integer("limit", limit, minimum=1)
    if isinstance(layer, keras.Model):
        _checks.built_model(layer)
    elif not isinstance(layer, keras.layers.Layer):
        raise TypeError(f"Expected a layer or a model of Keras. Received: {layer!r}")
    elif not layer.built:
        raise ValueError(
            f"Layer {layer.name!r} has no weights yet. Build it first, by "
            "`layer.build(input_shape)` or by calling it on a batch."
        )
    for part in _keras_private.iterate_layers(layer):
        _check_class(part)
    for variable in layer.variables:
        kernel = find_kernel(variable)
        if kernel is not None and limit is not None:
            _check_size(kernel, limit)


def _check_class(layer: Layer) -> None:
    kind: type = type(layer)
    if kind in _OF_SPARSIFY:
        raise ValueError(
            f"Layer {layer.name!r} is a {kind.__name__}, of which no dense form is known:"
            " it was made by `sparsify`. Keep the model that it was made of."
        )
    if kind not in _DENSE and issubclass(kind, tuple(_DENSE)):
        raise ValueError(
            f"Layer {layer.name!r} is a {kind.__name__}, of which no dense form is known."
            f" Expected exactly one of: {', '.join(sorted(x.__name__ for x in _DENSE))}"
        )


def _check_size(kernel: BlockKernel, limit: int) -> None:
    rows, columns = kernel.shape
    if rows * columns <= limit:
        return
    size = rows * columns * np.dtype(to_array(kernel.weights).dtype).itemsize
    raise ValueError(
        f"The dense kernel of {kernel.weights.path!r} is {rows} × {columns}: {size} "
        f"bytes ({size / 2**30:.2g} GiB), more than limit={limit} weights. Pass "
        "`limit=None` to have it all the same."
    )


def _is_to_replace(layer: Layer) -> bool:
    """Whether a layer is sparse, or is made of such in a way of its own."""
    if not isinstance(layer, keras.layers.Layer) or find_container(layer) is not None:
        return False
    return any(type(x) in _DENSE for x in _keras_private.iterate_layers(layer))


def _make_dense(layer: Layer) -> Layer | None:
    kind = _DENSE.get(type(layer))
    if kind is None:
        return None
    edit = functools.partial(_edit, layer)
    new = _copies.copy_layer(layer, lambda part: part, edit, kind)
    cell: Any = getattr(new, "cell", new)
    if hasattr(cell, "recurrent_initializer"):
        # Until `_load`: an orthogonal kernel takes long, and is not drawn in half
        # precision everywhere.
        cell.recurrent_initializer = keras.initializers.Zeros()
    return new


def _edit(layer: Layer, config: dict[str, Any]) -> None:
    """Makes the config of a dense layer of that of a sparse one."""
    for name in _ONLY_SPARSE:
        config.pop(name, None)
    _refuse_permuted(layer)
    if (order := getattr(layer, "order", None)) is None:
        return
    if find_regularizer(layer.cell.kernel):
        raise ValueError(_refuse(layer, "kernel_regularizer"))
    penalty = find_regularizer(layer.cell.recurrent_kernel)
    if penalty is not None:
        penalty = _move(layer, penalty, np.argsort(order))
        config["recurrent_regularizer"] = keras.regularizers.serialize(penalty)


def _refuse_permuted(layer: Layer) -> None:
    cell = getattr(layer, "cell", layer)
    for name in ("kernel", "recurrent_kernel"):
        variable = getattr(cell, name, None)
        penalty = None if variable is None else find_regularizer(variable)
        if penalty is None or penalty.cost.permute_seed is None:
            continue
        if find_kernel(variable) is not None:
            raise ValueError(
                f"`permute_seed` in the regularizer of {name!r} of layer {layer.name!r} "
                "permutes what connections cost among those that are there, and in a "
                "dense kernel among all. Leave it out, or take the layer without it."
            )


def _move(layer: Layer, penalty: DistancePenalty, back: Any) -> ModuliRegularizer:
    """Returns the penalty of a recurrent kernel for neurons in another order."""
    regularizer = layer.recurrent_regularizer
    is_fixed = (
        isinstance(regularizer, ModuliRegularizer)
        and penalty.placement is regularizer.placement  # not that of a Moduli around it
    )
    options = regularizer.get_config() if is_fixed else {}
    if not is_fixed or options["permute_seed"] is not None:
        raise ValueError(_refuse(layer, "recurrent_regularizer"))
    x, y = penalty.positions(layer.cell.recurrent_kernel.shape)
    options["embedding"] = x[back]
    if not regularizer.placement.square:
        options |= {"output_seed": None, "output_embedding": permute_columns(y.T, back).T}
    return ModuliRegularizer(**options)


def _refuse(layer: Layer, name: str) -> str:
    return (
        f"`{name}` of layer {layer.name!r} knows its neurons by their place inside, "
        "which `order` changes, and cannot be told of others. Leave one of them out."
    )


def _load(old: Layer, new: Layer) -> None:
    """Gives a dense layer, and those inside of it, the weights of a sparse one."""
    olds, news = (list(_keras_private.iterate_layers(x)) for x in (old, new))
    kinds = [_DENSE.get(type(x), type(x)) for x in olds]
    weights = [v for v in old.variables if id(v) not in _find_indices(old)]
    shapes = [[get_dense_shape(v) for v in x] for x in (weights, new.variables)]
    if kinds != [type(x) for x in news] or shapes[0] != shapes[1]:
        raise ValueError(
            f"Layer {old.name!r}, a {type(old).__name__}, cannot be made anew from its "
            "config: `get_config` must describe all layers inside of it, and they must "
            "build all their weights in `build`."
        )
    turns = dict(_list_turns(olds))
    for a, b in zip(olds, news, strict=True):
        if b.trainable != a.trainable:
            b.trainable = a.trainable
        if isinstance(a, SparseCell):
            b.recurrent_initializer = a.recurrent_initializer
        if type(a) is type(b):
            _copies.carry_state(a, b)
        else:
            _copies.copy_states(a, b, _find_way_back(a))
    for a, b in zip(weights, new.variables, strict=True):
        kernel = find_kernel(a)
        value = to_array(a) if kernel is None else _spread(kernel)
        transfer(b, a, turns.get(id(a), lambda array: array)(value))


def _find_indices(layer: Layer) -> set[int]:
    kernels = map(find_kernel, layer.variables)
    return {id(kernel.indices) for kernel in kernels if kernel is not None}


def _find_way_back(layer: Layer) -> Any:
    order = getattr(layer, "order", None)
    return None if order is None else np.argsort(order)


def _list_turns(layers: list[Layer]) -> Iterator[tuple[int, Callable[[Array], Array]]]:
    """Yields how the weights of recurrent layers are put in the order outside."""
    for layer in layers:
        if not isinstance(layer, SparseRNN) or layer.order is None:
            continue
        back, cell = _find_way_back(layer), layer.cell
        neurons = functools.partial(permute_neurons, permutation=back)
        columns = functools.partial(permute_columns, permutation=back)
        yield id(cell.recurrent_kernel), neurons
        yield from ((id(v), columns) for v in (cell.kernel, cell.bias) if v is not None)


def _spread(kernel: BlockKernel) -> Array:
    """Returns a dense kernel, masked where no block is."""
    weights, indices = to_array(kernel.weights), to_array(kernel.indices)
    (across, count), (b, c) = indices.shape, kernel.block
    down, columns = -(-kernel.rows // b), np.arange(across)
    matrix = np.full((down, b, across, c), -0.0, weights.dtype)
    blocks = weights.reshape(across, c, count, b).transpose(2, 0, 3, 1)
    for place, block in zip(indices.T, blocks, strict=True):
        matrix[place, :, columns] = block
    return matrix.reshape(down * b, across * c)[: kernel.rows, : kernel.columns]
