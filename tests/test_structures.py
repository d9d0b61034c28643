"""What is pruned at once, against loops; what competes; what comes back."""

import math
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from keras_moduli import pruning
from keras_moduli.pruning import SET, Blocks, NofM, RigL, Weights, erdos_renyi_kernel
from keras_moduli.pruning._ranking import (
    magnitude_masks,
    prune_masks,
    regrow_masks,
)
from keras_moduli.pruning.scopes import Kernel
from tests import oracles
from tests.cases import REGROWTHS, SCOPES, SCORES, STRUCTURES, table

pytestmark = pytest.mark.backend_independent

SIDES = st.integers(1, 9)

# Ties are what counts go wrong on, so weights come from few values, zero among them.
WEIGHTS = arrays(
    "float32",
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    elements=st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0]),
)


@st.composite
def matrices(draw):
    """Scores with many ties and a mask of what was pruned before."""
    shape = (draw(SIDES), draw(SIDES))
    values = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0])
    scores = draw(arrays("float32", shape, elements=values))
    mask = draw(arrays(bool, shape, elements=st.booleans()))
    mask[draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))] = True
    return scores, mask


@given(
    weights=st.lists(WEIGHTS, min_size=1, max_size=4),
    share=st.floats(0, 1),
    data=st.data(),
)
def test_masks_equal_the_oracle(weights, share, data):
    masks = [
        data.draw(arrays(bool, w.shape, elements=st.booleans()), label="mask")
        for w in weights
    ]
    for mask in masks:
        mask.ravel()[0] = True  # pruning always leaves one
    size = sum(w.size for w in weights)
    count = round(share * size)
    new = magnitude_masks(weights, masks, count)
    for mask, expected in zip(new, oracles.pruned(weights, masks, count), strict=True):
        np.testing.assert_array_equal(mask, expected)
        assert mask.any(), "every matrix keeps a weight"
    masked = sum(int((~m).sum()) for m in masks)
    exact = min(max(count, masked), size - len(weights))
    assert sum(int((~m).sum()) for m in new) == exact
    for before, after in zip(masks, new, strict=True):
        assert not (after & ~before).any(), "nothing revives"


@given(matrices(), st.integers(1, 4), st.integers(1, 4), st.floats(0, 1), st.booleans())
def test_blocks_equal_the_oracle(matrix, height, width, share, balanced):
    scores, mask = matrix
    structure = Blocks((height, width), balanced, pad=True)
    zeros = round(share * scores.size)
    (new,) = prune_masks([scores], [mask], zeros, structure)
    expected = oracles.pruned_units(
        scores, mask, zeros, lambda r, c: (r // height, c // width), balanced
    )
    np.testing.assert_array_equal(new, expected)
    assert new.any()
    assert not (new & ~mask).any(), "nothing revives"


@given(st.integers(1, 4), st.integers(1, 4), st.floats(0, 1), st.data())
def test_balanced_columns_keep_equally_many_blocks(down, across, share, data):
    height, width = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    shape = (down * height, across * width)
    scores = data.draw(arrays("float32", shape, elements=st.floats(0, 1, width=32)))
    structure = Blocks((height, width))
    mask = np.ones(shape, bool)
    for step in (0.5 * share, share):  # and stays balanced when pruned further
        (mask,) = prune_masks([scores], [mask], round(step * mask.size), structure)
        blocks = mask.reshape(down, height, across, width)
        assert (blocks.any((1, 3)) == blocks.all((1, 3))).all(), "blocks are whole"
        assert len(set(blocks.all((1, 3)).sum(axis=0))) == 1
    unit = across * width * height
    wanted = min(round(share * mask.size), (down - 1) * unit)
    assert abs(int((~mask).sum()) - wanted) <= unit / 2


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from([(1, 2), (2, 4), (1, 4), (4, 8)]),
)
def test_patterns_keep_the_best_of_each_group(groups, columns, pattern):
    kept, group = pattern
    rng = np.random.RandomState(groups * 10 + columns)
    scores = rng.permutation(groups * group * columns).reshape(-1, columns) + 1.0
    structure = NofM(kept, group)
    mask = np.ones(scores.shape, bool)
    for share in (0.3, 1.0):
        zeros = round(share * structure.final_sparsity * scores.size)
        (mask,) = prune_masks([scores], [mask], zeros, structure)
        assert (~mask).sum() == zeros
    for column in range(columns):
        for start in range(0, len(scores), group):
            part = scores[start : start + group, column]
            best = set(np.sort(part)[-kept:])
            assert set(part[mask[start : start + group, column]]) == best


def test_a_pattern_counts_what_is_masked_already():
    scores = np.arange(1.0, 9)[:, None]
    mask = np.array([[False]] * 4 + [[True]] * 4)
    (new,) = prune_masks([scores], [mask], 5, NofM(2, 4))
    assert new.ravel().tolist() == [False] * 5 + [True] * 3


def test_a_padded_group_keeps_as_many():
    mask = np.ones((6, 1), bool)
    (new,) = prune_masks([np.arange(1.0, 7)[:, None]], [mask], 3, NofM(2, 4, pad=True))
    assert new.ravel().tolist() == [False, False, True, True, True, True]


@given(matrices(), st.floats(0, 1), st.data())
def test_regrowth_keeps_the_number(matrix, fraction, data):
    scores, mask = matrix
    hopes = st.sampled_from([0.0, 1.0, 2.0])
    potentials = data.draw(arrays("float32", scores.shape, elements=hopes))
    (new,) = regrow_masks([scores], [potentials], [mask], fraction, Weights())
    assert new.sum() == mask.sum()
    gone, back = mask & ~new, new & ~mask
    assert gone.sum() == back.sum()
    (rest,) = prune_masks(
        [scores], [mask], int((~mask).sum() + int(fraction * mask.sum())), Weights()
    )
    assert (rest <= new).all(), "only the lowest make room"
    if back.any() and (~new).any():
        assert potentials[back].min() >= potentials[~new].max(), "the best come back"


def test_how_much_regrows():
    progress = (0.0, 0.25, 0.5, 1.0)
    cosine = [0.4, 0.2 * (1 + math.sqrt(0.5)), 0.2, 0.0]
    assert [RigL(0.4).compute_fraction(p) for p in progress] == pytest.approx(cosine)
    assert [SET(0.4).compute_fraction(p) for p in progress] == [0.4, 0.4, 0.4, 0.0]


def test_regrowth_of_balanced_blocks_stays_balanced():
    rng = np.random.RandomState(0)
    structure = Blocks((2, 2))
    scores, potentials = rng.uniform(size=(2, 12, 8))
    (mask,) = prune_masks([scores], [np.ones((12, 8), bool)], 64, structure)
    (new,) = regrow_masks([scores], [potentials], [mask], 0.5, structure)
    blocks = new.reshape(6, 2, 4, 2)
    assert blocks.all((1, 3)).sum(axis=0).tolist() == [2, 2, 2, 2]
    assert (blocks.any((1, 3)) == blocks.all((1, 3))).all()
    assert (new != mask).any()


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=5),
    st.floats(0.01, 1),
)
def test_erdos_renyi_kernel(shapes, density):
    densities = erdos_renyi_kernel(shapes, density)
    sizes = [math.prod(shape) for shape in shapes]
    kept = sum(d * n for d, n in zip(densities, sizes, strict=True))
    assert kept == pytest.approx(density * sum(sizes))
    assert all(0 < d <= 1 + 1e-12 for d in densities)
    free = [
        d * n / sum(s)
        for d, n, s in zip(densities, sizes, shapes, strict=True)
        if d < 1 - 1e-9
    ]
    assert free == pytest.approx([free[0]] * len(free) if free else []), "one ε"


def test_erdos_renyi_kernel_by_hand():
    # ε·(10 + 10)/100 and ε·(100 + 100)/10000, ε = 0.1·10100 / (20 + 200).
    epsilon = 1010 / 220
    assert erdos_renyi_kernel([(10, 10), (100, 100)], 0.1) == pytest.approx(
        [epsilon * 0.2, epsilon * 0.02]
    )


# -- the families --


@pytest.mark.parametrize("case", **table(STRUCTURES))
def test_every_structure(case):
    """Half of a matrix, in four steps, of which each keeps the zeros of the last."""
    structure, zeros = case
    scores = np.random.RandomState(0).uniform(0.1, 1, size=(16, 8))
    structure.check(scores.shape)
    mask = np.ones(scores.shape, bool)
    for step in range(1, 5):
        before = mask
        (mask,) = prune_masks([scores], [mask], 16 * step, structure)
        assert not (mask & ~before).any()
    assert (~mask).sum() == zeros
    units = structure.compute_units(scores, mask)
    kept = units.spread(units.scores >= 0).reshape(mask.shape)
    np.testing.assert_array_equal(kept, mask, "masked units have scores of −1")
    assert structure.final_sparsity in (None, 0.5)


@pytest.mark.parametrize("case", **table(SCOPES))
def test_every_scope(case):
    scope, competing = case
    shapes = {(4, 8): 2, (8, 8): 2, (8, 1): 1}
    kernels = [Kernel(SimpleNamespace(shape=s), 0.75, g) for s, g in shapes.items()]
    groups = scope.compute_groups(kernels)
    assert [[part.kernel for part in group.parts] for group in groups] == competing
    counts = [np.zeros(shape, int) for shape in shapes]
    for group in groups:
        for part in group.parts:
            part.view(counts)[...] += 1
    assert all((count == 1).all() for count in counts), "each weight in one group"
    sizes = [sum(part.view(counts).size for part in group.parts) for group in groups]
    zeros = sum(g.sparsity * size for g, size in zip(groups, sizes, strict=True))
    assert zeros == pytest.approx(0.75 * sum(count.size for count in counts))


def test_weights_of_another_sparsity_do_not_compete():
    kernels = [
        Kernel(SimpleNamespace(shape=(9, 9)), sparsity) for sparsity in (0.5, 0.9, 0.5)
    ]
    for case in SCOPES.values():
        for group in case[0].compute_groups(kernels):
            asked = {kernels[part.kernel].sparsity for part in group.parts}
            assert len(asked) == 1
            assert group.sparsity == pytest.approx(asked.pop())


@pytest.mark.parametrize(
    ("family", "objects"),
    [
        (pruning.structures, [row[0] for row in STRUCTURES.values()]),
        (pruning.scopes, [row[0] for row in SCOPES.values()]),
        (pruning.scores, list(SCORES.values())),
        (pruning.regrowth, REGROWTHS),
    ],
)
def test_a_name_a_config_or_an_object(family, objects):
    for value in objects:
        config = keras.saving.serialize_keras_object(value)
        assert family.get(value) is value
        assert family.get(config) == value
        assert hash(value) == hash(family.get(config))
    classes = {type(value) for value in objects}
    for name in family.names():
        if name not in ("blocks", "n_of_m"):
            assert type(family.get(name)) in classes


def test_a_pair_is_balanced_blocks():
    assert pruning.structures.get((16, 64)) == Blocks((16, 64), balanced=True)
    assert pruning.structures.get([16, 64]) == Blocks((16, 64), pad=False)
