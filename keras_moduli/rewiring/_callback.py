"""Moving blocks in `model.fit`, and in custom training loops."""

from typing import Any

import keras

from keras_moduli import _checks
from keras_moduli._repr import write_call
from keras_moduli.connectivity import BlockKernel
from keras_moduli.layers._embedding import get_embedding
from keras_moduli.pruning._clock import StepClock
from keras_moduli.pruning._selection import Select, check_select
from keras_moduli.rewiring._growth import (
    Batches,
    GradientGrowth,
    Growth,
    NearGrowth,
    RandomGrowth,
)
from keras_moduli.rewiring._run import Run
from keras_moduli.rewiring._timeline import MoveTimeline

GROW = ("gradient", "near", "random")
DROP = ("magnitude",)


class Rewire(keras.callbacks.Callback):
    """Moves the blocks of layers that are sparse from the first step, while they train.

    Every `frequency` steps, in each column of blocks of each kernel, the

        max(1, round(fraction · K))

    of its K blocks that have the smallest root mean square leave, and as many come in
    rows of blocks that the column does not have. What is kept, in each gate of a kernel:
    K blocks in each column; as many blocks in each row as there were, since new blocks
    come in the rows that others have left; the blocks of the diagonal of a recurrent
    kernel, by which neurons reach themselves; and, by all rules but `FromMask`, a path
    from each neuron to each other. Where these leave a block nowhere to go, it stays.

    New blocks start at zero, and so do the optimizer's moments of them; those of all
    others stay with their blocks. Blocks and where they are are weights, so that nothing
    is compiled again, and a file has them as they are. A run that is resumed, as by
    `keras.callbacks.BackupAndRestore`, goes on as if it had not been stopped: what is
    random depends on `seed` and on the epoch or step alone.

    `logs["moved"]` has how many blocks have moved in each epoch.

    Args:
        fraction: Of the blocks of a column that move, in (0, 1].
        frequency: How many steps, or epochs, are between two moves.
        grow: Where new blocks come. `"gradient"`: where the gradient of the loss of a
            batch of `data` is largest, as in RigL; it is computed for 2K candidates of
            a column, and at least 16, which are drawn at random. `"near"`: with a
            probability exp(-d²/2r²) of the distance d of neurons on the manifold by
            which the kernel is connected, or of `embedding`; r is the distance of the
            K-th nearest row of blocks. `"random"`: anywhere.
        drop: `"magnitude"`: what leaves.
        unit: `"step"` or `"epoch"`: what `frequency`, `begin` and `end` count. A step is
            one update of the weights.
        begin: Step or epoch, counted from 0: the first move is `frequency` after it.
        end: Step or epoch from which on nothing moves. On the way there the fraction
            falls along half a cosine, as in RigL. By default blocks move to the last.
        select: Which kernels, as in `MagnitudePruning`; by default all that have blocks.
        seed: Of what is random, in [0, 2³²).
        data: (x, y) or (x, y, sample_weight), arrays of any length, for `"gradient"`.
        batch_size: How many samples of `data` are drawn at each move.
        embedding: A `keras_moduli.layers.NeuronEmbedding` of as many neurons as the
            kernels join, in the order of their rows, for `"near"`.

    Raises:
        TypeError: If an argument is of the wrong type.
        ValueError: If an argument is out of range or does not go with another; when
            training starts, if the model has no kernel of blocks, or masks are on one;
            when blocks move, if the optimizer keeps no moments of each weight, as
            Adafactor.

    Examples:
        >>> import keras, numpy as np, keras_moduli as km
        >>> rule = km.connectivity.Local("circle", density=1 / 4, block=(4, 4))
        >>> layer = km.layers.SparseSimpleRNN(64, connectivity=rule)
        >>> model = keras.Sequential([keras.Input((5, 2)), layer, keras.layers.Dense(1)])
        >>> model.compile("adam", "mse")
        >>> x, y = np.ones((32, 5, 2), "float32"), np.ones((32, 1), "float32")
        >>> rewire = km.Rewire(0.25, frequency=2, grow="near")
        >>> history = model.fit(x, y, 8, epochs=2, callbacks=[rewire], verbose=0)
        >>> history.history["moved"]  # one of 4 blocks of 16 columns, at steps 2, 4, 6
        [16, 32]

        In a custom training loop, `attach` before the first step and `update` before
        each:

        >>> rewire = km.Rewire(0.25, frequency=5, grow="gradient", data=(x, y))
        >>> rewire.attach(model)
        >>> for step in range(12):
        ...     moved = rewire.update(step)
        ...     loss = model.train_on_batch(x, y)

    Source: Evci et al., "Rigging the lottery", 2020; Mocanu et al., "Scalable training of
    artificial neural networks with adaptive sparse connectivity inspired by network
    science", 2018, for random growth.
    """

    def __init__(
        self,
        fraction: float = 0.1,
        frequency: int = 100,
        grow: str = "gradient",
        drop: str = "magnitude",
        *,
        unit: str = "step",
        begin: int = 0,
        end: int | None = None,
        select: Select = None,
        seed: int = 0,
        data: Any = None,
        batch_size: int = 32,
        embedding: Any = None,
    ) -> None:
        super().__init__()
        self.timeline = MoveTimeline(fraction, frequency, unit, begin, end)
        self.grow = _checks.choice("grow", grow, GROW)
        self.drop = _checks.choice("drop", drop, DROP)
        self.select = _check_select(select)
        self.seed = _checks.seed("seed", seed)
        size = _checks.integer("batch_size", batch_size, minimum=1)
        self.embedding = get_embedding("embedding", embedding)
        _check_pairs(grow, data, embedding)
        self.batches = None if data is None else Batches(data, size)
        self._run: Any = None
        self._trained: Any = None  # the model that `fit` trains
        self._clock: Any = None  # what counts the steps of a `fit`
        self._previous: int | None = None  # the position before
        self._moved = 0  # blocks, in this epoch

    def __repr__(self) -> str:
        return write_call(self, self.timeline, self.batches)

    # In a custom training loop.

    def attach(
        self, model: keras.Model, optimizer: keras.optimizers.Optimizer | None = None
    ) -> None:
        """Looks for what can be moved, before the first step.

        `fit` does this itself.

        Args:
            model: A built model.
            optimizer: The optimizer whose `apply` trains it; by default the one that the
                model is compiled with.

        Raises:
            TypeError: If `model` is not one of Keras.
            ValueError: As when `fit` starts.
        """
        model = _checks.built_model(model)
        if optimizer is None:
            optimizer = getattr(model, "optimizer", None)
        self._run = self._make_run(model, optimizer)
        self._previous = None

    def due(self, position: int) -> bool:
        """Returns whether `update` would move blocks. Touches nothing.

        Args:
            position: Steps or epochs done so far; what `unit` says.

        Raises:
            ValueError: If `attach` was not called.
        """
        self._get_run()
        return self._find(_checks.integer("position", position, minimum=0)) is not None

    def update(self, position: int) -> int:
        """Moves blocks if that is due, before a step or an epoch starts.

        On JAX, where the state of a step is outside of the variables, write it back to
        them before and read it again after this, wherever `due(position)`.

        Args:
            position: Steps or epochs done so far; what `unit` says.

        Returns:
            How many blocks have moved.

        Raises:
            ValueError: If `attach` was not called, or masks are on a kernel.
        """
        run, position = self._get_run(), _checks.integer("position", position, minimum=0)
        at, self._previous = self._find(position), position
        return 0 if at is None else run.move(at)

    def _get_run(self) -> Run:
        if self._run is None:
            raise ValueError("Call `attach(model, optimizer)` before `due` or `update`.")
        return self._run

    def _find(self, position: int, apart: int = 1) -> int | None:
        previous = position - apart if self._previous is None else self._previous
        return self.timeline.find(position, previous)

    def _make_run(self, model: keras.Model, optimizer: Any) -> Run:
        return Run(
            model, optimizer, self.timeline, self.select, self._make_growth, self.seed
        )

    def _make_growth(self, model: keras.Model, kernels: list[BlockKernel]) -> Growth:
        if self.grow == "gradient":
            assert self.batches is not None
            return GradientGrowth(kernels, model, self.batches)
        if self.grow == "near":
            return NearGrowth(kernels, self.embedding)
        return RandomGrowth(kernels)

    # In `fit`.

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Looks for what can be moved, if the model is built."""
        params = self.params or {}
        self._run, self._previous, self._trained = None, None, self.model
        self._clock = StepClock(self.model.optimizer, params.get("steps"))
        if _checks.is_built(self.model):
            self._run = self._make_run(self.model, self.model.optimizer)
        length = params.get("epochs")
        if self.timeline.unit == "step" and length is not None:
            length = self._clock.count(length)
        self.timeline.warn_unless_it_fits(length)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Moves what is due before this epoch."""
        self._moved = 0
        if self.timeline.unit == "epoch":
            self._move(epoch)
        else:
            self._clock.start_epoch(epoch)

    def on_train_batch_begin(
        self, batch: int, logs: dict[str, float] | None = None
    ) -> None:
        """Moves what is due before this step."""
        if self.timeline.unit == "step":
            steps = getattr(self._trained, "steps_per_execution", 1)
            self._move(self._clock.read(batch), steps)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Reports how many blocks have moved."""
        if logs is not None:
            logs["moved"] = self._moved

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Lets go of the model's kernels, which stay as they are."""
        self._run = self._clock = self._trained = None

    def _move(self, position: int, apart: int = 1) -> None:
        at, self._previous = self._find(position, apart), position
        model = self._trained
        if self._run is None and _checks.is_built(model):
            self._run = self._make_run(model, model.optimizer)
        if at is not None and self._run is not None:
            _ = self.model  # JAX: writes the compiled step's state back to the model
            self._moved += self._run.move(at)


def _check_select(select: Any) -> Select:
    if isinstance(select, dict):
        raise TypeError(
            "`select` of Rewire names kernels, without sparsities: a string, a list of "
            "them, or a function of a variable. Received: "
            f"select={_checks.shorten(select)}"
        )
    return check_select(select)


def _check_pairs(grow: str, data: Any, embedding: Any) -> None:
    if grow == "gradient" and data is None:
        raise ValueError(
            "grow='gradient' computes gradients of blocks that do not exist, and `fit` "
            "shows callbacks no data. Type `Rewire(..., data=(x, y))`, or grow='near' or "
            "grow='random'."
        )
    for_one = [("data", data, "gradient"), ("embedding", embedding, "near")]
    for name, value, wanted in for_one:
        if value is not None and grow != wanted:
            raise ValueError(
                f"`{name}` is for grow={wanted!r}. Leave it out. Received: grow={grow!r}"
            )
