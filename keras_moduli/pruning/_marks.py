"""How masks are written down: in the weights themselves, by the sign of their zeros.

A masked weight is -0.0. Any other weight that happens to be zero is +0.0: what a kernel
was initialized to, what a table of embeddings has in its rows, what has come back and not
moved yet. All files and backends keep the sign, and nothing else tells the two apart.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli.pruning._ranking import Mask

ZEROS = ("marked", "all", "none")
# Arrays: TensorFlow keeps the scalars that it has seen, and takes -0.0 for 0.0.
_MASKED, _FREE = np.array(-0.0), np.array(0.0)


def apply_mask(weight: Any, mask: Any) -> Any:
    """Returns a weight with what a mask takes away marked as masked."""
    weight = ops.convert_to_tensor(weight)
    return ops.where(mask, weight, ops.convert_to_tensor(_MASKED, weight.dtype))


def free(weight: Any, back: Any) -> Any:
    """Returns a weight in which what comes back is an ordinary zero."""
    weight = ops.convert_to_tensor(weight)
    return ops.where(back, ops.convert_to_tensor(_FREE, weight.dtype), weight)


def unmark(weight: Any) -> Any:
    """Returns a weight whose zeros are all ordinary ones."""
    return free(weight, ops.equal(weight, 0))


def writes_marks(constraint: Any, variable: Any) -> bool:
    """Whether a constraint writes a bound as pruning marks what it masks.

    A negative weight times 0 is -0.0, too.
    """
    while hasattr(constraint, "inner"):  # masks of this package
        constraint = constraint.inner
    if constraint is None:
        return False
    negative = ops.full(variable.shape, -1.0, variable.dtype)
    return bool(_find_marks(ops.convert_to_numpy(constraint(negative))).any())


class Reading:
    """What the zeros of some weights say.

    Args:
        variables: The weights.

    Attributes:
        has_marks: Whether any of them is marked as masked.
        unmarked: Path of each weight that has other zeros, and how many.
        doubtful: Path of each weight whose own constraint marks zeros too, and how many
            are marked.
    """

    def __init__(self, variables: Sequence[Any]) -> None:
        arrays = [ops.convert_to_numpy(variable.value) for variable in variables]
        self._zeros = [array == 0 for array in arrays]
        self._marks = [_find_marks(array) for array in arrays]
        self.has_marks = any(marks.any() for marks in self._marks)
        self.unmarked, self.doubtful = [], []
        for v, zeros, marks in zip(variables, self._zeros, self._marks, strict=True):
            if count := int(zeros.sum() - marks.sum()):
                self.unmarked.append((v.path, count))
            if marks.any() and writes_marks(v.constraint, v):
                self.doubtful.append((v.path, int(marks.sum())))

    def get_masks(self, zeros: str) -> list[Mask]:
        """Returns masks, true for what is kept.

        Args:
            zeros: What is not: `"marked"` zeros, `"all"` or `"none"`.
        """
        if zeros == "none":
            return [np.ones_like(marks) for marks in self._marks]
        return [~masked for masked in (self._zeros if zeros == "all" else self._marks)]

    def describe_unmarked(self) -> str:
        """Returns the unmarked zeros of each weight as text."""
        return _list_counts(self.unmarked)

    def describe_doubtful(self) -> str:
        """Returns the marked zeros of each weight with such a constraint as text."""
        return _list_counts(self.doubtful)


def _list_counts(counts: list[tuple[str, int]]) -> str:
    return ", ".join(f"{count} of {path}" for path, count in counts)


def _find_marks(array: NDArray[Any]) -> Mask:
    marks: Mask = (array == 0) & np.signbit(array)
    return marks
