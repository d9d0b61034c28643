"""The plan: a row for each kernel, edited or not, and exactly what is executed."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.connectivity import find_kernel
from tests.test_sparse import (
    BLOCK,
    UNITS,
    K,
    X,
    array,
    assert_executed,
    chain,
    prune_blocks,
    same,
)

RNG = np.random.RandomState(1)
SEQUENCES = {"return_sequences": True}


@keras.saving.register_keras_serializable("tests")
class DoublingCell(keras.layers.LSTMCell):
    """A cell of a user's own, which does something else than Keras's."""

    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training)
        return 2.0 * output, states


@keras.saving.register_keras_serializable("tests")
class DoublingDense(keras.layers.Dense):
    """Likewise."""

    def call(self, inputs, training=None):
        return 2.0 * super().call(inputs)


@keras.saving.register_keras_serializable("tests")
class DoublingBidirectional(keras.layers.Bidirectional):
    """Likewise."""


def two_layers():
    """A recurrent layer with neurons out of order, and a dense one."""
    positions = km.manifolds.Circle().sample(64, 3)[RNG.permutation(64)]
    circle = km.ModuliRegularizer("circle", embedding=positions)
    layers = [K.SimpleRNN(64, recurrent_regularizer=circle), K.Dense(64)]
    model = keras.Sequential([keras.Input((7, 64)), *layers])
    near = circle.distances((64, 64)) < 1.0
    kernel = model.layers[0].cell.recurrent_kernel
    kernel.assign(array(kernel.value) * near)
    kernel = model.layers[0].cell.kernel
    kernel.assign(array(kernel.value) * (np.arange(64) >= 8)[:, None])
    return model


SEQUENCE = RNG.standard_normal((2, 7, 64)).astype("float32")


def describe(plan):
    return [(row.layer, row.name, row.block) for row in plan.rows]


# -- a row for each kernel --

KINDS = {
    "Conv1D": lambda: K.Conv1D(64, 2),
    "ConvLSTM1D(ConvLSTMCell)": lambda: Unfolded(),
    "RNN(DoublingCell)": lambda: K.RNN(DoublingCell(64), **SEQUENCES),
    "DoublingDense": lambda: DoublingDense(64),
    "DoublingBidirectional": lambda: DoublingBidirectional(K.LSTM(8, **SEQUENCES)),
    "Moduli(Conv1D)": lambda: km.layers.Moduli(K.Conv1D(8, 1)),
}


def Unfolded():  # noqa: N802
    layers = [K.Reshape((7, 8, 8)), K.ConvLSTM1D(2, 2)]
    return keras.Sequential([keras.Input((7, 64)), *layers], name="unfolded")


@pytest.mark.backend_independent
@pytest.mark.parametrize("kind", KINDS)
def test_layers_of_unknown_kinds_stay_and_have_rows(kind):
    model = keras.Sequential([keras.Input((7, 64)), KINDS[kind]()])
    plan = km.sparse.plan(model, BLOCK)
    kernels = [v for v in model.weights if v.name.endswith("kernel")]
    assert [row.kernel for row in plan.rows] == [tuple(v.shape) for v in kernels]
    for row in plan.rows:
        assert row.block is None
        assert row.reason == f"no fast form of {kind} is known"
    assert len(set(describe(plan))) == len(plan.rows), "rows can be told apart"
    fast = km.sparsify(model, plan)
    for a, b in zip(fast.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    same(fast(SEQUENCE), model(SEQUENCE))


def nested():
    """A model that has layers in layers, an embedding, and an operation between them."""
    words = keras.Input((7,), dtype="int32")
    x = K.Embedding(9, UNITS)(words)
    x = K.Bidirectional(K.LSTM(UNITS))(x) + 1.0
    head = keras.Sequential([keras.Input((2 * UNITS,)), K.Dense(UNITS, name="first")])
    head.add(km.layers.Moduli(K.Dense(UNITS), name="second"))
    head.name = "head"
    return prune_blocks(keras.Model(words, head(x)))


WORDS = np.arange(14).reshape(2, 7) % 9


def test_every_kernel_has_a_row_and_is_what_it_says():
    model = nested()
    plan = km.sparse.plan(model, BLOCK)
    assert describe(plan) == [
        ("embedding", "embeddings", None),
        ("bidirectional/forward_lstm", "recurrent_kernel", BLOCK),
        ("bidirectional/forward_lstm", "kernel", BLOCK),
        ("bidirectional/backward_lstm", "recurrent_kernel", BLOCK),
        ("bidirectional/backward_lstm", "kernel", BLOCK),
        ("head/first", "kernel", BLOCK),
        ("head/second", "kernel", BLOCK),
    ]
    text = str(plan)
    assert "embedding embeddings stays dense: no fast form of Embedding" in text
    assert max(map(len, text.split("\n")[:-1])) <= 100
    first, second = (km.sparsify(model, plan) for _ in range(2))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert_executed(dataclasses.replace(plan, rows=plan.rows[1:]), first)
    same(first(WORDS), model(WORDS))


@pytest.mark.backend_independent
def test_a_plan_is_plain_values():
    plan = km.sparse.plan(two_layers(), (8, 8), batch_size=3, tolerance=1e-4)
    assert km.sparse.SparsePlan.from_dict(plan.to_dict()) == plan
    assert km.sparse.SparsePlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert (plan.batch_size, plan.tolerance) == (3, 1e-4)
    assert plan.rows[0].permutation is not None
    assert "layout" not in repr(plan.rows[0])
    assert len({plan, dataclasses.replace(plan)}) == 1


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (64, "no block of it is empty"),
        (4, "a kernel of 4 × 64 is smaller than the block"),
    ],
)
def test_inputs_of_a_recurrent_layer_stay_dense_where_blocks_gain_nothing(
    features, reason
):
    model = keras.Sequential([keras.Input((7, features)), K.SimpleRNN(64)])
    recurrent, inputs = km.sparse.plan(model, (8, 8)).rows
    assert (recurrent.block, inputs.block) == ((8, 8), None)
    assert inputs.reason == reason


def test_blocks_of_inputs_are_in_the_order_of_the_neurons():
    """Each half of the neurons has inputs of its own: half of the blocks, so ordered."""
    random = np.random.RandomState(0)
    points = km.manifolds.Circle().sample(64, 3)[random.permutation(64)]
    circle = km.ModuliRegularizer("circle", embedding=points)
    layer = K.SimpleRNN(64, recurrent_regularizer=circle)
    model = keras.Sequential([keras.Input((7, 64)), layer])
    near = circle.distances((64, 64)) < 0.5
    layer.cell.recurrent_kernel.assign(array(layer.cell.recurrent_kernel.value) * near)
    order = list(km.sparse.plan(model, (8, 8)).rows[0].permutation)
    weights = random.standard_normal((64, 64))
    weights[:32, order[32:]] = weights[32:, order[:32]] = 0
    layer.cell.kernel.assign(weights)
    plan = km.sparse.plan(model, (8, 8))
    recurrent, inputs = plan.rows
    assert list(recurrent.permutation) == order
    assert inputs.density == 0.5
    halves = 4 * [(0, 1, 2, 3)] + 4 * [(4, 5, 6, 7)]
    assert [tuple(sorted(kept)) for kept in inputs.layout.indices] == halves
    same(km.sparsify(model, plan)(SEQUENCE), model(SEQUENCE))


# -- edited --


@pytest.mark.parametrize("dense", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_an_edited_row_is_obeyed(dense):
    model = two_layers()
    plan = km.sparse.plan(model, (8, 8))
    rows = list(plan.rows)
    for i in dense:
        rows[i] = dataclasses.replace(rows[i], block=None)
        assert rows[i].reason == "left dense by hand"
        assert rows[i].density == 1.0
    fast = km.sparsify(model, dataclasses.replace(plan, rows=rows))
    recurrent, last = fast.layers
    assert (type(last) is K.Dense) == (2 in dense)
    is_sparse = isinstance(recurrent, km.layers.SparseSimpleRNN)
    assert is_sparse == (not {0, 1} <= set(dense))
    if is_sparse:
        kernels = map(
            find_kernel, (recurrent.cell.recurrent_kernel, recurrent.cell.kernel)
        )
        of_states, of_inputs = kernels
    if dense == (0,):  # held as one block
        assert of_states.layout.density == 1.0
        assert of_inputs.block == (8, 8)
    if dense == (1,):
        assert of_inputs is None
        assert of_states.block == (8, 8)
    same(fast(SEQUENCE), model(SEQUENCE))


def test_rows_of_two_plans_stand_in_one():
    model = two_layers()
    small, large = (km.sparse.plan(model, block) for block in ((8, 8), (16, 32)))
    mixed = dataclasses.replace(small, rows=(*small.rows[:2], large.rows[2]))
    fast = km.sparsify(model, mixed)
    assert_executed(mixed, fast)
    same(fast(SEQUENCE), model(SEQUENCE))


@pytest.mark.backend_independent
def test_a_row_with_other_blocks_is_refused():
    row, *_ = km.sparse.plan(two_layers(), (8, 8)).rows
    with pytest.raises(ValueError, match=r"layout`, \(8, 8\), or None.*\(16, 8\)"):
        dataclasses.replace(row, block=(16, 8))


# -- of another model --


def change_names(model, plan):
    rows = [dataclasses.replace(row, layer=f"{row.layer}_1") for row in plan.rows]
    return model, dataclasses.replace(plan, rows=rows)


def drop_row(model, plan):
    return model, dataclasses.replace(plan, rows=plan.rows[:-1])


def repeat_row(model, plan):
    return model, dataclasses.replace(plan, rows=(*plan.rows, plan.rows[-1]))


def change_shape(model, plan):
    layers = [K.SimpleRNN(32, name="simple_rnn"), K.Dense(64, name="dense")]
    return keras.Sequential([keras.Input((7, 64)), *layers]), plan


def change_weights(model, plan):
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    return model, plan


def change_order(model, plan):
    row = plan.rows[1]
    other = dataclasses.replace(row, permutation=row.permutation[::-1])
    return model, dataclasses.replace(plan, rows=(plan.rows[0], other, plan.rows[2]))


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_names, r"not one of model 'sequential.*simple_rnn_1.*simple_rnn"),
        (drop_row, r"not one of model .* has no row where the model has \[\('dense"),
        (repeat_row, r"not one of model .* where the model has no kernel"),
        (change_shape, r"not one of model .*\(64, 64\).*\(32, 32\)"),
        (change_weights, r"do not hold all weights of simple_rnn recurrent_kernel"),
        (change_order, r"'simple_rnn' are planned in two orders"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_plan_that_does_not_fit_is_refused(change, message):
    model = two_layers()
    model, plan = change(model, km.sparse.plan(model, (8, 8)))
    with pytest.raises(ValueError, match=message):
        km.sparsify(model, plan)


@pytest.mark.backend_independent
def test_blocks_for_an_unknown_kind_are_refused():
    model = keras.Sequential([keras.Input((7, 64)), DoublingDense(64, name="dense")])
    known = keras.Sequential([keras.Input((7, 64)), K.Dense(64, name="dense")])
    with pytest.raises(ValueError, match=r"'dense', a DoublingDense, of which no fast"):
        km.sparsify(model, km.sparse.plan(known, (8, 8)))


@pytest.mark.backend_independent
def test_arguments_beside_a_plan_are_refused():
    model = two_layers()
    plan = km.sparse.plan(model)
    for argument in ({"block": (8, 8)}, {"batch_size": 2}, {"exclude": "dense"}):
        with pytest.raises(ValueError, match=r"Pass them to `km.sparse.plan`"):
            km.sparsify(model, plan, **argument)
    with pytest.raises(ValueError, match="given twice"):
        km.sparsify(model, (8, 8), block=(8, 8))


# -- excluded --


@pytest.mark.backend_independent
@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ("head/first", {"head/first"}),
        (["head"], {"head/first", "head/second"}),
        (
            ["bidirectional", "head/second"],
            {
                "bidirectional/forward_lstm",
                "bidirectional/backward_lstm",
                "head/second",
            },
        ),
        (lambda layer: isinstance(layer, K.Dense), {"head/first"}),
        (lambda layer: layer.name == "head", {"head/first", "head/second"}),
    ],
)
def test_excluded_layers_are_left_alone(exclude, left):
    model = nested()
    plan = km.sparse.plan(model, BLOCK, exclude=exclude)
    assert {row.layer for row in plan.rows if row.reason == "excluded"} == left
    fast = km.sparsify(model, block=BLOCK, exclude=exclude)
    assert_executed(dataclasses.replace(plan, rows=plan.rows[1:]), fast)
    same(fast(WORDS), model(WORDS))


@pytest.mark.backend_independent
def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"'head/fist'. Did you mean 'head/first'\?"):
        km.sparse.plan(nested(), exclude="head/fist")
    for wrong in (3, [3], K.Dense):
        with pytest.raises(TypeError, match="`exclude` must be the name of a layer"):
            km.sparsify(nested(), exclude=wrong)


# -- a new kind --


@pytest.mark.backend_independent
def test_a_converter_must_be_a_class_of_converters():
    for wrong in (K.Dense, "dense"):
        with pytest.raises(TypeError, match=r"subclass of keras_moduli\.sparse\."):
            km.sparse.register_converter(wrong)


@pytest.mark.backend_independent
def test_the_cost_model_is_what_plans_follow():
    model = prune_blocks(chain(K.SimpleRNN(UNITS)))
    row, _ = km.sparse.plan(model, BLOCK, batch_size=8).rows
    assert row.speed == km.sparse.CostModel(BLOCK, 8).estimate_speed(row.layout)
    assert row.density == row.layout.density
    assert X.shape[-1] < BLOCK[0]


def test_rows_hold_only_what_fits_their_kernel():
    plan = km.sparse.plan(chain(K.GRU(UNITS)), BLOCK)
    row = plan.rows[0]
    other = km.sparse.plan(chain(K.SimpleRNN(UNITS)), BLOCK).rows[0]
    with pytest.raises(ValueError, match="must be one of a kernel"):
        dataclasses.replace(row, layout=other.layout)
    with pytest.raises(ValueError, match="must be one of all its neurons"):
        dataclasses.replace(row, permutation=(0, 0))


def test_what_a_layer_refuses_is_not_taken_for_the_model():
    model = chain(K.GRU(UNITS))
    plan = km.sparse.plan(model, BLOCK)
    rows = [dataclasses.replace(plan.rows[0], permutation=(0, 1)), plan.rows[1]]
    edited = dataclasses.replace(plan, rows=rows)
    with pytest.raises(ValueError, match=r"^`order` must be a permutation"):
        km.sparsify(model, edited)


def test_kinds_of_a_converter_are_tuples_of_classes():
    for kinds in ((), (K.Dense,), ((K.Dense, "GRU"),), K.Dense):
        converter = type("Mine", (km.sparse.Converter,), {"kinds": kinds})
        with pytest.raises(TypeError, match="tuple of kinds"):
            km.sparse.register_converter(converter)


def test_layers_that_are_block_sparse_already_stay_and_say_so():
    model = keras.Sequential(
        [keras.Input((6, 5)), K.GRU(UNITS, return_sequences=True), K.Dense(UNITS)]
    )
    fast = km.sparsify(model, BLOCK)
    plan = km.sparse.plan(fast)
    assert {row.reason for row in plan.rows} == {"its layer is block-sparse already"}
    assert [row.name for row in plan.rows] == ["recurrent_kernel", "kernel", "kernel"]
    again = km.sparsify(fast, plan)
    for a, b in zip(again.get_weights(), fast.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
