"""What a set of neurons pays, as a function of which neuron is at which position."""

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _checks, penalties
from keras_moduli.connectivity import find_kernel
from keras_moduli.regularizers._base import find_regularizer
from keras_moduli.regularizers._cost import Cost, KernelLayout
from keras_moduli.regularizers._evaluation import compute_squares
from keras_moduli.regularizers._placement import Placement, Positions

Array = NDArray[np.float64]


@dataclass
class NeuronSet:
    """Neurons that have positions in common, and the kernels that pay by them.

    Attributes:
        owner: What holds the positions: a placement, or an embedding.
        kernels: Those that connect the neurons, to themselves or to others.
    """

    owner: Any
    kernels: list[Any]

    @property
    def inner(self) -> list[Any]:
        """The kernels from the set to itself."""
        return [k for k in self.kernels if all(_find_sides(k, self.owner))]

    def improve(self, sweeps: int) -> NDArray[np.intp]:
        """Returns the order of the positions that swaps of pairs lead to."""
        paid = [_Paid(kernel, self.owner) for kernel in self.kernels]
        terms = [term for one in paid for term in one.list_inner_terms()]
        others = [table for one in paid for table in one.list_outer_costs()]
        pulls, costs = (np.stack(tables) for tables in zip(*terms, strict=True))
        n = pulls.shape[-1]
        elsewhere = sum(others, np.zeros((n, n)))
        return penalties.swap_neurons(pulls, costs, sweeps, others=elsewhere)


class _Paid:
    """What one kernel pays, taken apart.

    Attributes:
        own: Whether the inputs, and the outputs, are of the set.
        powers: |w|^power, (inputs, gates, outputs).
        scale: What Σ c·|w|^power is multiplied by.
    """

    def __init__(self, kernel: Any, owner: Any) -> None:
        regularizer = find_regularizer(kernel)
        assert regularizer is not None
        self.own = _find_sides(kernel, owner)
        self.cost: Cost = regularizer.cost
        layout: KernelLayout = regularizer.layout(kernel.shape)
        self.positions: Positions = regularizer.placement.positions(
            layout.inputs, layout.outputs
        )
        ranked = [kernel, *(e.embedding for e in regularizer.placement.embeddings)]
        _checks.finite_weights(ranked, "Neurons are swapped by what weights cost,")
        blocks = find_kernel(kernel)
        if blocks is not None and self.cost.permute_seed is not None:
            raise ValueError(
                f"The coefficients of the blocks of {kernel.path!r} are permuted, so "
                "that its neurons have no positions to swap. Leave `permute_seed` out."
            )
        weights = _to_numpy(kernel.value) if blocks is None else blocks.to_matrix()
        self.weights = weights.astype(np.float64).reshape(layout)
        self.powers = np.abs(self.weights) ** self.cost.power
        entries = 1 if self.cost.reduction == "sum" else math.prod(layout)
        # In a product: of scalars on several devices NumPy makes no array.
        ramp = float(_to_numpy(self.positions.ramp * 1.0))
        self.scale = self.cost.strength / entries * ramp

    def list_inner_terms(self) -> list[tuple[Array, Array]]:
        """Returns pulls and costs of pairs of neurons of the set."""
        attraction = [self._attract()] if all(self.own) else []
        return attraction + (self._repel() if self.cost.repulsion else [])

    def list_outer_costs(self) -> list[Array]:
        """Returns what each neuron costs at each position by others, not of the set."""
        if all(self.own):
            return []
        pulls, costs = self._attract()
        return [pulls @ costs.T if self.own[0] else pulls.T @ costs]

    def _attract(self) -> tuple[Array, Array]:
        powers = self.powers
        if self.cost.communicability:
            weights = ops.convert_to_tensor(self.weights, "float32")
            powers = powers * _to_numpy(penalties.communicability(weights))
        pulls = self.scale * powers.sum(axis=1)
        if self.cost.permute_seed is not None:
            pulls = _unpermute(pulls, self.cost.permute_seed)
        squares = compute_squares(self.cost, self.positions, "float32")
        costs = _to_numpy(self.cost.inhibitor(squares))
        taps = self.positions.taps
        pulls = pulls.reshape(taps, -1, pulls.shape[1]).sum(axis=0)
        return pulls, costs[: len(pulls)]

    def _repel(self) -> list[tuple[Array, Array]]:
        """Returns the dispersion, which is between the neurons of one side."""
        sending, receiving = self.powers.sum(axis=(1, 2)), self.powers.sum(axis=(0, 1))
        total = self.cost.repulsion * self.scale * sending.sum()
        sending = sending.reshape(self.positions.taps, -1).sum(axis=0)
        if all(self.own):
            return [self._repel_side(total, self.positions.inputs, sending + receiving)]
        if self.own[0]:
            return [self._repel_side(total / 2, self.positions.inputs, sending)]
        return [self._repel_side(total / 2, self.positions.outputs, receiving)]

    def _repel_side(
        self, total: float, points: Any, strengths: Array
    ) -> tuple[Array, Array]:
        counts = _to_numpy(penalties.connectedness(ops.convert_to_tensor(strengths)))
        pulls = counts[:, None] * counts / max(counts.sum() ** 2, 1e-12)
        alike = Positions(points, points)
        squares = compute_squares(self.cost, alike, "float32")
        return total * pulls, _to_numpy(penalties.crowding(squares))


def find_neuron_sets(model: keras.Model) -> list[NeuronSet]:
    """Returns the sets of neurons of which a kernel connects some to others of the set.

    By identity: layers may share a regularizer, or an embedding. Counted are the kernels
    whose penalty is a loss of the model.
    """
    sets: dict[int, NeuronSet] = {}
    for kernel in filter(_pays, model.weights):
        for owner in _list_owners(kernel):
            found = sets.setdefault(id(owner), NeuronSet(owner, []))
            if not any(kernel is other for other in found.kernels):
                found.kernels.append(kernel)
    return [neurons for neurons in sets.values() if neurons.inner]


def _pays(variable: Any) -> bool:
    regularizer = find_regularizer(variable)
    if regularizer is None:
        return False
    learned = any(e.trainable for e in regularizer.placement.embeddings)
    return bool(variable.trainable or learned)


def _list_owners(kernel: Any) -> tuple[Any, ...]:
    """Returns what holds the positions of a kernel's inputs and of its outputs."""
    regularizer = find_regularizer(kernel)
    assert regularizer is not None
    placement: Placement = regularizer.placement
    owners = placement.embeddings or (placement,) * placement.square
    return (*owners[:1], *owners[-1:])


def _find_sides(kernel: Any, owner: Any) -> list[bool]:
    return [side is owner for side in _list_owners(kernel)]


def _unpermute(pulls: Array, seed: int) -> Array:
    """Returns how much each cost counts that `penalties.permute` puts elsewhere."""
    counted = np.empty(pulls.size)
    counted[np.random.RandomState(seed).permutation(pulls.size)] = pulls.ravel()
    return counted.reshape(pulls.shape)


def _to_numpy(tensor: Any) -> Array:
    return ops.convert_to_numpy(tensor).astype(np.float64)
