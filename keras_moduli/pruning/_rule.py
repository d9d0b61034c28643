"""How many weights go, which, and which come back."""

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_moduli import _checks
from keras_moduli._registry import Configuration
from keras_moduli.pruning import _selection, regrowth, scopes, scores, structures
from keras_moduli.pruning._ranking import Array, Mask, prune_masks, regrow_masks
from keras_moduli.pruning._timeline import Update
from keras_moduli.pruning.scopes import Group, Kernel
from keras_moduli.pruning.structures import Structure, Weights

_TOLERANCE = 0.01  # of all weights, by which zeros may miss what was asked


class Targets(NamedTuple):
    """What a rule applies to in a model.

    Attributes:
        kernels: The weights to prune.
        groups: Which of them compete.
    """

    kernels: list[Kernel]
    groups: list[Group]

    @property
    def variables(self) -> list[Any]:
        """The weights as `keras.Variable`."""
        return [kernel.variable for kernel in self.kernels]


@dataclass(frozen=True)
class Rule(Configuration):
    """What `MagnitudePruning` prunes, whenever it does; the arguments are its own."""

    sparsity: Any = None
    select: Any = None
    scope: Any = "global"
    structure: Any = "weights"
    score: Any = "magnitude"
    regrow: Any = None
    reset_moments: bool = True

    def __post_init__(self) -> None:
        _selection.check_select(self.select)
        self._set(
            scope=scopes.get(self.scope),
            structure=structures.get(self.structure),
            score=scores.get(self.score),
            reset_moments=_checks.boolean("reset_moments", self.reset_moments),
        )
        self._set(sparsity=_settle_sparsity(self.sparsity, self.select, self.structure))
        if self.regrow is None:
            return
        self._set(regrow=regrowth.get(self.regrow))
        if self.structure.final_sparsity is not None:
            raise ValueError(
                f"`regrow` does not go with `structure={self.structure!r}`, whose groups "
                "are full."
            )

    def find_targets(self, model: keras.Model) -> Targets:
        """Returns what is to prune in a model.

        Args:
            model: A built model.

        Raises:
            ValueError: If nothing is selected, or it does not suit structure or score.
        """
        gates = _selection.count_gates(model)
        input_axes = _selection.count_input_axes(model)
        kernels = [
            Kernel(
                variable,
                self.sparsity if sparsity is None else sparsity,
                gates.get(id(variable), 1),
                input_axes.get(id(variable)),
            )
            for variable, sparsity in _selection.find_sparsities(model, self.select)
        ]
        targets = Targets(kernels, self.scope.compute_groups(kernels))
        for group in targets.groups:
            for part in group.parts:
                self._check_structure(kernels[part.kernel], part.columns)
        self.score.check(targets.variables)
        return targets

    def _check_structure(self, kernel: Kernel, columns: slice) -> None:
        rows, outputs = kernel.matrix_shape
        try:
            if kernel.blocks is not None:
                _check_divides_blocks(self.structure, kernel.blocks.block)
            if kernel.input_axes == 0 and not isinstance(self.structure, Weights):
                raise ValueError(
                    f"no leading axes of {kernel.shape} are its inputs. Leave it out by "
                    "`select`, or prune it by itself, by weights."
                )
            self.structure.check((rows, len(range(outputs)[columns])))
        except ValueError as error:
            raise ValueError(
                f"`structure` does not suit {kernel.variable.path!r}: {error}"
            ) from None

    def compute_potentials(
        self, optimizer: Any, variables: Sequence[Any], position: int
    ) -> list[Array]:
        """Returns what is expected of pruned weights, nothing if none comes back.

        Args:
            optimizer: The optimizer, built.
            variables: The pruned weights.
            position: Epoch or step of the update.

        Raises:
            ValueError: If the optimizer keeps nothing to go by.
        """
        if self.regrow is None:
            return []
        return self.regrow.compute_potentials(optimizer, variables, position)

    def compute_masks(
        self,
        targets: Targets,
        masks: Sequence[Mask],
        update: Update,
        potentials: Sequence[Array] = (),
    ) -> list[Mask]:
        """Returns the masks of an update, true for what is kept.

        Args:
            targets: What is to prune.
            masks: The present masks.
            update: How much is due.
            potentials: What is expected of pruned weights; empty if none comes back now.

        Raises:
            ValueError: If weights are not finite.
        """
        _checks.finite_weights(targets.variables, "Pruning ranks weights by their size,")
        masks = _to_matrices(targets, [mask.copy() for mask in masks])
        values = [self.score(v) for v in targets.variables]
        values = _to_matrices(targets, _clear_outside(targets, values))
        for group in targets.groups:
            self._prune(group, targets, masks, values, update)
        if potentials:
            potentials = _to_matrices(targets, _clear_outside(targets, potentials))
            share = self.regrow.compute_fraction(update.progress)
            for group in targets.groups:
                parts, worth, hopes = (
                    [part.view(arrays) for part in group.parts]
                    for arrays in (masks, values, potentials)
                )
                _write(parts, regrow_masks(worth, hopes, parts, share, self.structure))
        pairs = zip(masks, targets.kernels, strict=True)
        return [kernel.from_matrix(mask) for mask, kernel in pairs]

    def _prune(
        self,
        group: Group,
        targets: Targets,
        masks: Sequence[Mask],
        values: Sequence[Array],
        update: Update,
    ) -> None:
        old = [part.view(masks) for part in group.parts]
        worth = [part.view(values) for part in group.parts]
        size = sum(part.size for part in old)
        wanted = round(group.sparsity * update.fraction * size)
        new = prune_masks(worth, old, wanted, self.structure)
        if update.progress == 1:
            paths = [targets.variables[part.kernel].path for part in group.parts]
            _warn_if_missed(paths, group.sparsity, wanted, old, new)
        _write(old, new)


def _to_matrices(targets: Targets, arrays: Iterable[Array]) -> list[Array]:
    pairs = zip(arrays, targets.kernels, strict=True)
    return [kernel.to_matrix(array) for array, kernel in pairs]


def _clear_outside(targets: Targets, scores: Sequence[Array]) -> list[Array]:
    """Returns scores by which weights of no connection, beyond an edge, go first."""
    pairs = zip(scores, (kernel.blocks for kernel in targets.kernels), strict=True)
    return [
        np.where(blocks.inside, array, 0.0) if blocks and blocks.sticks_out else array
        for array, blocks in pairs
    ]


def _check_divides_blocks(structure: Structure, block: tuple[int, int]) -> None:
    """Raises a ValueError if a unit would reach from one block into another."""
    if getattr(structure, "pad", False):
        structure = dataclasses.replace(structure, pad=False)  # type: ignore[type-var]
    try:
        structure.check(block)
    except ValueError:
        raise ValueError(
            f"its weights are blocks of {block[0]} × {block[1]} (inputs × outputs). "
            f"Expected `structure={block}`, whole blocks, a part that divides them, or "
            f"'weights'. Received: structure={structure!r}"
        ) from None


def _settle_sparsity(sparsity: Any, select: Any, structure: Structure) -> float:
    prescribed = structure.final_sparsity
    if prescribed is not None and isinstance(select, dict):
        raise ValueError(
            f"`structure={structure!r}` sets the sparsity, so `select` cannot be a dict."
        )
    if sparsity is None:
        return 0.9 if prescribed is None else prescribed
    if isinstance(select, dict) or prescribed not in (None, sparsity):
        raise ValueError(
            "The final sparsity is given by `select` or `structure`: leave `sparsity` "
            f"out. Received: sparsity={_checks.shorten(sparsity)}"
        )
    sparsity = _checks.real("sparsity", sparsity, minimum=0.0)
    if sparsity >= 1:
        raise ValueError(
            "`sparsity` is the fraction of weights set to zero, in [0, 1): 0.9 for "
            f"90 %. Received: sparsity={sparsity!r}"
        )
    return sparsity


def _warn_if_missed(
    paths: list[str],
    sparsity: float,
    wanted: int,
    old: Sequence[Mask],
    new: Sequence[Mask],
) -> None:
    """Warns of final masks that large blocks, or few weights, keep off the mark."""
    size, before, zeros = sum(m.size for m in new), _count_zeros(old), _count_zeros(new)
    tolerance = _TOLERANCE * size
    # That more were masked already is no fault of this run.
    if zeros < wanted - tolerance or zeros > max(before, wanted + tolerance):
        warnings.warn(
            f"The final masks of {paths} have {zeros / size:.1%} zeros instead of "
            f"{sparsity:.1%}: only whole blocks go, and each kernel keeps a block or a "
            "weight. Choose smaller blocks, or another sparsity.",
            stacklevel=2,
        )


def _count_zeros(masks: Iterable[Mask]) -> int:
    return sum(int((~mask).sum()) for mask in masks)


def _write(parts: Sequence[Mask], new: Sequence[Mask]) -> None:
    for part, mask in zip(parts, new, strict=True):
        part[...] = mask
