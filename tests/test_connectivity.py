"""Laws of layouts: exact density, equal degrees, diagonals, no islands, no chance."""

import dataclasses
import hashlib
import itertools
import re
import tracemalloc

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_moduli as km
from keras_moduli.connectivity import _assignment, _islands
from keras_moduli.connectivity._grid import Grid
from tests.cases import CONNECTIVITIES, table

C, M = km.connectivity, km.manifolds
UNITS = 64
each = pytest.mark.parametrize("make", **table(CONNECTIVITIES))
any_size = {k: make for k, make in CONNECTIVITIES.items() if k != "local on a graph"}
each_of_any_size = pytest.mark.parametrize("make", **table(any_size))
BLOCKS = [(1, 1), (4, 4), (4, 16), (16, 4), (8, 8), (2, 32), (64, 64)]


def is_diagonal(i, j, block):
    """Whether a block holds a neuron's connection with itself, by a loop."""
    rows = range(i * block[0], (i + 1) * block[0])
    return bool({*rows} & {*range(j * block[1], (j + 1) * block[1])})


def reaches_all(layout):
    """Whether each neuron reaches each other, by powers of the matrix of all of them."""
    reach = layout.unpack(np.ones(layout.shape)) > 0
    for _ in range(int(np.log2(len(reach))) + 1):
        reach = reach | (reach.astype(float) @ reach > 0)
    return reach.all()


def count_least(block, units=UNITS):
    """The fewest blocks of a column with which nodes of blocks can reach each other."""
    diagonal = max(1, block[1] // block[0])
    return diagonal + (max(block) < units)


def degrees(layout):
    down = layout.rows // layout.block[0]
    return np.bincount(np.ravel(layout.indices), minlength=down)


def assert_balanced(layout, density):
    down, across = layout.rows // layout.block[0], layout.columns // layout.block[1]
    count = round(density * down)
    assert layout.density == pytest.approx(density, rel=1e-12)
    assert len(layout.indices) == across
    for column in layout.indices:
        assert len(column) == len(set(column)) == count
        assert list(column) == sorted(column)
    rows = degrees(layout)
    assert {rows.min(), rows.max()} <= {
        across * count // down,
        -(-across * count // down),
    }
    if across * count % down == 0:
        assert rows.min() == rows.max()


@each
@settings(max_examples=12)
@given(block=st.sampled_from(BLOCKS), data=st.data())
def test_laws_of_a_recurrent_kernel(make, block, data):
    down = UNITS // block[0]
    count = data.draw(st.integers(count_least(block), down))
    rule = make(count / down, block)
    layout = rule.connect(UNITS, UNITS, recurrent=True)
    assert_balanced(layout, count / down)
    for j, column in enumerate(layout.indices):
        assert {i for i in range(down) if is_diagonal(i, j, block)} <= {*column}
    assert reaches_all(layout)
    assert rule.connect(UNITS, UNITS, recurrent=True) == layout, "no chance"
    assert rule.connect(UNITS, UNITS, gates=3, recurrent=True).indices == (
        3 * layout.indices
    )


@each
def test_few_blocks_make_no_islands(make):
    """Also where all that is near would be a pair."""
    for block in BLOCKS:
        density = count_least(block) * block[0] / UNITS
        assert reaches_all(make(density, block).connect(UNITS, UNITS, recurrent=True))


@each_of_any_size
@pytest.mark.parametrize("block", [(3, 4), (12, 8), (8, 12)])
def test_blocks_of_which_neither_divides_the_other(make, block):
    down = 48 // block[0]
    for count in range(3, down + 1):
        layout = make(count / down, block).connect(48, 48, recurrent=True)
        assert_balanced(layout, count / down)
        assert reaches_all(layout)


@each_of_any_size
@settings(max_examples=6)
@given(
    block=st.sampled_from([(2, 4), (4, 2), (1, 3)]),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    data=st.data(),
)
def test_laws_of_other_kernels(make, block, sizes, data):
    rows, units = (n * size for n, size in zip(sizes, block, strict=True))
    count = data.draw(st.integers(1, sizes[0]))
    rule = make(count / sizes[0], block)
    assert_balanced(rule.connect(rows, units), count / sizes[0])


@each
def test_a_rule_is_a_value(make):
    rule = make(0.5, (4, 4))
    config = keras.saving.serialize_keras_object(rule)
    again = keras.saving.deserialize_keras_object(config)
    assert again == rule == C.get(config) == C.get(rule)
    assert hash(again) == hash(rule)
    layout = rule.connect(UNITS, UNITS, recurrent=True)
    assert again.connect(UNITS, UNITS, recurrent=True) == layout
    with pytest.raises(dataclasses.FrozenInstanceError):
        rule.block = (1, 1)


def test_a_mask_is_saved_with_its_layout():
    rule = C.FromMask.of(np.eye(8, dtype=bool), (2, 4))
    config = keras.saving.serialize_keras_object(rule)
    assert keras.saving.deserialize_keras_object(config) == rule
    assert rule.connect(8, 8).indices == ((0, 1), (2, 3))
    assert rule.connect(8, 8, gates=2).indices == ((0, 1), (2, 3)) * 2
    both = C.FromMask.of(np.tri(8, 16, dtype=bool), (2, 4))
    assert both.connect(8, 8, gates=2) == both.layout


# Of the layouts that these rules made first, on each of the three backends.
HASHES = {
    "euclidean": "0ea91a87",
    "euclidean, small world": "a9b23751",
    "circle": "25a92ce6",
    "circle, small world": "5499b1a8",
    "torus": "fed61727",
    "torus, small world": "fc954f9a",
    "klein": "6c22c399",
    "klein, small world": "68f0b9a9",
    "mobius": "5b2e1cfe",
    "mobius, small world": "49c24bce",
    "sphere": "33c637f9",
    "sphere, small world": "280befa0",
    "projective": "47fea981",
    "projective, small world": "8f49196c",
    "so3": "65111650",
    "so3, small world": "b97e30a2",
    "ball": "f1571419",
    "ball, small world": "a5eaea29",
    "product": "d88b82a9",
    "product, small world": "bb577339",
    "random": "79b29338",
    "banded": "0e21f405",
    "permuted": "829c2bc8",
}


def rules_with_hashes():
    for name, manifold in {
        "euclidean": "euclidean",
        "circle": "circle",
        "torus": "torus",
        "klein": "klein_bottle",
        "mobius": "mobius_strip",
        "sphere": "sphere",
        "projective": "projective_space",
        "so3": "so3",
        "ball": "poincare_ball",
        "product": M.Product(["circle", "sphere"]),
    }.items():
        yield name, C.Local(manifold, 1 / 8, (8, 32))
        yield f"{name}, small world", C.SmallWorld(manifold, 1 / 8, (16, 16), 0.2, 1)
    yield "random", C.Random(1 / 8, (8, 32), 3)
    yield "banded", C.Banded(1 / 8, (8, 32))
    yield "permuted", C.Permuted(C.Local("torus", 1 / 8, (8, 32)), 4)


def digest(layout):
    return hashlib.sha256(str(layout.indices).encode()).hexdigest()[:8]


@pytest.mark.parametrize(("name", "rule"), [*rules_with_hashes()])
def test_same_layout_on_every_backend_and_in_every_version(name, rule):
    assert digest(rule.connect(1024, 1024, recurrent=True)) == HASHES[name]


def test_same_layout_inside_of_a_compiled_step():
    rule, found = C.Local("sphere", 1 / 4, (4, 4)), []

    class Connected(keras.layers.Layer):
        def call(self, x):
            found.append(rule.connect(UNITS, UNITS, recurrent=True))
            return x

    model = keras.Sequential([Connected(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    assert {*found} == {rule.connect(UNITS, UNITS, recurrent=True)}


def test_local_blocks_are_near():
    """About as near as if rows of blocks could be used as often as one likes."""
    for manifold, block in itertools.product(["torus", "sphere"], [(8, 8), (4, 16)]):
        rule = C.Local(manifold, 1 / 8, block)
        rank = np.sqrt(rule.rank(512, 512, True))
        layout = rule.connect(512, 512, recurrent=True)
        found = np.take_along_axis(rank, np.array(layout.indices).T, axis=0)
        bound = np.sort(rank, axis=0)[: len(found)]
        control = C.Permuted(rule).connect(512, 512, recurrent=True)
        far = np.take_along_axis(rank, np.array(control.indices).T, axis=0)
        assert found.mean() < 1.2 * bound.mean()
        assert found.mean() < far.mean() / 2


def test_rank_of_local_is_the_distance_of_neurons_when_blocks_are_neurons():
    manifold = M.Torus()
    points = manifold.sample(12, 4)
    expected = keras.ops.convert_to_numpy(
        manifold.squared_distance(
            points[:, None].astype("float32"), points[None].astype("float32")
        )
    )
    rank = C.Local(manifold, 0.5, (1, 1), seed=4).rank(12, 12, True)
    np.testing.assert_allclose(rank, expected, atol=1e-4)
    inputs = manifold.sample(9, 5)
    expected = keras.ops.convert_to_numpy(
        manifold.squared_distance(
            inputs[:, None].astype("float32"), points[None].astype("float32")
        )
    )
    rank = C.Local(manifold, 1 / 3, (1, 1), seed=4).rank(9, 12, False)
    np.testing.assert_allclose(rank, expected, atol=1e-4)


@pytest.mark.parametrize("long_range", [0.0, 0.1, 0.5, 1.0])
def test_as_many_blocks_are_moved_as_small_world_says(long_range):
    """Few of those that are moved come to lie where they or others lay."""
    local = C.Local("torus", 1 / 16, (8, 8))
    rule = C.SmallWorld("torus", 1 / 16, (8, 8), long_range)
    before, after = (
        {
            (i, j)
            for j, column in enumerate(r.connect(1024, 1024, recurrent=True).indices)
            for i in column
        }
        for r in (local, rule)
    )
    free = len(before) - 128
    moved = len(before - after)
    assert 0.8 * long_range * free <= moved <= long_range * free + 1


def test_banded_is_a_band():
    layout = C.Banded(5 / 16, (4, 4)).connect(64, 64, recurrent=True)
    for j, column in enumerate(layout.indices):
        assert {(i - j + 2) % 16 for i in column} == {0, 1, 2, 3, 4}
    # Sixteen columns of blocks over eight rows: both halves of what lies below.
    layout = C.Banded(1 / 8, (8, 2)).connect(64, 32)
    assert layout.indices == tuple((j // 2,) for j in range(16))


@each
def test_permuted_keeps_degrees_and_diagonal(make):
    for block, recurrent in itertools.product([(4, 4), (4, 16), (16, 4)], [True, False]):
        rule = make(0.5, block)
        layout = rule.connect(UNITS, UNITS, recurrent=recurrent)
        control = C.Permuted(rule, 1).connect(UNITS, UNITS, recurrent=recurrent)
        np.testing.assert_array_equal(degrees(control), degrees(layout))
        assert control.shape == layout.shape
        assert control != layout
        for j, column in enumerate(layout.indices if recurrent else ()):
            kept = {i for i in column if is_diagonal(i, j, block)}
            assert kept <= {*control.indices[j]}


def test_permuted_takes_any_mask():
    mask = np.random.RandomState(0).uniform(size=(30, 20)) < 0.05
    rule = C.FromMask.of(mask, (4, 3))  # which stick out
    control = C.Permuted(rule).connect(30, 20)
    assert control != rule.layout
    count = np.bincount(np.ravel(rule.layout.indices), minlength=8)
    np.testing.assert_array_equal(
        np.bincount(np.ravel(control.indices), minlength=8), count
    )
    gates = C.FromMask.of(np.tri(8, 16, 3, dtype=bool), (2, 2))
    two = C.Permuted(gates).connect(8, 8, gates=2, recurrent=True)
    assert two.shape == gates.layout.shape
    twice = C.Permuted(C.FromMask.of(np.tri(8, 8, dtype=bool), (2, 2)))
    indices = twice.connect(8, 8, gates=2, recurrent=True).indices
    assert indices[:4] == indices[4:], "gates that are alike stay alike"


@settings(max_examples=60)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 99), st.data())
def test_assignment_finds_what_exists(down, across, seed, data):
    """Also of few values of rank, where nearly all blocks are there."""
    count = data.draw(st.integers(1, down))
    rng = np.random.RandomState(seed)
    rank = rng.randint(3, size=(down, across)).astype("float32")
    grid = Grid(down, across, (1, 1), False)
    taken = _assignment.fill(rank, grid, count)
    assert (taken.sum(axis=0) == count).all()
    np.testing.assert_array_equal(taken.sum(axis=1), grid.quotas(count))


def test_ties_are_broken_by_row_and_column():
    """So that a file means the same everywhere: not by how a machine sorts."""
    equal, nothing = np.zeros((3, 2)), np.zeros((3, 2), bool)
    taken = _assignment.assign(equal, nothing, np.array([1, 1]), np.array([1, 1, 1]))
    np.testing.assert_array_equal(taken, np.eye(3, 2, dtype=bool))


def test_nothing_that_is_not_there_is_made():
    with pytest.raises(ValueError, match="no layout of this density"):
        _assignment.assign(
            np.zeros((2, 2)), np.eye(2, dtype=bool), np.array([1, 1]), np.array([2, 0])
        )
    with pytest.raises(ValueError, match="no layout of this density"):
        _assignment.assign(
            np.zeros((2, 2)), np.zeros((2, 2), bool), np.array([2, 0]), np.array([2, 0])
        )
    full = np.ones((2, 2), bool)  # in which no row is reached
    with pytest.raises(ValueError, match="no layout of this density"):
        _assignment._augment(full, full, np.zeros(2, int), np.zeros((2, 2)), 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_islands_are_those_of_a_search(pairs):
    start, end = np.array(pairs, int).reshape(-1, 2).T
    label = _islands._label(start, end, 10)
    reach = np.eye(10, dtype=bool)
    for a, b in pairs:
        reach[a, b] = reach[b, a] = True
    for _ in range(4):
        reach = reach @ reach
    np.testing.assert_array_equal(label[:, None] == label, reach)


def test_a_wide_network_has_no_matrix_of_neurons():
    """65,536 units: far less memory than one byte for each two of them, 4 GiB."""
    rule = C.Local("torus", 8 / 4096, (16, 64))
    tracemalloc.start()
    layout = rule.connect(65536, 65536, recurrent=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**30
    assert_balanced(layout, 8 / 4096)
    assert layout.shape == (1024, 64, 128)


def test_example_of_a_rule_of_ones_own():
    @dataclasses.dataclass(frozen=True)
    class Wrong(C.Balanced):
        density: float
        block: tuple

        def rank(self, rows, units, recurrent):
            return np.zeros((rows, units))

    with pytest.raises(ValueError, match=r"`rank` .* shape \(2, 2\).*\(8, 8\)"):
        Wrong(0.5, (4, 4)).connect(8, 8)


FINITE = M.FiniteMetric.from_graph(np.eye(4, k=1))
DENSE = {"recurrent": True}
ERRORS = [
    # The rule, the kernel, and parts of the message.
    (lambda: C.Random(0, (4, 4)), None, ["`density` must be above 0"]),
    (lambda: C.Random(1.5, (4, 4)), None, ["`density` must be in (0, 1]", "1.5"]),
    (lambda: C.Random(0.5, (4, 0)), None, ["`block` must be at least 1"]),
    (lambda: C.Random(0.5, (4, 4), -1), None, ["`seed` must be at least 0"]),
    (
        lambda: C.SmallWorld("torus", 0.5, (4, 4), 1.5),
        None,
        ["`long_range`", "at most 1"],
    ),
    (lambda: C.Local("tours", 0.5), None, ["Did you mean 'torus'?"]),
    (lambda: C.get("local"), None, ["Local(manifold=..., density=...)"]),
    (lambda: C.get("rnadom"), None, ["Did you mean 'random'?"]),
    (lambda: C.Permuted("random"), None, ["Random(density=...)"]),
    (
        lambda: C.Random(0.3, (16, 16)),
        (64, 64),
        ["density=0.3 leaves 1.2", "density=1/4 (0.25) or density=2/4 (0.5)"],
    ),
    (lambda: C.Random(0.01, (16, 16)), (64, 64), ["leaves 0.04", "Type density=1/4"]),
    (
        lambda: C.Random(0.5),
        (100, 100),
        ["100 inputs", "those of 10, 20, 25 inputs", "block=(20, 50)", "(16, 64)"],
    ),
    (lambda: C.Local(FINITE, 0.5, (1, 1)), (8, 8), ["4 elements", "8 outputs"]),
    (lambda: C.Local(FINITE, 0.5, (1, 1)), (2, 4), ["4 elements", "2 inputs"]),
    (lambda: C.Random(0.5, (2, 2)), (0, 4), ["`rows` must be at least 1"]),
    (
        lambda: C.FromMask.of(np.eye(4, dtype=bool), (2, 2)),
        (4, 6),
        ["(4, 4)", "6 units", "FromMask.of(mask, block=(2, 2))", "(4, 6)"],
    ),
    (
        lambda: C.FromMask(km.sparse.BlockLayout(4, 4, (2, 2), ((0, 1), (1, 1)))),
        None,
        ["each of its rows once", "(1, 1)", "BlockLayout.of(mask, block)"],
    ),
]
GATES_ERRORS = [
    (lambda: C.FromMask.of(np.eye(11, dtype=bool), (1, 4)), ["4 outputs", "11 units"]),
    (lambda: C.FromMask.of(np.eye(11, dtype=bool), (1, 4)), ["a mask of all gates"]),
    (
        lambda: C.Permuted(C.FromMask.of(np.ones((11, 33), bool), (1, 4))),
        ["the 3 gates", "divides 11"],
    ),
]
RECURRENT_ERRORS = [
    (C.Local("torus", 4 / 16, (4, 16)), 64, ["4 of the 16 blocks", "density=5/16"]),
    (C.Banded(1 / 16, (4, 16)), 64, ["1 of the 16 blocks", "density=5/16"]),
    (C.Random(1 / 4, (16, 4)), 64, ["1 of the 4 blocks", "density=2/4 (0.5) or more"]),
    (C.Random(3 / 4, (16, 64)), 64, ["3 of the 4 blocks", "density=4/4 (1)"]),
]


@pytest.mark.parametrize(("make", "kernel", "parts"), ERRORS)
def test_errors_say_what_to_type(make, kernel, parts):
    with pytest.raises(ValueError, match=re.escape(parts[0])) as error:
        make().connect(*kernel)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(("make", "parts"), GATES_ERRORS)
def test_gates_that_whole_blocks_do_not_hold(make, parts):
    with pytest.raises(ValueError, match=re.escape(parts[0])) as error:
        make().connect(11, 11, gates=3, recurrent=True)
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(("rule", "units", "parts"), RECURRENT_ERRORS)
def test_too_few_blocks_for_neurons_to_reach_each_other(rule, units, parts):
    with pytest.raises(ValueError, match=re.escape(parts[0])) as error:
        rule.connect(units, units, recurrent=True)
    for part in parts:
        assert part in str(error.value)
    rule.connect(units, units)  # of other inputs, it is fine


def test_what_is_no_rule():
    for wrong in (
        lambda: C.FromMask(3),
        lambda: C.get(3),
        lambda: C.Permuted(C.Random),
        lambda: C.Local(3, 0.5),
        lambda: C.Random("0.5"),
    ):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(ValueError, match="rows=4, units=8"):
        C.Random(0.5, (2, 2)).connect(4, 8, recurrent=True)
