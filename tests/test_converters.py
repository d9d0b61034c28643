"""Which layers become fast, that these compute the same, and why the others stay."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.connectivity import find_kernel
from keras_moduli.sparse.converters import find_converter
from tests.test_plan import DoublingCell, DoublingDense
from tests.test_sparse import BLOCK, UNITS, K, X, assert_same_outputs, chain

RNG = np.random.RandomState(2)
SEQUENCES = {"return_sequences": True}
M = km.layers.Moduli


def scatter(model):
    """Random weights, of kernels every third block of inputs; no two are equal."""
    for weight in model.weights:
        shape = tuple(weight.shape)
        if "seed" in weight.path or "embedding" in weight.path or not shape:
            continue
        values = RNG.standard_normal(shape) / max(shape) ** 0.5
        if len(shape) > 1 and shape[0] > BLOCK[0]:
            kept = np.arange(shape[0]) // BLOCK[0] % 3 == 0
            values *= kept.reshape(-1, *[1] * (len(shape) - 1))
        weight.assign(values)
    return model


# -- what becomes fast --


def draw(*shape):
    return RNG.standard_normal(shape).astype("float32")


def stacked():
    """Cells whose states are given and returned, over sequences with masks."""
    x = keras.Input((7, 5))
    states = [keras.Input((UNITS,)) for _ in range(3)]
    cells = [K.LSTMCell(UNITS, name="same"), K.GRUCell(UNITS, name="same")]
    layer = K.RNN(cells, return_state=True, name="stack")
    h, c, g = states
    outputs = layer(K.Masking()(x), initial_state=[[h, c], [g]])
    model = keras.Model([x, *states], keras.tree.flatten(outputs))
    masked = X.copy()
    masked[1, 4:] = 0.0
    return model, [masked, *(draw(4, UNITS) for _ in states)], 3


def stacked_with_others():
    """One cell that is called twice, one of a user's own, and one with two products."""
    shared = km.layers.ModuliGRUCell(UNITS)
    others = [DoublingCell(UNITS), K.GRUCell(UNITS, reset_after=False)]
    stack = K.StackedRNNCells([K.SimpleRNNCell(UNITS), shared, shared, *others])
    layer = K.RNN(stack, go_backwards=True, zero_output_for_mask=True, **SEQUENCES)
    masked = X.copy()
    masked[2, :3] = 0.0
    return chain(K.Masking(), layer), masked, 3


def time_distributed():
    """Around a layer, a wrapper, and a model."""
    inner = keras.Sequential([keras.Input((7, 5)), K.GRU(UNITS), K.Dense(UNITS)])
    layers = [inner, M(K.Dense(UNITS)), K.EinsumDense("ab,bc->ac", UNITS)]
    model = keras.Sequential(
        [keras.Input((2, 7, 5)), *(K.TimeDistributed(layer) for layer in layers)]
    )
    return model, draw(4, 2, 7, 5), 4


def moduli():
    """Around recurrent layers, with masks and given states, and others."""
    x, *states = [keras.Input((7, 5)), *(keras.Input((UNITS,)) for _ in range(2))]
    y = M(K.LSTM(UNITS, **SEQUENCES))(K.Masking()(x), initial_state=states)
    y = M(K.RNN(K.SimpleRNNCell(UNITS), **SEQUENCES))(y)
    y = M(K.EinsumDense("abc,cd->abd", (None, UNITS)))(y)
    y = M(K.MultiHeadAttention(2, 34))(y, y)
    masked = X.copy()
    masked[1, 4:] = 0.0
    model = keras.Model([x, *states], M(K.GRU(UNITS))(y))
    return model, [masked, *(draw(4, UNITS) for _ in states)], 10


EQUATIONS = {  # with output shapes, and what has a bias
    "abc,cd->abd": ((None, UNITS), "d"),
    "abc,dc->abd": ((None, UNITS), None),
    "abc,cde->abde": ((7, 4, 17), "be"),
    "abc,edc->adeb": ((17, 4, 7), "d"),
    "abc,bcd->ad": (UNITS, "d"),
    "...c,cd->...d": (UNITS, "d"),
    "ab...,bc->ac...": ((17,), "c"),
}


def einsum():
    """Axes in any order, left out before and behind, and an activation along one."""
    x = keras.Input((7, UNITS))
    outputs = [
        K.EinsumDense(equation, shape, bias_axes=axes, activation="softmax")(x)
        for equation, (shape, axes) in EQUATIONS.items()
    ]
    return keras.Model(x, outputs), draw(4, 7, UNITS), len(EQUATIONS)


def attention():
    """Masks of all kinds, scores, a gate, keys apart from values, and groups of heads."""
    words, y = keras.Input((7,), dtype="int32"), keras.Input((5, 32))
    x = K.Embedding(9, 32, mask_zero=True)(words)
    a = K.MultiHeadAttention(2, 24)(x, x, use_causal_mask=True)
    b, scores = K.MultiHeadAttention(3, 16, 8, 0.5, False, output_shape=40)(
        a, y, key=y, return_attention_scores=True
    )
    c = K.MultiHeadAttention(2, 16, use_gate=True)(a, a)
    d = K.GroupQueryAttention(16, 4, 2)(c, y)
    return keras.Model([words, y], [b, scores, d]), [WORDS, draw(4, 5, 32)], 17


WORDS = np.arange(28).reshape(4, 7) % 9
FAST = [stacked, stacked_with_others, time_distributed, moduli, einsum, attention]


@pytest.mark.parametrize("make", FAST, ids=lambda make: make.__name__)
def test_a_fast_model_is_the_same_function(make, tmp_path):
    model, x, count = make()
    plan = km.sparse.plan(scatter(model), BLOCK)
    names = [(row.layer, row.name) for row in plan.rows]
    assert len(set(names)) == len(names)
    assert sum(row.block is not None for row in plan.rows) == count, str(plan)
    fast = km.sparsify(model, plan)
    expected = model(x)
    assert_same_outputs(fast(x), expected)
    fast.save(tmp_path / "fast.keras")
    loaded = keras.saving.load_model(tmp_path / "fast.keras")
    assert_same_outputs(loaded(x), expected)
    if make in (stacked, attention):
        assert_trains(loaded, x, expected)
    reasons = {row.reason for row in km.sparse.plan(loaded).rows if "spars" in row.reason}
    assert all("block-sparse already" in reason for reason in reasons)


def assert_trains(model, x, outputs):
    model.compile(keras.optimizers.Adam(0.01), "mse")
    targets = [np.zeros(y.shape, "float32") for y in outputs]
    losses = model.fit(x, targets, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


@pytest.mark.backend_independent
def test_a_row_of_any_fast_kind_can_be_left_dense():
    for make in (stacked, attention):
        model, *_ = make()
        plan = km.sparse.plan(scatter(model), BLOCK)
        rows = [
            row if i % 2 else dataclasses.replace(row, block=None)
            for i, row in enumerate(plan.rows)
        ]
        fast = km.sparsify(model, dataclasses.replace(plan, rows=rows))
        held = [w for w in fast.weights if find_kernel(w) or w.name == "blocks"]
        # A cell that has one in blocks holds the other as one block, if it is recurrent.
        wanted = sum(row.block is not None for row in rows)
        assert wanted <= len(held) <= wanted + 1


# -- what its layer is set to --


def test_settings_survive():
    layer = K.RNN(
        K.LSTMCell(UNITS, dtype="float64", name="inside"),
        name="outside",
        trainable=False,
        return_state=True,
    )
    x = keras.Input((7, 5))
    model = keras.Model(x, layer(x))
    layer.cell.trainable = True
    layer.cell.bias.trainable = False
    new = km.sparsify(scatter(model), BLOCK).layers[-1]
    assert (new.name, new.cell.name) == ("outside", "inside")
    assert (new.trainable, new.cell.trainable) == (False, True)
    assert (new.dtype, new.cell.dtype) == ("float32", "float64")
    assert [w.name for w in new.weights if not w.trainable] == ["bias"]


def test_what_only_training_has_is_left_out():
    options = {"kernel_regularizer": "l2", "activity_regularizer": "l2"}
    attention = K.MultiHeadAttention(2, 16, kernel_constraint="max_norm", **options)
    x = keras.Input((7, UNITS))
    y = attention(K.Dense(UNITS, **options)(x), x)
    model = keras.Model(
        x, K.LSTM(UNITS, dropout=0.5, recurrent_dropout=0.5, **options)(y)
    )
    fast = km.sparsify(scatter(model), BLOCK)
    assert not fast.losses
    data = draw(2, 7, UNITS)
    assert_same_outputs(fast(data, training=True), model(data, training=False))


def test_integers_and_inputs_of_any_rank():
    for shape in [(3,), (2, 3), (2, 2, 3)]:
        x = keras.Input((*shape[:-1], UNITS), dtype="int32")
        model = keras.Model(x, K.Dense(UNITS, "softmax")(x))
        data = RNG.randint(0, 3, (4, *shape[:-1], UNITS))
        fast = km.sparsify(scatter(model), BLOCK)
        assert isinstance(fast.layers[-1], km.layers.SparseDense)
        assert_same_outputs(fast(data), model(data))


# -- what stays --


@keras.saving.register_keras_serializable("tests")
class DoublingModuliCell(km.layers.ModuliGRUCell):
    """A cell of a user's own."""

    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training)
        return 2.0 * output, states


@keras.saving.register_keras_serializable("tests")
class OwnLSTM(K.LSTM):
    """A layer of a user's own: what it does nobody knows."""


@keras.saving.register_keras_serializable("tests")
class OwnRNN(K.RNN):
    """Likewise."""


@keras.saving.register_keras_serializable("tests")
class OwnAttention(K.MultiHeadAttention):
    """Likewise."""


@keras.saving.register_keras_serializable("tests")
class Holder(K.Layer):
    """A layer that holds a model, a layer, and a matrix whose name says nothing."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.model = keras.Sequential([keras.Input((7, 64)), K.Dense(8, name="inner")])
        self.first, self.second = K.Dense(8), K.Dense(8)

    def build(self, shape):
        self.w = self.add_weight(shape=(8, 8), name="w")
        self.first.build(shape)
        self.second.build(shape)

    def call(self, x):
        return (self.model(x) + self.first(x) + self.second(x)) @ self.w


def attend(layer):
    x = keras.Input((7, 64))
    return keras.Model(x, layer(x, x))


def built(layer, edit):
    model = keras.Sequential([keras.Input((7, 64)), layer])
    edit(layer)
    return model


def replace_call(layer):
    call = layer.call
    layer.call = lambda *args, **kwargs: call(*args, **kwargs)


def quantize(layer):
    layer.quantize("int8")


def enable_lora(layer):
    layer.enable_lora(2)


def images(layer):
    return keras.Sequential([K.Reshape((7, 8, 8)), layer])


UNKNOWN = {
    "RNN(DoublingCell)": lambda: K.RNN(DoublingCell(8)),
    "RNN(DoublingModuliCell)": lambda: K.RNN(DoublingModuliCell(8)),
    "OwnLSTM(LSTMCell)": lambda: OwnLSTM(8),
    "OwnRNN(GRUCell)": lambda: OwnRNN(K.GRUCell(8)),
    "Moduli(DoublingDense)": lambda: M(DoublingDense(64)),
    "DoublingDense": lambda: K.TimeDistributed(DoublingDense(64)),
    "SpectralNormalization(Dense)": lambda: K.SpectralNormalization(K.Dense(64)),
    "OwnAttention": lambda: attend(OwnAttention(2, 8)),
    "Holder": lambda: Holder(),
    "Conv1DTranspose": lambda: K.Conv1DTranspose(8, 2),
    "SeparableConv1D": lambda: K.SeparableConv1D(8, 2),
    "DepthwiseConv1D": lambda: K.DepthwiseConv1D(2),
    "Conv2D": lambda: images(K.Conv2D(8, 2)),
    "ConvLSTM1D(ConvLSTMCell)": lambda: images(K.ConvLSTM1D(8, 2)),
}
KNOWN_BUT = {
    "'dense' has a `call` that": lambda: built(K.Dense(64, name="dense"), replace_call),
    "'cell' has a `call` that": lambda: built(
        K.RNN(K.GRUCell(8, name="cell")), lambda layer: replace_call(layer.cell)
    ),
    "'multi' has a `_compute_attention": lambda: attend(compute_otherwise("multi")),
    "is quantized, int8": lambda: built(K.Dense(64), quantize),
    "has LoRA weights": lambda: built(M(K.Dense(64)), lambda m: enable_lora(m.layer)),
    "its activation has weights": lambda: K.Dense(64, activation=K.PReLU()),
    "sums over 'b' without": lambda: K.EinsumDense("abc,cd->ad", 64),
    "axis 'b' in inputs and outputs": lambda: K.EinsumDense("abc,bcd->abd", (7, 64)),
    "`reset_after=False` has two": lambda: M(K.GRU(64, reset_after=False)),
    "cell computes in mixed_bfloat16": lambda: K.RNN(
        K.GRUCell(8, dtype="mixed_bfloat16"), dtype="float32"
    ),
}


def compute_otherwise(name):
    layer = K.MultiHeadAttention(2, 8, name=name)
    layer._compute_attention = layer._compute_attention
    return layer


REASONS = {f"no fast form of {kind} is known": make for kind, make in UNKNOWN.items()}


@pytest.mark.backend_independent
@pytest.mark.parametrize("reason", [*REASONS, *KNOWN_BUT])
def test_what_stays_has_rows_that_say_why(reason):
    layer = (REASONS | KNOWN_BUT)[reason]()
    model = keras.Sequential([keras.Input((7, 64)), layer])
    rows = km.sparse.plan(model, BLOCK).rows
    assert rows
    assert len({(row.layer, row.name) for row in rows}) == len(rows)
    for row in rows:
        assert row.block is None
        assert reason in row.reason
    kernels = {w.path for w in model.weights if w.name.endswith("kernel")}
    assert len(rows) >= len(kernels)


@pytest.mark.backend_independent
def test_weights_of_any_name_have_rows_where_they_multiply():
    model = keras.Sequential([keras.Input((7, 64)), Holder(name="holder"), K.PReLU()])
    names = [row.name for row in km.sparse.plan(model).rows]
    assert names == [
        "w",
        "sequential/inner/kernel",
        "dense/kernel",
        "dense_1/kernel",
    ]


@pytest.mark.backend_independent
def test_a_sequence_is_as_many_vectors():
    costs = km.sparse.CostModel(BLOCK)
    layer = K.Dense(UNITS)
    layer.build((None, 7, UNITS))
    (choice,) = find_converter(layer).choose(layer, costs).values()
    seven = km.sparse.CostModel(BLOCK, batch_size=7)
    assert choice.speed == seven.estimate_speed(choice.layout)
    attention = K.MultiHeadAttention(2, 8)
    attention.build((None, 5, 16), (None, 7, 16))
    choices = find_converter(attention).choose(attention, costs)
    counts = {"query": 5, "key": 7, "value": 7, "attention_output": 5}
    for name, count in counts.items():
        choice_of = choices[f"{name}/kernel"]
        model = km.sparse.CostModel(BLOCK, count)
        assert choice_of.speed == model.estimate_speed(choice_of.layout)
    speeds = [
        km.sparse.CostModel(BLOCK, n).estimate_speed(choice.layout)
        for n in (1, 32, 128, 1024, 4096)
    ]
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[1] == speeds[2] > speeds[3] == speeds[4]


@pytest.mark.backend_independent
def test_fast_layers_refuse_what_they_cannot_be():
    layout = km.sparse.BlockLayout(16, 16, (8, 8), ((0,), (1,)))
    with pytest.raises(ValueError, match=r"'abc,bcd->abd' has the kernel's axis 'b'"):
        km.sparse.BlockSparseEinsumDense("abc,bcd->abd", (7, 16), layout)
    for wrong in ("abc", "ab,bc", "...ab,bc->ac...", "aab,bc->ac"):
        with pytest.raises(ValueError, match="No product of blocks"):
            km.sparse.BlockSparseEinsumDense(wrong, 16, layout)
    layer = km.sparse.BlockSparseEinsumDense("ab,bc->ac", 16, layout)
    with pytest.raises(ValueError, match="16 × 16, and the kernel is 8 × 16"):
        layer.build((None, 8))
    with pytest.raises(ValueError, match=r"names of \['query', 'key'.*'head'"):
        km.sparse.BlockSparseMultiHeadAttention(2, 8, layouts={"head": layout})
    layer = km.sparse.BlockSparseMultiHeadAttention(2, 8, layouts={"gate": layout})
    with pytest.raises(ValueError, match=r"\['attention_output', 'key'.*'gate'"):
        layer.build((None, 7, 16), (None, 7, 16))
    layer = km.sparse.BlockSparseGroupQueryAttention(8, 2, 1, layouts={"key": layout})
    with pytest.raises(ValueError, match="16 × 16, and the kernel is 16 × 8"):
        layer.build((None, 7, 16), (None, 7, 16))


@pytest.mark.backend_independent
def test_blocks_of_another_matrix_are_refused():
    model = keras.Sequential([keras.Input((16,)), K.Dense(8), K.Dense(16)])
    plan = km.sparse.plan(model, (8, 8))
    first, second = plan.rows
    swapped = [dataclasses.replace(first, layout=second.layout), second]
    with pytest.raises(ValueError, match=r"layout is of a kernel \(8, 16\)"):
        km.sparsify(model, dataclasses.replace(plan, rows=swapped))
