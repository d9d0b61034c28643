"""Regularizers: the penalty on a fixed placement of the neurons, for any Keras layer."""

import functools
import math
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike, NDArray

from keras_moduli import _checks, inhibitors, manifolds, penalties
from keras_moduli._registry import PACKAGE
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.manifolds import Manifold

__all__ = ["ModuliRegularizer", "matched_l1"]

Tensor = Any
Array = NDArray[np.float64]


class KernelLayout(NamedTuple):
    """How a kernel's axes flatten to (inputs, gates, outputs)."""

    inputs: int
    gates: int
    outputs: int


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliRegularizer(keras.regularizers.Regularizer):
    """Makes a connection cost by the geodesic distance that it spans.

    The neurons are placed on a manifold M by a fixed embedding i, and a kernel W costs

        strength · Σⱼₖ f(d_M(i(j), i(k)))·|wⱼₖ|^power

    Pruned by magnitude afterwards, what survives follows the geometry.

    A square kernel (n, n) is taken as recurrent: one embedding. The recurrent kernel of a
    gated layer, (n, g·n), needs `gates=g`: 4 for an LSTM, 3 for a GRU. A kernel (m, n)
    between two sets of neurons needs `output_seed` or `output_embedding`. A kernel of
    more than two axes needs `input_axes` too, and is flattened to inputs and outputs.

    Args:
        manifold: M: a name such as `"torus"`, or a `keras_moduli.manifolds.Manifold`.
        inhibitor: f: a name such as `"dog"`, or a `keras_moduli.inhibitors.Inhibitor`.
        strength: Factor of the penalty, finite and at least 0.
        power: Power of |w|, an integer of at least 1.
        reduction: `"sum"` is the formula above: with `inhibitor="constant"` it equals
            `keras.regularizers.L1(strength)`, with `power=2` `L2(strength)`. `"mean"`
            divides by the number of entries, as the authors' scripts do.
        gates: Number of gates that share the coefficients, along the last axis.
        seed: Seed of the embedding, which is `manifold.sample(n, seed)`.
        output_seed: Seed of a second embedding, for the outputs.
        embedding: Points to use instead, of shape (n, ambient_dim).
        output_embedding: Points to use for the outputs.
        permute_seed: If given, the coefficients are permuted at random: the control
            that tells the gain of geometry from that of an uneven penalty.
        input_axes: How many leading axes of the kernel are inputs: 1 for attention's
            query kernel (d, heads, d_head), 2 for its output kernel (heads, d_head, d)
            and for `Conv1D`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of range; when called, if the shape of the
            kernel leaves open which axis is which.

    Example:

    >>> import keras, keras_moduli as km
    >>> layer = keras.layers.SimpleRNN(
    ...     64, recurrent_regularizer=km.ModuliRegularizer("torus", "dog", strength=1e-3)
    ... )

    Source: Mackey et al., "Geometric sparsification in recurrent neural networks", 2024.
    """

    def __init__(
        self,
        manifold: str | Manifold = "torus",
        inhibitor: str | Inhibitor = "dog",
        strength: float = 1e-3,
        *,
        power: int = 1,
        reduction: str = "sum",
        gates: int = 1,
        seed: int = 0,
        output_seed: int | None = None,
        embedding: ArrayLike | None = None,
        output_embedding: ArrayLike | None = None,
        permute_seed: int | None = None,
        input_axes: int | None = None,
    ) -> None:
        self.manifold = manifolds.get(manifold)
        self.inhibitor = inhibitors.get(inhibitor)
        self.strength = _checks.real("strength", strength, minimum=0.0)
        self.power = _checks.integer("power", power, minimum=1)
        self.reduction = _checks.choice("reduction", reduction, ("sum", "mean"))
        self.gates = _checks.integer("gates", gates, minimum=1)
        self.seed = _checks.seed("seed", seed)
        self.output_seed = _optional(_checks.seed, "output_seed", output_seed)
        self.embedding = _optional(self._placement, "embedding", embedding)
        self.output_embedding = _optional(
            self._placement, "output_embedding", output_embedding
        )
        self.permute_seed = _optional(_checks.seed, "permute_seed", permute_seed)
        self.input_axes = _optional(
            functools.partial(_checks.integer, minimum=1), "input_axes", input_axes
        )
        if self.output_seed is not None and self.output_embedding is not None:
            raise ValueError(
                "Pass `output_seed` or `output_embedding`, not both: each places the "
                "outputs."
            )

    def __call__(self, kernel: Tensor) -> Tensor:
        """The penalty of a kernel: a scalar, in float32 or better.

        Raises:
            ValueError: If the shape of the kernel does not fit the arguments.
        """
        layout = self.layout(kernel.shape)
        # Half precision can hold neither positions nor a sum over a kernel.
        dtype = keras.backend.result_type(kernel.dtype, "float32")
        kernel = ops.reshape(ops.cast(kernel, dtype), layout)
        costs = self._coefficients(layout, dtype)
        return self.strength * penalties.penalty(
            kernel, costs, self.power, self.reduction
        )

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
        return layout

    def points(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """The embeddings of the input and output neurons of a kernel.

        Args:
            shape: Shape of the kernel.

        Returns:
            Two NumPy arrays (inputs, ambient_dim) and (outputs, ambient_dim); the same
            array twice if both are the same neurons.
        """
        return self._points(self.layout(shape))

    def coefficients(self, shape: tuple[int, ...]) -> Array:
        """What each connection of a kernel costs per |w|^power, without the strength.

        Args:
            shape: Shape of the kernel.

        Returns:
            NumPy array of shape (inputs, outputs), the same for every gate.
        """
        return ops.convert_to_numpy(self._coefficients(self.layout(shape), "float32"))

    def distances(self, shape: tuple[int, ...]) -> Array:
        """The geodesic distance that each connection of a kernel spans.

        Args:
            shape: Shape of the kernel.

        Returns:
            NumPy array of shape (inputs, outputs), the same for every gate.
        """
        inputs, outputs = (p.astype("float32") for p in self.points(shape))
        return ops.convert_to_numpy(self.manifold.pairwise(inputs, outputs))

    def get_config(self) -> dict[str, Any]:
        """The arguments as plain Python values."""
        return {
            "manifold": keras.saving.serialize_keras_object(self.manifold),
            "inhibitor": keras.saving.serialize_keras_object(self.inhibitor),
            "strength": self.strength,
            "power": self.power,
            "reduction": self.reduction,
            "gates": self.gates,
            "seed": self.seed,
            "output_seed": self.output_seed,
            "embedding": _as_list(self.embedding),
            "output_embedding": _as_list(self.output_embedding),
            "permute_seed": self.permute_seed,
            "input_axes": self.input_axes,
        }

    def __repr__(self) -> str:
        return (
            f"ModuliRegularizer({self.manifold!r}, {self.inhibitor!r}, "
            f"strength={self.strength!r})"
        )

    def _has_outputs(self) -> bool:
        return self.output_seed is not None or self.output_embedding is not None

    def _input_axes(self, shape: tuple[int, ...]) -> int:
        if len(shape) < 2:
            raise ValueError(
                "ModuliRegularizer needs a kernel of at least two axes, inputs and "
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

    def _placement(self, name: str, points: ArrayLike) -> Array:
        array = _checks.array(points)
        expected = self.manifold.ambient_dim
        if array.ndim != 2 or array.shape[1] != expected or not len(array):
            raise ValueError(
                f"`{name}` must be of shape (n, {expected}) on {self.manifold!r}. "
                f"Received: {name}.shape={array.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"`{name}` must be finite.")
        return array

    def _points(self, layout: KernelLayout) -> tuple[Array, Array]:
        inputs = self._place("embedding", self.embedding, layout.inputs, self.seed)
        if not self._has_outputs():
            return inputs, inputs
        outputs = self._place(
            "output_embedding",
            self.output_embedding,
            layout.outputs,
            self.output_seed,
        )
        return inputs, outputs

    def _place(self, name: str, given: Array | None, n: int, seed: int | None) -> Array:
        if given is None:
            return _sample(self.manifold, n, seed)
        if len(given) != n:
            raise ValueError(
                f"`{name}` must hold one point for each of the kernel's {n} neurons, "
                f"shape ({n}, {self.manifold.ambient_dim}). "
                f"Received: {name}.shape={given.shape}"
            )
        return given

    def _coefficients(self, layout: KernelLayout, dtype: str) -> Tensor:
        inputs, outputs = (
            ops.convert_to_tensor(points, dtype) for points in self._points(layout)
        )
        # From the points inside the step, which compilers fuse with the sum, rather than
        # from a stored matrix, which would be a constant of n² numbers in the graph.
        costs = penalties.coefficients(self.manifold, self.inhibitor, inputs, outputs)
        if self.permute_seed is None:
            return costs
        return penalties.permuted(costs, self.permute_seed)


def matched_l1(
    regularizer: ModuliRegularizer, units: int | tuple[int, ...]
) -> keras.regularizers.Regularizer:
    """The control without geometry: L1 whose strength is the mean coefficient.

    Args:
        regularizer: The penalty to match.
        units: Number of neurons of the recurrent layer, or the shape of the kernel.

    Returns:
        `keras.regularizers.L1`, or `L2` if the penalty's power is 2, which costs the
        same on a kernel whose entries all have the same size.

    Raises:
        TypeError: If `regularizer` is no `ModuliRegularizer`.
        ValueError: If its power is above 2, which no regularizer of Keras has.

    Example:

    >>> import keras_moduli as km
    >>> float(km.matched_l1(km.ModuliRegularizer(inhibitor="constant"), 64).l1)
    0.001...
    """
    if not isinstance(regularizer, ModuliRegularizer):
        raise TypeError(
            "`regularizer` must be a ModuliRegularizer. "
            f"Received: regularizer={regularizer!r}"
        )
    controls = {1: keras.regularizers.L1, 2: keras.regularizers.L2}
    if regularizer.power not in controls:
        raise ValueError(
            "Only power 1 and 2 have a matched control, L1 and L2. "
            f"Received: regularizer.power={regularizer.power}"
        )
    if not isinstance(units, tuple | list):
        units = _checks.integer("units", units, minimum=1)
        units = (units, regularizer.gates * units)
    strength = regularizer.strength * float(
        regularizer.coefficients(units).mean(dtype=np.float64)
    )
    if regularizer.reduction == "mean":
        strength /= math.prod(units)
    return controls[regularizer.power](strength)


@functools.lru_cache(maxsize=64)
def _sample(manifold: Manifold, n: int, seed: int) -> Array:
    points = manifold.sample(n, seed)
    points.setflags(write=False)
    return points


def _optional(check: Any, name: str, value: Any) -> Any:
    return None if value is None else check(name, value)


def _as_list(points: Array | None) -> list[list[float]] | None:
    return None if points is None else points.tolist()


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
