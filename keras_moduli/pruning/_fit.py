"""A run of pruning in `model.fit`, as the callbacks drive it."""

import keras

from keras_moduli.pruning import _geometry
from keras_moduli.pruning._late import attach_when_built
from keras_moduli.pruning._masks import find_masks
from keras_moduli.pruning._run import Run
from keras_moduli.pruning._selection import prunable_variables


def set_up(run: Run) -> None:
    """Attaches the masks of a run, in `set_model`: before `fit` compiles its step."""

    def catch_up() -> None:
        start(run)
        run.update(run.position)

    attach_when_built(run.model, lambda: _attach(run), catch_up)


def start(run: Run) -> None:
    """Marks the masks as those of a training that has started, in `on_train_begin`."""
    if run.masks is not None:
        run.masks.is_running = True


def update(callback: keras.callbacks.Callback, run: Run, position: int) -> None:
    """Changes masks if a position wants it, before an epoch or a step starts."""
    run.position = position
    if run.masks is not None and run.is_due(position):
        _ = callback.model  # JAX: writes the compiled step's state back to the model
        run.update(position)


def report(run: Run, model: keras.Model, logs: dict[str, float] | None) -> None:
    """Logs the fraction of zeros and the penalty by distance, in `on_epoch_end`."""
    if logs is None or run.masks is None:
        return
    variables = model.trainable_variables
    masks = [mask for state in find_masks(variables) for mask in state.numpy()]
    kept, size = sum(int(m.sum()) for m in masks), sum(m.size for m in masks)
    logs["sparsity"] = 1.0 - kept / size
    penalty = _geometry.compute_penalty(variables)
    if penalty is not None:
        logs["penalty"] = penalty


def _attach(run: Run) -> None:
    weights = run.model.trainable_variables
    try:
        for state in find_masks(weights):
            if state.is_running:  # of a `fit` that was interrupted
                state.release()
        _refuse_overlaps(run)
        run.attach()
    except Exception:
        # Another pruner of this list may be attached already, and will never start.
        for state in find_masks(weights):
            state.release()
        raise


def _refuse_overlaps(run: Run) -> None:
    chosen = prunable_variables(run.model, run.select)
    taken = {id(v) for state in find_masks(chosen) for v in state.variables}
    if taken:
        raise ValueError(
            "Two MagnitudePruning callbacks select the same weights: "
            f"{[v.path for v in chosen if id(v) in taken]}. Make their `select` disjoint."
        )
