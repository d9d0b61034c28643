"""The penalty of a kernel whose neurons learn their places."""

from typing import Any

import numpy as np
from keras import ops

from keras_moduli import _checks, penalties
from keras_moduli.layers._embedding import NeuronEmbedding
from keras_moduli.regularizers import KernelPenalty, geometry_of
from keras_moduli.regularizers._base import KernelLayout
from keras_moduli.regularizers._rows import are_many, map_rows, sum_rows

Tensor = Any

NATURAL_DENSITY = 0.1


class LearnedPenalty(KernelPenalty):
    """strength · [ Σ f(d)·|w|^ℓ + β·f(r)·(Σ |w|^ℓ)·D ], D the dispersion.

    The second term repels neurons, without which every learned embedding crumples: pairs
    whose weight is small feel nothing of the first. It scales with the weights, through
    which no gradient flows here, and with f(r), the cost at the natural length r of the
    manifold: so the geometry that is learned does not depend on how large weights are
    nor on the unit of distance, and one β serves all.
    """

    def __init__(
        self,
        inputs: NeuronEmbedding,
        outputs: NeuronEmbedding,
        inhibitor: Any,
        strength: float,
        *,
        dispersion: float,
        taps: int = 1,
        **arguments: Any,
    ) -> None:
        if inputs.manifold != outputs.manifold:
            raise ValueError(
                "The neurons on both sides of a kernel must live on one manifold. "
                f"Received: {inputs.manifold!r} and {outputs.manifold!r}"
            )
        super().__init__(inputs.manifold, inhibitor, strength, **arguments)
        self.inputs = inputs
        self.outputs = outputs
        self.taps = taps
        self.dispersion = _checks.real("dispersion", dispersion, minimum=0.0)
        self._repulsion = self.dispersion * self._natural_cost()

    def _natural_cost(self) -> float:
        """f(r), but no less than a tenth of the most that is paid up to 2r.

        An inhibitor may be free at r itself, which must not switch the repulsion off.
        """
        length = self.manifold.natural_length(NATURAL_DENSITY)
        squares = np.square(length * np.linspace(0.0, 2.0, 101)).astype(np.float32)
        costs = ops.convert_to_numpy(self.inhibitor(squares))
        return max(float(costs[50]), 0.1 * float(costs.max()))

    def attach(self, kernel: Any) -> None:
        """Makes a kernel pay, beside any regularizer that it has."""
        self.layout(kernel.shape)
        kernel.regularizer = _Both(self, kernel.regularizer)
        for embedding in {id(e): e for e in (self.inputs, self.outputs)}.values():
            if embedding.trainable:
                embedding.charge(kernel, self)
                break  # once, however many of its neurons' places learn

    def _has_outputs(self) -> bool:
        return self.inputs is not self.outputs

    def _points(self, layout: KernelLayout) -> tuple[Tensor, Tensor]:
        inputs = ops.tile(self.inputs.places(), (self.taps, 1))
        return inputs, self.outputs.places()

    def _cost_at_once(
        self, kernel: Tensor, layout: KernelLayout, squares: Tensor
    ) -> Tensor:
        attraction = super()._cost_at_once(kernel, layout, squares)
        return attraction + self._repulsive(kernel, layout, squares)

    def _scale(self, layout: KernelLayout) -> Tensor:
        return super()._scale(layout) * ops.convert_to_tensor(self.inputs.ramp)

    def _cost_by_rows(self, kernel: Tensor, layout: KernelLayout) -> Tensor:
        """Differentiable by the places too, in a sum of its own."""

        def cost(kernel: Tensor, x: Tensor, y: Tensor) -> Tensor:
            costs = penalties.coefficients(self.manifold, self.inhibitor, x, y)
            return penalties.penalty(layout.gated(kernel), costs, self.power)

        x, y = self._places(layout, kernel.dtype)
        moving = self._scale(layout) * sum_rows(cost, [kernel], [x], y)
        still = super()._cost_by_rows(kernel, layout)
        attraction = still + moving - ops.stop_gradient(moving)
        return attraction + self._repulsive(kernel, layout)

    def _repulsive(
        self, kernel: Tensor, layout: KernelLayout, squares: Tensor | None = None
    ) -> Tensor:
        """The second term, from the squared distances if they have been computed."""
        if not self._repulsion:
            return 0.0
        sending, receiving = self._strengths(kernel, layout)
        total = self._repulsion * self._scale(layout) * ops.sum(sending)
        return total * self._dispersion(sending, receiving, squares)

    def _strengths(self, kernel: Tensor, layout: KernelLayout) -> tuple[Tensor, Tensor]:
        """Σ |w|^ℓ of each input and of each output, without gradient."""

        def sums(kernel: Tensor) -> tuple[Tensor, Tensor]:
            weight = ops.power(ops.abs(layout.gated(kernel)), self.power)
            return ops.sum(weight, axis=(1, 2)), ops.sum(weight, axis=(0, 1))

        kernel = ops.reshape(kernel, (layout.inputs, -1))
        if not self._by_rows(layout):
            return sums(ops.stop_gradient(kernel))
        sending, receiving = map_rows(sums, [kernel], layout.outputs)
        sending = ops.reshape(sending, (-1,))[: layout.inputs]
        return sending, ops.sum(receiving, axis=0)

    def _dispersion(
        self, sending: Tensor, receiving: Tensor, squares: Tensor | None
    ) -> Tensor:
        if self.inputs is self.outputs:
            return self._own_dispersion(self.inputs, sending + receiving, squares)
        if self.taps > 1:
            sending = ops.sum(ops.reshape(sending, (self.taps, -1)), axis=0)
        sides = ((self.inputs, sending), (self.outputs, receiving))
        return sum(self._own_dispersion(*side) for side in sides) / 2

    def _own_dispersion(
        self,
        embedding: NeuronEmbedding,
        strengths: Tensor,
        squares: Tensor | None = None,
    ) -> Tensor:
        x = ops.cast(embedding.places(), strengths.dtype)
        counts = penalties.connectedness(strengths)

        def repulsion(sending: Tensor, x: Tensor, y: Tensor) -> Tensor:
            squares = self.manifold.squared_distance(x[:, None, :], y[None, :, :])
            return penalties.repulsion(squares, sending, counts)

        if squares is not None:
            total = penalties.repulsion(squares, counts, counts)
        elif are_many(x.shape[0] ** 2):
            total = sum_rows(repulsion, [counts], [x], x)
        else:
            total = repulsion(counts, x, x)
        return total / ops.maximum(ops.square(ops.sum(counts)), 1e-12)


class _Both:
    """A penalty by distance, and the regularizer that the weight has anyway."""

    def __init__(self, geometry: LearnedPenalty, other: Any) -> None:
        self.geometry = geometry
        self.other = other

    def __call__(self, kernel: Tensor) -> Tensor:
        penalty = self.geometry(kernel)
        if self.other is None:
            return penalty
        return penalty + ops.cast(self.other(kernel), penalty.dtype)


def neuron_embeddings(model: Any) -> list[NeuronEmbedding]:
    """The sets of neurons of a model that own their places, each once.

    Args:
        model: A built Keras model.
    """
    found: dict[int, NeuronEmbedding] = {}
    for weight in model.weights:
        penalty = geometry_of(weight)
        if isinstance(penalty, LearnedPenalty):
            found |= {id(e): e for e in (penalty.inputs, penalty.outputs)}
    return list(found.values())
