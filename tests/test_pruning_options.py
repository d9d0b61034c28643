"""What to prune, by what, and everything around a run."""

import csv
import json
import warnings
import zipfile

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.pruning import list_skipped, prunable_variables
from tests import cases
from tests.backends import custom_loop, installed

X = np.random.RandomState(0).standard_normal((64, 6, 4)).astype("float32")
Y = X.sum(axis=(1, 2))[:, None]
EMBEDDING = "embedding"  # the weight that holds positions


def build(*layers, rate=1e-3):
    layers = layers or (keras.layers.GRU(8), keras.layers.Dense(1))
    model = keras.Sequential([keras.Input((6, 4)), *layers])
    model.compile(keras.optimizers.Adam(rate), "mse")
    return model


def fit(model, *callbacks, epochs=4, **arguments):
    return model.fit(
        X, Y, 16, epochs=epochs, callbacks=list(callbacks), verbose=0, **arguments
    )


def prune(model, sparsity=None, **options):
    """Prunes at once: what is chosen does not depend on the steps between."""
    pruning = km.MagnitudePruning(sparsity, schedule="linear", end=4, **options)
    pruning.attach(model)
    for epoch in range(5):
        pruning.update(epoch)
    pruning.release()
    return model


def array(variable):
    return keras.ops.convert_to_numpy(variable.value)


def sparsities(model):
    return {row.label: row.sparsity for row in km.sparsity(model).rows}


# -- what to prune --


SELECTIONS = {
    "recurrent": {"gru/recurrent_kernel"},
    "kernels": {"gru/kernel", "gru/recurrent_kernel", "dense/kernel"},
    "gru": {"gru/kernel", "gru/recurrent_kernel"},
    "^gru/kernel$": {"gru/kernel"},  # as the report prints it
    "gru_cell/kernel": {"gru/kernel"},
    lambda v: v.name == "recurrent_kernel": {"gru/recurrent_kernel"},
    r"/kernel$": {"gru/kernel", "dense/kernel"},
}


def test_patterns_select_by_path():
    model = build()
    weights = model.get_weights()
    for select, labels in SELECTIONS.items():
        model.set_weights(weights)
        prune(model, 0.5, select=select, scope="layer")
        expected = {label: 0.5 * (label in labels) for label in sparsities(model)}
        assert sparsities(model) == expected, select


def test_a_list_selects_the_union():
    model = build()
    chosen = [
        v.path for v in prunable_variables(model, ["dense", "recurrent", "kernels"])
    ]
    assert chosen == [v.path for v in prunable_variables(model)]


def test_a_dictionary_gives_each_its_sparsity():
    model = build()
    select = {"recurrent": 0.75, "dense/kernel": 0.5, "cell/kernel": 0.25}
    prune(model, select=select)
    assert sparsities(model) == {
        "gru/kernel": 0.25,
        "gru/recurrent_kernel": 0.75,
        "dense/kernel": 0.5,
    }


class Custom(keras.layers.Layer):
    """Multiplies by what is not named as a kernel."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], 8), name="matrix")

    def call(self, x):
        return x @ self.matrix


def test_a_weight_that_is_not_named_as_a_kernel_can_be_chosen():
    model = build(Custom(), keras.layers.GRU(4), keras.layers.Dense(1))
    assert "choose it by `select`" in str(km.sparsity(model))
    prune(model, 0.5, select=["matrix", "recurrent"], scope="layer")
    assert (array(model.layers[0].matrix) == 0).mean() == 0.5


def test_default_selection_leaves_out_biases_and_norms():
    inputs = keras.Input((6,), dtype="int32")
    x = keras.layers.Embedding(9, 4)(inputs)
    x = keras.layers.MultiHeadAttention(2, 3)(x, x)
    x = keras.layers.LayerNormalization()(keras.layers.SeparableConv1D(4, 2)(x))
    x = keras.layers.Bidirectional(keras.layers.LSTM(3))(x)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    chosen = {v.name for v in prunable_variables(model)}
    assert chosen == {
        "embeddings",
        "kernel",
        "recurrent_kernel",
        "depthwise_kernel",
        "pointwise_kernel",
    }


def test_reasons_for_what_is_left_alone():
    model = build(
        km.layers.ModuliGRU(8, return_sequences=True),
        keras.layers.LayerNormalization(),
        keras.layers.Dense(3, trainable=False),
        keras.layers.GRU(2),
        keras.layers.Dense(1),
    )
    reasons = {row.path.split("/")[-1]: row.reason for row in km.sparsity(model).skipped}
    assert reasons == {
        EMBEDDING: "positions of neurons",
        "bias": "bias",
        "gamma": "normalization",
        "beta": "normalization",
        "kernel": "not trainable",
    }
    rows = list_skipped(model, prunable_variables(model, "recurrent"))
    assert {row.reason for row in rows} >= {"not selected"}
    text = str(km.sparsity(model))
    assert "left alone, not trainable: 24 weights (dense/kernel)" in text
    assert max(map(len, text.splitlines())) <= 100


class LeakyCell(keras.layers.Layer):
    """A custom cell."""

    def __init__(self, units):
        super().__init__()
        self.state_size = units

    def build(self, shape):
        n = self.state_size
        self.kernel = self.add_weight(shape=(shape[-1], n), name="kernel")
        self.recurrent_kernel = self.add_weight(shape=(n, n), name="recurrent_kernel")

    def call(self, x, states):
        new = keras.ops.tanh(x @ self.kernel + states[0] @ self.recurrent_kernel)
        h = 0.5 * states[0] + 0.5 * new
        return h, [h]


class SelfAttention(keras.layers.Layer):
    """Attention of a sequence to itself."""

    def __init__(self):
        super().__init__()
        self.attention = keras.layers.MultiHeadAttention(2, 3)

    def call(self, x):
        return self.attention(x, x)


LAYERS = {
    "dense": lambda: [keras.layers.TimeDistributed(keras.layers.Dense(5))],
    "einsum_dense": lambda: [keras.layers.EinsumDense("abc,cd->abd", (6, 5))],
    "conv1d": lambda: [keras.layers.Conv1D(5, 3)],
    "conv2d": lambda: [keras.layers.Reshape((6, 4, 1)), keras.layers.Conv2D(3, 2)],
    "conv3d": lambda: [keras.layers.Reshape((6, 2, 2, 1)), keras.layers.Conv3D(3, 2)],
    "depthwise": lambda: [keras.layers.DepthwiseConv1D(3)],
    "separable": lambda: [keras.layers.SeparableConv1D(5, 3)],
    "lstm": lambda: [keras.layers.LSTM(5)],
    "simple_rnn": lambda: [keras.layers.SimpleRNN(5)],
    "bidirectional": lambda: [keras.layers.Bidirectional(keras.layers.GRU(5))],
    "stacked": lambda: [
        keras.layers.RNN(
            keras.layers.StackedRNNCells(
                [keras.layers.LSTMCell(4), km.layers.ModuliGRUCell(3)]
            )
        )
    ],
    "custom_cell": lambda: [keras.layers.RNN(LeakyCell(5))],
    "embedding": lambda: [
        keras.layers.Lambda(lambda x: keras.ops.cast(keras.ops.abs(x[..., 0]) * 3, int)),
        keras.layers.Embedding(16, 5),
    ],
    "custom_layer": lambda: [Custom()],
    "attention": lambda: [SelfAttention()],
    "moduli_rnn": lambda: [km.layers.ModuliSimpleRNN(5)],
    "moduli_gru": lambda: [km.layers.ModuliGRU(5)],
    "moduli_lstm": lambda: [keras.layers.Bidirectional(km.layers.ModuliLSTM(5))],
    "nested": lambda: [keras.Sequential([keras.layers.GRU(3, return_sequences=True)])],
}


def test_layers():
    """A branch for each, trained at once: the masks of all kernels hold exactly."""
    inputs = keras.Input((6, 4))
    branches = []
    for layers in LAYERS.values():
        branch = inputs
        for layer in [*layers(), keras.layers.Flatten()]:
            branch = layer(branch)
        branches.append(branch)
    x = keras.layers.Concatenate()(branches)
    model = keras.Model(inputs, keras.layers.Dense(1)(x))
    model.compile("adam", "mse")
    select = ["kernels", "matrix"]
    chosen = prunable_variables(model, select)
    before = [array(v) for v in chosen]

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            _ = self.model
            self.masks = [array(v) != 0 for v in chosen]

        def on_train_batch_end(self, batch, logs=None):
            _ = self.model
            for variable, mask in zip(chosen, self.masks, strict=True):
                kept = array(variable) != 0
                np.testing.assert_array_equal(kept & ~mask, False, variable.path)

    fit(
        model,
        km.MagnitudePruning(0.5, scope="layer", select=select),
        Watch(),
        epochs=3,
    )
    assert len(chosen) == 39, "every kernel of every branch"
    for variable, old in zip(chosen, before, strict=True):
        new, size = array(variable), old.size
        zeros = int((new == 0).sum())
        assert zeros == min(round(0.5 * size), size - 1), variable.path
        assert (new[new != 0] != old[new != 0]).any(), variable.path


# -- what competes --


def test_layer_scope_prunes_all_kernels_alike():
    assert set(sparsities(prune(build(), 0.75, scope="layer")).values()) == {0.75}


def test_gate_scope_prunes_all_gates_alike():
    model = prune(build(keras.layers.LSTM(8), keras.layers.Dense(1)), 0.75, scope="gate")
    cell = model.layers[0].cell
    for kernel in (cell.kernel, cell.recurrent_kernel):
        gates = (array(kernel) == 0).reshape(-1, 4, 8)
        assert gates.mean(axis=(0, 2)).tolist() == [0.75] * 4


def test_erk_scope_keeps_small_kernels_denser():
    model = build(keras.layers.GRU(32), keras.layers.Dense(8), keras.layers.Dense(1))
    rows = km.sparsity(prune(model, 0.9, scope="erk")).rows
    densities = km.pruning.erdos_renyi_kernel([row.shape for row in rows], 0.1)
    for row, density in zip(rows, densities, strict=True):
        assert row.zeros == min(round((1 - density) * row.size), row.size - 1)
    assert km.sparsity(model).total.sparsity == pytest.approx(0.9, abs=1e-3)


# -- what goes at once --


def test_balanced_blocks():
    model = build(keras.layers.LSTM(16), keras.layers.Dense(1))
    # The input kernel is one block high, so it keeps all.
    with pytest.warns(UserWarning, match="60.0% zeros instead of 75.0%"):
        prune(model, 0.75, select="lstm", structure=(4, 8))
    cell = model.layers[0].cell
    for kernel in (cell.recurrent_kernel, cell.kernel):
        blocks = (array(kernel) != 0).reshape(-1, 4, 8, 8)
        assert (blocks.any((1, 3)) == blocks.all((1, 3))).all()
        assert len(set(blocks.all((1, 3)).sum(axis=0))) == 1


def test_two_of_four():
    model = build(keras.layers.SimpleRNN(16), keras.layers.Dense(4))
    prune(model, structure=km.pruning.NofM(2, 4))
    for kernel in prunable_variables(model):
        groups = (array(kernel) != 0).reshape(-1, 4, kernel.shape[-1])
        assert (groups.sum(axis=1) == 2).all()


def test_unbalanced_blocks_compete_across_kernels():
    model = build(keras.layers.SimpleRNN(16), keras.layers.Dense(4))
    prune(model, 0.5, structure=km.pruning.Blocks((4, 4), balanced=False))
    total = km.sparsity(model).total
    assert total.zeros == round(0.5 * total.size / 16) * 16


@pytest.mark.parametrize(
    ("sparsity", "reached"),
    [(0.98, "75.0% zeros instead of 98.0%"), (0.6, "50.0% zeros instead of 60.0%")],
)
def test_blocks_too_large_for_the_sparsity_are_no_secret(sparsity, reached):
    """Of 16 inputs in blocks of 4, each output keeps one, two, three or four."""
    model = build(keras.layers.SimpleRNN(16), keras.layers.Dense(4))
    options = {"select": "recurrent", "structure": (4, 4)}
    with pytest.warns(UserWarning, match=reached):
        prune(model, sparsity, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        # What was sparser before stays so, and whatever fits is met.
        prune(model, 0.25, **options)
        prune(model, 0.75, **options)


# -- by what --


def test_geometric_score_is_magnitude_by_coefficient():
    penalty = km.ModuliRegularizer("torus", "identity", strength=0.0)
    model = build(
        keras.layers.SimpleRNN(16, recurrent_regularizer=penalty), keras.layers.Dense(1)
    )
    kernel = model.layers[0].cell.recurrent_kernel
    weights = np.random.RandomState(1).standard_normal((16, 16)).astype("float32")
    kernel.assign(weights)
    prune(model, 0.5, select="recurrent", score="geometric")
    costs = penalty.distances((16, 16))
    ranks = np.abs(weights) / np.maximum(costs / costs.mean(), 1e-3)
    expected = ranks >= np.sort(ranks.ravel())[128]
    np.testing.assert_array_equal(array(kernel) != 0, expected)


def test_any_score():
    model = build()
    prune(
        model,
        0.5,
        select="recurrent",
        score=lambda v: np.ones(v.shape) * np.arange(v.shape[0])[::-1, None],
    )
    kept = (array(model.layers[0].cell.recurrent_kernel) != 0).all(axis=1)
    assert kept.tolist() == [True] * 4 + [False] * 4


def test_regrowth_moves_masks_and_keeps_their_number():
    """A layer for each regrowth, with a pruner of its own, trained at once."""
    regrowths = ["rigl", "set", *cases.REGROWTHS]
    layers = [keras.layers.Dense(12, "tanh", name=f"d{i}") for i in range(len(regrowths))]
    model = build(keras.layers.Flatten(), *layers, keras.layers.Dense(1), rate=1e-2)
    pruners = [
        km.MagnitudePruning(0.8, schedule="constant", end=6, regrow=r, select=f"d{i}/")
        for i, r in enumerate(regrowths)
    ]
    histories = []

    class Record(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            _ = self.model
            masks = [pruning.get_fit().run.masks.numpy()[0] for pruning in pruners]
            for layer, mask in zip(layers, masks, strict=True):
                assert (array(layer.kernel)[~mask] == 0).all()
            kept, size = sum(m.sum() for m in masks), sum(m.size for m in masks)
            assert logs["sparsity"] == pytest.approx(1 - kept / size)
            histories.append(masks)

    fit(model, *pruners, Record(), epochs=8)
    for regrow, history in zip(regrowths, zip(*histories, strict=True), strict=True):
        wanted = round(0.8 * history[0].size)
        assert {int((~mask).sum()) for mask in history} == {wanted}, regrow
        assert (history[0] != history[5]).any(), "masks move"
        np.testing.assert_array_equal(history[6], history[7], "at rest in the end")


def kernels(model):
    return np.concatenate([array(v).ravel() for v in prunable_variables(model)])


def test_names_and_configs_are_understood():
    for regrowth in cases.REGROWTHS:
        config = keras.saving.serialize_keras_object(regrowth)
        assert km.MagnitudePruning(regrow=config).rule.regrow == regrowth
    for structure, _ in cases.STRUCTURES.values():
        config = keras.saving.serialize_keras_object(structure)
        assert km.MagnitudePruning(structure=config).rule.structure == structure
    config = keras.saving.serialize_keras_object(km.schedules.Cubic(0.5))
    timeline = km.MagnitudePruning(schedule=config).timeline
    assert timeline.schedule == km.schedules.Cubic(0.5)


def test_moments_of_weights_that_come_back():
    """Two kernels of one model, of which one is reset."""
    model = build()
    fit(model, epochs=1)
    arguments = {"schedule": "constant", "unit": "step", "frequency": 1, "end": 9}
    regrow = km.pruning.SET(0.5)
    kernels = [model.layers[0].cell.kernel, model.layers[0].cell.recurrent_kernel]
    pruners = [
        km.MagnitudePruning(
            0.5, **arguments, select=select, regrow=regrow, reset_moments=reset
        )
        for select, reset in (("gru_cell/kernel", True), ("recurrent", False))
    ]
    momenta = [
        next(v for v in model.optimizer.variables if v.path.endswith(f"{name}_momentum"))
        for name in ("cell_kernel", "cell_recurrent_kernel")
    ]
    for pruning in pruners:
        pruning.attach(model)
        pruning.update(0)
    masked = [array(kernel) == 0 for kernel in kernels]
    for momentum, mask in zip(momenta, masked, strict=True):
        assert (array(momentum)[mask] != 0).all(), "what regrowth may read"
    model.train_on_batch(X, Y)
    for pruning, momentum, mask in zip(pruners, momenta, masked, strict=True):
        assert (array(momentum)[mask] != 0).all()
        (state,) = pruning._loop.masks.masks
        before = array(state).copy()
        pruning.update(1)
        back = array(state) & ~before
        assert back.any()
        was_reset = pruning.rule.reset_moments
        assert (array(momentum)[back] == 0).all() == was_reset
        pruning.release()


# -- in a custom training loop --


def test_a_custom_training_loop_does_as_fit():
    expected, model = build(), build()
    model.set_weights(expected.get_weights())
    arguments = {"unit": "step", "begin": 2, "end": 9, "frequency": 3}
    expected.fit(
        X,
        Y,
        batch_size=64,
        epochs=12,
        verbose=0,
        callbacks=[km.MagnitudePruning(0.9, **arguments)],
    )
    pruning, optimizer = km.MagnitudePruning(0.9, **arguments), keras.optimizers.Adam()
    pruning.attach(model, optimizer)
    updates = []

    def before(step, write, read):
        if pruning.due(step):
            write()
            assert pruning.update(step)
            read()
            updates.append(step)
        else:
            assert not pruning.update(step)

    custom_loop(model, optimizer, X, Y, 12, before)
    pruning.release()
    assert updates == [0, 2, 5, 8, 9]  # at 0 it takes zeros for masks
    assert km.sparsity(model).total.zeros == round(0.9 * km.sparsity(model).total.size)
    for a, b in zip(model.weights, expected.weights, strict=True):
        np.testing.assert_allclose(array(a), array(b), rtol=1e-4, atol=1e-6)
    assert all(v.constraint is None for v in model.trainable_variables)


# -- two at once --


def test_two_pruners_with_selections_of_their_own(tmp_path):
    model = build(keras.layers.SimpleRNN(16), keras.layers.Dense(1))
    saved = keras.callbacks.ModelCheckpoint(tmp_path / "model.keras")
    history = fit(
        model,
        km.MagnitudePruning(0.75, select="recurrent", structure=(4, 4)),
        km.MagnitudePruning(0.5, select=r"/kernel$", end=2),
        saved,
        epochs=6,
    )
    found = sparsities(model)
    assert found["simple_rnn/recurrent_kernel"] == 0.75
    total = km.sparsity(model).total.sparsity
    assert history.history["sparsity"][-1] == pytest.approx(total)
    assert all(v.constraint is None for v in model.trainable_variables)
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


# -- what people look at --


def test_logs_reach_every_logger(tmp_path):
    model = build(km.layers.ModuliGRU(8, strength=1e-3), keras.layers.Dense(1))
    loggers = [keras.callbacks.CSVLogger(tmp_path / "log.csv")]
    has_tensorboard = installed("tensorflow") and installed("tensorboard")
    if has_tensorboard:
        loggers.append(keras.callbacks.TensorBoard(tmp_path / "board"))
    history = fit(model, km.MagnitudePruning(0.5), *loggers).history
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for name in ("sparsity", "penalty"):
        assert [float(row[name]) for row in rows] == pytest.approx(history[name])
    kernel = model.layers[0].cell.recurrent_kernel
    penalty = km.regularizers.find_regularizer(kernel)
    cost = float(keras.ops.convert_to_numpy(penalty(kernel)))
    assert history["penalty"][-1] == pytest.approx(cost, rel=1e-5)
    if has_tensorboard:
        written = b"".join(p.read_bytes() for p in tmp_path.rglob("events.out*"))
        assert b"epoch_sparsity" in written
        assert b"epoch_penalty" in written


def test_compressed_files_are_small_and_plain(tmp_path):
    model = build(keras.layers.SimpleRNN(256), keras.layers.Dense(1))
    prune(model, 0.95)
    model.save(tmp_path / "plain.keras")
    plain = (tmp_path / "plain.keras").stat().st_size
    size = km.save_compressed(model, tmp_path / "small.keras")
    assert size == (tmp_path / "small.keras").stat().st_size
    assert size < plain / 20  # two moments left out, and a tenth of the rest
    assert sorted(p.name for p in tmp_path.iterdir()) == ["plain.keras", "small.keras"]
    for load in (km.load_compressed, keras.saving.load_model):
        loaded = load(tmp_path / "small.keras")
        for a, b in zip(model.weights, loaded.weights, strict=True):
            np.testing.assert_array_equal(array(a), array(b))
        assert not loaded.compiled


def test_compressed_files_can_hold_the_optimizer(tmp_path):
    model = build(km.layers.ModuliGRU(8), keras.layers.Dense(1))
    model.optimizer.build(model.trainable_variables)
    for i, variable in enumerate(model.optimizer.variables):
        variable.assign(np.full(variable.shape, i + 1))
    km.save_compressed(model, tmp_path / "small.keras", include_optimizer=True)
    loaded = km.load_compressed(tmp_path / "small.keras")
    for a, b in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(array(a), array(b))
    with zipfile.ZipFile(tmp_path / "small.keras") as archive:
        assert json.loads(archive.read("config.json"))["compile_config"]


# -- lottery tickets --


@pytest.fixture
def pruned():
    """A pruned model, and its weights before."""
    # A seeded initializer draws anew, too.
    seeded = keras.initializers.GlorotUniform(seed=3)
    model = keras.Sequential(
        [
            keras.Input((6, 4)),
            km.layers.ModuliGRU(8, strength=1e-3, kernel_initializer=seeded),
            keras.layers.Dense(1),
        ]
    )
    model.compile(km.embedding_optimizer("adam", 0.1), "mse")
    first = model.get_weights()
    neurons = next(w for w in model.weights if w.path.endswith(EMBEDDING))
    neurons.assign(array(neurons) + 1.0)  # as if they had moved
    return prune(model, 0.75), first


def test_a_ticket_has_the_mask_the_positions_and_fresh_weights(pruned):
    model, _ = pruned
    ticket, same, other = (km.lottery_ticket(model, seed) for seed in (1, 1, 2))
    for a, b, c, d in zip(
        *(prunable_variables(m) for m in (model, ticket, same, other)), strict=True
    ):
        np.testing.assert_array_equal(array(a) == 0, array(b) == 0)
        np.testing.assert_array_equal(array(b), array(c))
        kept = array(a) != 0
        assert (array(a)[kept] != array(b)[kept]).all()
        assert (array(d)[kept] != array(b)[kept]).any() or not kept.any()
    positions = [m.layers[0].embedding for m in (model, ticket)]
    np.testing.assert_array_equal(array(positions[0]), array(positions[1]))
    assert int(ticket.optimizer.iterations) == 0


def test_a_ticket_keeps_its_mask_while_it_trains(tmp_path, pruned):
    model, first = pruned
    ticket = km.lottery_ticket(model, rewind=first)
    for a, b, c in zip(model.weights, ticket.weights, first, strict=True):
        if "kernel" in b.name:
            np.testing.assert_array_equal(array(b), np.where(array(a) != 0, c, 0))
    zeros = kernels(model) == 0
    fit(ticket, epochs=2)
    np.testing.assert_array_equal(kernels(ticket) == 0, zeros)
    model.predict(X, verbose=0)  # shares no buffer with the ticket
    ticket.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    fit(ticket, epochs=2)
    np.testing.assert_array_equal(kernels(ticket) == 0, zeros)
    ticket.save(tmp_path / "ticket.keras")
    loaded = keras.saving.load_model(tmp_path / "ticket.keras")
    fit(loaded, km.KeepZeros(), epochs=2)
    np.testing.assert_array_equal(kernels(loaded) == 0, zeros)
    prune(ticket, 0.9)
    assert (kernels(ticket) == 0).sum() == round(0.9 * zeros.size)
    assert (zeros <= (kernels(ticket) == 0)).all()
