"""Rewiring: how many blocks move, what stays as it was, and that nothing compiles."""

import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

import keras_moduli as km
from keras_moduli import _keras_private
from keras_moduli.connectivity._grid import Grid
from keras_moduli.rewiring import _growth, _moves
from keras_moduli.rewiring._timeline import MoveTimeline
from tests.backends import CURRENT, custom_loop, gradient

C, L = km.connectivity, km.layers
independent = pytest.mark.backend_independent
RNG = np.random.RandomState(0)
X = RNG.standard_normal((32, 5, 3)).astype("float32")
Y = RNG.standard_normal((32, 1)).astype("float32")
DATA = (X, Y)


def numpy(x):
    return np.array(ops.convert_to_numpy(x))


def matrix(indices, rows):
    """Which blocks are there, by a loop."""
    there = np.zeros((rows, len(indices)), int)
    for j, column in enumerate(np.asarray(indices).tolist()):
        for i in column:
            there[i, j] += 1
    return there


def reaches_all(there, block):
    reach = np.kron(there, np.ones(block)) > 0
    for _ in range(len(reach)):
        reach = reach | (reach.astype(float) @ reach > 0)
    return reach.all()


# What moves, in NumPy alone.


@keras.saving.register_keras_serializable("tests")
class AddsLoss(keras.layers.Layer):
    """A loss that no loss function has: `add_loss`, as a VAE's."""

    def call(self, x):
        self.add_loss(ops.mean(ops.square(x - 1.0)))
        return x


@independent
def test_the_smallest_leave():
    norms = np.array([[3.0, 1, 2, 0], [1, 1, 1, 1]])
    fixed = np.array([[False] * 4, [True, False, False, False]])
    leaving = _moves.choose_leaving(norms, fixed, 2, rows=9)
    assert leaving.tolist() == [[False, True, False, True], [False, True, True, False]]
    assert _moves.choose_leaving(norms, fixed, 9, rows=9).sum(axis=1).tolist() == [4, 3]
    assert _moves.choose_leaving(norms, fixed, 2, rows=5).sum(axis=1).tolist() == [1, 1]
    assert not _moves.choose_leaving(norms, fixed, 2, rows=4).any()


@independent
def test_the_best_come():
    """Rows 0 to 3 are left once each; column 0 wants row 3 most, column 1 row 2."""
    indices = np.array([[0, 4], [1, 4], [2, 4], [3, 4]])
    leaving = indices < 4
    scores = np.array(
        [[0, 1, 5, 9.0, 0], [1, 0, 8, 3, 0], [7, 2, 0, 1, 0], [2, 6, 1, 0, 0]]
    )
    candidates = _moves.find_candidates(indices, leaving, 5)
    assert candidates.tolist() == [
        [False, True, True, True, False],
        [True, False, True, True, False],
        [True, True, False, True, False],
        [True, True, True, False, False],
    ]
    scores = np.where(candidates, scores, -np.inf)
    after = _moves.choose_moves(indices, leaving, scores, Grid(5, 4, (1, 1), False))
    assert after.tolist() == [[3, 4], [2, 4], [0, 4], [1, 4]]


@independent
def test_a_block_without_exchange_stays():
    """Both columns leave row 0, which neither may take again."""
    indices = np.array([[0, 1], [0, 2]])
    scores = np.full((2, 4), -np.inf)
    after = _moves.choose_moves(indices, indices == 0, scores, Grid(4, 2, (1, 1), False))
    assert after.tolist() == indices.tolist()


@independent
def test_a_row_twice_is_told():
    with pytest.raises(
        ValueError, match=r"each of its rows once. Received rows \[1, 1\]"
    ):
        _moves.choose_moves(
            np.array([[1, 1]]),
            np.zeros((1, 2), bool),
            np.zeros((1, 3)),
            Grid(3, 1, (1, 1), False),
        )


def count_exchanges(before, leaving, rows):
    """The most blocks that can move, by scipy's maximum flow."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    across = len(before)
    there = matrix(before, rows)
    flow = np.zeros((rows + across + 2,) * 2, np.int32)
    source, sink = rows + across, rows + across + 1
    flow[source, :rows] = np.bincount(before[leaving], minlength=rows)
    flow[:rows, rows : rows + across] = there == 0
    flow[rows : rows + across, sink] = leaving.sum(axis=1)
    return maximum_flow(csr_array(flow), source, sink).flow_value


@independent
@settings(max_examples=80)
@given(
    block=st.sampled_from([(1, 1), (2, 4), (4, 2), (3, 3)]),
    recurrent=st.booleans(),
    seed=st.integers(0, 999),
    data=st.data(),
)
def test_laws_of_a_move(block, recurrent, seed, data):
    rng, units = np.random.RandomState(seed), 24
    grid = Grid(units, units, block, recurrent)
    down = grid.shape[0]
    blocks = data.draw(st.integers(1 + recurrent * max(1, block[1] // block[0]), down))
    rule = C.Random(blocks / down, block, seed)
    before = np.array(rule.connect(units, units, recurrent=recurrent).indices)
    count = data.draw(st.integers(1, blocks))

    fixed = grid.diagonal[before, np.arange(len(before))[:, None]]
    norms = rng.random_sample(before.shape)
    leaving = _moves.choose_leaving(norms, fixed, count, down)
    for j, column in enumerate(before):
        free = [k for k, i in enumerate(column) if not grid.diagonal[i, j]]
        expected = sorted(free, key=lambda k: norms[j, k])
        expected = expected[: min(count, down - blocks)]
        assert {*np.flatnonzero(leaving[j])} == {*expected}

    candidates = _moves.find_candidates(before, leaving, down)
    scores = np.where(candidates, rng.random_sample(candidates.shape), -np.inf)
    after = _moves.choose_moves(before, leaving, scores, grid)
    old, new = matrix(before, down), matrix(after, down)
    assert new.max() == 1
    np.testing.assert_array_equal(after, np.sort(after, axis=1))
    np.testing.assert_array_equal(new.sum(axis=1), old.sum(axis=1))
    stays = matrix([c[~left] for c, left in zip(before, leaving, strict=True)], down)
    assert (new >= stays).all()
    assert (new >= grid.diagonal).all()
    most = count_exchanges(before, leaving, down)
    if not recurrent:
        moved = ((new > old) & candidates.T).sum()
        assert (new > old).sum() == moved, "only where something may come"
        assert moved <= most
        assert moved == most or most < leaving.sum()
    if recurrent:
        assert reaches_all(new, block)


@independent
def test_blocks_stay_what_they_are():
    before = np.array([[0, 2, 3], [1, 2, 4]])
    after = np.array([[1, 2, 3], [0, 1, 4]])
    sources = _moves.find_sources(before, after)
    assert sources.tolist() == [[-1, 1, 2], [-1, 0, 2]]
    weights = np.random.RandomState(0).standard_normal((2, 2, 6)).astype("float32")
    layouts = [
        C.BlockLayout(10, 4, (2, 2), tuple(map(tuple, i.tolist())))
        for i in (before, after)
    ]
    mask = np.kron((matrix(before, 5) * matrix(after, 5)), np.ones((2, 2)))
    moved = _moves.carry_over(weights, sources)
    assert moved.dtype == weights.dtype
    expected = layouts[0].unpack(weights) * mask
    np.testing.assert_array_equal(layouts[1].unpack(moved), expected)


@independent
def test_root_mean_square_of_blocks():
    weights = np.arange(24.0).reshape(2, 3, 4)
    expected = [
        [np.sqrt((weights[j, :, 2 * k : 2 * k + 2] ** 2).mean()) for k in range(2)]
        for j in range(2)
    ]
    np.testing.assert_allclose(_moves.measure(weights, 2), expected)


@independent
@pytest.mark.parametrize(
    ("arguments", "positions", "counts"),
    [
        ({"frequency": 3}, [3, 6, 9], [2, 2, 2]),
        ({"frequency": 4, "begin": 1}, [5, 9], [2, 2]),
        ({"frequency": 2, "end": 8}, [2, 4, 6], [2, 1, 1]),
        ({"fraction": 1, "frequency": 2, "end": 8}, [2, 4, 6], [7, 4, 1]),
    ],
)
def test_timeline(arguments, positions, counts):
    timeline = MoveTimeline(**{"fraction": 0.25, "frequency": 1} | arguments)
    found = [timeline.find(position, position - 1) for position in range(10)]
    assert [at for at in found if at is not None] == positions
    assert [at for at in found if at is not None] == [
        p for p in range(10) if found[p] is not None
    ]
    assert [timeline.count(at, 8) for at in positions] == counts
    # Of several steps at once the latest counts, and nothing is done twice.
    assert timeline.find(positions[1] + 1, positions[0] - 1) == positions[1]
    assert timeline.find(positions[1] + 1, positions[1]) is None


@independent
def test_near_is_drawn_by_distance():
    squares = np.array([[0.0, 1, 2, 4, 8]])
    logs = _growth.compute_log_probability(squares, 3)
    np.testing.assert_allclose(logs, -squares / (2 * 2))
    # If the nearest are all in one place, the next sets the length.
    np.testing.assert_allclose(_growth.compute_log_probability(squares, 1), -squares / 2)
    rng = np.random.RandomState(0)
    drawn = (logs + rng.gumbel(size=(20_000, 5))).argmax(axis=1)
    p = np.exp(logs[0]) / np.exp(logs[0]).sum()
    np.testing.assert_allclose(np.bincount(drawn) / 20_000, p, atol=0.015)


# In training.


def local(density=1 / 4, block=(4, 4), manifold="torus"):
    return C.Local(manifold, density, block)


def build(*layers, optimizer="adam", **arguments):
    layers = layers or (L.SparseSimpleRNN(32, connectivity=local()),)
    model = keras.Sequential([keras.Input((5, 3)), *layers, keras.layers.Dense(1)])
    model.compile(optimizer, "mse", **arguments)
    return model


def fit(model, *callbacks, **arguments):
    arguments = {"batch_size": 8, "epochs": 2, "shuffle": False} | arguments
    return model.fit(X, Y, verbose=0, callbacks=list(callbacks), **arguments).history


def kernels(model):
    found = [C.find_kernel(v) for v in model.trainable_variables]
    return [kernel for kernel in found if kernel is not None]


def degrees(kernel):
    rows = -(-kernel.rows // kernel.block[0])
    gates = np.split(numpy(kernel.indices), kernel.gates)
    return [np.bincount(gate.ravel(), minlength=rows).tolist() for gate in gates]


class Watch(keras.callbacks.Callback):
    """Notes where blocks are after each step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_begin(self, logs=None):
        self.on_train_batch_end(0)

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append([numpy(kernel.indices) for kernel in kernels(self.model)])

    def count_moves(self):
        """Blocks of the first kernel that were not there a step before."""
        pairs = zip(self.seen, self.seen[1:], strict=False)
        return [int((_moves.find_sources(a[0], b[0]) < 0).sum()) for a, b in pairs]


GROWTHS = {
    "random": {"grow": "random"},
    "near": {"grow": "near"},
    "gradient": {"data": DATA, "batch_size": 16},
}


@pytest.mark.parametrize("options", GROWTHS.values(), ids=GROWTHS)
def test_in_fit(options):
    """2 of 8 blocks of 8 columns, which have the diagonal, at steps 3 and 6 of 8."""
    model = build(L.SparseSimpleRNN(32, connectivity=local(1 / 2)))
    (kernel,) = kernels(model)
    before, watch = degrees(kernel), Watch()
    history = fit(model, km.Rewire(0.5, 3, **options), watch)
    assert watch.count_moves() == [0, 0, 0, 16, 0, 0, 16, 0]
    assert history["moved"] == [16, 16]
    assert degrees(kernel) == before
    there = matrix(numpy(kernel.indices), 8)
    assert there.max() == 1
    assert there.diagonal().all()
    assert reaches_all(there, (1, 1))
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize(
    "layer",
    [
        lambda: L.SparseLSTM(32, connectivity=local(3 / 8, (2, 8))),
        lambda: L.SparseSimpleRNN(
            16,
            connectivity=local(1 / 2, (4, 2)),
            input_connectivity=C.Random(1 / 3, (1, 2)),
        ),
    ],
    ids=["LSTM", "SimpleRNN"],
)
def test_each_layer_and_each_gate(layer):
    model = build(layer())
    before, watch = [degrees(k) for k in kernels(model)], Watch()
    first = numpy(kernels(model)[0].indices)
    history = fit(model, km.Rewire(0.5, 2, data=DATA), watch, epochs=1)
    assert history["moved"][0] > 0
    assert [degrees(k) for k in kernels(model)] == before
    assert (numpy(kernels(model)[0].indices) != first).any()
    for kernel in kernels(model):
        if kernel.recurrent:
            grid = Grid(kernel.rows, kernel.rows, kernel.block, True)
            for gate in np.split(numpy(kernel.indices), kernel.gates):
                assert (matrix(gate, grid.shape[0]) >= grid.diagonal).all()


def dense_gradient(model, kernel, dense):
    """The root mean square of the gradient of each block of a dense kernel."""
    weight, *rest = (w for w in dense.trainable_variables if w.name == "recurrent_kernel")
    assert not rest

    def loss(value):
        with keras.StatelessScope(state_mapping=[(weight, value)]):
            return ops.mean(ops.square(ops.subtract(dense(X), Y)))

    (slopes,) = gradient(loss, kernel.to_matrix())
    (rows, columns), (b, c) = slopes.shape, kernel.block
    blocks = slopes.reshape(rows // b, b, columns // c, c)
    return np.sqrt((blocks**2).mean(axis=(1, 3)))


@pytest.mark.parametrize("name", ["SimpleRNN", "GRU", "LSTM"])
def test_gradients_of_blocks_that_are_not_there(name):
    model = build(getattr(L, f"Sparse{name}")(16, connectivity=local(1 / 2)))
    dense = build(getattr(keras.layers, name)(16))
    (kernel,) = kernels(model)
    for new, old in zip(
        dense.trainable_variables, model.trainable_variables, strict=True
    ):
        new.assign(kernel.to_matrix() if old is kernel.weights else numpy(old))
    growth = _growth.GradientGrowth([kernel], model, _growth.Batches(DATA, 32))
    rows = np.tile(np.arange(4), (kernel.indices.shape[0], 1))
    (norms,) = growth.compute_norms([rows], (X, Y, None))
    expected = dense_gradient(model, kernel, dense).T
    assert (expected > 0).all()
    np.testing.assert_allclose(norms, expected, rtol=1e-3, atol=1e-6)
    # The batch is computed as if nobody had looked.
    np.testing.assert_allclose(numpy(model(X)), numpy(dense(X)), atol=1e-5)


def rewire_in_numpy(weights, indices, steps, options, squares):
    """What `fit` does to blocks that do not learn, by the functions of this page."""
    rows, blocks = len(squares), indices.shape[1]
    grid = Grid(rows, rows, (1, 1), True)
    for step in steps:
        rng = np.random.RandomState((options["seed"], step))
        fixed = indices == np.arange(len(indices))[:, None]
        norms = _moves.measure(weights, blocks)
        count = max(1, round(options["fraction"] * blocks))
        leaving = _moves.choose_leaving(norms, fixed, count, rows)
        candidates = _moves.find_candidates(indices, leaving, rows)
        if options["grow"] == "random":
            scores = rng.random_sample(candidates.shape)
        else:
            scores = _growth.compute_log_probability(squares.T, blocks)
            scores = scores + rng.gumbel(size=scores.shape)
        scores = np.where(candidates, scores, -np.inf)
        after = _moves.choose_moves(indices, leaving, scores, grid)
        weights = _moves.carry_over(weights, _moves.find_sources(indices, after))
        indices = after
    return weights, indices


@pytest.mark.parametrize("grow", ["random", "near"])
def test_the_same_blocks_on_every_backend(grow):
    """Those that NumPy computes, of weights that do not learn."""
    rule = local(1 / 2)
    model = build(
        L.SparseSimpleRNN(32, connectivity=rule), optimizer=keras.optimizers.SGD(0.0)
    )
    (kernel,) = kernels(model)
    weights = np.random.RandomState(3).standard_normal(kernel.weights.shape)
    kernel.weights.assign(weights.astype("float32"))
    options = {"fraction": 0.5, "seed": 7, "grow": grow}
    expected = rewire_in_numpy(
        weights.astype("float32"),
        numpy(kernel.indices),
        (2, 4, 6),
        options,
        rule.rank(32, 32, True),
    )
    fit(model, km.Rewire(frequency=2, **options))
    np.testing.assert_array_equal(numpy(kernel.indices), expected[1])
    np.testing.assert_array_equal(numpy(kernel.weights), expected[0])


def test_moments_move_along():
    model = build(optimizer=keras.optimizers.Adam(use_ema=True))
    fit(model, epochs=1)
    (kernel,), rewire = kernels(model), km.Rewire(0.5, 1, "random")
    slots = list(_keras_private.iterate_slots(model.optimizer, kernel.weights))
    assert len(slots) == 3
    before, blocks = kernel.layout, [numpy(v) for v in (kernel.weights, *slots)]
    rewire.attach(model)
    assert rewire.update(1) == 8
    mask = before.unpack(np.ones(before.shape)) * kernel.layout.unpack(
        np.ones(before.shape)
    )
    assert 0 < mask.mean() < before.density
    for variable, old in zip((kernel.weights, *slots), blocks, strict=True):
        moved = kernel.layout.unpack(numpy(variable))
        np.testing.assert_array_equal(moved, before.unpack(old) * mask)
        assert np.abs(moved).max() > 0


class Count(keras.layers.Layer):
    """Counts how often it is called: in a compiled step once, when that is traced."""

    calls = 0

    def call(self, x):
        type(self).calls += 1
        return x


@functools.cache
def count_calls(grow):
    """How often a model is called while it trains, with Rewire or without."""
    model = build(Count(), L.SparseSimpleRNN(32, connectivity=local()))
    Count.calls = 0
    fit(model, *([] if grow is None else [km.Rewire(0.5, 1, **GROWTHS[grow])]))
    return Count.calls


@pytest.mark.skipif(CURRENT == "torch", reason="PyTorch compiles nothing")
@pytest.mark.parametrize("grow", GROWTHS)
def test_nothing_is_compiled_again(grow):
    """The gradients of other blocks are a program of their own, traced once."""
    assert count_calls(grow) == count_calls(None) + (grow == "gradient")


def test_a_run_that_is_resumed(tmp_path):
    def rewire():
        return km.Rewire(0.5, 3, "near", end=40)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    def backup():
        return keras.callbacks.BackupAndRestore(tmp_path / "backup")

    keras.utils.set_random_seed(1)
    whole = build()
    fit(whole, rewire(), epochs=4)
    keras.utils.set_random_seed(1)
    broken = build()
    with pytest.raises(KeyboardInterrupt):
        fit(broken, rewire(), Stop(), backup(), epochs=4)
    keras.utils.set_random_seed(2)
    resumed = build()
    fit(resumed, rewire(), backup(), epochs=4)
    for a, b in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_allclose(numpy(a), numpy(b), rtol=1e-4, atol=1e-6)
    (first,), (second,) = kernels(whole), kernels(resumed)
    np.testing.assert_array_equal(numpy(first.indices), numpy(second.indices))


@pytest.mark.skipif(CURRENT == "torch", reason="PyTorch does one step at once")
def test_several_steps_at_once():
    model, watch = build(steps_per_execution=2), Watch()
    fit(model, km.Rewire(0.5, 3, "random"), watch)
    # The moves of steps 3 and 6, of 8, are made before those of 4 and 6.
    assert watch.count_moves() == [0, 0, 8, 8]


def test_epochs_and_an_end():
    rewire = km.Rewire(0.5, 1, "near", unit="epoch", begin=1, end=4)
    history = fit(build(), rewire, epochs=6)
    assert history["moved"] == [0, 0, 8, 8, 0, 0]


def test_training_that_never_comes_to_a_move_is_told():
    with pytest.warns(
        UserWarning, match=r"No block moves: .* step 100 .* run of 8 steps"
    ):
        fit(build(), km.Rewire(grow="random"))


def test_in_a_custom_loop():
    model, optimizer = build(), keras.optimizers.Adam(1e-2)
    rewire, moved = km.Rewire(0.5, 2, "near"), []
    with pytest.raises(ValueError, match="Call `attach"):
        rewire.update(0)
    optimizer.build(model.trainable_variables)
    rewire.attach(model, optimizer)

    def before(step, write, read):
        assert rewire.due(step) == (step in (2, 4))
        if rewire.due(step):
            write()
            moved.append(rewire.update(step))
            read()

    (kernel,) = kernels(model)
    old, there = degrees(kernel), numpy(kernel.indices)
    custom_loop(model, optimizer, X, Y, 5, before)
    assert moved == [8, 8]
    assert degrees(kernel) == old
    assert (numpy(kernel.indices) != there).any()


def test_losses_that_layers_add_are_part_of_the_loss():
    """Gradients of blocks that are there: those of `mse` and of an equal added loss."""
    found = []
    for adds in (False, True):
        rule = C.Random(1 / 2, block=(4, 4), seed=1)
        layer = L.SparseDense(8, connectivity=rule)
        layers = [keras.Input((8,)), layer, *([AddsLoss()] if adds else [])]
        model = keras.Sequential(layers)
        layer.kernel.assign(np.random.RandomState(1).standard_normal((2, 4, 4)))
        model.compile("sgd", None if adds else "mse")
        x = np.random.RandomState(2).standard_normal((16, 8)).astype("float32")
        batches = _growth.Batches((x, np.ones((16, 8), "float32")), 16)
        kernel = C.find_kernel(layer.kernel)
        growth = _growth.GradientGrowth([kernel], model, batches)
        rows = [np.array([[0, 1], [0, 1]])]
        (norms,) = growth.compute_norms(rows, batches.draw(np.random.RandomState(0)))
        found.append(norms)
    assert (found[0] > 0).all()
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_optimizers_that_keep_sums_are_refused():
    layer = L.SparseDense(8, connectivity=C.Random(1 / 2, block=(2, 4), seed=1))
    model = keras.Sequential([keras.Input((8,)), layer])
    model.compile(keras.optimizers.Adafactor(1e-2), "mse")
    rewire = km.Rewire(0.5, frequency=1, grow="random")
    x = np.ones((8, 8), "float32")
    before = numpy(layer.kernel_indices)
    with pytest.raises(ValueError, match=r"Adafactor keeps sums .*optimizers\.Adam"):
        model.fit(x, x, batch_size=4, epochs=2, callbacks=[rewire], verbose=0)
    np.testing.assert_array_equal(numpy(layer.kernel_indices), before)


def test_positions_of_an_embedding_decide():
    """Of neurons on a line, connections become shorter."""
    rule = C.Random(1 / 4, (1, 1))
    model = build(L.SparseSimpleRNN(32, connectivity=rule))
    neurons = L.NeuronEmbedding("euclidean")
    neurons.build_for(32)
    line = np.zeros(neurons.embedding.shape, "float32")
    line[:, 0] = np.arange(32)
    neurons.embedding.assign(line)
    (kernel,) = kernels(model)

    def measure_length():
        return np.abs(numpy(kernel.indices) - np.arange(32)[:, None]).mean()

    before, rewire = measure_length(), km.Rewire(0.7, 1, "near", embedding=neurons)
    rewire.attach(model)
    assert rewire.update(1) == 6 * 32
    assert measure_length() < 0.8 * before


def test_only_what_is_selected_and_learns():
    frozen = L.SparseDense(8, connectivity=C.Random(1 / 2, (4, 4)), trainable=False)
    model = build(
        L.SparseSimpleRNN(32, connectivity=local()),
        frozen,
        L.SparseDense(8, connectivity=C.Random(1 / 2, (2, 2))),
    )
    before = [numpy(v) for v in model.weights if "indices" in v.path]
    history = fit(model, km.Rewire(0.5, 6, "random", select="recurrent"))
    after = [numpy(v) for v in model.weights if "indices" in v.path]
    assert [(a != b).any() for a, b in zip(after, before, strict=True)] == [
        True,
        False,
        False,
    ]
    assert history["moved"] == [0, 8]


def test_masks_and_moves_exclude_each_other():
    for callbacks in (
        [km.MagnitudePruning(0.5), km.Rewire(0.5, 2, "random")],
        [km.Rewire(0.5, 2, "random"), km.MagnitudePruning(0.5)],
    ):
        with pytest.raises(ValueError, match="type `MagnitudePruning"):
            fit(build(), *callbacks, epochs=4)
    dense = km.MagnitudePruning(
        0.5, select=lambda v: C.find_kernel(v) is None and v.name == "kernel"
    )
    fit(build(), dense, km.Rewire(0.5, 2, "random"), epochs=4)


@pytest.mark.skipif(CURRENT != "tensorflow", reason="which builds inside of a step")
def test_a_model_that_fit_builds():
    layers = [L.SparseSimpleRNN(32, connectivity=local()), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile("adam", "mse")
    assert fit(model, km.Rewire(0.5, 2, "random"))["moved"] == [8, 16]
