"""Whatever looks at kernels, on kernels of which only blocks exist."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

import keras_moduli as km
from keras_moduli.connectivity import BlockLayout, FromMask, find_kernel
from keras_moduli.pruning._masks import find_masks
from keras_moduli.regularizers import (
    BlockPenalty,
    Cost,
    ModuliRegularizer,
    Placement,
    Positions,
    find_regularizer,
)
from keras_moduli.sparse.converters._base import list_matrices
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


class Given(Placement):
    """Points that are learned, as tensors."""

    embeddings = ()

    def __init__(self, inputs, outputs=None):
        self.square = outputs is None
        self.inputs, self.outputs = inputs, inputs if self.square else outputs

    def positions(self, inputs, outputs):
        return Positions(self.inputs, self.outputs, learned=True, ramp=0.5)

    def assign(self, points):
        raise NotImplementedError

    def get_config(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("square", {"manifold": "sphere"}),
        ("gates unlike", {"gates": 3, "reduction": "mean"}),
        ("sticks out of both", {"power": 2}),
    ],
)
def test_learned_positions_feel_blocks_as_they_feel_the_dense_kernel(name, options):
    """The penalty with its dispersion, and the gradients of weights and points."""
    layout, gates = LAYOUTS[name]
    kernel = find_kernel(build(layout, gates))
    cost = Cost(**{"manifold": "euclidean", "inhibitor": "diffusion", "strength": 0.1,
                   "dispersion": 3.0, **options})  # fmt: skip
    sizes = layout.rows, layout.columns // gates
    square = sizes[0] == sizes[1]
    points = [
        cost.manifold.sample(n, seed).astype("float32") for seed, n in enumerate(sizes)
    ]

    def evaluate(of_blocks, weights, *points):
        dense = ModuliRegularizer.of(cost, Given(*points[: 1 if square else 2]))
        return (BlockPenalty(dense, kernel) if of_blocks else dense).penalty(weights)

    results = []
    for of_blocks in (False, True):
        weights = to_numpy(kernel.weights) if of_blocks else kernel.to_matrix()
        function = functools.partial(evaluate, of_blocks)
        value = to_numpy(function(ops.convert_to_tensor(weights), *points))
        by_weights, *by_points = gradient(function, weights, *points)
        if not of_blocks:
            by_weights = kernel.layout.pack(by_weights)
        results.append([value, by_weights, *by_points])
    for dense, blocks in zip(*results, strict=True):
        atol = 1e-5 * np.abs(dense).max()
        np.testing.assert_allclose(blocks, dense, rtol=1e-4, atol=atol)
    assert np.abs(results[0][2]).max() > 0


@pytest.mark.parametrize("kind", ["Dense", "SimpleRNN", "LSTM"])
def test_layers_of_blocks_learn_geometry_as_dense_ones_do(kind):
    gates, shape = (4 if kind == "LSTM" else 1), (5, N)
    rule = FromMask(draw_layout())
    sparse = getattr(km.layers, f"Sparse{kind}")(N, connectivity=rule)
    dense = getattr(keras.layers, kind)(N)
    models = [
        keras.Sequential([keras.Input(shape), km.layers.Moduli(layer, "torus")])
        for layer in (sparse, dense)
    ]
    for old, new in zip(*(list_kernels(layer) for layer in (sparse, dense)), strict=True):
        kernel = find_kernel(old)
        new.assign(kernel.to_matrix() if kernel else old)
    losses = [sorted(float(to_numpy(loss)) for loss in m.losses) for m in models]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    sets = [{e.embedding.shape[0] for e in km.layers.find_embeddings(m)} for m in models]
    assert sets == [{N}, {N}]
    assert find_kernel(list_kernels(sparse)[-1]).gates == gates


def list_kernels(layer):
    """The kernels of a layer, dense or not, in Keras's order."""
    cell = getattr(layer, "cell", layer)
    names = [name for name in ("kernel", "recurrent_kernel") if hasattr(cell, name)]
    return [getattr(cell, name) for name in names]


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


def test_the_dense_kernel_never_exists():
    """One of 2²⁰ neurons would have 10¹² entries."""
    n, c = 2**20, 2**12
    indices = tuple((i,) for i in range(n // c))
    layout = BlockLayout(n, n, (1, c), indices)
    weight = build(layout, kernel_regularizer=km.ModuliRegularizer("circle"))
    assert float(to_numpy(weight.regularizer(weight))) > 0


def test_near_neurons_of_a_rule_are_near_by_the_penalty():
    """Both place them by the same manifold and seed."""
    reaches = []
    for rule in (km.connectivity.Local, km.connectivity.Random):
        options = {"density": 1 / 4, "block": (8, 8), "seed": 3}
        if rule is km.connectivity.Local:
            options["manifold"] = "circle"
        layout = rule(**options).connect(128, 128, recurrent=True)
        regularizer = km.ModuliRegularizer("circle", seed=3)
        weight = build(layout, kernel_regularizer=regularizer)
        reaches.append(find_regularizer(weight).distances(weight.shape).mean())
    assert reaches[0] < 0.7 * reaches[1]


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
    losses = [float(to_numpy(each.losses[0])) for each in (layer, copy)]
    assert losses[0] == pytest.approx(losses[1])
    assert copy.kernel_constraint.axis == 0
    assert copy.kernel.constraint.max_value == 0.7
    with pytest.raises(ValueError, match="Serialize its `regularizer`"):
        layer.kernel.regularizer.get_config()


def test_elementwise_regularizers_cost_what_they_cost_in_the_dense_kernel():
    weight = build(draw_layout(), kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2))
    dense = keras.regularizers.L1L2(0.1, 0.2)(find_kernel(weight).to_matrix())
    found = float(to_numpy(weight.regularizer(weight)))
    assert found == pytest.approx(float(dense), rel=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_matched_l1_costs_as_much_on_equal_weights(reduction):
    regularizer = km.ModuliRegularizer("torus", reduction=reduction)
    weight = build(draw_layout(), kernel_regularizer=regularizer)
    weight.assign(np.full(weight.shape, -0.5))
    control = km.matched_l1(find_regularizer(weight), tuple(weight.shape))
    costs = [float(to_numpy(r(weight.value))) for r in (control, weight.regularizer)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-5)


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


INDICES = np.array([[0, 1, 2], [5, 0, 3], [4, 2, 1], [3, 5, 4]])
ROWS = BlockLayout(N, N, (4, 6), tuple(map(tuple, INDICES)))  # three blocks a column


def make_model(layout=ROWS, gates=3, units=N, **arguments):
    """A recurrent layer of blocks, a dense one of blocks, and one of Keras."""
    kind = {1: km.layers.SparseSimpleRNN, 3: km.layers.SparseGRU}[gates]
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            kind(units, connectivity=FromMask(layout), **arguments),
            km.layers.SparseDense(12, connectivity=FromMask(draw_layout(units, 12))),
            keras.layers.Dense(2),
        ]
    )
    model.compile("adam", "mse")
    return model


def prune(model, **arguments):
    """Prunes at once to the end, and returns the masks of the recurrent kernel."""
    pruning = km.MagnitudePruning(unit="step", end=1, schedule="one_shot", **arguments)
    pruning.attach(model)
    pruning.update(1)
    pruning.release()
    return to_numpy(model.layers[0].cell.recurrent_kernel.value) != 0


DATA = np.random.RandomState(0).standard_normal((4, 5, 3)), np.ones((4, 2))


def test_pruning_finds_blocks_and_never_where_they_lie():
    rule = FromMask(draw_layout(3, N, (1, 6), 2))
    model = make_model(input_connectivity=rule)
    chosen = km.pruning.prunable_variables(model)
    assert [v.name for v in chosen] == ["kernel", "recurrent_kernel", "kernel", "kernel"]
    (recurrent,) = km.pruning.prunable_variables(model, "recurrent")
    assert recurrent is model.layers[0].cell.recurrent_kernel
    with pytest.raises(ValueError, match="matches no weight"):
        km.pruning.prunable_variables(model, "_indices$")
    reasons = {s.path: s.reason for s in km.pruning.list_skipped(model, chosen)}
    indices = {path for path in reasons if path.endswith("_indices")}
    assert {reasons[path] for path in indices} == {"integers, as where blocks lie"}
    listed = [v for layer in model.layers for v in list_matrices(layer).values()]
    assert {id(v) for v in listed} == {id(v) for v in chosen}
    assert len(indices) == 3


def measure_blocks(weights, block=(4, 6)):
    """The mean square of each block, (J, K)."""
    across, c, width = weights.shape
    squares = np.square(weights).reshape(across, c, width // block[0], block[0])
    return squares.mean(axis=(1, 3))


def test_whole_blocks_go_equally_many_of_each_column():
    model = make_model()
    weights = to_numpy(model.layers[0].cell.recurrent_kernel.value)
    mask = prune(model, sparsity=1 / 3, select="recurrent", structure=(4, 6))
    kept = measure_blocks(mask)
    assert set(kept.ravel()) == {0, 1}
    np.testing.assert_array_equal(kept.sum(axis=1), 2)
    sizes = measure_blocks(weights)
    assert (sizes[kept == 0] == sizes.min(axis=1)).all()


def test_single_weights_go_by_magnitude_among_all_kernels():
    model = make_model()
    variables = km.pruning.prunable_variables(model)
    sizes = np.concatenate([np.abs(to_numpy(v.value)).ravel() for v in variables])
    prune(model, sparsity=0.7)
    left = np.concatenate([to_numpy(v.value).ravel() for v in variables]) != 0
    assert (~left).sum() == round(0.7 * sizes.size)
    assert sizes[left].min() > sizes[~left].max()


@pytest.mark.parametrize(
    ("structure", "axis"), [((2, 3), None), (km.pruning.NofM(2, 4), 3), ((1, 1), None)]
)
def test_parts_of_blocks_go(structure, axis):
    mask = prune(
        make_model(),
        **({} if axis else {"sparsity": 0.5}),
        select="recurrent",
        structure=structure,
    )
    across, c, width = mask.shape
    np.testing.assert_array_equal(mask.sum(axis=2), width // 2)
    if axis:  # of the four inputs of each block
        inputs = mask.reshape(across, c, width // 4, 4)
        np.testing.assert_array_equal(inputs.sum(axis=3), 2)


@pytest.mark.parametrize(
    "structure",
    [(8, 6), (4, 24), km.pruning.NofM(4, 8), km.pruning.Blocks((12, 6), pad=True)],
)
def test_units_that_reach_over_blocks_are_refused(structure):
    with pytest.raises(ValueError, match=r"blocks of 4 × 6 .* `structure=\(4, 6\)`"):
        prune(make_model(), select="recurrent", structure=structure)


@pytest.mark.parametrize("scope", ["gate", "erk", "layer"])
def test_scopes_know_gates_and_sizes_of_blocks(scope):
    model = make_model()
    mask = prune(model, sparsity=0.5, scope=scope)
    gates = mask.reshape(3, -1).sum(axis=1)
    if scope != "erk":
        assert mask.sum() == mask.size // 2
        assert (set(gates) == {mask.size // 6}) == (scope == "gate")
        return
    variables = km.pruning.prunable_variables(model)
    shapes = [(3, 72), (12, 72), (8, 12), (12, 2)]  # of what exists
    densities = km.pruning.erdos_renyi_kernel(shapes, 0.5)
    for variable, density in zip(variables, densities, strict=True):
        left = np.count_nonzero(to_numpy(variable.value))
        assert left == pytest.approx(density * np.prod(variable.shape), abs=1)


def test_weights_of_no_connection_go_first():
    layout = draw_layout(22, 22, (4, 5), 3)
    model = make_model(layout, gates=1, units=22)
    kernel = find_kernel(model.layers[0].cell.recurrent_kernel)
    outside = ~kernel.inside
    assert outside.any()
    mask = prune(model, sparsity=outside.mean(), select="recurrent")
    np.testing.assert_array_equal(mask, ~outside)
    row = km.sparsity(model, select="recurrent").rows[0]
    assert (row.size, row.zeros) == (outside.size, outside.sum())
    assert row.dense_zeros == 22 * 22 - kernel.inside.sum()


@pytest.mark.parametrize("structure", ["weights", (4, 6)])
def test_weights_come_back_within_blocks(structure):
    model = make_model(gates=1)
    cell, masks = model.layers[0].cell, []
    pruning = km.MagnitudePruning(
        1 / 3, select="recurrent", structure=structure, regrow="set",
        unit="step", end=6, frequency=1, schedule="constant",
    )  # fmt: skip
    pruning.attach(model)
    for step in range(5):
        pruning.update(step)
        model.train_on_batch(*DATA)
        (state,) = find_masks([cell.recurrent_kernel])
        masks += state.numpy()
    pruning.release()
    assert {int(mask.sum()) for mask in masks} == {masks[0].size * 2 // 3}
    assert (masks[0] != masks[-1]).any()
    np.testing.assert_array_equal(to_numpy(cell.recurrent_kernel_indices), INDICES)


def test_the_geometric_score_divides_by_what_each_weight_costs():
    regularizer = km.ModuliRegularizer("torus", "diffusion")
    model = make_model(gates=1, recurrent_regularizer=regularizer)
    weight = model.layers[0].cell.recurrent_kernel
    costs = regularizer.coefficients((N, N))
    costs = find_kernel(weight).layout.pack(costs)
    relative = np.maximum(costs / costs.mean(), 1e-3)
    expected = np.abs(to_numpy(weight.value)) / relative
    found = km.pruning.scores.Geometric()(weight)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_report_says_what_exists_of_the_dense_kernel():
    regularizer = km.ModuliRegularizer("torus", gates=3)
    model = make_model(recurrent_regularizer=regularizer)
    prune(model, sparsity=0.5, scope="layer")
    report = km.sparsity(model)
    row = report.rows[1]
    kernel = find_kernel(model.layers[0].cell.recurrent_kernel)
    matrix = kernel.to_matrix()
    assert (row.shape, row.size) == ((N, 3 * N), 3 * N * 12)
    assert (row.zeros, row.sparsity) == (3 * N * 6, 0.5)
    assert (row.dense_size, row.dense_zeros) == (matrix.size, (matrix == 0).sum())
    assert report.total.dense_size == 3 * 72 + matrix.size + N * 12 + 12 * 2
    assert report.rows[0].dense_sparsity == report.rows[0].sparsity == 0.5
    distances = regularizer.spread(regularizer.distances(matrix.shape), matrix.shape)
    assert row.distance == pytest.approx(distances[matrix != 0].mean(), rel=1e-5)
    exist = kernel.layout.unpack(np.ones(kernel.layout.shape)) != 0
    assert row.distance_before == pytest.approx(distances[exist].mean(), rel=1e-5)
    for text in ("zero of", f"{row.dense_sparsity:.2%}", "24 × 72"):
        assert text in str(report)
    assert "zero of" not in str(km.sparsity(model, select="^dense/"))


def test_the_geometry_of_neurons_is_not_that_of_their_blocks():
    """Near neurons are connected here, and yet they are well spread."""
    near = BlockLayout(N, N, (4, 4), tuple((i,) for i in range(6)))
    model = make_model(
        near, gates=1, recurrent_regularizer=km.ModuliRegularizer("circle", "diffusion")
    )
    (row,) = km.geometry(model).rows
    assert row.spread == pytest.approx(1, abs=0.2)
    assert row.verdict == "fine"
    monitor = km.GeometryMonitor()
    monitor.set_model(model)
    logs = {}
    monitor.on_train_begin()
    monitor.on_epoch_end(0, logs)
    assert list(logs.values()) == [row.spread]


def test_neurons_of_blocks_swap_as_those_of_the_dense_kernel():
    regularizer = km.ModuliRegularizer("torus", strength=1.0)
    model = make_model(gates=1, recurrent_regularizer=regularizer)
    matrix = find_kernel(model.layers[0].cell.recurrent_kernel).to_matrix()
    dense = keras.Sequential(
        [keras.Input((5, 3)), keras.layers.SimpleRNN(
            N, recurrent_regularizer=km.ModuliRegularizer("torus", strength=1.0)
        )]
    )  # fmt: skip
    dense.layers[0].cell.recurrent_kernel.assign(matrix)
    before = float(model.losses[0])
    moved = km.NeuronSwap().swap(model)
    assert moved == km.NeuronSwap().swap(dense) > 0
    assert float(model.losses[0]) < before
    assert float(model.losses[0]) == pytest.approx(float(dense.losses[0]), rel=1e-5)
    permuted = km.ModuliRegularizer(permute_seed=0)
    with pytest.raises(ValueError, match="permute_seed"):
        km.NeuronSwap().swap(make_model(gates=1, recurrent_regularizer=permuted))


def test_a_ticket_has_its_blocks_where_the_mask_found_them():
    model = make_model(gates=1)
    cell = model.layers[0].cell
    before = model.get_weights()
    moved = INDICES[::-1].copy()
    cell.recurrent_kernel_indices.assign(moved)
    mask = prune(model, sparsity=0.5, select="recurrent")
    ticket = km.lottery_ticket(model, seed=1)
    new = ticket.layers[0].cell
    np.testing.assert_array_equal(to_numpy(new.recurrent_kernel_indices), moved)
    fresh = to_numpy(new.recurrent_kernel.value)
    np.testing.assert_array_equal(fresh != 0, mask)
    assert (fresh[mask] != to_numpy(cell.recurrent_kernel.value)[mask]).all()
    rewound = km.lottery_ticket(model, rewind=model)
    for old, again in zip(model.get_weights(), rewound.get_weights(), strict=True):
        np.testing.assert_array_equal(old, again)
    with pytest.raises(ValueError, match="Blocks have moved"):
        km.lottery_ticket(model, rewind=before)


def test_compressed_files_hold_blocks_and_where_they_are(tmp_path):
    model = make_model()
    model.layers[0].cell.recurrent_kernel_indices.assign(np.tile(INDICES[::-1], (3, 1)))
    prune(model, sparsity=0.9)
    path = tmp_path / "model.keras"
    km.save_compressed(model, path)
    copy = km.load_compressed(path)
    for old, new in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_allclose(copy.predict(DATA[0]), model.predict(DATA[0]), rtol=1e-5)
    kernel = find_kernel(copy.layers[0].cell.recurrent_kernel)
    assert kernel.layout.indices == tuple(map(tuple, np.tile(INDICES[::-1], (3, 1))))
    assert km.sparsity(copy).total == km.sparsity(model).total


def test_callbacks_wait_for_the_final_sparsity_of_blocks():
    model = make_model(gates=1)
    stopping = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    callbacks = [
        km.MagnitudePruning(1 / 3, structure=(4, 6), select="recurrent", end=2),
        km.AtFinalSparsity(stopping),
    ]
    history = model.fit(*DATA, epochs=4, verbose=0, callbacks=callbacks)
    assert stopping.best_epoch >= 2
    assert history.history["sparsity"][-1] == pytest.approx(1 / 3)
    kept = measure_blocks(to_numpy(model.layers[0].cell.recurrent_kernel.value)) > 0
    np.testing.assert_array_equal(kept.sum(axis=1), 2)
