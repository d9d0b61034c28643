"""Which weights to prune, and which of them first."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Variable = Any
Mask = NDArray[np.bool_]

# The names that Keras's layers give to what they multiply by.
_KERNELS = ("kernel", "embeddings")


def prunable_variables(
    model: keras.Model, select: Callable[[Variable], bool] | None = None
) -> list[Variable]:
    """The weights of a model that pruning would choose.

    Args:
        model: A built Keras model.
        select: As in `MagnitudePruning`.

    Returns:
        List of `keras.Variable`, in the order of `model.trainable_variables`.

    Raises:
        TypeError: If `model` is no Keras model.
        ValueError: If the model is not built, or nothing is selected.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"Expected a keras.Model. Received: {model!r}")
    variables = model.trainable_variables
    if not variables:
        raise ValueError(
            f"Model {model.name!r} has no trainable weights yet. Build it first, by "
            "`model.build(input_shape)` or by calling it on a batch."
        )
    chosen = [v for v in variables if (select or _is_kernel)(v)]
    if not chosen:
        raise ValueError(
            "Nothing to prune: no trainable variable is selected. The model has "
            f"{[v.path for v in variables]}. Pass `select=`, a function of a variable."
        )
    return chosen


def magnitude_masks(
    weights: Sequence[NDArray[Any]], masks: Sequence[Mask], zeros: int
) -> list[Mask]:
    """Masks that keep all but the `zeros` weights of smallest magnitude.

    Weights that are masked already go first, ties by position. Each array keeps its
    largest weight, whatever its size.

    Args:
        weights: Arrays of any shape, ranked together.
        masks: The present masks, true for what is kept, of the same shapes.
        zeros: Number of weights to mask in all. Never revives a masked one.

    Returns:
        Boolean arrays of the same shapes: exactly `zeros` entries are false, or fewer if
        every array is down to one weight, or more if more are masked already.
    """
    scores = np.concatenate(
        [_scores(w, mask) for w, mask in zip(weights, masks, strict=True)]
    )
    zeros = min(max(zeros, int((scores < 0).sum())), scores.size - len(weights))
    keep = np.ones(scores.size, bool)
    if zeros > 0:
        threshold = np.partition(scores, zeros - 1)[zeros - 1]
        keep[scores < threshold] = False
        tied = np.flatnonzero(scores == threshold)
        keep[tied[: zeros - np.count_nonzero(~keep)]] = False
    ends = np.cumsum([w.size for w in weights])
    parts = np.split(keep, ends[:-1])
    return [part.reshape(w.shape) for part, w in zip(parts, weights, strict=True)]


def _scores(weight: NDArray[Any], mask: Mask) -> NDArray[Any]:
    scores = np.where(mask, np.abs(weight.astype(np.float32)), -1.0).ravel()
    scores[np.argmax(scores)] = np.inf
    return scores


def _is_kernel(variable: Variable) -> bool:
    return variable.name.endswith(_KERNELS) and len(variable.shape) >= 2
