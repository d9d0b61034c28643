"""Which weights go first, and which come back."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli.pruning.structures import Structure, Units, Weights

Array = NDArray[Any]
Mask = NDArray[np.bool_]


def magnitude_masks(
    weights: Sequence[Array], masks: Sequence[Mask], zeros: int
) -> list[Mask]:
    """Returns masks that keep all but the `zeros` weights of smallest magnitude.

    Weights that are masked already go first, ties by position. Each array keeps its
    largest weight, whatever its size.

    Args:
        weights: Arrays of any shape, ranked together.
        masks: The present masks, true for what is kept, of the same shapes.
        zeros: Number of weights to mask in all. Never revives a masked one.

    Returns:
        Boolean arrays of the same shapes: exactly `zeros` entries are false, or fewer if
        every array is down to one weight, or more if more are masked already.

    Raises:
        TypeError: If `weights` or `masks` are no lists of arrays, or `zeros` no integer.
        ValueError: If shapes differ, weights are not finite, or `zeros` is negative.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> weights = np.array([0.1, -3.0, 2.0, 0.2])
        >>> masks = km.pruning.magnitude_masks([weights], [weights != 0], zeros=2)
        >>> masks[0].tolist()
        [False, True, True, False]
    """
    zeros = _checks.integer("zeros", zeros, minimum=0)
    _check_arrays("weights", weights)
    _check_arrays("masks", masks)
    if [weight.shape for weight in weights] != [mask.shape for mask in masks]:
        raise ValueError(
            "`masks` must have the shapes of `weights`. Received: "
            f"{[mask.shape for mask in masks]} and {[w.shape for w in weights]}"
        )
    for number, weight in enumerate(weights):
        if lost := int(weight.size - np.isfinite(weight).sum()):
            raise ValueError(
                f"`weights` must be finite. Received: {lost} of {weight.size} of "
                f"weights[{number}] NaN or infinite"
            )
    rows = [np.abs(w.astype(np.float64)).reshape(1, -1) for w in weights]
    flat = [mask.reshape(1, -1) for mask in masks]
    pruned = prune_masks(rows, flat, zeros, Weights())
    return [new.reshape(old.shape) for new, old in zip(pruned, masks, strict=True)]


def _check_arrays(name: str, value: Any) -> None:
    is_list = isinstance(value, list | tuple)
    if not is_list or not all(isinstance(one, np.ndarray) for one in value):
        raise TypeError(
            f"`{name}` must be a list of NumPy arrays. Received: {name}={value!r}"
        )


def prune_masks(
    scores: Sequence[Array], masks: Sequence[Mask], zeros: int, structure: Structure
) -> list[Mask]:
    """Returns masks of matrices ranked together, with `zeros` weights masked in all.

    Units of smallest score go first, to the number of zeros that is nearest. The best
    unit of a matrix is never masked, and what is masked stays so.

    Args:
        scores: Matrices of scores that are not negative.
        masks: The present masks, of the same shapes.
        zeros: How many weights to mask.
        structure: What is masked at once.
    """
    units = _divide(scores, masks, structure)
    for unit in units:
        if unit.scores.size:
            unit.scores[np.argmax(unit.scores)] = np.inf
    return _gather(units, _rank(units, zeros), masks)


def regrow_masks(
    scores: Sequence[Array],
    potentials: Sequence[Array],
    masks: Sequence[Mask],
    fraction: float,
    structure: Structure,
) -> list[Mask]:
    """Returns masks in which the worst `fraction` of kept units made room for others.

    As many come back as go, those of highest potential. One that has just gone may come
    back too, and a tie goes to what comes first.

    Args:
        scores: Matrices of scores that are not negative: the lowest go.
        potentials: The same of what is expected of masked weights: the highest come back.
        masks: The present masks.
        fraction: Of the kept weights, in [0, 1].
        structure: What is masked at once.
    """
    size, kept = sum(m.size for m in masks), sum(int(m.sum()) for m in masks)
    rest = prune_masks(scores, masks, size - kept + int(fraction * kept), structure)
    missing = kept - sum(int(m.sum()) for m in rest)
    candidates = [~mask for mask in rest]
    units = _divide(potentials, candidates, structure)
    back = _gather(units, _rank(units, size - missing), candidates)
    return [old | new for old, new in zip(rest, back, strict=True)]


def _divide(
    scores: Sequence[Array], masks: Sequence[Mask], structure: Structure
) -> list[Units]:
    return [structure.compute_units(s, m) for s, m in zip(scores, masks, strict=True)]


def _gather(units: list[Units], keep: Array, masks: Sequence[Mask]) -> list[Mask]:
    parts = np.split(keep, np.cumsum([unit.scores.size for unit in units])[:-1])
    return [
        unit.spread(part).reshape(mask.shape) & mask
        for unit, part, mask in zip(units, parts, masks, strict=True)
    ]


def _rank(units: list[Units], zeros: int) -> Array:
    """Returns which units stay, so that `zeros` weights go, or what is masked already."""
    scores = np.concatenate([unit.scores for unit in units])
    free, masked = np.isfinite(scores), scores < 0
    if all(unit.sizes is None for unit in units):
        count = int(min(max(zeros, masked.sum()), free.sum()))
        return _keep_all_but_lowest(scores, count)
    sizes = np.concatenate([unit.sizes for unit in units])
    order = np.argsort(scores, kind="stable")
    sums = np.cumsum(np.concatenate([[0], sizes[order]]))
    count = int(np.argmin(np.abs(sums - zeros)))
    count = int(min(max(count, masked.sum()), free.sum()))
    keep = np.ones(scores.size, bool)
    keep[order[:count]] = False
    return keep


def _keep_all_but_lowest(scores: Array, count: int) -> Array:
    """Does the same as sorting would, in linear time."""
    keep = np.ones(scores.size, bool)
    if count > 0:
        threshold = np.partition(scores, count - 1)[count - 1]
        keep[scores < threshold] = False
        tied = np.flatnonzero(scores == threshold)
        keep[tied[: count - np.count_nonzero(~keep)]] = False
    return keep
