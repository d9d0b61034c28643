"""The regularizer: a cost and a placement, on one kernel or on many."""

import inspect
from typing import Any, Self, final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _backend, _checks
from keras_moduli._registry import PACKAGE
from keras_moduli._repr import write_call
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.manifolds import Manifold
from keras_moduli.regularizers._base import DistancePenalty
from keras_moduli.regularizers._cost import OPTIONS, Cost, KernelLayout
from keras_moduli.regularizers._evaluation import (
    are_many,
    compute_squares,
    evaluate,
    price,
)
from keras_moduli.regularizers._placement import FixedPlacement, Placement, Positions

Tensor = Any
Array = NDArray[np.float64]


@final
@keras.saving.register_keras_serializable(PACKAGE)
class ModuliRegularizer(DistancePenalty):
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

    Of a kernel of which only blocks exist, as those of `SparseDense` and its like, the
    connections that exist pay what they would pay in the dense kernel, `"mean"` over all
    entries of that. `permute_seed` permutes the coefficients of the blocks.

    Args:
        manifold: M: a name such as `"torus"`, or a `keras_moduli.manifolds.Manifold`.
        inhibitor: f: a name, or a `keras_moduli.inhibitors.Inhibitor`; `"diffusion"`, d²,
            by default.
        strength: Factor of the penalty, finite and at least 0; 3e-5 by default.
        power: Power of |w|, an integer from 1, the default, to 64.
        reduction: `"sum"`, the default, is the formula above: with
            `inhibitor="constant"` it equals `keras.regularizers.L1(strength)`, with
            `power=2` `L2(strength)`. `"mean"` divides by the number of entries, as the
            authors' scripts do.
        gates: Number of gates that share the coefficients, along the last axis; 1 by
            default.
        seed: Seed of the embedding, which is `manifold.sample(n, seed)`; 0 by default.
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
            square kernel, and O(n³) a step. False by default.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of range; when called, if the shape of the
            kernel leaves open which axis is which.

    Examples:
        >>> import keras, keras_moduli as km
        >>> regularizer = km.ModuliRegularizer("torus", "diffusion", strength=1e-4)
        >>> layer = keras.layers.SimpleRNN(64, recurrent_regularizer=regularizer)

    Source: Mackey et al., "Geometric sparsification in recurrent neural networks", 2024.
    """

    def __init__(
        self,
        manifold: str | Manifold = "torus",
        inhibitor: str | Inhibitor = "diffusion",
        strength: float = 3e-5,
        **options: Any,
    ) -> None:
        try:
            bound = _SIGNATURE.bind(manifold, inhibitor, strength, **options)
        except TypeError as error:
            raise TypeError(
                f"ModuliRegularizer {error}. It takes {[*_SIGNATURE.parameters]}."
            ) from None
        arguments = bound.arguments
        cost = Cost(**{name: arguments.pop(name) for name in _PRICED & set(arguments)})
        self._set(cost, FixedPlacement(cost.manifold, **arguments), None)

    @classmethod
    def of(cls, cost: Cost, placement: Placement, beside: Any = None) -> Self:
        """Returns the regularizer of a cost and a placement, such as one that learns.

        Args:
            cost: What connections cost.
            placement: Where the neurons are.
            beside: Another regularizer of the same kernel, to be added.
        """
        regularizer = cls.__new__(cls)
        regularizer._set(cost, placement, beside)
        return regularizer

    def _set(self, cost: Cost, placement: Placement, beside: Any) -> None:
        self.cost = cost
        self.placement = placement
        self.beside = beside
        self._constants: dict[KernelLayout, tuple[Positions, Tensor]] = {}

    def penalty(self, kernel: Tensor) -> Tensor:
        """Returns the penalty by distance alone, in float32 or better."""
        if not hasattr(kernel, "shape") or not hasattr(kernel, "dtype"):
            kernel = _checks.tensor(kernel, "kernel")
        layout = self.layout(kernel.shape)
        positions = self.placement.positions(layout.inputs, layout.outputs)
        constant = not positions.learned and not are_many(layout)
        coefficients = self._fix(layout, positions) if constant else None
        return evaluate(self.cost, kernel, layout, positions, coefficients)

    def layout(self, shape: tuple[int, ...]) -> KernelLayout:
        """Returns how a kernel of this shape flattens to (inputs, gates, outputs).

        Raises:
            ValueError: If the shape leaves that open; the message names the argument.
        """
        placement = self.placement
        return self.cost.layout(shape, square=placement.square, taps=placement.taps)

    def positions(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Returns where the input and output neurons of a kernel are.

        Args:
            shape: Shape of the kernel.

        Returns:
            Two NumPy arrays of points, of shape (neurons, ambient_dim); the same points
            twice if both are the same neurons.
        """
        positions = self._locate(self.layout(shape))
        return _checks.array(positions.inputs), _checks.array(positions.outputs)

    def coefficients(self, shape: tuple[int, ...]) -> Array:
        """Returns what each connection of a kernel costs per |w|^power, unscaled.

        Args:
            shape: Shape of the kernel.

        Returns:
            NumPy array of shape (inputs, outputs), the same for every gate, without the
            strength, and without communicability, which depends on the weights.
        """
        return self._price(self._locate(self.layout(shape)))

    def distances(self, shape: tuple[int, ...]) -> Array:
        """Returns the geodesic distance that each connection of a kernel spans.

        Args:
            shape: Shape of the kernel.

        Returns:
            NumPy array of shape (inputs, outputs), the same for every gate.
        """
        positions = self._locate(self.layout(shape))
        squares = compute_squares(self.cost, positions, "float32")
        return np.sqrt(ops.convert_to_numpy(squares))

    def spread(self, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Returns values (inputs, outputs) of each gate, in the shape of the kernel."""
        layout = self.layout(shape)
        return np.broadcast_to(values[:, None, :], layout).reshape(tuple(shape))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments as plain Python values."""
        config = self.cost.get_config() | self.placement.get_config()
        return {name: config[name] for name in _SIGNATURE.parameters}

    def __repr__(self) -> str:
        return write_call(self, self.cost, self.placement)

    def _locate(self, layout: KernelLayout) -> Positions:
        return self.placement.positions(layout.inputs, layout.outputs)

    def _price(self, positions: Positions) -> Array:
        squares = compute_squares(self.cost, positions, "float32")
        return np.array(ops.convert_to_numpy(price(self.cost, squares)))

    def _fix(self, layout: KernelLayout, positions: Positions) -> Tensor:
        """Returns coefficients that change only if neurons are moved."""
        before, constant = self._constants.get(layout, (None, None))
        if before is None or any(
            old is not new for old, new in zip(before[:2], positions[:2], strict=True)
        ):
            constant = _backend.compute_outside_of_trace(
                lambda: _backend.make_constant(self._price(positions))
            )
            self._constants[layout] = (positions, constant)
        return ops.convert_to_tensor(constant)


def _make_signature() -> inspect.Signature:
    """Joins the options of a fixed placement and of a cost, each written down once."""
    own = inspect.signature(ModuliRegularizer.__init__).parameters
    options = {
        **inspect.signature(Cost).parameters,
        **inspect.signature(FixedPlacement).parameters,
    }
    first = ("manifold", "inhibitor", "strength")
    keywords = [
        option.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, option in options.items()
        if name not in (*first, "dispersion")  # which keeps learned positions apart
    ]
    return inspect.Signature([*(own[name] for name in first), *keywords])


_SIGNATURE = _make_signature()
_PRICED = set(OPTIONS)
ModuliRegularizer.__signature__ = _SIGNATURE
