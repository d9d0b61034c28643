"""Keras's recurrent cells, whose recurrent kernels are blocks."""

import abc
from typing import Any

import keras
from keras import ops

from keras_moduli import connectivity
from keras_moduli._registry import PACKAGE
from keras_moduli.connectivity._layout import to_columns, to_rows
from keras_moduli.layers._block_weights import (
    BlockProduct,
    add_blocks,
    multiply_rows,
)

Tensor = Any
Variable = Any


class SparseCell(abc.ABC):
    """What the sparse cells add to Keras's own.

    The recurrent kernel has the blocks that `connectivity` says, and no others: they are
    the weight `recurrent_kernel`, (J, c, K·b), for each of J columns of blocks the K
    blocks of b inputs and c outputs, turned; where they lie is the weight of integers
    `recurrent_kernel_indices`, (J, K). A step takes one gather and one product of blocks.
    The dense kernel never exists.

    Args:
        units: Number of neurons.
        *args: Those of Keras's cell.
        connectivity: Of the recurrent kernel: a `keras_moduli.connectivity.Connectivity`
            or the name of one.
        input_connectivity: Likewise of the kernel of the inputs; None for a dense one.
        **kwargs: Those of Keras's cell.
    """

    gates: int

    def __init__(
        self,
        units: int,
        *args: Any,
        connectivity: Any,
        input_connectivity: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(units, *args, **kwargs)
        self.connectivity = get_connectivity("connectivity", connectivity)
        self.input_connectivity = (
            None
            if input_connectivity is None
            else get_connectivity("input_connectivity", input_connectivity)
        )
        self.kernel_indices = None

    def add_weight(self, *args: Any, **kwargs: Any) -> Variable:
        """Adds blocks where Keras's cell adds a kernel that is connected by a rule."""
        name, add = kwargs.get("name"), super().add_weight  # type: ignore[misc]
        rules = {
            "recurrent_kernel": self.connectivity,
            "kernel": self.input_connectivity,
        }
        rule = None if args else rules.get(str(name))
        if rule is None:
            return add(*args, **kwargs)
        weights, indices = add_blocks(
            add,
            rule,
            gates=self.gates,
            recurrent=name == "recurrent_kernel",
            **kwargs,
        )
        setattr(self, f"{name}_indices", indices)
        return weights

    def call(self, inputs: Tensor, states: Any, training: bool = False) -> Any:
        """Returns the output and the next states, as Keras's cell does."""
        batch = inputs.shape[0]
        is_nested = isinstance(states, list | tuple)
        columns = [to_columns(s, batch) for s in (states if is_nested else [states])]
        step = self.make_step(batch, columns[0], training)
        x = to_columns(self.project(self.drop_inputs(inputs, training)), batch)
        new = [to_rows(state, batch) for state in step(x, columns)]
        return new[0], new if is_nested else new[0]

    def project(self, inputs: Any) -> Tensor:
        """Returns inputs (..., features) times their kernel, with their bias.

        Args:
            inputs: Of one step (batch, features), or of all (batch, time, features), as
                `drop_inputs` returns them.
        """
        y = self._multiply_inputs(inputs)
        bias = self.get_input_bias()
        return y if bias is None else y + bias

    def drop_inputs(self, inputs: Tensor, training: bool) -> Any:
        """Returns inputs of which some have dropped out, for each gate if they differ."""
        if not (training and self._drops(self.dropout)):
            return inputs
        step = inputs if len(inputs.shape) == 2 else inputs[:, 0]
        mask = self.get_dropout_mask(step)
        if isinstance(mask, list):
            return [_drop(inputs, each) for each in mask]
        return _drop(inputs, mask)

    def make_projection(self, batch: Any) -> Any:
        """Returns `project(inputs)`, in columns, for use inside of a loop."""
        kernel = ops.transpose(ops.convert_to_tensor(self.kernel))
        bias = self.get_input_bias()
        if bias is not None:
            bias = to_columns(bias[None], batch)

        def project(x: Tensor) -> Tensor:
            y = ops.matmul(kernel, x)
            return y if bias is None else y + bias

        return project

    def _multiply_inputs(self, inputs: Any) -> Tensor:
        if self.kernel_indices is None:
            if not isinstance(inputs, list):
                return ops.matmul(inputs, self.kernel)
            kernels = ops.split(ops.convert_to_tensor(self.kernel), self.gates, axis=1)
            pairs = zip(inputs, kernels, strict=True)
            return ops.concatenate([ops.matmul(x, k) for x, k in pairs], axis=-1)
        if not isinstance(inputs, list):
            return multiply_rows(inputs, self.kernel, self.kernel_indices)
        n = self.units
        whole = [multiply_rows(x, self.kernel, self.kernel_indices) for x in inputs]
        parts = [y[..., g * n : (g + 1) * n] for g, y in enumerate(whole)]
        return ops.concatenate(parts, axis=-1)

    def get_input_bias(self) -> Tensor:
        """Returns the bias of the inputs, None for none."""
        return None if self.bias is None else ops.convert_to_tensor(self.bias)

    def make_step(self, batch: Any, state: Tensor, training: bool) -> Any:
        """Returns `step(inputs, states)`, in columns, with what it takes of the weights.

        Args:
            batch: Size of the batch.
            state: One of the states, in columns.
            training: Whether states drop out.
        """
        mask, parts = None, self.list_parts()
        if training and self._drops(self.recurrent_dropout):
            mask = self.get_recurrent_dropout_mask(to_rows(state, batch))
        if isinstance(mask, list):
            mask = [to_columns(each, batch) for each in mask]
            parts = [self._find_gates(gate, gate + 1) for gate in range(self.gates)]
        elif mask is not None:
            mask = to_columns(mask, batch)
        products = [self._make_product(batch, part) for part in parts]
        constants = self.list_constants(batch)

        def step(x: Tensor, states: list[Tensor]) -> list[Tensor]:
            return self.step(x, states, products, mask, *constants)

        return step

    def _drops(self, rate: float) -> bool:
        # As Keras's cells: those with gates drop nothing if all is to be dropped.
        return 0 < rate and (rate < 1 or self.gates == 1)

    def _make_product(self, batch: Any, part: tuple[int, int | None]) -> BlockProduct:
        weights, indices = self.recurrent_kernel, self.recurrent_kernel_indices
        kernel = connectivity.find_kernel(weights)
        return BlockProduct(weights, indices, kernel, batch, *part)

    def _find_gates(self, first: int, last: int) -> tuple[int, int]:
        """Returns the columns of blocks of gates, from one to before another."""
        c = self.recurrent_kernel.shape[1]
        if self.units % c:
            raise ValueError(
                f"Blocks of {c} outputs do not divide {self.units} units, so that gates "
                "cannot be told apart, which `recurrent_dropout` and `reset_after=False` "
                "want. Choose blocks that divide the units."
            )
        return first * self.units // c, last * self.units // c

    def list_parts(self) -> list[tuple[int, int | None]]:
        """Returns the columns of blocks that are multiplied at once, first and last."""
        return [(0, None)]

    def list_constants(self, batch: Any) -> list[Tensor]:
        """Returns what else a step takes of the weights."""
        return []

    @abc.abstractmethod
    def step(
        self,
        x: Tensor,
        states: list[Tensor],
        products: list[BlockProduct],
        mask: Any,
        *constants: Tensor,
    ) -> list[Tensor]:
        """Returns the next states, the first of which is the output.

        Args:
            x: Inputs, multiplied: columns (gates · n, batch), or one vector (gates · n,).
            states: Columns (n, batch), or vectors (n,).
            products: With the recurrent kernel, or each part of it.
            mask: What drops out of the states, of each gate; None for nothing.
            *constants: Those of `list_constants`.
        """

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),  # type: ignore[misc]
            "connectivity": serialize(self.connectivity),
            "input_connectivity": serialize(self.input_connectivity),
        }


@keras.saving.register_keras_serializable(PACKAGE)
class SparseSimpleRNNCell(SparseCell, keras.layers.SimpleRNNCell):
    """`keras.layers.SimpleRNNCell` whose recurrent kernel is blocks.

        h ← activation(x + Rᵀ h)

    Args:
        units: Number of neurons.
        **kwargs: Arguments of `SparseSimpleRNN` and of `keras.layers.SimpleRNNCell`.
    """

    gates = 1

    def step(
        self,
        x: Tensor,
        states: list[Tensor],
        products: list[BlockProduct],
        mask: Any,
        *constants: Tensor,
    ) -> list[Tensor]:
        """Returns the next state."""
        return [_activate(self.activation, x + _multiply(states[0], products, mask))]


@keras.saving.register_keras_serializable(PACKAGE)
class SparseLSTMCell(SparseCell, keras.layers.LSTMCell):
    """`keras.layers.LSTMCell` whose recurrent kernel is blocks.

        i, f, g, o ← x + Rᵀ h;  c ← σ(f)·c + σ(i)·tanh(g);  h ← σ(o)·tanh(c)

    Args:
        units: Number of neurons.
        **kwargs: Arguments of `SparseLSTM` and of `keras.layers.LSTMCell`.
    """

    gates = 4

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
        i, f = _activate_pair(self.recurrent_activation, x[: 2 * n])
        g = _activate(self.activation, x[2 * n : 3 * n])
        o = _activate(self.recurrent_activation, x[3 * n :])
        c = f * c + i * g
        return [o * _activate(self.activation, c), c]


@keras.saving.register_keras_serializable(PACKAGE)
class SparseGRUCell(SparseCell, keras.layers.GRUCell):
    """`keras.layers.GRUCell` whose recurrent kernel is blocks.

        z, r, g ← x;  u, v, w ← Rᵀ h + b;  ĝ ← tanh(g + σ(r + v)·w)
        h ← σ(z + u)·h + (1 − σ(z + u))·ĝ

    With `reset_after=False`, w is that of σ(r + v)·h.

    Args:
        units: Number of neurons.
        **kwargs: Arguments of `SparseGRU` and of `keras.layers.GRUCell`.
    """

    gates = 3

    def get_input_bias(self) -> Tensor:
        """Returns the bias of the inputs, None for none."""
        if self.bias is None:
            return None
        bias = ops.convert_to_tensor(self.bias)
        return bias[0] if self.reset_after else bias

    def list_parts(self) -> list[tuple[int, int | None]]:
        """Returns all at once, or the candidate's apart from that of its gates."""
        if self.reset_after:
            return [(0, None)]
        return [self._find_gates(0, 2), self._find_gates(2, 3)]

    def list_constants(self, batch: Any) -> list[Tensor]:
        """Returns the recurrent bias, if there is one."""
        if self.bias is None or not self.reset_after:
            return []
        return [to_columns(ops.convert_to_tensor(self.bias)[1:], batch)]

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
        z, r = _activate_pair(
            self.recurrent_activation, x[: 2 * n] + inner[: 2 * n]
        )
        if self.reset_after:
            candidate = r * inner[2 * n :]
        else:
            candidate = products[-1](r * (h if mask is None else h * mask[2]))
        g = _activate(self.activation, x[2 * n :] + candidate)
        return [z * h + (1 - z) * g]


def _multiply(h: Tensor, products: list[BlockProduct], mask: Any) -> Tensor:
    """Returns Rᵀ h, of what each gate keeps of the states."""
    if isinstance(mask, list):
        pairs = zip(products, mask, strict=True)
        return ops.concatenate([product(h * kept) for product, kept in pairs], axis=0)
    (product,) = products
    return product(h if mask is None else h * mask)


def _drop(x: Tensor, mask: Tensor) -> Tensor:
    return x * (mask if len(x.shape) == 2 else mask[:, None])


def get_connectivity(name: str, value: Any) -> connectivity.Connectivity:
    if isinstance(value, connectivity.BlockLayout):
        return connectivity.FromMask(value)
    return connectivity.get(value)


# Those that Keras's own cells use; any other may look along the last axis.
_ELEMENTWISE = tuple(
    map(keras.activations.get, ("tanh", "sigmoid", "relu", "hard_sigmoid", "linear"))
)


def _activate(activation: Any, x: Tensor) -> Tensor:
    """Returns an activation of columns, which may look along the last axis of rows."""
    if activation in _ELEMENTWISE:
        return activation(x)
    batch = 1 if len(x.shape) == 1 else None
    return to_columns(activation(to_rows(x, batch)), batch)


def _activate_pair(activation: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the activations of two gates, one below the other."""
    n = x.shape[0] // 2
    if activation in _ELEMENTWISE:  # at once: PyTorch pays for each operation
        y = activation(x)
        return y[:n], y[n:]
    return _activate(activation, x[:n]), _activate(activation, x[n:])
