"""Whatever looks at kernels, on kernels of which only blocks exist."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_moduli as km
from keras_moduli import _backend
from keras_moduli.connectivity import BlockLayout, FromMask, find_kernel
from keras_moduli.regularizers import _evaluation, find_regularizer
from tests.backends import gradient
from tests.cases import MANIFOLDS

N = 24


def draw_layout(rows=N, columns=N, block=(4, 6), count=2, seed=0):
    """A layout of `count` blocks in each column, at random rows."""
    random = np.random.RandomState(seed)
    down, across = -(-rows // block[0]), -(-columns // block[1])
    indices = tuple(tuple(random.permutation(down)[:count]) for _ in range(across))
    return BlockLayout(rows, columns, block, indices)


LAYOUTS = {
    "square": (draw_layout(), 1),
    "one block": (draw_layout(block=(24, 24), count=1), 1),
    "rectangular": (draw_layout(16, 30, (4, 5)), 1),
    "sticks out": (draw_layout(22, 22, (4, 5), 3), 1),
    "sticks out of both": (draw_layout(13, 9, (4, 4), 2), 1),
    "gates alike": (draw_layout().repeat(4), 4),
    "gates unlike": (draw_layout(N, 3 * N), 3),
}


def build(layout, gates=1, **arguments):
    """The weight of a built layer that has these blocks."""
    rule, units = FromMask(layout), layout.columns // gates
    if gates == 1 and "recurrent_regularizer" not in arguments:
        layer = km.layers.SparseDense(units, connectivity=rule, **arguments)
        layer.build((None, layout.rows))
        return layer.kernel
    arguments = {
        name.replace("kernel_", "recurrent_"): value for name, value in arguments.items()
    }
    kind = {1: km.layers.SparseSimpleRNN, 3: km.layers.SparseGRU, 4: km.layers.SparseLSTM}
    layer = kind[gates](units, connectivity=rule, **arguments)
    layer.build((None, 5, 3))
    return layer.cell.recurrent_kernel


def to_numpy(tensor):
    return np.array(ops.convert_to_numpy(tensor))


# Which penalties of a dense kernel the blocks must pay: name of the layout, options.
PENALTIES = {
    **{
        name: ("square", {"manifold": MANIFOLDS[name].manifold})
        for name in ("euclidean", "torus", "sphere", "product", "finite_metric")
    },
    "ripple": ("square", {"inhibitor": "ripple", "manifold": "klein_bottle"}),
    "squared": ("square", {"inhibitor": "diffusion", "power": 2}),
    "cubed, mean": ("square", {"power": 3, "reduction": "mean"}),
    "seed": ("one block", {"seed": 4, "reduction": "mean"}),
    "two sets": ("rectangular", {"output_seed": 1, "reduction": "mean"}),
    "sticks out": ("sticks out", {"reduction": "mean", "power": 2}),
    "sticks out of both": ("sticks out of both", {"output_seed": 3}),
    "gates alike": ("gates alike", {"gates": 4}),
    "gates unlike": ("gates unlike", {"gates": 3, "reduction": "mean"}),
    "own points": ("square", {"embedding": np.arange(48.0).reshape(24, 2) / 5}),
}


def make_penalty(name):
    """A weight of blocks with its penalty, and the penalty of the dense kernel."""
    layout, gates = LAYOUTS[PENALTIES[name][0]]
    options = {"strength": 0.3, "manifold": "torus", **PENALTIES[name][1]}
    regularizer = km.ModuliRegularizer(**options)
    return build(layout, gates, kernel_regularizer=regularizer), regularizer


@pytest.mark.parametrize("name", PENALTIES)
def test_blocks_cost_what_they_cost_in_the_dense_kernel(name):
    """The penalty and its gradient."""
    weight, regularizer = make_penalty(name)
    kernel = find_kernel(weight)
    check_cost(weight.regularizer, to_numpy(weight.value), regularizer, kernel)


@pytest.mark.parametrize("name", ["torus", "cubed, mean", "sticks out", "gates unlike"])
def test_large_ones_are_priced_a_few_columns_at_a_time(name, monkeypatch):
    weight, regularizer = make_penalty(name)
    kernel, blocks = find_kernel(weight), to_numpy(weight.value)
    monkeypatch.setattr(_evaluation, "MOST_PAIRS", blocks.size - 1)
    monkeypatch.setattr(_backend, "count_pairs_of_a_block", lambda: 120)
    check_cost(weight.regularizer, blocks, regularizer, kernel)


def check_cost(penalty, blocks, regularizer, kernel):
    """Both cost the same, and so do small changes."""
    matrix = kernel.to_matrix()
    assert float(penalty(blocks)) == pytest.approx(float(regularizer(matrix)), rel=1e-5)
    (found,), (dense,) = gradient(penalty, blocks), gradient(regularizer, matrix)
    expected, largest = kernel.layout.pack(dense), np.abs(dense).max()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.parametrize("name", ["torus", "two sets", "gates unlike", "sticks out"])
def test_each_weight_has_the_coefficient_and_the_distance_of_its_entry(name):
    weight, regularizer = make_penalty(name)
    kernel, shape = find_kernel(weight), tuple(weight.shape)
    penalty, inside = find_regularizer(weight), kernel.inside
    for find in ("coefficients", "distances"):
        dense = regularizer.spread(getattr(regularizer, find)(kernel.shape), kernel.shape)
        found = penalty.spread(getattr(penalty, find)(shape), shape)
        packed = kernel.layout.pack(dense)
        np.testing.assert_allclose(found[inside], packed[inside], rtol=1e-5, atol=1e-5)
    for found, expected in zip(
        penalty.positions(shape), regularizer.positions(kernel.shape), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert penalty.layout(shape) == regularizer.layout(kernel.shape)


def test_the_penalty_follows_blocks_that_move():
    """In a compiled step too, which is not compiled anew."""
    regularizer = km.ModuliRegularizer("torus", strength=1.0)
    layer = km.layers.SparseDense(
        N, connectivity=FromMask(draw_layout()), kernel_regularizer=regularizer
    )
    model = keras.Sequential([keras.Input((N,)), layer])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = np.zeros((2, N)), np.zeros((2, N))
    kernel = find_kernel(layer.kernel)
    for seed in (0, 1):
        layer.kernel_indices.assign(np.array(draw_layout(seed=seed).indices))
        loss = float(model.train_on_batch(x, y))
        assert loss == pytest.approx(float(regularizer(kernel.to_matrix())), rel=1e-5)


def test_the_dense_kernel_never_exists(monkeypatch):
    """One of 2²⁰ neurons would have 10¹² entries."""
    n, c = 2**20, 2**12
    indices = tuple((i,) for i in range(n // c))
    layout = BlockLayout(n, n, (1, c), indices)
    weight = build(layout, kernel_regularizer=km.ModuliRegularizer("circle"))
    assert float(to_numpy(weight.regularizer(weight))) > 0


def test_permuted_coefficients_are_the_same_at_other_weights():
    layout = draw_layout().repeat(3)
    costs = [
        find_regularizer(
            build(layout, 3, kernel_regularizer=km.ModuliRegularizer(gates=3, **options))
        ).coefficients(layout.shape)
        for options in ({}, {"permute_seed": 0}, {"permute_seed": 1})
    ]
    plain, first, second = (c.reshape(3, -1) for c in costs)
    for permuted in (first, second):
        np.testing.assert_array_equal(np.sort(permuted), np.sort(plain))
        np.testing.assert_array_equal(permuted, permuted[:1].repeat(3, axis=0))
    assert (first != plain).mean() > 0.5 < (first != second).mean()


def test_a_layer_keeps_the_regularizer_that_the_user_gave():
    layer = km.layers.SparseDense(
        N,
        connectivity=FromMask(draw_layout()),
        kernel_regularizer=km.ModuliRegularizer("torus", strength=0.5),
        kernel_constraint=keras.constraints.MaxNorm(0.7),
    )
    layer.build((None, N))
    copy = type(layer).from_config(layer.get_config())
    copy.build((None, N))
    copy.kernel.assign(layer.kernel)
    assert copy.kernel_regularizer.get_config() == layer.kernel_regularizer.get_config()
    assert float(copy.losses[0]) == pytest.approx(float(layer.losses[0]))
    assert copy.kernel_constraint.axis == 0
    assert copy.kernel.constraint.max_value == 0.7
    with pytest.raises(ValueError, match="Serialize its `regularizer`"):
        layer.kernel.regularizer.get_config()


def test_elementwise_regularizers_cost_what_they_cost_in_the_dense_kernel():
    weight = build(draw_layout(), kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2))
    dense = keras.regularizers.L1L2(0.1, 0.2)(find_kernel(weight).to_matrix())
    assert float(weight.regularizer(weight)) == pytest.approx(float(dense), rel=1e-5)


@pytest.mark.parametrize(
    ("layout", "regularizer", "match"),
    [
        ("square", km.ModuliRegularizer(communicability=True), "communicability"),
        ("square", km.ModuliRegularizer(input_axes=2), "input_axes"),
        ("rectangular", km.ModuliRegularizer(), "output_seed"),
        ("gates alike", km.ModuliRegularizer(), "gates=4"),
        ("square", km.ModuliRegularizer(embedding=np.ones((8, 2))), "24 neurons"),
        ("square", keras.regularizers.OrthogonalRegularizer(), "dense kernel"),
    ],
)
def test_what_blocks_cannot_pay_is_refused_in_words(layout, regularizer, match):
    with pytest.raises(ValueError, match=match):
        build(*LAYOUTS[layout], kernel_regularizer=regularizer)


CONSTRAINTS = [
    keras.constraints.MaxNorm(0.5),
    keras.constraints.MaxNorm(0.5, axis=[0, 1]),
    keras.constraints.UnitNorm(),
    keras.constraints.UnitNorm(axis=-2),
    keras.constraints.MinMaxNorm(0.3, 0.6, rate=0.5),
    keras.constraints.NonNeg(),
]


@pytest.mark.parametrize("layout", ["square", "sticks out", "gates unlike"])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_constraints_do_what_they_do_to_the_dense_kernel(layout, constraint):
    weight = build(*LAYOUTS[layout], kernel_constraint=constraint)
    kernel = find_kernel(weight)
    expected = to_numpy(constraint(ops.convert_to_tensor(kernel.to_matrix())))
    weight.assign(weight.constraint(weight.value))
    np.testing.assert_allclose(kernel.to_matrix(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "constraint",
    [keras.constraints.UnitNorm(axis=1), keras.constraints.MaxNorm(1, 1), lambda w: w],
)
def test_constraints_of_another_kind_are_refused_in_words(constraint):
    with pytest.raises(ValueError, match="only blocks exist"):
        build(draw_layout(), kernel_constraint=constraint)
