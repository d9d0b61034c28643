"""Inhibitors against their formulas in plain Python."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_moduli as km
from tests import oracles
from tests.cases import INHIBITORS, table

each = pytest.mark.parametrize("case", **table(INHIBITORS))
DISTANCES = [0.0, 1e-3, 0.3, 0.8879, 1.0, 2.5, 7.0, 15.7]


@each
def test_formula(case):
    inhibitor, formula = case
    found = inhibitor(np.square(DISTANCES).astype("float32"))
    expected = [formula(d) for d in DISTANCES]
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found), expected, rtol=1e-5, atol=1e-4
    )
    assert min(expected) >= -1e-6, "a cost is never negative"


@each
def test_config_round_trip(case):
    config = keras.saving.serialize_keras_object(case[0])
    assert km.inhibitors.get(config) == case[0]


@pytest.mark.backend_independent
@pytest.mark.parametrize("narrow", [5.0, 6.0])
def test_equal_widths_cancel_and_are_refused(narrow):
    with pytest.raises(ValueError, match=r"^`narrow` must be below `wide`\. .*narrow="):
        km.inhibitors.DifferenceOfGaussians(1.0, 5.0, narrow)


@pytest.mark.parametrize(("wide", "narrow"), [(5.0, 0.25), (3.0, 0.5), (9.0, 8.0)])
def test_cheapest_distance_costs_nothing_from_the_peak(wide, narrow):
    dog = km.inhibitors.DifferenceOfGaussians(7.0, wide, narrow, baseline="peak")
    where, peak = oracles.peak_of_dog(wide, narrow)
    assert dog.cheapest_distance == pytest.approx(where, abs=1e-4)
    cheapest = float(dog(np.float32(dog.cheapest_distance**2)))
    assert cheapest == pytest.approx(0.0, abs=1e-5)
    assert float(dog(np.float32(400.0))) == pytest.approx(7 * peak, rel=1e-5)


def test_published_peak():
    where, peak = oracles.peak_of_dog(5.0, 0.25)
    assert where == pytest.approx(0.8879, abs=1e-4)
    assert peak == pytest.approx(0.811425, abs=1e-6)


I = km.inhibitors  # noqa: E741


@pytest.mark.backend_independent
@pytest.mark.parametrize("inhibitor", [I.DifferenceOfGaussians, I.Gaussian, I.Ripple])
def test_the_scale_for_a_density_is_that_of_every_amplitude(inhibitor):
    plain = inhibitor.for_density("torus")
    assert plain == inhibitor.for_density(km.manifolds.Torus(), 0.1, 1.0)
    assert plain != inhibitor.for_density("torus", 0.2)
    high = inhibitor.for_density("torus", amplitude=7.0)
    assert high == dataclasses.replace(plain, amplitude=7.0)


@pytest.mark.backend_independent
def test_the_widths_for_a_density_are_as_published():
    for baseline in ("amplitude", "peak"):
        dog = I.DifferenceOfGaussians.for_density("torus", 0.2, baseline=baseline)
        assert dog.wide / dog.narrow == pytest.approx(20)
        assert dog.baseline == baseline
    assert I.DifferenceOfGaussians.for_density("torus").baseline == "amplitude"
