"""Where new blocks come: scores of those that a kernel does not have."""

import abc
import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _backend, _checks, connectivity
from keras_moduli.connectivity import BlockKernel
from keras_moduli.connectivity._kernel import extend_kernels
from keras_moduli.connectivity._local import measure_between
from keras_moduli.layers import NeuronEmbedding
from keras_moduli.rewiring._moves import measure

Array = NDArray[Any]

_LEAST_CANDIDATES = 16  # of a column, whose gradients are computed


class Growth(abc.ABC):
    """Scores the blocks that may come to some kernels.

    Args:
        kernels: The kernels.
    """

    def __init__(self, kernels: Sequence[BlockKernel]) -> None:
        self.kernels = list(kernels)

    @abc.abstractmethod
    def score(
        self, candidates: Sequence[Array], rng: np.random.RandomState
    ) -> list[Array]:
        """Returns how gladly each block is wanted: (J, R) of each kernel.

        Args:
            candidates: Booleans (J, R) of each kernel: blocks that may come. Of others
                the score is -inf.
            rng: What is random comes from here.
        """


class RandomGrowth(Growth):
    """Blocks come anywhere, with equal probability."""

    def score(
        self, candidates: Sequence[Array], rng: np.random.RandomState
    ) -> list[Array]:
        return [_keep(rng.random_sample(c.shape), c) for c in candidates]


class NearGrowth(Growth):
    """Blocks come with a probability that falls with distance, as exp(-d²/2r²).

    r is the distance of the K-th nearest row of blocks, if a column has K. The highest
    of log p + g, with g from Gumbel's distribution, are drawn with probabilities p
    without putting back.

    Args:
        kernels: The kernels.
        embedding: Where the neurons are; None for the manifold of the connectivity.
    """

    def __init__(
        self, kernels: Sequence[BlockKernel], embedding: NeuronEmbedding | None = None
    ) -> None:
        super().__init__(kernels)
        self.embedding = embedding
        self._fixed = [] if embedding else [_measure_rule(k) for k in kernels]
        for kernel in kernels if embedding else ():
            _check_size(kernel, embedding)

    def score(
        self, candidates: Sequence[Array], rng: np.random.RandomState
    ) -> list[Array]:
        squares = self._fixed or [self._measure(kernel) for kernel in self.kernels]
        scores = []
        for d2, kernel, which in zip(squares, self.kernels, candidates, strict=True):
            chance = compute_log_probability(d2, kernel.indices.shape[1])
            scores.append(_keep(chance + rng.gumbel(size=d2.shape), which))
        return scores

    def _measure(self, kernel: BlockKernel) -> Array:
        assert self.embedding is not None
        where = self.embedding.embedding
        _checks.finite_weights([where], "Rewire lets blocks grow by positions,")
        points = ops.convert_to_numpy(where)
        manifold, block = self.embedding.manifold, kernel.block
        squares = measure_between(manifold, points, points, block)
        return np.tile(squares.T, (kernel.gates, 1))


def compute_log_probability(squares: Array, count: int) -> Array:
    """Returns -d²/2r² of squared distances (J, R); r is that of the `count`-th."""
    squares = squares.astype(np.float64)
    scale = np.partition(squares, count - 1, axis=1)[:, count - 1]
    least = np.where(squares > 0, squares, np.inf).min(axis=1)
    scale = np.where(scale > 0, scale, least)  # infinite if all are in one place
    return -squares / (2 * scale[:, None])


def _measure_rule(kernel: BlockKernel) -> Array:
    rule, units = kernel.connectivity, kernel.columns // kernel.gates
    if not isinstance(rule, connectivity.Local | connectivity.SmallWorld):
        raise ValueError(
            "grow='near' wants to know where neurons are, and no manifold connects "
            f"{kernel.weights.path!r}. Type `connectivity=km.connectivity.Local(...)` "
            "or `SmallWorld(...)` in the layer; in Rewire, `embedding=`, `select=` to "
            "leave it out, such as select='recurrent', or grow='random'. "
            f"Received: connectivity={rule!r}"
        )
    local = connectivity.Local(rule.manifold, rule.density, kernel.block, rule.seed)
    squares = local.rank(kernel.rows, units, kernel.recurrent)
    return np.tile(squares.T, (kernel.gates, 1))


def _check_size(kernel: BlockKernel, embedding: Any) -> None:
    units = kernel.columns // kernel.gates
    if not embedding.built:
        raise ValueError(
            "`embedding` has no positions yet. Build the model that has it, or call "
            f"`embedding.build_for({units})`."
        )
    placed = embedding.embedding.shape[0]
    if not kernel.rows == units == placed:
        raise ValueError(
            f"`embedding` places {placed} neurons, and {kernel.weights.path!r} joins "
            f"{kernel.rows} inputs and {units} neurons. Leave it out by `select=`, such "
            "as select='recurrent', or pass the NeuronEmbedding of its neurons."
        )


class GradientGrowth(Growth):
    """Blocks come where the gradient of the loss is largest: RigL, of blocks.

    Of each column some candidates are drawn, twice as many as it has blocks and at least
    16, and stand for one batch beside the blocks that are there, as zeros.

    Args:
        kernels: The kernels.
        model: What they are in, with a loss.
        batches: Gives a batch.
    """

    def __init__(
        self, kernels: Sequence[BlockKernel], model: keras.Model, batches: "Batches"
    ) -> None:
        super().__init__(kernels)
        if not getattr(model, "compiled", False):
            raise ValueError(
                f"Model {model.name!r} has no loss, whose gradient grow='gradient' "
                "wants. Call `model.compile(optimizer, loss)` first."
            )
        self.batches = batches
        self._differentiate = _backend.compile_gradients(model, self._make_loss(model))

    def _make_loss(self, model: keras.Model) -> Any:
        # Those of one's own may not take it, as Keras knows.
        takes_training = "training" in inspect.signature(model.compute_loss).parameters
        training = {"training": True} if takes_training else {}

        def compute_loss(blocks: Any, rows: Any, batch: Any) -> Any:
            x, y, weights = batch
            with extend_kernels(self.kernels, blocks, rows):
                y_pred = model(x, training=True)
                return model.compute_loss(x, y, y_pred, weights, **training)

        return compute_loss

    def score(
        self, candidates: Sequence[Array], rng: np.random.RandomState
    ) -> list[Array]:
        pairs = list(zip(self.kernels, candidates, strict=True))
        rows = [_draw(c, _count_candidates(k, c.shape[1]), rng) for k, c in pairs]
        norms = self.compute_norms(rows, self.batches.draw(rng))
        return [
            _scatter(norm, row, c)
            for norm, row, c in zip(norms, rows, candidates, strict=True)
        ]

    def compute_norms(self, rows: Sequence[Array], batch: Any) -> list[Array]:
        """Returns the root mean square of gradients of blocks, (J, C) of each kernel.

        Args:
            rows: Rows of blocks (J, C) of each kernel, there already or not.
            batch: x, y, and weights of samples or None.
        """
        blocks = [
            ops.zeros((len(r), k.block[1], r.shape[1] * k.block[0]))
            for k, r in zip(self.kernels, rows, strict=True)
        ]
        tensors = [ops.convert_to_tensor(row, "int32") for row in rows]
        batch = keras.tree.map_structure(_convert, batch)
        gradients = self._differentiate(blocks, tensors, batch)
        found = [
            measure(ops.convert_to_numpy(g), r.shape[1])
            for g, r in zip(gradients, rows, strict=True)
        ]
        if not all(np.isfinite(norm).all() for norm in found):
            raise ValueError(
                "The loss of `data` has gradients that are not finite, by which no "
                "blocks can be chosen. Lower the learning rate, or look for NaN in it."
            )
        return found


def _convert(array: Any) -> Any:
    return None if array is None else ops.convert_to_tensor(array)


def _count_candidates(kernel: BlockKernel, rows: int) -> int:
    return min(rows, max(_LEAST_CANDIDATES, 2 * kernel.indices.shape[1]))


def _draw(candidates: Array, count: int, rng: np.random.RandomState) -> Array:
    """Returns rows (J, C) of candidates (J, R), filled up with others."""
    chance = rng.random_sample(candidates.shape) - candidates
    return np.argpartition(chance, count - 1, axis=1)[:, :count]


def _scatter(norms: Array, rows: Array, candidates: Array) -> Array:
    scores = np.full(candidates.shape, -np.inf)
    scores[np.arange(len(rows))[:, None], rows] = norms
    return _keep(scores, candidates)


def _keep(scores: Array, candidates: Array) -> Array:
    return np.where(candidates, scores, -np.inf)


class Batches:
    """Draws batches from data.

    Args:
        data: (x, y) or (x, y, sample_weight), each an array or nested ones, whose first
            axis is that of samples.
        batch_size: How many samples a batch has, if there are as many.

    Raises:
        TypeError: If `data` has another form.
        ValueError: If arrays differ in the number of samples.
    """

    def __init__(self, data: Any, batch_size: int) -> None:
        if not isinstance(data, tuple | list) or len(data) not in (2, 3):
            raise TypeError(
                "`data` must be (x, y) or (x, y, sample_weight), of arrays. "
                f"Received: data of type {type(data).__name__}"
            )
        x, y, weights = (*data, None)[:3]
        self.data = (x, y, weights)
        lengths = {
            len(array) for array in keras.tree.flatten(self.data) if array is not None
        }
        if len(lengths) != 1:
            raise ValueError(
                "The arrays of `data` must have one number of samples. "
                f"Received: {sorted(lengths)}"
            )
        self.length, self.batch_size = lengths.pop(), batch_size

    def draw(self, rng: np.random.RandomState) -> Any:
        """Returns a batch, in the order of the data; all of them if they are few."""
        chosen = np.arange(self.length)
        if self.length > self.batch_size:
            chosen = np.sort(rng.permutation(self.length)[: self.batch_size])
        return keras.tree.map_structure(lambda a: _take(a, chosen), self.data)


def _take(array: Any, chosen: Array) -> Any:
    if array is None:
        return None
    return np.asarray(ops.convert_to_numpy(array))[chosen]
