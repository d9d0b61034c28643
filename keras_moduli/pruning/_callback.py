"""Pruning in `model.fit`, and in loops of one's own."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from keras_moduli import _backend, _keras_private
from keras_moduli.pruning import _granularity
from keras_moduli.pruning._held import held_on
from keras_moduli.pruning._plan import Plan
from keras_moduli.pruning._pruner import Pruner
from keras_moduli.pruning._regrowth import Regrowth
from keras_moduli.pruning._selection import Select, prunable_variables
from keras_moduli.regularizers import find_regularizer


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
            Σ shape / Π shape (Erdős–Rényi–Kernel).
        select: What to prune. `"kernels"`, the default: every kernel, recurrent kernel
            and embedding matrix, and never a bias, a norm's scale or the placement of
            neurons. `"recurrent"`: recurrent kernels. A regular expression, or a list,
            searched for in the paths of the same variables and of others that are not
            named as kernels, as `path` gives them or as `sparsity` prints them. A
            function of a variable (with `path`, `name`, `shape`), true for those to
            prune. A dict from any of these strings to the final sparsity of what it
            matches, in place of `sparsity`.
        block: (b, c) to prune blocks of b inputs and c outputs at once, by their root
            mean square. All axes of a kernel but the last count as inputs. A
            warning says so where the final masks miss `sparsity` by more than 1 %.
        balanced: Whether every column of blocks keeps equally many: what the fast layers
            of `keras_moduli` need. Without `block`, every output keeps equally many
            weights.
        pattern: (n, m) to keep n of every m consecutive inputs to an output, as in
            (2, 4). The final sparsity is then 1 − n/m.
        pad: Whether the last blocks or groups of a kernel may be smaller.
        score: What ranks weights: `"magnitude"`, the default; `"geometric"`, the
            magnitude divided by the relative coefficient of the distance that a weight
            spans; or a function from a variable to an array of its shape, not negative,
            highest for what is to be kept.
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

    In a loop of one's own, `attach` before the step is compiled, `update` before each
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
        scope: str = "global",
        select: Select = None,
        block: tuple[int, int] | None = None,
        balanced: bool = False,
        pattern: tuple[int, int] | None = None,
        pad: bool = False,
        score: str | Callable[[Any], Any] | None = None,
        regrow: str | dict[str, Any] | Regrowth | None = None,
        reset_moments: bool = True,
    ) -> None:
        super().__init__()
        self.plan = Plan(schedule, begin, end, frequency, unit)
        self.pruner = Pruner(
            sparsity,
            scope,
            select,
            _granularity.get(block, balanced, pattern, pad),
            score,
            regrow,
            reset_moments,
        )
        self._position: int | None = None

    # In a loop of one's own.

    def attach(
        self, model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
    ) -> None:
        """Puts masks in force, before a training step of one's own is compiled.

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
        self.plan.settle(None)
        for held in held_on(prunable_variables(model, self.pruner.select)):
            warnings.warn(
                f"Takes off the masks that another MagnitudePruning has left on "
                f"{[v.path for v in held.variables]}.",
                stacklevel=2,
            )
            held.release()
        self.pruner.attach(model, optimizer).running = True

    def due(self, position: int) -> bool:
        """Whether `update` would prune. Touches nothing.

        Args:
            position: Epochs or steps done so far; what `unit` says.
        """
        return (
            self._position is None or self.plan.due(position, self._position) is not None
        )

    def update(self, position: int) -> bool:
        """Prunes if that is due, before an epoch or a step begins.

        On JAX, where the state of a step is outside of the variables, write it back to
        them before and read it again after this, wherever `due(position)`.

        Args:
            position: Epochs or steps done so far; what `unit` says.

        Returns:
            Whether masks or weights may have changed.
        """
        if self.pruner.held is None:
            raise ValueError("Call `attach(model, optimizer)` before `update`.")
        if not self.due(position):
            return False
        first, since = self._position is None, self._position
        self._position = position
        if first:
            self.pruner.held.adopt_zeros()
        due = self.plan.due(position, since)
        if due is not None:
            # A resumed run has exchanged weights before, unless it is due just now.
            exchange = not first or due == position
            self.pruner.prune(self.plan, due, exchange=exchange)
        return True

    def release(self) -> None:
        """Takes the masks off. The weights stay pruned, and train as any from now on."""
        self.pruner.release()
        self._position = None

    # In `fit`.

    def set_model(self, model: keras.Model) -> None:
        """Attaches the masks; `fit` calls this before it compiles its step."""
        super().set_model(model)
        self.release()
        self._reached: int | None = None
        if model.built or not _backend.builds_inside_step():
            self._attach_in_fit()
        else:
            # Another pruner of this list may wait for the weights already.
            other = getattr(model.train_function, "__self__", None)
            self._earlier = other if isinstance(other, MagnitudePruning) else None
            model.train_function = self._build_then_train

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Settles when pruning ends."""
        if self.pruner.held is not None:
            self.pruner.held.running = True
        length = self.params["epochs"]
        if self.plan.unit == "step":
            steps = self.params["steps"]
            length = None if steps is None else length * steps
        self.plan.settle(length)
        if self.pruner.sparsity > 0:
            self.plan.warn(length)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prunes to what the schedule wants for this epoch."""
        if self.plan.unit == "epoch":
            self._update_in_fit(epoch)
        else:
            self._epoch_step = int(self.model.optimizer.iterations)
            self._epoch_batch: int | None = None

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Prunes to what the schedule wants for this step."""
        if self.plan.unit == "step":
            if self._epoch_batch is None:
                self._epoch_batch = batch
            # Not read from the optimizer, which on JAX would mean to write back its state
            # before each step.
            done = batch - self._epoch_batch
            *_, innermost = _keras_private.iterate_optimizers(
                _keras_private.peek_model(self).optimizer
            )
            every = innermost.gradient_accumulation_steps or 1
            self._update_in_fit(self._epoch_step + done // every)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the fraction of zeros and the penalty by distance."""
        if logs is None or self.pruner.held is None:
            return
        variables = self.model.trainable_variables
        masks = [mask for held in held_on(variables) for mask in held.numpy()]
        kept, size = sum(int(m.sum()) for m in masks), sum(m.size for m in masks)
        logs["sparsity"] = 1.0 - kept / size
        penalties = [(find_regularizer(v), v) for v in variables]
        costs = [float(ops.convert_to_numpy(p(v))) for p, v in penalties if p is not None]
        if costs:
            logs["penalty"] = sum(costs)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Leaves the weights pruned and the optimizer as it was."""
        self.release()

    def _attach_in_fit(self) -> None:
        model = _keras_private.peek_model(self)
        try:
            for held in held_on(model.trainable_variables):
                if held.running:  # of a `fit` that was interrupted
                    held.release()
            chosen = prunable_variables(model, self.pruner.select)
            if twice := held_on(chosen):
                taken = {id(v) for held in twice for v in held.variables}
                raise ValueError(
                    "Two MagnitudePruning callbacks select the same weights: "
                    f"{[v.path for v in chosen if id(v) in taken]}. Make their `select` "
                    "disjoint."
                )
            self.pruner.attach(model, None)
        except Exception:
            # Another pruner of this list may be attached already, and will never start.
            for held in held_on(model.trainable_variables):
                held.release()
            raise

    def _update_in_fit(self, position: int) -> None:
        self._reached = position
        if self.pruner.held is not None and self.due(position):
            _ = self.model  # JAX: writes the compiled step's state back to the model
            self.update(position)

    def _build_then_train(self, iterator: Any) -> Any:
        """The first train function on TensorFlow, where `fit` builds inside the step."""
        inputs = keras.utils.unpack_x_y_sample_weight(iterator.element_spec)[0]
        _keras_private.peek_model(self)(keras.tree.map_structure(_symbolic, inputs))
        waiting = list(self._waiting())
        for pruning in waiting:
            pruning._attach_in_fit()
        for pruning in waiting:
            assert pruning.pruner.held is not None
            assert pruning._reached is not None
            pruning.pruner.held.running = True
            pruning.update(pruning._reached)
        return _keras_private.peek_model(self).train_function(iterator)

    def _waiting(self) -> Iterator["MagnitudePruning"]:
        yield self
        if self._earlier is not None:
            yield from self._earlier._waiting()


class KeepZeros(MagnitudePruning):
    """Holds what is zero at zero while a pruned model trains on, and prunes nothing.

    Args:
        select: As in `MagnitudePruning`.

    Example:

    >>> import keras, numpy as np, keras_moduli as km
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> model.set_weights([np.eye(4, 3), np.zeros(3)])
    >>> model.compile("adam", "mse")
    >>> x, y = np.ones((8, 4)), np.ones((8, 3))
    >>> history = model.fit(x, y, callbacks=[km.KeepZeros()], verbose=0)
    >>> km.sparsity(model).total.zeros
    9
    """

    def __init__(self, select: Select = None) -> None:
        super().__init__(0.0, select=select)


def _symbolic(spec: Any) -> keras.KerasTensor:
    return keras.KerasTensor(spec.shape, keras.backend.standardize_dtype(spec.dtype))
