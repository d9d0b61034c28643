"""Pruning in `model.fit`, and in custom training loops."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_moduli import _checks
from keras_moduli._repr import write_call
from keras_moduli.pruning._clock import StepClock
from keras_moduli.pruning._fit import FitCallback
from keras_moduli.pruning._marks import ZEROS
from keras_moduli.pruning._masks import find_masks
from keras_moduli.pruning._rule import Rule
from keras_moduli.pruning._run import Run
from keras_moduli.pruning._selection import Select, prunable_variables
from keras_moduli.pruning._timeline import Timeline
from keras_moduli.pruning.regrowth import Regrowth
from keras_moduli.pruning.scopes import Scope
from keras_moduli.pruning.scores import Score
from keras_moduli.pruning.structures import Structure

# Arguments of version 0.1.0, and what to type for them.
_RENAMED = {
    "block": "structure=(b, c)` for balanced blocks, or "
    "`structure=km.pruning.Blocks((b, c), balanced=False)",
    "balanced": "structure=km.pruning.Blocks((b, c), balanced=True)` with (b, c) the "
    "block, (1, 1) for single weights",
    "pattern": "structure=km.pruning.NofM(n, m)",
    "pad": "structure=km.pruning.Blocks((b, c), pad=True)` or "
    "`structure=km.pruning.NofM(n, m, pad=True)",
}


class MagnitudePruning(FitCallback):
    """Sets the smallest weights to zero, more of them as training goes on.

    At each update, from `begin` to `end`, the weights of smallest magnitude among *all*
    chosen kernels are set to zero, in number

        round(sparsity · schedule((t − begin) / (end − begin)) · N)

    out of N, ties included, but never the last weight of a kernel. They stay exactly
    zero through every optimizer step until more are pruned.

    The masks are state of the optimizer while `fit` runs and constraints of the pruned
    weights, beside any constraint that these have. Afterwards, and also after an
    exception, both are as they were, and a saved file holds nothing but ordinary weights.
    In these a masked weight is -0.0, any other zero +0.0, so that a resumed run goes on
    with its masks.

    Of kernels of which only blocks exist, such as those of `SparseDense` and its like,
    the weights that exist are counted and pruned, whole blocks by `structure=(b, c)` with
    their own shape; regrowth is within them.

    A run warns if it is stopped before its end, by `EarlyStopping`, or leaves other
    weights than those of the final sparsity, by `restore_best_weights` or
    `save_best_only`. `keras_moduli.AtFinalSparsity` lets these callbacks count from the
    final sparsity on.

    `logs["sparsity"]` has the fraction of zeros at the end of each epoch, and
    `logs["penalty"]` what the geometry of the model costs, if it has one.

    Args:
        sparsity: Fraction of zeros at the end, in [0, 1); 0.9 by default.
        schedule: `"cubic"`, `"linear"` (the paper's), `"constant"`, `"one_shot"`, a
            `keras_moduli.schedules.Schedule`, its config, or a function of progress in
            [0, 1].
        begin: Epoch or step at which pruning starts, counted from 0, the start of epoch
            0 of a run. A step is one update of the weights: several batches, where the
            optimizer accumulates gradients.
        end: Epoch or step at whose start the final sparsity is reached. By default after
            three quarters of the run, so that the network recovers at its final mask.
        frequency: Update every so many epochs or steps, and at `end`. By default at each
            epoch, or every 100 steps.
        unit: `"epoch"` or `"step"`: what `begin`, `end` and `frequency` count.
        scope: Which weights compete. `"global"`: all of them; `"layer"`: those of each
            kernel, so that all are equally sparse; `"gate"`: those of each gate of each
            kernel; `"erk"`: those of each kernel, with densities in proportion to
            Σ shape / Π shape (Erdős–Rényi–Kernel). Or a
            `keras_moduli.pruning.scopes.Scope`.
        select: What to prune. `"kernels"`, the default: every kernel, recurrent kernel
            and embedding matrix, and never a bias, a norm's scale or the placement of
            neurons. `"recurrent"`: recurrent kernels. A regular expression, or a list,
            searched for in the paths of the same variables and of others that are not
            named as kernels, as `path` gives them or as `sparsity` prints them. A
            function of a variable (with `path`, `name`, `shape`), true for those to
            prune. A dict from any of these strings to the final sparsity of what it
            matches, in place of `sparsity`.
        structure: What is pruned at once. `"weights"`, the default: each by itself. A
            pair (b, c): blocks of b inputs and c outputs, of which every output keeps
            equally many: what the fast layers of `keras_moduli` need.
            `keras_moduli.pruning.Blocks((b, c), balanced=False, pad=True)`, for blocks of
            another kind. `keras_moduli.pruning.NofM(2, 4)`: 2 of every 4 consecutive
            inputs to an output stay, which sets the final sparsity. A warning says so
            where the final masks miss `sparsity` by more than 1 %.
        score: What ranks weights: `"magnitude"`, the default; `"geometric"`, the
            magnitude divided by the relative coefficient of the distance that a weight
            spans; a `keras_moduli.pruning.scores.Score`; or a function from a variable to
            an array of its shape, not negative, highest for what is to be kept.
        regrow: `"rigl"`, `"set"`, or a `keras_moduli.pruning.Regrowth`: at each update
            some of the kept weights make room for pruned ones, so that masks move.
        reset_moments: Whether a weight that comes back starts without the moments that
            the optimizer has of it, as in RigL.
        zeros: Which exact zeros that the chosen weights have when training starts count
            as pruned. `"marked"`: those that pruning has written, as -0.0. `"all"`: every
            zero. `"none"`. By default `"marked"`; where nothing is marked and the
            optimizer has trained the model before, `"all"`, with a warning.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of range or does not go with another; when
            training starts, if the model is not compiled, a selection matches nothing or
            overlaps with another, or blocks do not divide a kernel.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> model = keras.Sequential([keras.layers.SimpleRNN(16), keras.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> x, y = np.ones((8, 5, 2), "float32"), np.ones((8, 1), "float32")
        >>> pruning = km.MagnitudePruning(0.9)
        >>> history = model.fit(x, y, epochs=4, callbacks=[pruning], verbose=0)
        >>> km.sparsity(model).total.zeros  # round(0.9 · 304)
        274

        In a custom training loop, `attach` before the step is compiled, `update` before
        each step, and `release` at the end:

        >>> pruning = km.MagnitudePruning(0.95, unit="step", end=100)
        >>> pruning.attach(model)
        >>> for step in range(120):
        ...     changed = pruning.update(step)
        ...     loss = model.train_on_batch(x, y)
        >>> pruning.release()
        >>> km.sparsity(model).total.zeros
        289

    Source: Zhu and Gupta, "To prune, or not to prune", 2017; the global ranking and the
    linear schedule from Mackey et al., 2024.
    """

    def __init__(
        self,
        sparsity: float | None = None,
        *,
        schedule: str | dict[str, Any] | Callable[[float], float] = "cubic",
        begin: int = 0,
        end: int | None = None,
        frequency: int | None = None,
        unit: str = "epoch",
        scope: str | dict[str, Any] | Scope = "global",
        select: Select = None,
        structure: str | dict[str, Any] | tuple[int, int] | Structure = "weights",
        score: str | dict[str, Any] | Callable[[Any], Any] | Score = "magnitude",
        regrow: str | dict[str, Any] | Regrowth | None = None,
        reset_moments: bool = True,
        zeros: str | None = None,
        **renamed: Any,
    ) -> None:
        super().__init__()
        _refuse_renamed(renamed)
        self.timeline = Timeline(schedule, begin, end, frequency, unit)
        self.rule = Rule(sparsity, select, scope, structure, score, regrow, reset_moments)
        self.zeros = None if zeros is None else _checks.choice("zeros", zeros, ZEROS)
        self._loop: Any = None  # the run of a custom training loop
        self._clock: Any = None  # what counts the steps of one in `fit`

    def __repr__(self) -> str:
        return write_call(self, self.timeline, self.rule)

    # In a custom training loop.

    def attach(
        self, model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
    ) -> None:
        """Puts masks in force, before a custom training step is compiled.

        On JAX, read `optimizer.variables` after this: the masks are among them. `fit`
        does all this itself.

        Args:
            model: A built model.
            optimizer: The optimizer whose `apply` trains it; by default the one that the
                model is compiled with.

        Raises:
            TypeError: If `model` or `optimizer` is not one of Keras.
            ValueError: As when `fit` starts; if `end` is not given.
        """
        self.release()
        select = self.rule.select
        timeline = self.timeline.settle(None)
        run = Run(model, select, self.zeros, self.rule, timeline)
        for state in find_masks(prunable_variables(model, select)):
            warnings.warn(
                f"Takes off the masks that another MagnitudePruning has left on "
                f"{[v.path for v in state.variables]}.",
                stacklevel=2,
            )
            state.release()
        run.attach(optimizer)
        self._loop = run

    def due(self, position: int) -> bool:
        """Returns whether `update` would prune. Touches nothing.

        Args:
            position: Epochs or steps done so far; what `unit` says.

        Raises:
            ValueError: If no masks are in force, or the model was compiled anew.
        """
        return self._get_loop().is_due(_check_position(position))

    def update(self, position: int) -> bool:
        """Prunes if that is due, before an epoch or a step starts.

        On JAX, where the state of a step is outside of the variables, write it back to
        them before and read it again after this, wherever `due(position)`.

        Args:
            position: Epochs or steps done so far; what `unit` says.

        Returns:
            Whether masks or weights may have changed.

        Raises:
            ValueError: If no masks are in force, or the model was compiled anew.
        """
        return self._get_loop().update(_check_position(position))

    def release(self) -> None:
        """Takes the masks off. The weights stay pruned, and train as any from now on."""
        if self._loop is not None:
            self._loop.release()
        self._loop = None
        self.abandon()

    def _get_loop(self) -> Run:
        if self._loop is None:
            raise ValueError("Call `attach(model, optimizer)` before `due` or `update`.")
        return self._loop

    # In `fit`.

    def make_run(self, model: keras.Model) -> Run:
        """Returns a run whose end is settled as training starts."""
        return Run(model, self.rule.select, self.zeros, self.rule)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Settles when pruning ends."""
        fit, params = self.get_fit(), self.params or {}
        self._clock = None
        length = params.get("epochs")
        if self.timeline.unit == "step":
            self._clock = StepClock(self.model.optimizer, params.get("steps"))
            length = None if length is None else self._clock.count(length)
        timeline = self.timeline.settle(length)
        if self.rule.sparsity > 0:
            timeline.warn_unless_it_fits(length)
        fit.run.timeline = timeline
        fit.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prunes to what the schedule wants for this epoch."""
        if self.timeline.unit == "epoch":
            self.get_fit().update(self, epoch)
        elif self._clock is not None:
            self._clock.start_epoch(epoch)

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Prunes to what the schedule wants for this step."""
        if self._clock is not None:
            self.get_fit().update(self, self._clock.read(batch))


def _check_position(position: Any) -> int:
    return _checks.integer("position", position, minimum=0)


def _refuse_renamed(arguments: Mapping[str, Any]) -> None:
    for name in arguments:
        instead = f" Type `{_RENAMED[name]}`." if name in _RENAMED else ""
        raise TypeError(
            f"MagnitudePruning got an unexpected keyword argument {name!r}.{instead}"
        )
