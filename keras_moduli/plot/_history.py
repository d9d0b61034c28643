"""What happened while a model trained."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_moduli.plot import _style

Axes = Any

_FRACTIONS = ("sparsity",)  # drawn on an axis of their own, in percent


def history(history: Any, *, ax: Axes = None) -> Axes:
    """Draws the losses of a training run, the penalty that is part of them, and sparsity.

    Args:
        history: What `model.fit` returned, or its dictionary `history`, of one list for
            each quantity. Drawn are `loss`, `penalty`, which pruning writes, their kin of
            validation, and on a second axis `sparsity`.
        ax: Axes of matplotlib to draw into; by default those of a new figure.

    Returns:
        The axes of the losses, logarithmic if all are above 0.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `history` is neither.
        ValueError: If it has no `loss`.

    Examples:
        >>> import keras_moduli as km
        >>> log = {"loss": [1.0, 0.5, 0.3], "sparsity": [0.0, 0.6, 0.9]}
        >>> ax = km.plot.history(log)
        >>> [line.get_label() for line in ax.lines]
        ['loss']
    """
    logs = getattr(history, "history", history)
    if not isinstance(logs, Mapping):
        raise TypeError(
            "`history` must be what `model.fit` returned, or its dictionary. "
            f"Received: {history!r}"
        )
    names = [n for n in ("loss", "val_loss", "penalty", "val_penalty") if n in logs]
    if "loss" not in names or not len(logs["loss"]):
        raise ValueError(f"`history` must have a 'loss'. Received: {sorted(logs)}")
    curves = {name: np.asarray(logs[name], float) for name in names}
    with _style.drawing(ax, size=(5.2, 3.2)) as ax:
        for (name, values), color in zip(curves.items(), _style.COLORS, strict=False):
            ax.plot(*_count_epochs(values), color=color, label=name, linewidth=1.6)
        finite = np.concatenate([v[np.isfinite(v)] for v in curves.values()])
        if len(finite) and finite.min() > 0:
            ax.set_yscale("log")
        ax.set(xlabel="epoch", ylabel="loss")
        ax.xaxis.get_major_locator().set_params(integer=True)
        handles = list(ax.lines)
        if "sparsity" in logs:
            handles += _draw_sparsity(ax, np.asarray(logs["sparsity"], float))
        ax.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(handles)
        )
    return ax


def _count_epochs(values: Any) -> tuple[Any, Any]:
    return np.arange(1, len(values) + 1), values


def _draw_sparsity(ax: Axes, sparsity: Any) -> list[Any]:
    other = ax.twinx()
    other.spines["right"].set_visible(True)
    lines = other.plot(
        *_count_epochs(100 * sparsity),
        color=_style.INK,
        linestyle="--",
        linewidth=1.2,
        label="sparsity",
    )
    other.set(ylabel="zeros, %", ylim=(0, 102))
    return list(lines)
