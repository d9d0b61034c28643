"""What recurrent cells whose kernels are blocks add to Keras's own."""

import abc
import functools
from typing import Any

import keras
from keras import ops

from keras_moduli import _backend, _keras_arguments, connectivity
from keras_moduli.connectivity._layout import to_columns, to_rows
from keras_moduli.layers._block_weights import (
    BlockProduct,
    add_blocks,
    get_connectivity,
    multiply_rows,
)
from keras_moduli.layers._shortcuts import HasConnectivity

Tensor = Any
Variable = Any


class SparseCell(HasConnectivity, abc.ABC):
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
            or a `BlockLayout`.
        input_connectivity: Likewise of the kernel of the inputs; None for a dense one.
        **kwargs: Those of Keras's cell.
    """

    gates: int
    kind: str  # of `_backend.Recurrence`
    # Of Keras's cells:
    units: int
    activation: Any
    dropout: float
    recurrent_dropout: float
    bias: Any
    kernel: Any
    recurrent_kernel: Any
    recurrent_initializer: Any
    get_dropout_mask: Any
    get_recurrent_dropout_mask: Any

    def __init__(
        self,
        units: int,
        *args: Any,
        connectivity: Any = None,
        input_connectivity: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            **_keras_arguments.check(super().__init__, units, *args, **kwargs)
        )
        self.connectivity = get_connectivity("connectivity", connectivity)
        self.input_connectivity = (
            None
            if input_connectivity is None
            else get_connectivity("input_connectivity", input_connectivity)
        )
        self.kernel_indices: Any = None
        self.recurrent_kernel_indices: Any = None

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
        bias = self._get_input_bias()
        return y if bias is None else y + bias

    def drop_inputs(self, inputs: Tensor, training: bool) -> Any:
        """Returns `inputs` (batch, ..., features), dropped out in `training` by gate."""
        if not (training and self._drops(self.dropout)):
            return inputs
        step = inputs if len(inputs.shape) == 2 else inputs[:, 0]
        mask = self.get_dropout_mask(step)
        if isinstance(mask, list):
            return [_drop(inputs, each) for each in mask]
        return _drop(inputs, mask)

    def project_first(self, step: Any, batch: Any) -> Any:
        """Returns a `step` of inputs as they come: columns (features, batch)."""
        kernel: Any = None
        multiply: Any
        if self.kernel_indices is None:
            kernel = ops.transpose(ops.convert_to_tensor(self.kernel))
            multiply = functools.partial(ops.matmul, kernel)
        else:
            found = connectivity.find_kernel(self.kernel)
            assert found is not None
            product = BlockProduct(self.kernel, self.kernel_indices, found, batch)

            def multiply(x: Tensor) -> Tensor:
                return product(ops.cast(x, product.operand.dtype))  # may be integers

        bias = self._get_input_bias()
        if bias is not None:
            bias = to_columns(bias[None], batch)

        def projected(x: Tensor, states: list[Tensor]) -> list[Tensor]:
            y = multiply(x)
            return step(y if bias is None else y + bias, states)

        if (recurrence := getattr(step, "recurrence", None)) is not None:
            recurrence = recurrence._replace(kernel=kernel, input_bias=bias)
            projected.recurrence = recurrence  # type: ignore[attr-defined]
        return projected

    def project_steps(self, sequences: Tensor) -> Tensor:
        """Returns `sequences` (batch, time, features) as multiplied columns of each step.

        One product of all, which turns around the inputs and not what comes of them.

        Returns:
            (time, gates · n, batch).
        """
        columns = ops.transpose(sequences, (2, 1, 0))
        features = columns.shape[0]
        kernel = ops.transpose(ops.convert_to_tensor(self.kernel))
        y = ops.matmul(kernel, ops.reshape(columns, (features, -1)))
        bias = self._get_input_bias()
        y = y if bias is None else y + bias[:, None]
        shape = (y.shape[0], *ops.shape(columns)[1:])
        return ops.transpose(ops.reshape(y, shape), (1, 0, 2))

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

    def _get_input_bias(self) -> Tensor:
        if self.bias is None:
            return None
        bias = ops.convert_to_tensor(self.bias)
        return bias[0] if len(bias.shape) == 2 else bias  # the other is of the states

    def make_step(self, batch: Any, state: Tensor, training: bool) -> Any:
        """Returns `step(inputs, states)`, in columns, with what it takes of the weights.

        Args:
            batch: Size of the batch.
            state: One of the states, (n, batch) or (n,).
            training: Whether states drop out.

        Raises:
            ValueError: If gates differ, and blocks do not divide the units.
        """
        mask, parts = None, self._list_parts()
        if training and self._drops(self.recurrent_dropout):
            mask = self.get_recurrent_dropout_mask(to_rows(state, batch))
        if isinstance(mask, list):
            mask = [to_columns(each, batch) for each in mask]
            parts = [self._find_gates(gate, gate + 1) for gate in range(self.gates)]
        elif mask is not None:
            mask = to_columns(mask, batch)
        products = [self._make_product(batch, part) for part in parts]
        constants = self._list_constants(batch)

        def step(x: Tensor, states: list[Tensor]) -> list[Tensor]:
            return self.step(x, states, products, mask, *constants)

        owner = next(cls for cls in type(self).__mro__ if "step" in vars(cls))
        is_known = "kind" in vars(owner)  # not that of a subclass
        if len(products) == 1 and mask is None and is_known:
            (product,) = products
            step.recurrence = _backend.Recurrence(  # type: ignore[attr-defined]
                self.kind,
                self.activation,
                getattr(self, "recurrent_activation", None),
                constants[0] if constants else None,
                product.operand,
                product.sites,
                product.is_vector,
            )
        return step

    def _drops(self, rate: float) -> bool:
        # As Keras's cells: those with gates drop nothing if all is to be dropped.
        return rate > 0 and (rate < 1 or self.gates == 1)

    def _make_product(self, batch: Any, part: tuple[int, int | None]) -> BlockProduct:
        weights, indices = self.recurrent_kernel, self.recurrent_kernel_indices
        kernel = connectivity.find_kernel(weights)
        assert kernel is not None
        return BlockProduct(weights, indices, kernel, batch, *part)

    def _find_gates(self, first: int, last: int) -> tuple[int, int]:
        """Returns the columns of blocks of gates, from one to before another."""
        c = self.recurrent_kernel.shape[1]
        if self.units % c:
            raise ValueError(
                f"Blocks of {c} outputs do not divide {self.units} units, so that gates "
                "cannot be told apart, which `recurrent_dropout` and `reset_after=False` "
                f"want. Type a block whose second number divides {self.units}."
            )
        return first * self.units // c, last * self.units // c

    def _list_parts(self) -> list[tuple[int, int | None]]:
        """Returns the columns of blocks that are multiplied at once, first and last."""
        if getattr(self, "reset_after", True):
            return [(0, None)]
        last = self.gates - 1  # the candidate's states are known after its gates
        return [self._find_gates(0, last), self._find_gates(last, self.gates)]

    def _list_constants(self, batch: Any) -> list[Tensor]:
        """Returns the bias of the states, if they have one."""
        if self.bias is None or len(self.bias.shape) < 2:
            return []
        return [to_columns(ops.convert_to_tensor(self.bias)[1:], batch)]

    @abc.abstractmethod
    def step(
        self,
        x: Tensor,
        states: list[Tensor],
        products: list[BlockProduct],
        mask: Any,
        *constants: Tensor,
    ) -> list[Tensor]:
        """Returns the next states of the same shapes, the first of which is the output.

        Args:
            x: Inputs, multiplied: columns (gates · n, batch), or one vector (gates · n,).
            states: Columns (n, batch), or vectors (n,).
            products: With the recurrent kernel, or each part of it.
            mask: What drops out of the states, of each gate; None for nothing.
            *constants: The bias of the states, of the shape of x, if they have one.
        """

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),  # type: ignore[misc]
            "connectivity": serialize(self.connectivity),
            "input_connectivity": serialize(self.input_connectivity),
        }


def _drop(x: Tensor, mask: Tensor) -> Tensor:
    return x * (mask if len(x.shape) == 2 else mask[:, None])
