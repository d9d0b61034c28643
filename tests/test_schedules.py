"""Schedules at the begin, between, at the end and beyond."""

import keras
import pytest

import keras_moduli as km
from tests.cases import SCHEDULES, table

each = pytest.mark.parametrize("case", **table(SCHEDULES))


@each
def test_values(case):
    schedule, expected = case
    assert [schedule(p / 4) for p in range(5)] == pytest.approx(expected)
    assert schedule(1.0) == 1.0, "the end is exact"
    assert (schedule(-1.0), schedule(2.0)) == (schedule(0.0), 1.0)


@each
def test_config_round_trip(case):
    config = keras.saving.serialize_keras_object(case[0])
    assert km.schedules.get(config) == case[0]


def test_any_function_is_a_schedule():
    assert km.schedules.get(abs) is abs
