"""What every penalty on a kernel shares, wherever its neurons' places come from."""

import abc
import functools
import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _checks, inhibitors, manifolds, penalties
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.manifolds import Manifold
from keras_moduli.regularizers._rows import are_many, map_rows

Tensor = Any
Array = NDArray[np.float64]


class KernelLayout(NamedTuple):
    """How a kernel's axes flatten to (inputs, gates, outputs)."""

    inputs: int
    gates: int
    outputs: int

    def gated(self, rows: Tensor) -> Tensor:
        """Rows of a matrix (inputs, gates · outputs) with an axis of gates."""
        return ops.reshape(rows, (-1, self.gates, self.outputs))


class KernelPenalty(keras.regularizers.Regularizer, abc.ABC):
    """What fixed and learned placements share: strength · Σⱼₖ f(d_M(xⱼ, yₖ))·|wⱼₖ|^power.

    The arguments are those of `ModuliRegularizer`; a subclass says where the neurons are.
    """

    def __init__(
        self,
        manifold: str | Manifold,
        inhibitor: str | Inhibitor,
        strength: float,
        *,
        power: int,
        reduction: str,
        gates: int,
        permute_seed: int | None,
        input_axes: int | None,
        communicability: bool,
    ) -> None:
        self.manifold = manifolds.get(manifold)
        self.inhibitor = inhibitors.get(inhibitor)
        self.strength = _checks.real("strength", strength, minimum=0.0)
        self.power = _checks.integer("power", power, minimum=1)
        self.reduction = _checks.choice("reduction", reduction, ("sum", "mean"))
        self.gates = _checks.integer("gates", gates, minimum=1)
        self.permute_seed = optional(_checks.seed, "permute_seed", permute_seed)
        self.input_axes = optional(
            functools.partial(_checks.integer, minimum=1), "input_axes", input_axes
        )
        self.communicability = _checks.boolean("communicability", communicability)

    @abc.abstractmethod
    def _points(self, layout: KernelLayout) -> tuple[Any, Any]:
        """The points of inputs and outputs; one object twice if they are the same."""

    @abc.abstractmethod
    def _has_outputs(self) -> bool:
        """Whether inputs and outputs are two sets of neurons."""

    def __call__(self, kernel: Tensor) -> Tensor:
        """The penalty of a kernel: a scalar, in float32 or better.

        Raises:
            ValueError: If the shape of the kernel does not fit the arguments.
        """
        layout = self.layout(kernel.shape)
        # Half precision can hold neither positions nor a sum over a kernel.
        dtype = keras.backend.result_type(kernel.dtype, "float32")
        kernel = ops.reshape(ops.cast(kernel, dtype), layout)
        return self._cost(kernel, layout)

    def _cost(self, kernel: Tensor, layout: KernelLayout) -> Tensor:
        """The penalty of a (inputs, gates, outputs) kernel."""
        if self._by_rows(layout):
            # As a matrix: for an axis of one gate XLA would copy it.
            matrix = ops.reshape(kernel, (layout.inputs, -1))
            return self._cost_by_rows(matrix, layout)
        return self._cost_at_once(kernel, layout, self._squares(layout, kernel.dtype))

    def _cost_at_once(
        self, kernel: Tensor, layout: KernelLayout, squares: Tensor
    ) -> Tensor:
        """The same from all squared distances."""
        return self._weighed(kernel, layout, self._costs(squares))

    def _scale(self, layout: KernelLayout) -> Tensor:
        """By what Σ c·|w|^ℓ is multiplied."""
        if self.reduction == "sum":
            return self.strength
        return self.strength / math.prod(layout)

    def _by_rows(self, layout: KernelLayout) -> bool:
        """Whether the kernel is so large that coefficients are never held at once."""
        # The two that need all coefficients at once are controls and O(n³) in time.
        return (
            are_many(layout.inputs * layout.outputs)
            and self.permute_seed is None
            and not self.communicability
        )

    def _cost_by_rows(self, kernel: Tensor, layout: KernelLayout) -> Tensor:
        """The penalty of a (inputs, gates · outputs) kernel, a few rows at a time."""
        scale = self._scale(layout)
        x, y = map(ops.stop_gradient, self._places(layout, kernel.dtype))

        def slopes(kernel: Tensor, x: Tensor) -> Tensor:
            costs = penalties.coefficients(self.manifold, self.inhibitor, x, y)
            slope = penalties.slope(layout.gated(kernel), costs, self.power)
            # Scaled here, so that compilers find it to be the gradient, not a factor.
            return ops.reshape(scale * slope, kernel.shape)

        # Σ c·|w|^ℓ = Σ w·slope/ℓ, of which the gradient is held once, as L1's is.
        slope = map_rows(slopes, (kernel, x), layout.outputs)
        slope = ops.reshape(slope, (-1, kernel.shape[1]))[: layout.inputs]
        cost = ops.sum(kernel * slope)
        if self.power > 1:
            cost = cost - (1.0 - 1.0 / self.power) * ops.stop_gradient(cost)
        return cost

    def _weighed(self, kernel: Tensor, layout: KernelLayout, costs: Tensor) -> Tensor:
        """The same from what each connection costs."""
        if self.communicability:
            costs = costs[:, None, :] * penalties.communicability(kernel)
        return self._scale(layout) * penalties.penalty(kernel, costs, self.power)

    def layout(self, shape: tuple[int, ...]) -> KernelLayout:
        """How a kernel of this shape flattens to (inputs, gates, outputs).

        Raises:
            ValueError: If the shape leaves that open; the message names the argument.
        """
        shape = tuple(shape)
        axes = self._input_axes(shape)
        inputs, columns = math.prod(shape[:axes]), math.prod(shape[axes:])
        if columns % self.gates:
            raise ValueError(
                f"A kernel of shape {shape} cannot be divided into gates={self.gates} "
                f"gates: its {columns} outputs are no multiple of {self.gates}."
            )
        layout = KernelLayout(inputs, self.gates, columns // self.gates)
        if layout.inputs != layout.outputs and not self._has_outputs():
            raise ValueError(_not_square(shape, layout))
        if layout.inputs != layout.outputs and self.communicability:
            raise ValueError(
                "`communicability=True` needs a square kernel, whose inputs and outputs "
                f"are the same neurons. Received: shape={shape}"
            )
        return layout

    def points(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """The embeddings of the input and output neurons of a kernel.

        Args:
            shape: Shape of the kernel.

        Returns:
            Two NumPy arrays (inputs, ambient_dim) and (outputs, ambient_dim); the same
            points twice if both are the same neurons.
        """
        inputs, outputs = self._points(self.layout(shape))
        return _checks.array(inputs), _checks.array(outputs)

    def coefficients(self, shape: tuple[int, ...]) -> Array:
        """What each connection of a kernel costs per |w|^power, without the strength.

        Args:
            shape: Shape of the kernel.

        Returns:
            NumPy array of shape (inputs, outputs), the same for every gate. It leaves
            communicability out, which depends on the weights.
        """
        return self._coefficients(self.layout(shape))

    def _coefficients(self, layout: KernelLayout) -> Array:
        costs = self._costs(self._squares(layout, "float32"))
        return np.array(ops.convert_to_numpy(costs))

    def distances(self, shape: tuple[int, ...]) -> Array:
        """The geodesic distance that each connection of a kernel spans.

        Args:
            shape: Shape of the kernel.

        Returns:
            NumPy array of shape (inputs, outputs), the same for every gate.
        """
        squares = self._squares(self.layout(shape), "float32")
        return np.sqrt(ops.convert_to_numpy(squares))

    def _squares(self, layout: KernelLayout, dtype: str) -> Tensor:
        x, y = self._places(layout, dtype)
        return self.manifold.squared_distance(x[:, None, :], y[None, :, :])

    def _places(self, layout: KernelLayout, dtype: str) -> tuple[Tensor, Tensor]:
        x, y = (ops.convert_to_tensor(points, dtype) for points in self._points(layout))
        return x, y

    def _costs(self, squares: Tensor) -> Tensor:
        costs = self.inhibitor(squares)
        if self.permute_seed is None:
            return costs
        return penalties.permuted(costs, self.permute_seed)

    def _input_axes(self, shape: tuple[int, ...]) -> int:
        if len(shape) < 2:
            raise ValueError(
                "A moduli penalty needs a kernel of at least two axes, inputs and "
                f"outputs. Received: shape={shape}"
            )
        if self.input_axes is None:
            if len(shape) > 2:
                raise ValueError(
                    f"A kernel of shape {shape} leaves open which axes are inputs. Pass "
                    "`input_axes`, the number of leading axes that are inputs: 1 for "
                    "attention's query (d, heads, d_head), 2 for a Conv1D kernel."
                )
            return 1
        if self.input_axes >= len(shape):
            raise ValueError(
                f"`input_axes` must leave at least one output axis of a kernel of shape "
                f"{shape}. Received: input_axes={self.input_axes}"
            )
        return self.input_axes


def geometry_of(variable: Any) -> KernelPenalty | None:
    """The penalty by distance of a weight, if it has one, fixed or learned.

    Args:
        variable: A `keras.Variable`.
    """
    regularizer = getattr(variable, "regularizer", None)
    regularizer = getattr(regularizer, "geometry", regularizer)
    return regularizer if isinstance(regularizer, KernelPenalty) else None


def optional(check: Any, name: str, value: Any) -> Any:
    return None if value is None else check(name, value)


def _not_square(shape: tuple[int, ...], layout: KernelLayout) -> str:
    gates = layout.outputs // layout.inputs
    hint = ""
    if layout.gates == 1 and layout.outputs == gates * layout.inputs:
        hint = f"`gates={gates}` for the recurrent kernel of a gated layer, or "
    return (
        f"A kernel of shape {shape} connects {layout.inputs} inputs to {layout.outputs} "
        f"outputs, which cannot be the same neurons. Pass {hint}`output_seed=1` (any "
        "seed, or `output_embedding=`) to place the outputs apart from the inputs."
    )
