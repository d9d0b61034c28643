"""What is said at the end of a run that does not leave what was asked for."""

import sys
import warnings
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_moduli import _keras_private
from keras_moduli.pruning._masks import MaskState
from keras_moduli.pruning._run import Run
from keras_moduli.pruning._selection import shorten_path
from keras_moduli.regularizers import find_regularizer

_DEAD, _HALF = 0.01, 0.5  # fractions that are kept
_MOST = 2**24  # neurons squared, up to which costs are computed once more


class Best(NamedTuple):
    """What saves the best epoch, and what was best before the final sparsity.

    Attributes:
        callback: A callback with a `filepath`.
        name: The attribute in which it has the best figure so far.
        value: That figure.
        advice: What to type so that it sees the final sparsity only.
    """

    callback: Any
    name: str
    value: float
    advice: str


def list_bests() -> list[Best]:
    """Returns the best that was saved so far, as the masks become final."""
    advice = (
        "Pass `km.AtFinalSparsity(ModelCheckpoint(...))`, which compares epochs at the "
        "final sparsity only."
    )
    return [
        *(
            Best(callback, "best", callback.best, advice)
            for callback in _list_callbacks(keras.callbacks.ModelCheckpoint)
            if callback.save_best_only
        ),
        *_list_bests_of_tuners(),
    ]


def _list_bests_of_tuners() -> list[Best]:
    """Returns those of KerasTuner, which nobody passes: it saves each trial by itself."""
    tuner = sys.modules.get("keras_tuner.src.engine.tuner_utils")
    kind = getattr(tuner, "SaveBestEpoch", None)
    advice = (
        "Search for the least of a figure that `km.AtFinalSparsity(LambdaCallback(...))` "
        "logs, which only epochs at the final sparsity have."
    )
    return [
        Best(callback, "best_value", callback.best_value, advice)
        for callback in ([] if kind is None else _list_callbacks(kind))
    ]


def warn(run: Run, bests: list[Best]) -> None:
    """Warns if training has stopped early, or has brought back earlier weights.

    Args:
        run: In `on_train_end`, with its masks in force.
        bests: What `list_bests` returned.
    """
    masks = run.masks
    assert masks is not None
    for message in (
        _describe_early_end(run, masks),
        _describe_strays(run, masks),
        _describe_restored(run, masks),
        _describe_saved(run, bests),
        _describe_dead(run, masks),
        _describe_chance(run, masks),
    ):
        if message:
            warnings.warn(message, stacklevel=4)


def _describe_early_end(run: Run, masks: MaskState) -> str:
    timeline, rule = run.timeline, run.rule
    if rule is None or timeline is None or rule.sparsity == 0 or masks.is_final:
        return ""
    if not run.model.stop_training:
        return ""  # of a run that was planned so, it was said at the start
    return (
        f"Training was stopped before {timeline.unit} {timeline.end}, at whose start the "
        f"final sparsity is reached: {_describe_zeros(masks)}. "
        f"{_describe_start_from(run)}, or prune earlier, by `end`."
    )


def _describe_strays(run: Run, masks: MaskState) -> str:
    if not masks.count_strays():
        return ""
    return (
        "Other weights were put in place of the pruned ones before training ended, as "
        "`restore_best_weights` does, and they do not have the final sparsity: "
        f"{_describe_zeros(masks)}. {_describe_start_from(run)}."
    )


def _describe_restored(run: Run, masks: MaskState) -> str:
    """Describes weights that a callback after this one is about to bring back."""
    weights = {id(weight): i for i, weight in enumerate(run.model.weights)}
    for stopping in _list_callbacks(keras.callbacks.EarlyStopping):
        best = stopping.best_weights
        if not stopping.restore_best_weights or best is None:
            continue
        chosen = [best[weights[id(variable)]] for variable in masks.variables]
        if masks.count_strays_of(chosen):
            return (
                "EarlyStopping restores the weights of epoch "
                f"{stopping.best_epoch + 1}, which do not have the final sparsity. "
                f"{_describe_start_from(run)}."
            )
    return ""


def _describe_saved(run: Run, bests: list[Best]) -> str:
    early = [best for best in bests if getattr(best.callback, best.name) == best.value]
    if not early or run.rule is None:
        return ""
    kinds = sorted({type(best.callback).__name__ for best in early})
    return (
        f"What {' and '.join(kinds)} has saved as the best, "
        f"{[best.callback.filepath for best in early]}, is from before the final "
        f"sparsity was reached. {early[0].advice}"
    )


def _describe_dead(run: Run, masks: MaskState) -> str:
    """Describes weights of which next to nothing is left where others keep half."""
    if run.rule is None or not masks.is_final:
        return ""
    kept = [float(mask.mean()) for mask in masks.numpy()]
    dead = [
        shorten_path(variable.path, run.model)
        for variable, share in zip(masks.variables, kept, strict=True)
        if share < _DEAD
    ]
    if not dead or max(kept) < _HALF:
        return ""
    return (
        f"{dead} lost more than {1 - _DEAD:.0%} of their weights, and others keep half: "
        "their weights are smaller, or their penalty is stronger. For the same share of "
        "each pass `scope='layer'`, or `'erk'`, or sparsities by name, as in "
        "`select={'recurrent_kernel': 0.95, 'dense': 0.5}`."
    )


def _describe_chance(run: Run, masks: MaskState) -> str:
    """Describes masks that do not follow the geometry by which their weights paid."""
    if run.rule is None or not masks.is_final:
        return ""
    wide = [
        shorten_path(variable.path, run.model)
        for variable, mask in zip(masks.variables, masks.numpy(), strict=True)
        if _is_chance(variable, mask)
    ]
    if not wide:
        return ""
    return (
        f"What is left of {wide} costs by distance what any weights would: the penalty "
        "was too weak, or training too short, for the mask to follow the geometry. Raise "
        "`strength` (`km.suggest_strength(model, x, y)`), try the inhibitor "
        "'diffusion', or end pruning later; `km.plot.distances(model)` shows it."
    )


def _is_chance(variable: Any, mask: Any) -> bool:
    """Whether the costs of what is kept are, within a tenth of their spread, any."""
    regularizer = find_regularizer(variable)
    if regularizer is None or variable.shape[0] ** 2 > _MOST or not mask.any():
        return False
    cost = regularizer.cost
    if not cost.strength or cost.permute_seed is not None or mask.mean() > _HALF:
        return False
    shape = tuple(variable.shape)
    costs = regularizer.spread(regularizer.coefficients(shape), shape)
    spread = float(costs.std())
    # What is flat has no distances to follow.
    is_flat = spread <= 1e-6 * float(np.abs(costs).max())
    return not is_flat and float(costs.mean() - costs[mask].mean()) < 0.1 * spread


def _describe_zeros(masks: MaskState) -> str:
    variables = masks.variables
    zeros = sum(int((_to_numpy(v) == 0).sum()) for v in variables)
    size = sum(_to_numpy(v).size for v in variables)
    return f"{zeros / size:.1%} of the weights are zero"


def _describe_start_from(run: Run) -> str:
    timeline = run.timeline
    if timeline is None or timeline.unit == "step":
        return "Pass `km.AtFinalSparsity(EarlyStopping(...))`"
    return (
        f"Pass `EarlyStopping(..., start_from_epoch={timeline.end})` or "
        "`km.AtFinalSparsity(EarlyStopping(...))`"
    )


def _to_numpy(variable: Any) -> Any:
    return keras.ops.convert_to_numpy(variable.value)


def _list_callbacks(kind: type) -> list[Any]:
    callbacks = _keras_private.find_callback_list()
    if callbacks is None:
        return []
    return [callback for callback in callbacks.callbacks if isinstance(callback, kind)]
