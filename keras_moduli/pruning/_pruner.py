"""What pruning does to a model, whoever says when."""

import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_moduli import _checks
from keras_moduli.pruning import _scopes, _scores, _selection
from keras_moduli.pruning._granularity import Granularity, Pattern
from keras_moduli.pruning._held import HeldMasks
from keras_moduli.pruning._plan import Plan
from keras_moduli.pruning._ranking import Mask, pruned, regrown
from keras_moduli.pruning._regrowth import regrowth
from keras_moduli.pruning._scopes import Group, Kernel

_TOLERANCE = 0.01  # of all weights, by which zeros may miss what was asked


class Pruner:
    """Ranks the chosen weights of a model and masks them.

    The arguments are those of `MagnitudePruning`.
    """

    def __init__(
        self,
        sparsity: float | None,
        scope: str,
        select: Any,
        granularity: Granularity,
        score: Any,
        regrow: Any,
        reset_moments: bool,
    ) -> None:
        self.scope = _checks.choice("scope", scope, _scopes.SCOPES)
        self.select = _selection.checked(select)
        self.granularity = granularity
        self.sparsity = _final_sparsity(sparsity, self.select, granularity)
        self.score = _scores.get(score)
        self.regrow = None if regrow is None else regrowth(regrow)
        self.reset_moments = _checks.boolean("reset_moments", reset_moments)
        if self.regrow is not None and isinstance(granularity, Pattern):
            raise ValueError(
                "`regrow` does not go with `pattern`, whose groups are full."
            )
        self.held: HeldMasks | None = None
        self._kernels: list[Kernel] = []
        self._groups: list[Group] = []

    def attach(self, model: keras.Model, optimizer: Any) -> HeldMasks:
        """Puts masks in force that let everything pass.

        Args:
            model: A built model.
            optimizer: What trains it; None for what it is compiled with.
        """
        optimizer = optimizer or getattr(model, "optimizer", None)
        if optimizer is None:
            raise ValueError(
                f"Model {model.name!r} has no optimizer, which holds the masks. Call "
                "`model.compile(optimizer, loss)` first."
            )
        self._kernels = [
            Kernel(
                variable,
                self.sparsity if sparsity is None else sparsity,
                _selection.gates(model, variable) if self.scope == "gate" else 1,
            )
            for variable, sparsity in _selection.target_sparsities(model, self.select)
        ]
        for kernel in self._kernels:
            rows, columns = kernel.matrix
            self.granularity.check(kernel.variable.path, (rows, columns // kernel.gates))
        variables = [kernel.variable for kernel in self._kernels]
        _scores.check(self.score, variables)
        self._groups = _scopes.groups(self._kernels, self.scope)
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
        if self.regrow is not None:
            self.regrow.potentials(optimizer, variables, 0)  # raises if it cannot
        self.held = HeldMasks(variables, optimizer, _compiled_anew(model))
        return self.held

    def prune(self, plan: Plan, position: int, *, exchange: bool) -> None:
        """Masks what is due at a position.

        Args:
            plan: How much is due when.
            position: Epoch or step.
            exchange: Whether weights may come back, too.
        """
        assert self.held is not None
        masks = self.held.numpy()
        scores = [_scores.of(self.score, kernel.variable) for kernel in self._kernels]
        fraction = plan.fraction(position)
        for group in self._groups:
            parts = [part.of(masks) for part in group.parts]
            zeros = round(group.sparsity * fraction * sum(part.size for part in parts))
            new = pruned(
                [part.of(scores) for part in group.parts], parts, zeros, self.granularity
            )
            if plan.progress(position) == 1:
                self._warn_if_missed(group, zeros, parts, new)
            _write(parts, new)
        if exchange and self.regrow is not None:
            share = self.regrow.fraction_at(plan.progress(position))
            potentials = self.regrow.potentials(
                self.held.optimizer, self.held.variables, position
            )
            for group in self._groups:
                self._exchange(group, share, masks, scores, potentials)
        self.held.assign(masks, reset_moments=self.reset_moments)

    def _warn_if_missed(
        self, group: Group, wanted: int, old: list[Mask], new: list[Mask]
    ) -> None:
        """Warns of final masks that large blocks, or few weights, keep off the mark."""
        size = sum(mask.size for mask in new)
        before, zeros = (sum(int((~m).sum()) for m in masks) for masks in (old, new))
        tolerance = _TOLERANCE * size
        # That more were masked already is no fault of this run.
        if zeros < wanted - tolerance or zeros > max(before, wanted + tolerance):
            paths = [self._kernels[part.kernel].variable.path for part in group.parts]
            warnings.warn(
                f"The final masks of {paths} have {zeros / size:.1%} zeros instead of "
                f"{group.sparsity:.1%}: only whole blocks go, and each kernel keeps one "
                "or one weight. Choose smaller blocks, or another sparsity.",
                stacklevel=2,
            )

    def _exchange(
        self,
        group: Group,
        share: float,
        masks: list[Mask],
        scores: list[Any],
        potentials: list[Any],
    ) -> None:
        parts, values, hopes = (
            [part.of(arrays) for part in group.parts]
            for arrays in (masks, scores, potentials)
        )
        _write(parts, regrown(values, hopes, parts, share, self.granularity))

    def release(self) -> None:
        """Takes the masks off again."""
        if self.held is not None:
            self.held.release()
        self.held, self._kernels, self._groups = None, [], []


def _final_sparsity(
    sparsity: float | None, select: Any, granularity: Granularity
) -> float:
    pattern = granularity.sparsity if isinstance(granularity, Pattern) else None
    if pattern is not None and isinstance(select, dict):
        raise ValueError("`pattern` sets the sparsity, so `select` can be no dict.")
    if sparsity is None:
        return 0.9 if pattern is None else pattern
    if isinstance(select, dict) or pattern not in (None, sparsity):
        raise ValueError(
            "The final sparsity is given by `select` or `pattern`: leave `sparsity` out. "
            f"Received: sparsity={sparsity!r}"
        )
    sparsity = _checks.real("sparsity", sparsity, minimum=0.0)
    if sparsity >= 1:
        raise ValueError(
            "`sparsity` is the fraction of weights set to zero, in [0, 1): 0.9 for "
            f"90 %. Received: sparsity={sparsity!r}"
        )
    return sparsity


def _compiled_anew(model: keras.Model) -> Callable[[], None]:
    def change() -> None:
        if getattr(model, "compiled", False):
            model.make_train_function(force=True)

    return change


def _write(parts: list[Mask], new: list[Mask]) -> None:
    for part, mask in zip(parts, new, strict=True):
        part[...] = mask
