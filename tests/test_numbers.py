"""Numbers at the edge: NaN in, NaN out, and no overflow that reads 0."""

import keras
import numpy as np
import pytest

import keras_moduli as km
from tests.cases import INHIBITORS, MANIFOLDS, table

to_numpy = keras.ops.convert_to_numpy


@pytest.mark.parametrize("case", **table(MANIFOLDS))
def test_no_number_is_at_no_distance(case):
    points = case.manifold.sample(3).astype("float32")
    lost = points.copy()
    lost[0, -1] = np.nan
    found = to_numpy(case.manifold.pairwise(points, lost))
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1:]).all()


@pytest.mark.parametrize("case", **table(INHIBITORS))
def test_no_number_has_no_cost(case):
    if not isinstance(case[0], km.inhibitors.Constant):
        assert np.isnan(to_numpy(case[0](np.array([np.nan], "float32")))).all()


@pytest.mark.parametrize("name", ["euclidean", "sphere", "projective_space"])
def test_points_far_out_do_not_coincide(name):
    manifold = MANIFOLDS[name].manifold
    x, y = np.array([[1e25, 0, 0], [0, 1e25, 1e24]], "float32")
    assert float(manifold.distance(x, y)) != 0


@pytest.mark.parametrize("bad", ["01", [["0"]], [[0.5]], [[0, 0]], [[-1]], 3, [3]])
def test_indices_of_blocks(bad):
    with pytest.raises((TypeError, ValueError), match=r"ind|column"):
        km.sparse.BlockLayout(8, 4, (4, 4), bad)
