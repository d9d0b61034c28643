"""The penalty on a fixed placement of the neurons, and its matched control."""

import functools
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from keras_moduli import _checks
from keras_moduli._registry import PACKAGE
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.manifolds import Manifold
from keras_moduli.regularizers._base import Array, KernelLayout, KernelPenalty, optional
from keras_moduli.regularizers._rows import are_many

Tensor = Any


@keras.saving.register_keras_serializable(PACKAGE)
class ModuliRegularizer(KernelPenalty):
    """Makes a connection cost by the geodesic distance that it spans.

    The neurons are placed on a manifold M by a fixed embedding i, and a kernel W costs

        strength · Σⱼₖ f(d_M(i(j), i(k)))·|wⱼₖ|^power

    Pruned by magnitude afterwards, what survives follows the geometry.

    A square kernel (n, n) is taken as recurrent: one embedding. The recurrent kernel of a
    gated layer, (n, g·n), needs `gates=g`: 4 for an LSTM, 3 for a GRU. A kernel (m, n)
    between two sets of neurons needs `output_seed` or `output_embedding`. A kernel of
    more than two axes needs `input_axes` too, and is flattened to inputs and outputs.

    Of kernels with more than four million entries a few rows are computed at a time, so
    that they need little more memory than L1; with `permute_seed` or `communicability`
    all coefficients are held at once.

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
        communicability: Whether a connection costs also in proportion to how well the
            network as it is connects its ends, C = exp(S^-½·|W|·S^-½), where S holds the
            row sums of |W|: the weighting of seRNN (Achterberg et al., 2023). Takes a
            square kernel, and O(n³) a step.

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
        communicability: bool = False,
    ) -> None:
        super().__init__(
            manifold,
            inhibitor,
            strength,
            power=power,
            reduction=reduction,
            gates=gates,
            permute_seed=permute_seed,
            input_axes=input_axes,
            communicability=communicability,
        )
        self.seed = _checks.seed("seed", seed)
        self.output_seed = optional(_checks.seed, "output_seed", output_seed)
        self.embedding = optional(self._placement, "embedding", embedding)
        self.output_embedding = optional(
            self._placement, "output_embedding", output_embedding
        )
        self._store: dict[KernelLayout, tuple[tuple[Array, Array], Tensor]] = {}
        if self.output_seed is not None and self.output_embedding is not None:
            raise ValueError(
                "Pass `output_seed` or `output_embedding`, not both: each places the "
                "outputs."
            )

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
            "communicability": self.communicability,
        }

    def __repr__(self) -> str:
        return (
            f"ModuliRegularizer({self.manifold!r}, {self.inhibitor!r}, "
            f"strength={self.strength!r})"
        )

    def _has_outputs(self) -> bool:
        return self.output_seed is not None or self.output_embedding is not None

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

    def _cost(self, kernel: Tensor, layout: KernelLayout) -> Tensor:
        if are_many(layout.inputs * layout.outputs):
            return super()._cost(kernel, layout)
        costs = ops.cast(self._stored(layout), kernel.dtype)
        return self._weighed(kernel, layout, costs)

    def _stored(self, layout: KernelLayout) -> Tensor:
        """The coefficients of a kernel, which change only if neurons are moved."""
        points = self._points(layout)
        stored = self._store.get(layout)
        if stored is None or any(
            a is not b for a, b in zip(stored[0], points, strict=True)
        ):
            # In a thread of its own, where it is computed at once: inside the trace of a
            # compiled step it would become a part of that.
            with ThreadPoolExecutor(1) as thread:
                costs = thread.submit(self._constant, layout).result()
            stored = self._store[layout] = (points, costs)
        return ops.convert_to_tensor(stored[1])

    def _constant(self, layout: KernelLayout) -> Any:
        costs = self._coefficients(layout)
        if keras.backend.backend() == "torch":  # eager: converted once, not in each step
            return ops.convert_to_tensor(costs)
        return costs

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


def _as_list(points: Array | None) -> list[list[float]] | None:
    return None if points is None else points.tolist()
