"""Pruning in `model.fit`, and in custom training loops."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras

from keras_moduli.pruning import _fit
from keras_moduli.pruning._clock import StepClock
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


class MagnitudePruning(keras.callbacks.Callback):
    """Sets the smallest weights to zero, more of them as training goes on.

    At each update, from `begin` to `end`, the weights of smallest magnitude among *all*
    chosen kernels are set to zero, in number

        round(sparsity · schedule((t − begin) / (end − begin)) · N)

    out of N, ties included, but never the last weight of a kernel. They stay exactly
    zero through every optimizer step until more are pruned. Exact zeros that a kernel
    has when training starts count as pruned, so that a resumed run goes on with its
    masks; not those of a kernel that starts as zero or as the identity.

    The masks are state of the optimizer while `fit` runs and constraints of the pruned
    weights, beside any constraint that these have. Afterwards both are as they were,
    and a saved file holds nothing but ordinary weights.

    `logs["sparsity"]` has the fraction of zeros at the end of each epoch, and
    `logs["penalty"]` what the geometry of the model costs, if it has one.

    Args:
        sparsity: Fraction of zeros at the end, in [0, 1); 0.9 by default.
        schedule: `"cubic"`, `"linear"` (the paper's), `"constant"`, `"one_shot"`, a
            `keras_moduli.schedules.Schedule`, its config, or a function of progress in
            [0, 1].
        begin: Epoch or step at which pruning starts, counted from 0. A step is one
            update of the weights, as `optimizer.iterations` counts them.
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

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of range or does not go with another; when
            training starts, if the model is not compiled, a selection matches nothing or
            overlaps with another, or blocks do not divide a kernel.

    Example:

    >>> import keras, numpy as np, keras_moduli as km
    >>> model = keras.Sequential([keras.layers.SimpleRNN(16), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> x, y = np.ones((8, 5, 2), "float32"), np.ones((8, 1), "float32")
    >>> pruning = km.MagnitudePruning(0.9)
    >>> history = model.fit(x, y, epochs=4, callbacks=[pruning], verbose=0)
    >>> km.sparsity(model).total.zeros  # round(0.9 · 304)
    274

    In a custom training loop, `attach` before the step is compiled, `update` before each
    step, and `release` at the end:

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
        **renamed: Any,
    ) -> None:
        super().__init__()
        _refuse_renamed(renamed)
        self.timeline = Timeline(schedule, begin, end, frequency, unit)
        self.rule = Rule(sparsity, select, scope, structure, score, regrow, reset_moments)
        self._run: Any = None  # all that is remembered of a run

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
            ValueError: As when `fit` starts; if `end` is not given.
        """
        self.release()
        run = Run(model, self.rule.select, self.rule, self.timeline.settle(None))
        for state in find_masks(prunable_variables(model, self.rule.select)):
            warnings.warn(
                f"Takes off the masks that another MagnitudePruning has left on "
                f"{[v.path for v in state.variables]}.",
                stacklevel=2,
            )
            state.release()
        run.attach(optimizer).is_running = True
        self._run = run

    def due(self, position: int) -> bool:
        """Returns whether `update` would prune. Touches nothing.

        Args:
            position: Epochs or steps done so far; what `unit` says.

        Raises:
            ValueError: If no masks are in force.
        """
        return self._attached().is_due(position)

    def update(self, position: int) -> bool:
        """Prunes if that is due, before an epoch or a step starts.

        On JAX, where the state of a step is outside of the variables, write it back to
        them before and read it again after this, wherever `due(position)`.

        Args:
            position: Epochs or steps done so far; what `unit` says.

        Returns:
            Whether masks or weights may have changed.

        Raises:
            ValueError: If no masks are in force.
        """
        return self._attached().update(position)

    def release(self) -> None:
        """Takes the masks off. The weights stay pruned, and train as any from now on."""
        if self._run is not None:
            self._run.release()
        self._run = None

    def _attached(self) -> Run:
        if self._run is None:
            raise ValueError("Call `attach(model, optimizer)` before `due` or `update`.")
        return self._run

    # In `fit`.

    def set_model(self, model: keras.Model) -> None:
        """Attaches the masks; `fit` calls this before it compiles its step."""
        super().set_model(model)
        self.release()
        self._run = Run(model, self.rule.select, self.rule)
        _fit.set_up(self._run)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Settles when pruning ends."""
        _fit.start(self._run)
        length = self.params["epochs"]
        if self.timeline.unit == "step":
            steps = self.params["steps"]
            length = None if steps is None else length * steps
        timeline = self.timeline.settle(length)
        if self.rule.sparsity > 0:
            timeline.warn_unless_it_fits(length)
        self._run.timeline = timeline

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prunes to what the schedule wants for this epoch."""
        if self.timeline.unit == "epoch":
            _fit.update(self, self._run, epoch)
        else:
            self._run.clock = StepClock(self.model.optimizer)

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Prunes to what the schedule wants for this step."""
        if self._run.clock is not None:
            _fit.update(self, self._run, self._run.clock.read(batch))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the fraction of zeros and the penalty by distance."""
        _fit.report(self._run, self.model, logs)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Leaves the weights pruned and the optimizer as it was."""
        self.release()


def _refuse_renamed(arguments: Mapping[str, Any]) -> None:
    for name in arguments:
        instead = f" Type `{_RENAMED[name]}`." if name in _RENAMED else ""
        raise TypeError(
            f"MagnitudePruning got an unexpected keyword argument {name!r}.{instead}"
        )
