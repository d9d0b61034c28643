"""One run of rewiring, which `fit` and custom training loops drive."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_moduli import _checks, _keras_private, connectivity
from keras_moduli.connectivity import BlockKernel
from keras_moduli.connectivity._grid import Grid
from keras_moduli.pruning import prunable_variables
from keras_moduli.pruning._masks import find_masks
from keras_moduli.rewiring import _moves
from keras_moduli.rewiring._growth import Growth
from keras_moduli.rewiring._timeline import MoveTimeline

Array = np.ndarray[Any, Any]


class Run:
    """Moves blocks of a model's kernels when that is due.

    Args:
        model: The model, built.
        optimizer: What trains it, whose moments move along; None for none.
        timeline: When blocks move, and how many.
        select: Of which kernels.
        grow: Makes what scores new blocks, of a list of kernels.
        seed: What is random comes from it, and from when it happens.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: Any,
        timeline: MoveTimeline,
        select: Any,
        grow: Callable[[keras.Model, list[BlockKernel]], Growth],
        seed: int,
    ) -> None:
        self.kernels = find_kernels(model, select)
        self.refuse_masks()
        self.optimizer = optimizer
        self.timeline = timeline
        self.growth = grow(model, self.kernels)
        self.seed = seed

    def refuse_masks(self) -> None:
        """Raises a ValueError if weights are masked: zeros cannot be in two places."""
        weights = [kernel.weights for kernel in self.kernels]
        if masked := [v.path for state in find_masks(weights) for v in state.variables]:
            raise ValueError(
                f"Rewire moves the blocks of {masked}, where MagnitudePruning or "
                "KeepZeros holds zeros. Leave these to one of them: type "
                "`MagnitudePruning(..., select=lambda v: "
                "km.connectivity.find_kernel(v) is None)`, or `select=` in Rewire."
            )

    def move(self, position: int) -> int:
        """Moves what is due at a position, and returns how many blocks have moved."""
        self.refuse_masks()
        weights = [kernel.weights for kernel in self.kernels]
        _checks.finite_weights(weights, "Rewire ranks blocks by their size,")
        rng = np.random.RandomState((self.seed, position))
        before = [np.array(ops.convert_to_numpy(k.indices)) for k in self.kernels]
        pairs = list(zip(self.kernels, before, strict=True))
        leaving = [self._choose_leaving(*pair, position) for pair in pairs]
        candidates = [
            _in_gates(kernel, _find_candidates, indices, left)
            for (kernel, indices), left in zip(pairs, leaving, strict=True)
        ]
        scores = self.growth.score(candidates, rng)
        found = zip(pairs, leaving, scores, strict=True)
        return sum(self._assign(*pair, *rest) for pair, *rest in found)

    def _choose_leaving(
        self, kernel: BlockKernel, indices: Array, position: int
    ) -> Array:
        blocks = indices.shape[1]
        norms = _moves.measure(ops.convert_to_numpy(kernel.weights), blocks)
        count = self.timeline.count(position, blocks)

        def choose(grid: Grid, indices: Array, norms: Array) -> Array:
            fixed = grid.diagonal[indices, np.arange(len(indices))[:, None]]
            return _moves.choose_leaving(norms, fixed, count, grid.shape[0])

        return _in_gates(kernel, choose, indices, norms)

    def _assign(
        self, kernel: BlockKernel, before: Array, leaving: Array, scores: Array
    ) -> int:
        after = _in_gates(kernel, _choose_moves, before, leaving, scores)
        sources = _moves.find_sources(before, after)
        moving = [kernel.weights, *self._iterate_slots(kernel.weights)]
        kernel.indices.assign(after)
        for variable in moving:
            blocks = np.asarray(ops.convert_to_numpy(variable))
            variable.assign(_moves.carry_over(blocks, sources))
        return int((sources < 0).sum())

    def _iterate_slots(self, weights: Any) -> Iterator[Any]:
        if self.optimizer is None:
            return
        part = _keras_private.find_optimizer(self.optimizer, weights)
        for slot in _keras_private.iterate_state(part, weights):
            if slot.shape == weights.shape:
                yield slot
            elif len(slot.shape):
                raise ValueError(
                    f"{type(part).__name__} keeps sums over rows and columns of "
                    f"{weights.path!r}, of shape {tuple(slot.shape)}, which cannot move "
                    "along with blocks. Type an optimizer that keeps moments of each "
                    "weight, such as keras.optimizers.Adam."
                )


def find_kernels(model: keras.Model, select: Any) -> list[BlockKernel]:
    """Returns the trainable kernels of blocks of a model.

    Args:
        model: A built model.
        select: As in `MagnitudePruning`, without sparsities; None for all.

    Raises:
        ValueError: If there are none.
    """
    if select is None:
        chosen = model.trainable_variables
    else:
        chosen = prunable_variables(model, select)
    kernels = [connectivity.find_kernel(variable) for variable in chosen]
    if not (found := [kernel for kernel in kernels if kernel is not None]):
        which = "" if select is None else f" that select={select!r} matches"
        raise ValueError(
            f"Model {model.name!r} has no kernel of blocks{which}, which Rewire moves. "
            "Type a layer that is sparse from the first step, such as "
            "`km.layers.SparseGRU(units, connectivity=...)`; the masks of a dense kernel "
            "move by `MagnitudePruning(..., regrow='rigl')`."
        )
    return found


def _in_gates(
    kernel: BlockKernel, function: Callable[..., Array], *arrays: Array
) -> Array:
    """Returns a function of a grid and of columns of blocks, of each gate, together.

    Each gate keeps the counts of its rows: some products are of one gate at a time.
    """
    units, gates = kernel.columns // kernel.gates, kernel.gates
    if gates > 1 and units % kernel.block[1]:
        raise ValueError(
            f"Blocks of {kernel.block[1]} outputs do not divide {units} units, so that "
            f"the gates of {kernel.weights.path!r} cannot be told apart. Type a block "
            f"whose second number divides {units}."
        )
    grid = Grid(kernel.rows, units, kernel.block, kernel.recurrent)
    parts = zip(*[np.split(array, gates) for array in arrays], strict=True)
    return np.concatenate([function(grid, *part) for part in parts])


def _find_candidates(grid: Grid, indices: Array, leaving: Array) -> Array:
    return _moves.find_candidates(indices, leaving, grid.shape[0])


def _choose_moves(grid: Grid, indices: Array, leaving: Array, scores: Array) -> Array:
    return _moves.choose_moves(indices, leaving, scores, grid)
