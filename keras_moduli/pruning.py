"""Pruning by magnitude in `model.fit`, with masks that hold inside the compiled step."""

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _checks, schedules

__all__ = ["MagnitudePruning", "magnitude_masks", "prunable_variables"]

Variable = Any
Mask = NDArray[np.bool_]

# The names that Keras's layers give to what they multiply by.
_KERNELS = ("kernel", "embeddings")
# The paper's runs prune to the last epoch, end broken and need extra epochs.
_PRUNING_SHARE = 0.75


class MagnitudePruning(keras.callbacks.Callback):
    """Sets the smallest weights to zero, more of them as training goes on.

    At the start of each epoch e from `begin` to `end` the weights of smallest magnitude
    among *all* chosen kernels are set to zero, in number

        round(sparsity · schedule((e − begin) / (end − begin)) · N)

    out of N, ties included, but never the last weight of a kernel. They stay exactly
    zero through every optimizer step until more are pruned. Exact zeros that a kernel
    has when training starts count as pruned, so that a resumed run goes on with its
    masks.

    The masks are state of the optimizer while `fit` runs and constraints of the pruned
    weights, beside any constraint that these have. Afterwards both are as they were,
    and a saved file holds nothing but ordinary weights.

    Args:
        sparsity: Fraction of zeros at the end, in [0, 1).
        schedule: `"cubic"`, `"linear"` (the paper's), `"constant"`, `"one_shot"`, a
            `keras_moduli.schedules.Schedule`, or a function of progress in [0, 1].
        begin: Epoch at which pruning starts, counted from 0.
        end: Epoch at whose start the final sparsity is reached. By default after three
            quarters of all epochs, so that the network recovers at its final mask.
        select: Function of a variable (with `path`, `name`, `shape`) that is true for
            those to prune. By default every kernel, recurrent kernel and embedding
            matrix, and never a bias, a norm's scale or the placement of neurons.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of range; when training starts, if the model
            is not compiled, or nothing is selected.

    Example:

    >>> import keras, numpy as np, keras_moduli as km
    >>> model = keras.Sequential([keras.layers.SimpleRNN(16), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> x, y = np.ones((8, 5, 2), "float32"), np.ones((8, 1), "float32")
    >>> pruning = km.MagnitudePruning(0.9)
    >>> history = model.fit(x, y, epochs=4, callbacks=[pruning], verbose=0)
    >>> km.sparsity(model).total.zeros  # round(0.9 · 304)
    274

    Source: Zhu and Gupta, "To prune, or not to prune", 2017; the global ranking and the
    linear schedule from Mackey et al., 2024.
    """

    def __init__(
        self,
        sparsity: float = 0.9,
        *,
        schedule: str | Callable[[float], float] = "cubic",
        begin: int = 0,
        end: int | None = None,
        select: Callable[[Variable], bool] | None = None,
    ) -> None:
        super().__init__()
        self.sparsity = _checks.real("sparsity", sparsity, minimum=0.0)
        if self.sparsity >= 1:
            raise ValueError(
                "`sparsity` is the fraction of weights set to zero, in [0, 1): 0.9 for "
                f"90 %. Received: sparsity={sparsity!r}"
            )
        self.schedule = schedules.get(schedule)
        self.begin = _checks.integer("begin", begin, minimum=0)
        self.end = end
        if end is not None:
            self.end = _checks.integer("end", end, minimum=0)
            if self.end < self.begin:
                raise ValueError(
                    "`end` must not be before `begin`. "
                    f"Received: begin={begin}, end={end}"
                )
        if select is not None and not callable(select):
            raise TypeError(
                "`select` must be a function of a variable, such as "
                "`lambda v: v.name == 'recurrent_kernel'`. "
                f"Received: select={select!r}"
            )
        self.select = select
        self._held: _HeldMasks | None = None

    def set_model(self, model: keras.Model) -> None:
        """Attaches the masks; `fit` calls this before it compiles its step."""
        super().set_model(model)
        self._scheduled = 0.0
        if self._held is not None:
            return
        if model.built or keras.backend.backend() != "tensorflow":
            self._attach()
        else:
            model.train_function = self._build_then_train

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Settles when pruning ends."""
        epochs = self.params["epochs"]
        self._last = self.end
        if self._last is None:
            self._last = max(self.begin, int(_PRUNING_SHARE * epochs))
        if self._last >= epochs:
            warnings.warn(
                f"The final sparsity is reached at the start of epoch {self._last} "
                f"(counted from 0), which a run of {epochs} epochs never begins. Train "
                "longer or lower `begin` and `end`.",
                stacklevel=2,
            )
        elif self._last == 0 and self.sparsity > 0:
            warnings.warn(
                "All pruning happens before the first step of training. Train for more "
                "epochs so that weights are ranked after they have learned.",
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prunes to what the schedule wants for this epoch."""
        if epoch >= self.begin:
            self._scheduled = self.sparsity * self._fraction(epoch)
            self._prune()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports the fraction of zeros as `logs["sparsity"]`."""
        if logs is not None and self._held is not None:
            logs["sparsity"] = self._held.sparsity

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Leaves the weights pruned and the optimizer as it was."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def _attach(self) -> None:
        variables = prunable_variables(self._model, self.select)
        self._held = _HeldMasks(self._model, variables)

    def _prune(self) -> None:
        _ = self.model  # JAX: writes the compiled step's state back to the model
        if self._held is not None:
            self._held.prune(self._scheduled)

    def _build_then_train(self, iterator: Any) -> Any:
        """The first train function on TensorFlow, where `fit` builds inside the step."""
        inputs = keras.utils.unpack_x_y_sample_weight(iterator.element_spec)[0]
        self._model(keras.tree.map_structure(_symbolic, inputs))
        self._attach()
        self._prune()
        return self._model.train_function(iterator)

    def _fraction(self, epoch: int) -> float:
        assert self._last is not None
        if epoch >= self._last:
            return float(self.schedule(1.0))
        return float(self.schedule((epoch - self.begin) / (self._last - self.begin)))


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


def _symbolic(spec: Any) -> keras.KerasTensor:
    return keras.KerasTensor(spec.shape, keras.backend.standardize_dtype(spec.dtype))


def _is_kernel(variable: Variable) -> bool:
    return variable.name.endswith(_KERNELS) and len(variable.shape) >= 2


class _Masked(keras.constraints.Constraint):
    """Multiplies by a mask, after the constraint that the weight has anyway."""

    def __init__(self, mask: Variable, inner: Callable[[Any], Any] | None) -> None:
        self.mask = mask
        self.inner = inner

    def __call__(self, weight: Any) -> Any:
        weight = weight if self.inner is None else self.inner(weight)
        return _masked(weight, self.mask)


def _masked(weight: Any, mask: Variable) -> Any:
    return ops.where(mask.value, ops.convert_to_tensor(weight), 0.0)


class _HeldMasks:
    """Masks in force on a model: held by its optimizer, applied after each step.

    On JAX a compiled step sees only the trainable and the optimizer's variables while
    it applies updates, and on TensorFlow it is traced once: a mask in any other place is
    silently frozen. So masks are variables of the optimizer that does the updates.
    """

    def __init__(self, model: keras.Model, variables: list[Variable]) -> None:
        self.model = model
        self.variables = variables
        optimizer = _built_optimizer(model)
        _release_stale(variables)
        self.chain = list(_chain(optimizer))
        self.owner = self.chain[-1]
        self.masks = [self._add_mask(variable) for variable in variables]
        for variable, mask in zip(variables, self.masks, strict=True):
            variable.constraint = _Masked(mask, variable.constraint)
            variable.constraint.held = self
        for part in self.chain:
            _save_without_masks(part, self)
        self.apply()
        model.make_train_function(force=True)

    def _add_mask(self, variable: Variable) -> Variable:
        mask = self.owner.add_variable(
            shape=variable.shape,
            initializer="ones",
            dtype="bool",
            layout=getattr(variable, "_layout", None),
            name=f"{variable.path.replace('/', '_')}_mask",
        )
        nonzero = ops.convert_to_numpy(variable.value) != 0
        # Pruning always keeps a weight, so a kernel of nothing but zeros is one that was
        # initialized so, and must be let learn.
        if nonzero.any():
            mask.assign(nonzero)
        return mask

    @property
    def sparsity(self) -> float:
        """The fraction of weights that are masked."""
        kept = sum(int(mask.sum()) for mask in self._numpy_masks())
        return 1.0 - kept / self._size

    @property
    def _size(self) -> int:
        return sum(int(np.prod(variable.shape)) for variable in self.variables)

    def _numpy_masks(self) -> list[Mask]:
        return [ops.convert_to_numpy(mask.value) for mask in self.masks]

    def prune(self, sparsity: float) -> None:
        """Masks more weights, until the given fraction is zero."""
        weights = [ops.convert_to_numpy(variable.value) for variable in self.variables]
        zeros = round(sparsity * self._size)
        masks = magnitude_masks(weights, self._numpy_masks(), zeros)
        for variable, new in zip(self.masks, masks, strict=True):
            variable.assign(new)
        self.apply()

    def apply(self) -> None:
        """Zeroes the masked weights now; the step does so from the next update on."""
        for variable, mask in zip(self.variables, self.masks, strict=True):
            variable.assign(_masked(variable, mask))

    def release(self) -> None:
        """Takes the masks off again. The weights keep their zeros."""
        self.apply()  # a moving average, written back at the end of fit, undoes them
        for variable in self.variables:
            variable.constraint = variable.constraint.inner
        for part in self.chain:
            del part.save_own_variables, part.load_own_variables
        self._untrack()
        self.model.make_train_function(force=True)

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Takes the masks off the optimizer's list of variables for a moment."""
        self._untrack()
        try:
            yield
        finally:
            for mask in self.masks:
                self.owner._track_variable(mask)

    def _untrack(self) -> None:
        # Keras has no public way to take a variable off an optimizer; `hidden` and this
        # are the only places that know the private one.
        for mask in self.masks:
            self.owner._untrack_variable(mask)


def _built_optimizer(model: keras.Model) -> Any:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise ValueError(
            f"Model {model.name!r} has no optimizer, which holds the masks. Call "
            "`model.compile(optimizer, loss)` first."
        )
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    return optimizer


def _chain(optimizer: Any) -> Iterator[Any]:
    """The optimizer and those that it wraps, the one that does the updates last."""
    while optimizer is not None:
        yield optimizer
        optimizer = getattr(optimizer, "inner_optimizer", None)


def _release_stale(variables: Iterable[Variable]) -> None:
    """Takes off what a `fit` that was interrupted has left behind."""
    for variable in variables:
        if isinstance(variable.constraint, _Masked):
            variable.constraint.held.release()


def _save_without_masks(optimizer: Any, held: _HeldMasks) -> None:
    """Saves and loads the optimizer's own variables only.

    Otherwise Keras drops the whole state on loading, because the counts differ.
    """

    def without_masks(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(store: Any) -> Any:
            with held.hidden():
                return method(store)

        return wrapper

    optimizer.save_own_variables = without_masks(optimizer.save_own_variables)
    optimizer.load_own_variables = without_masks(optimizer.load_own_variables)
