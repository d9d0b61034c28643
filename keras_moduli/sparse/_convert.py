"""From a pruned model to a fast one."""

from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli.sparse import _plan
from keras_moduli.sparse._cells import (
    BlockSparseGRUCell,
    BlockSparseLSTMCell,
    BlockSparseSimpleRNNCell,
)
from keras_moduli.sparse._layers import BlockSparseDense, BlockSparseRNN
from keras_moduli.sparse._plan import Choice

Array = NDArray[Any]

_CELLS = {
    keras.layers.SimpleRNNCell: BlockSparseSimpleRNNCell,
    keras.layers.GRUCell: BlockSparseGRUCell,
    keras.layers.LSTMCell: BlockSparseLSTMCell,
}
# Up to so many the product of the inputs is faster inside the loop than before it.
_FEW_FEATURES = 64
_RNN_ARGUMENTS = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "unroll",
    "zero_output_for_mask",
    "name",
    "dtype",
)


def sparsify(
    model: keras.Model,
    block: tuple[int, int] | None = None,
    tolerance: float = 1e-5,
    *,
    batch_size: int = 1,
) -> keras.Model:
    """The same function as a pruned model, really faster.

    Recurrent and dense layers whose zeros fill blocks get kernels that hold the other
    blocks only. The neurons of a recurrent layer are put in an order that brings
    connected ones together, where that helps: along the manifold of its embedding, or by
    reverse Cuthill–McKee (if scipy is there) if it has none. Layers for which that would
    not be faster stay as they are; `keras_moduli.sparse.plan(model)` says which and why.

    Works on `SimpleRNN`, `GRU`, `LSTM`, their Moduli forms, `Bidirectional` of these and
    `Dense`, in Sequential and Functional models. Prune with
    `MagnitudePruning(block=(16, 64), balanced=True)` to gain most.

    Args:
        model: A built model, pruned.
        block: (b, c), blocks of b inputs and c outputs for all layers; None to choose for
            each, and to leave layers dense where none is faster.
        tolerance: How far the outputs of a sparse layer may be from those of the layer
            whose place it takes, for inputs of order 1. Checked for each.
        batch_size: Number of sequences that the model will be called on at once.

    Returns:
        A new model, not compiled. It shares no weight with `model`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If the model is not built, is a subclass of `keras.Model` that Keras
            cannot clone, or a layer's outputs differ by more than the tolerance.

    Example:

    >>> import keras, numpy as np, keras_moduli as km
    >>> model = keras.Sequential([keras.Input((5, 2)), keras.layers.SimpleRNN(512)])
    >>> kernel = model.layers[0].cell.recurrent_kernel
    >>> _ = kernel.assign(np.kron(np.eye(16), np.ones((32, 32)) / 32))
    >>> km.sparse.plan(model).rows[0].block
    (32, 32)
    >>> fast = km.sparsify(model)
    >>> x = np.ones((1, 5, 2), "float32")
    >>> bool(np.allclose(fast.predict(x, verbose=0), model.predict(x, verbose=0)))
    True
    """
    _checks.built_model(model)
    tolerance = _checks.positive("tolerance", tolerance)
    block, batch_size = _plan.checked(block, batch_size)
    converter = _Converter(block, batch_size, tolerance)
    fast = _clone(model, converter)
    converter.fill()
    return fast


def _clone(model: keras.Model, converter: "_Converter") -> keras.Model:
    try:
        return keras.models.clone_model(model, clone_function=converter)
    except ValueError as error:
        raise ValueError(
            f"Model {model.name!r} cannot be rebuilt layer by layer: {error} Make it a "
            "Sequential or a Functional model."
        ) from error


class _Converter:
    """A clone function for Keras that puts sparse layers in the place of dense ones."""

    def __init__(self, block: Any, batch_size: int, tolerance: float) -> None:
        self.block = block
        self.batch_size = batch_size
        self.tolerance = tolerance
        self._pairs: list[tuple[Any, Any]] = []

    def __call__(self, layer: keras.layers.Layer) -> keras.layers.Layer:
        new = self._converted(layer)
        self._pairs.append((layer, new))
        return new

    def _converted(self, layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            return _clone(layer, self)
        if isinstance(layer, keras.layers.Bidirectional):
            return self._bidirectional(layer)
        if _plan.deciding_kernel(layer) is None:
            return layer.__class__.from_config(layer.get_config())
        choice = _plan.choose(layer, self.block, self.batch_size)
        if choice.layout is None:
            return layer.__class__.from_config(layer.get_config())
        if _plan.cell_of(layer) is not None:
            return self._recurrent(layer, choice)
        return _dense(layer, _plan.dense_of(layer), choice)

    def _recurrent(self, layer: Any, choice: Choice) -> BlockSparseRNN:
        assert choice.layout is not None
        cell = _plan.cell_of(layer)
        kind = next(new for old, new in _CELLS.items() if isinstance(cell, old))
        arguments = {"activation": cell.activation, "use_bias": cell.use_bias}
        if hasattr(cell, "recurrent_activation"):
            arguments["recurrent_activation"] = cell.recurrent_activation
        kernel = _plan.columns_permuted(_array(cell.kernel), choice.order)
        inputs = _plan.choose_layout(kernel, self.block, self.batch_size)
        if self.block is not None and min(kernel.shape) < min(self.block):
            inputs = Choice(None)
        dtype = layer.dtype_policy
        if inputs.layout is None:
            projection = keras.layers.Dense(
                kernel.shape[1], use_bias=cell.use_bias, dtype=dtype
            )
        else:
            projection = BlockSparseDense(
                inputs.layout, use_bias=cell.use_bias, dtype=dtype
            )
        config = layer.get_config()
        before_loop = kernel.shape[0] > _FEW_FEATURES
        inside, outside = (None, projection) if before_loop else (projection, None)
        return BlockSparseRNN(
            kind(choice.layout, inside, **arguments, dtype=dtype),
            outside,
            choice.order,
            **{name: config[name] for name in _RNN_ARGUMENTS if name in config},
        )

    def _bidirectional(self, layer: Any) -> Any:
        config = layer.get_config()
        for name in ("layer", "backward_layer"):
            config.pop(name, None)
        forward = self._converted(layer.forward_layer)
        backward = self._converted(layer.backward_layer)
        return keras.layers.Bidirectional(forward, backward_layer=backward, **config)

    def fill(self) -> None:
        """Gives the new layers, built by now, the weights of the old ones."""
        for old, new in self._pairs:
            if isinstance(old, keras.Model):
                continue
            if isinstance(old, keras.layers.Bidirectional):
                self._fill(old.forward_layer, new.forward_layer)
                self._fill(old.backward_layer, new.backward_layer)
            else:
                self._fill(old, new)

    def _fill(self, old: Any, new: Any) -> None:
        if isinstance(new, BlockSparseRNN):
            self._fill_recurrent(_plan.cell_of(old), new)
        elif isinstance(new, BlockSparseDense):
            dense = _plan.dense_of(old)
            _fill_dense(
                new, _array(dense.kernel), _array(dense.bias) if dense.use_bias else None
            )
        else:
            new.set_weights(old.get_weights())
            return
        self._check(old, new)

    def _fill_recurrent(self, cell: Any, new: BlockSparseRNN) -> None:
        order = None if new.order is None else np.array(new.order)
        recurrent = _plan.permuted(_array(cell.recurrent_kernel), order)
        new.cell.blocks.assign(new.cell.layout.pack(recurrent))
        bias = None
        if cell.use_bias:
            bias = _plan.columns_permuted(_array(cell.bias), order)
            if bias.ndim == 2:  # of a GRU: of the inputs, and of the state
                new.cell.bias.assign(bias[1])
                bias = bias[0]
        _fill_dense(
            new.projection or new.cell.projection,
            _plan.columns_permuted(_array(cell.kernel), order),
            bias,
        )

    def _check(self, old: Any, new: Any) -> None:
        rng = np.random.RandomState(0)
        width = _plan.cell_of(old) or _plan.dense_of(old)
        shape = (2, 3, width.kernel.shape[0])
        x = rng.uniform(-1, 1, shape).astype("float32")
        kept = new.stateful if hasattr(new, "stateful") else False
        if kept:
            return  # a call would change its states
        outputs = [keras.tree.flatten(layer(x))[0] for layer in (old, new)]
        a, b = (ops.convert_to_numpy(y).astype(np.float64) for y in outputs)
        if (error := float(np.abs(a - b).max())) > self.tolerance:
            raise ValueError(
                f"The sparse form of layer {old.name!r} differs by {error:.2g}, more "
                f"than tolerance={self.tolerance:g}: rounding, in half precision or with "
                "large weights. Pass a larger `tolerance`."
            )


def _dense(layer: Any, dense: Any, choice: Choice) -> BlockSparseDense:
    assert choice.layout is not None
    return BlockSparseDense(
        choice.layout,
        dense.activation,
        dense.use_bias,
        name=layer.name,
        dtype=dense.dtype_policy,
    )


def _fill_dense(new: Any, kernel: Array, bias: Any) -> None:
    if isinstance(new, BlockSparseDense):
        new.blocks.assign(new.layout.pack(kernel))
    else:
        new.kernel.assign(kernel)
    if bias is not None:
        new.bias.assign(bias)


def _array(variable: Any) -> Array:
    return ops.convert_to_numpy(variable.value)
