"""When pruning happens: a function of the position alone, and a run that follows it."""

import warnings

import keras
import pytest
from hypothesis import given
from hypothesis import strategies as st

import keras_moduli as km
from keras_moduli.pruning import Timeline
from keras_moduli.pruning._run import Run
from tests.cases import SCHEDULES, table

pytestmark = pytest.mark.backend_independent

POSITIONS = st.integers(0, 60)


@st.composite
def timelines(draw):
    begin, length = draw(st.integers(0, 20)), draw(st.integers(0, 30))
    schedule = draw(st.sampled_from([row[0] for row in SCHEDULES.values()]))
    unit = draw(st.sampled_from(["epoch", "step"]))
    frequency = draw(st.integers(1, 12))
    return Timeline(schedule, begin, begin + length, frequency, unit)


def list_updates(timeline):
    """Positions of all updates, one by one."""
    positions, position = [], timeline.begin
    while position < timeline.end:
        positions.append(position)
        position += timeline.frequency
    return [*positions, timeline.end]


@given(timelines(), POSITIONS)
def test_the_latest_update_equals_the_oracle(timeline, position):
    past = [update for update in list_updates(timeline) if update <= position]
    update = timeline.at(position)
    if not past:
        assert update is None
        return
    length = timeline.end - timeline.begin
    progress = 1.0 if past[-1] == timeline.end else (past[-1] - timeline.begin) / length
    assert update.position == past[-1]
    assert update.progress == progress
    assert update.fraction == timeline.schedule(progress)


@given(timelines(), st.lists(POSITIONS, min_size=1).map(sorted))
def test_a_run_does_each_update_once_wherever_it_starts(timeline, positions):
    """However it steps: over updates, on the spot, or from the middle after a crash."""
    done, adopted = [], []

    run = Run(None, None, timeline=timeline)
    run._adopt_zeros = lambda: adopted.append(True)
    run._prune = lambda update, exchange: done.append((update.position, exchange))
    expected, seen = [], -1
    for number, position in enumerate(positions):
        new = [u for u in list_updates(timeline) if seen < u <= position]
        is_due = bool(new) or number == 0
        assert run.is_due(position) == is_due
        assert run.is_due(position) == is_due, "asking changes nothing"
        assert run.update(position) == is_due
        assert not run.update(position), "once"
        if new:
            # What a resumed run catches up with has exchanged weights already.
            expected.append((new[-1], number > 0 or new[-1] == position))
        seen = position
    assert done == expected
    assert len(adopted) == 1


def test_without_a_timeline_a_run_adopts_zeros_and_prunes_nothing():
    adopted = []
    run = Run(None, None)
    run._adopt_zeros = lambda: adopted.append(True)
    assert [run.update(epoch) for epoch in range(3)] == [True, False, False]
    assert len(adopted) == 1


@given(st.integers(0, 20), st.integers(0, 100))
def test_settling_leaves_the_last_quarter_to_recover(begin, length):
    timeline = Timeline(begin=begin)
    settled = timeline.settle(length)
    assert settled.end == max(begin, int(0.75 * length))
    assert timeline.end is None, "nothing is mutated"
    assert settled.settle(3 * length) == settled == settled.settle(None)
    assert Timeline(begin=begin, end=99).settle(length).end == 99


def test_defaults_and_configs():
    assert Timeline("linear", end=4).at(3).fraction == 0.75
    by_step = Timeline("linear", end=400, unit="step")
    assert [by_step.at(step).fraction for step in (0, 99, 100, 399, 400)] == [
        0.0,
        0.0,
        0.25,
        0.75,
        1.0,
    ]
    config = keras.saving.serialize_keras_object(km.schedules.Cubic(0.5))
    assert Timeline(config).schedule == km.schedules.Cubic(0.5)
    assert Timeline(lambda p: p**2, end=4).at(2).fraction == 0.25
    with pytest.raises(AttributeError):
        by_step.end = 3


@pytest.mark.parametrize("case", **table(SCHEDULES))
def test_a_schedule_is_followed(case):
    schedule, fractions = case
    timeline = Timeline(schedule, begin=2, end=10, frequency=2)
    updates = [timeline.at(position) for position in range(2, 11, 2)]
    assert [update.fraction for update in updates] == pytest.approx(fractions)


@pytest.mark.parametrize(
    ("end", "length", "message"),
    [
        (9, 4, "start of epoch 9 .* which a run of 4 epochs never starts"),
        (4, 4, "never starts"),
        (0, 4, "before the first step"),
        (3, 4, None),
        (3, None, None),
    ],
)
def test_a_run_that_does_not_fit_is_told(end, length, message):
    timeline = Timeline(end=end)
    if message is not None:
        with pytest.warns(UserWarning, match=message):
            timeline.warn_unless_it_fits(length)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        timeline.warn_unless_it_fits(length)
