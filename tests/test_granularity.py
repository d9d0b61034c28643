"""What is pruned at once, against loops; what competes; what comes back."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from keras_moduli.pruning import SET, Blocks, NofM, RigL, Weights, erdos_renyi_kernel
from keras_moduli.pruning._ranking import prune_masks, regrow_masks
from tests import oracles

SIDES = st.integers(1, 9)


@st.composite
def matrices(draw):
    """Scores with many ties and a mask of what was pruned before."""
    shape = (draw(SIDES), draw(SIDES))
    values = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0])
    scores = draw(arrays("float32", shape, elements=values))
    mask = draw(arrays(bool, shape, elements=st.booleans()))
    mask[draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))] = True
    return scores, mask


@given(matrices(), st.integers(1, 4), st.integers(1, 4), st.floats(0, 1), st.booleans())
def test_blocks_equal_the_oracle(matrix, height, width, share, balanced):
    scores, mask = matrix
    granularity = Blocks((height, width), balanced, pad=True)
    zeros = round(share * scores.size)
    (found,) = prune_masks([scores], [mask], zeros, granularity)
    expected = oracles.pruned_units(
        scores, mask, zeros, lambda r, c: (r // height, c // width), balanced
    )
    np.testing.assert_array_equal(found, expected)
    assert found.any()
    assert not (found & ~mask).any(), "nothing revives"


@given(st.integers(1, 4), st.integers(1, 4), st.floats(0, 1), st.data())
def test_balanced_columns_keep_equally_many_blocks(down, across, share, data):
    height, width = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    shape = (down * height, across * width)
    scores = data.draw(arrays("float32", shape, elements=st.floats(0, 1, width=32)))
    granularity = Blocks((height, width))
    mask = np.ones(shape, bool)
    for step in (0.5 * share, share):  # and stays balanced when pruned further
        (mask,) = prune_masks([scores], [mask], round(step * mask.size), granularity)
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
    granularity = NofM(kept, group)
    mask = np.ones(scores.shape, bool)
    for share in (0.3, 1.0):
        zeros = round(share * granularity.final_sparsity * scores.size)
        (mask,) = prune_masks([scores], [mask], zeros, granularity)
        assert (~mask).sum() == zeros
    for column in range(columns):
        for start in range(0, len(scores), group):
            part = scores[start : start + group, column]
            best = set(np.sort(part)[-kept:])
            assert set(part[mask[start : start + group, column]]) == best


def test_a_pattern_counts_what_is_masked_already():
    scores = np.arange(1.0, 9)[:, None]
    mask = np.array([[False]] * 4 + [[True]] * 4)
    (found,) = prune_masks([scores], [mask], 5, NofM(2, 4))
    assert found.ravel().tolist() == [False] * 5 + [True] * 3


def test_a_padded_group_keeps_as_many():
    mask = np.ones((6, 1), bool)
    (found,) = prune_masks([np.arange(1.0, 7)[:, None]], [mask], 3, NofM(2, 4, pad=True))
    assert found.ravel().tolist() == [False, False, True, True, True, True]


@given(matrices(), st.floats(0, 1), st.data())
def test_regrowth_keeps_the_number(matrix, fraction, data):
    scores, mask = matrix
    hopes = st.sampled_from([0.0, 1.0, 2.0])
    potentials = data.draw(arrays("float32", scores.shape, elements=hopes))
    (found,) = regrow_masks([scores], [potentials], [mask], fraction, Weights())
    assert found.sum() == mask.sum()
    gone, back = mask & ~found, found & ~mask
    assert gone.sum() == back.sum()
    (rest,) = prune_masks(
        [scores], [mask], int((~mask).sum() + int(fraction * mask.sum())), Weights()
    )
    assert (rest <= found).all(), "only the lowest make room"
    if back.any() and (~found).any():
        assert potentials[back].min() >= potentials[~found].max(), "the best come back"


def test_how_much_regrows():
    progress = (0.0, 0.25, 0.5, 1.0)
    cosine = [0.4, 0.2 * (1 + math.sqrt(0.5)), 0.2, 0.0]
    assert [RigL(0.4).compute_fraction(p) for p in progress] == pytest.approx(cosine)
    assert [SET(0.4).compute_fraction(p) for p in progress] == [0.4, 0.4, 0.4, 0.0]


def test_regrowth_of_balanced_blocks_stays_balanced():
    rng = np.random.RandomState(0)
    granularity = Blocks((2, 2))
    scores, potentials = rng.uniform(size=(2, 12, 8))
    (mask,) = prune_masks([scores], [np.ones((12, 8), bool)], 64, granularity)
    (found,) = regrow_masks([scores], [potentials], [mask], 0.5, granularity)
    blocks = found.reshape(6, 2, 4, 2)
    assert blocks.all((1, 3)).sum(axis=0).tolist() == [2, 2, 2, 2]
    assert (blocks.any((1, 3)) == blocks.all((1, 3))).all()
    assert (found != mask).any()


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
