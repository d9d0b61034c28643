"""The penalty of a kernel of which only blocks exist, from these alone."""

import math
import warnings
from typing import Any, final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _backend, penalties
from keras_moduli.connectivity import BlockKernel
from keras_moduli.regularizers._base import DistancePenalty
from keras_moduli.regularizers._cost import Cost, KernelLayout
from keras_moduli.regularizers._evaluation import compute_scale, repel
from keras_moduli.regularizers._moduli import ModuliRegularizer
from keras_moduli.regularizers._placement import Positions

Tensor = Any
Array = NDArray[np.float64]

_ELEMENTWISE = (
    type(None),
    keras.regularizers.L1,
    keras.regularizers.L2,
    keras.regularizers.L1L2,
)


@final
class BlockPenalty(DistancePenalty):
    """What the connections that exist cost: as that of the dense kernel, 0 elsewhere.

    Where blocks lie is read in each step, so that they may move. `"mean"` is over all
    entries of the dense kernel. `permute_seed` permutes the coefficients of the blocks,
    those of all gates alike.

    Args:
        regularizer: The penalty of the dense kernel.
        kernel: What is known of the blocks.

    Raises:
        ValueError: If the dense kernel does not fit the arguments of the regularizer, or
            these want more than blocks.

    Examples:
        >>> import keras_moduli as km, numpy as np
        >>> blocks = km.sparse.BlockLayout.of(np.eye(16, dtype=bool), (4, 4))
        >>> layer = km.layers.SparseDense(
        ...     16,
        ...     connectivity=km.connectivity.FromMask(blocks),
        ...     kernel_regularizer=km.ModuliRegularizer("torus"),
        ... )
        >>> layer.build((None, 16))
        >>> layer.kernel.regularizer.coefficients(layer.kernel.shape).shape
        (4, 4, 4)
    """

    def __init__(self, regularizer: ModuliRegularizer, kernel: BlockKernel) -> None:
        self.regularizer = regularizer
        self.kernel = kernel
        self.cost = regularizer.cost
        self.placement = regularizer.placement
        self.beside = regularizer.beside
        if self.cost.communicability:
            raise ValueError(
                "`communicability=True` needs paths through the whole network, and so its"
                " dense kernel, of which only blocks exist here. Leave it out."
            )
        self._dense = regularizer.layout(kernel.shape)
        if not self.placement.embeddings:
            self._locate()  # raises if there are fewer points, or more

    def penalty(self, kernel: Tensor) -> Tensor:
        """Returns the penalty by distance alone, of blocks (J, c, K·b)."""
        self._check(kernel.shape)
        positions = self._locate()
        dtype = keras.backend.result_type(kernel.dtype, "float32")
        # Half precision can hold neither positions nor a sum over a kernel.
        weights = self.kernel.cut(ops.cast(kernel, dtype))
        scale = compute_scale(self.cost, self._dense, positions, dtype)
        x, y = self._gather(positions, dtype)
        costs = self._price(x, y)
        attraction = scale * penalties.penalty(weights, costs, self.cost.power)
        if not self.cost.repulsion:
            return attraction
        strengths = self._sum_strengths(ops.stop_gradient(weights))
        return attraction + repel(self.cost, self._dense, positions, strengths)

    def layout(self, shape: tuple[int, ...]) -> KernelLayout:
        """Returns how the dense kernel flattens to (inputs, gates, outputs)."""
        self._check(shape)
        return self._dense

    def positions(self, shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Returns where the input and output neurons are."""
        self._check(shape)
        return self.regularizer.positions(self.kernel.shape)

    def coefficients(self, shape: tuple[int, ...]) -> Array:
        """Returns what each weight costs per |w|^power, unscaled, (J, c, K·b)."""
        self._check(shape)
        costs = self._price(*self._gather(self._locate(), "float32"))
        return np.array(ops.convert_to_numpy(costs))

    def distances(self, shape: tuple[int, ...]) -> Array:
        """Returns the geodesic distance that each weight spans, (J, c, K·b)."""
        self._check(shape)
        x, y = self._gather(self._locate(), "float32")
        return np.sqrt(ops.convert_to_numpy(_compute_squares(self.cost, x, y)))

    def spread(self, values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Returns the values, which are one for each weight."""
        self._check(shape)
        return values

    def get_config(self) -> dict[str, Any]:
        """A penalty of blocks belongs to them; `regularizer` is what can be saved."""
        raise ValueError(
            "The penalty of a kernel of blocks belongs to that kernel and is part of no "
            "config. Serialize its `regularizer`, or the layer."
        )

    def __repr__(self) -> str:
        return f"BlockPenalty({self.regularizer!r})"

    def _check(self, shape: Any) -> None:
        expected = tuple(self.kernel.weights.shape)
        if tuple(shape) != expected:
            raise ValueError(
                f"The penalty is that of {self.kernel.weights.path!r}, whose blocks have "
                f"the shape {expected}. Received: shape={tuple(shape)}"
            )

    def _locate(self) -> Positions:
        layout = self._dense
        return self.placement.positions(layout.inputs, layout.outputs)

    def _gather(self, positions: Positions, dtype: str) -> tuple[Tensor, Tensor]:
        """Returns the points of inputs (J, D, K·b) and of outputs (J, D, c)."""
        across, c, _ = self.kernel.weights.shape
        x = ops.convert_to_tensor(positions.inputs, dtype)
        y = ops.convert_to_tensor(positions.outputs, dtype)
        if excess := -self.kernel.rows % self.kernel.block[0]:
            x = ops.pad(x, ((0, excess), (0, 0)))
        outputs = np.arange(across * c).reshape(across, c) % self._dense.outputs
        inputs = self.kernel.locate_inputs()
        return _take(x, inputs), _take(y, outputs.astype("int32"))

    def _price(self, x: Tensor, y: Tensor) -> Tensor:
        """Returns what each weight costs: f(d), permuted in the control."""
        costs = self.cost.inhibitor(_compute_squares(self.cost, x, y))
        if self.cost.permute_seed is None:
            return costs
        gates = math.gcd(self._dense.gates, costs.shape[0])
        gated = ops.reshape(costs, (gates, -1))
        random = np.random.RandomState(self.cost.permute_seed)
        drawn = random.permutation(gated.shape[1]).astype("int32")
        return ops.reshape(_backend.take(gated, drawn, axis=1), costs.shape)

    def _sum_strengths(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Returns Σ |w|^ℓ of each input and of each output."""
        rows, gates, outputs = self._dense
        powers = ops.power(ops.abs(weights), self.cost.power)
        sent = ops.reshape(ops.sum(powers, axis=1), (-1,))
        inputs = ops.reshape(self.kernel.locate_inputs(), (-1,))
        filled = rows + -rows % self.kernel.block[0]
        sending = ops.segment_sum(sent, inputs, num_segments=filled)[:rows]
        received = ops.reshape(ops.sum(powers, axis=2), (-1,))[: gates * outputs]
        return sending, ops.sum(ops.reshape(received, (gates, outputs)), axis=0)


def charge_blocks(kernel: BlockKernel) -> None:
    """Makes a kernel of blocks pay by distance, if that is how its weight is regularized.

    What Keras regularizes each weight by for itself, as L1 and L2, stays as it is. Any
    other sees blocks where a dense layer shows it a matrix, and a warning says so.

    Args:
        kernel: Of which the weights have the regularizer that the user gave.

    Raises:
        ValueError: If blocks cannot tell what the regularizer wants to know.

    Examples:
        >>> import keras_moduli as km
        >>> layer = km.layers.SparseDense(
        ...     32,
        ...     connectivity=km.connectivity.Random(density=1 / 4, block=(8, 8)),
        ...     kernel_regularizer=km.ModuliRegularizer("torus"),
        ... )
        >>> layer.build((None, 32))
        >>> layer.kernel.regularizer  # `build` has charged the blocks
        BlockPenalty(...)
    """
    regularizer = kernel.weights.regularizer
    if isinstance(regularizer, ModuliRegularizer):
        kernel.weights.regularizer = BlockPenalty(regularizer, kernel)
    if isinstance(regularizer, keras.regularizers.OrthogonalRegularizer):
        raise ValueError(
            "OrthogonalRegularizer needs a dense kernel, of which only blocks exist here."
            " Expected one of each weight for itself, such as 'l1' or 'l2', or a "
            "ModuliRegularizer."
        )
    if not isinstance(regularizer, (*_ELEMENTWISE, ModuliRegularizer)):
        warnings.warn(
            f"Regularizer {regularizer!r} sees the weights of {kernel.weights.path!r} as "
            "blocks (columns of blocks, outputs, inputs), of shape "
            f"{tuple(kernel.weights.shape)}, and not as (inputs, outputs). That is right "
            "if it adds up what each weight costs for itself. If not, type 'l1', 'l2' or "
            "a ModuliRegularizer.",
            stacklevel=2,
        )


def _take(points: Tensor, indices: Tensor) -> Tensor:
    """Returns the coordinates (J, D, …) of points (n, D), by indices (J, …).

    Each by itself, and in a row: so XLA computes with vectors of them.
    """
    size = points.shape[1]
    coordinates = ops.unstack(points, num=size, axis=1)
    return ops.stack([_backend.take(each, indices) for each in coordinates], axis=1)


def _compute_squares(cost: Cost, x: Tensor, y: Tensor) -> Tensor:
    """Returns the squared distance that each weight spans, (J, c, K·b)."""
    x, y = ops.moveaxis(x, 1, -1), ops.moveaxis(y, 1, -1)
    return cost.manifold.squared_distance(x[:, None, :, :], y[:, :, None, :])
