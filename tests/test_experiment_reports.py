"""Reports of experiments: means, differences and words are those of the rows."""

import json
import statistics

import numpy as np
import pytest
import scipy.stats

from examples.experiments.report import cells, summary, tables
from examples.experiments.report.markdown import format_number, write_table
from examples.experiments.report.rows import (
    PART,
    collect_figures,
    find_varied,
    select_placeless,
    settle,
)

pytestmark = pytest.mark.backend_independent


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        ("1234.5", "1234"),
        ("0.0", "0.0"),
        (16.0, "16"),
        (16, "16"),
        ("nan", ""),
        ("torus", "torus"),
        (True, "True"),
        (-1e-9, "-1e-09"),
    ],
)
def test_numbers_have_three_digits_and_texts_stay(value, text):
    assert format_number(value) == text


def test_a_table_has_a_head_and_a_line_for_each_row():
    assert format_number(-0.0004, 3) == "0.000", "zero has no sign"
    assert format_number(0.5, 1, signed=True) == "+0.5"
    assert write_table(["a", "b"], [["1.50", 1 / 3]]) == (
        "| a | b |\n| --- | --- |\n| 1.50 | 0.333 |"
    )


def made_up_row(error, **setting):
    common = {
        "control": "geometry",
        "manifold": "torus",
        "inhibitor": "dog",
        "learned": False,
        "strength": 0.1,
        "density": 0.1,
        "error": error,
        "error at target": 2 * error,
    }
    row = dict.fromkeys(PART, "") | common | setting
    return {name: str(value) for name, value in row.items()}


def test_the_report_has_means_and_paired_differences():
    rng = np.random.RandomState(0)
    ours, theirs = rng.uniform(1, 2, 5), rng.uniform(3, 4, 5)
    rows = [
        made_up_row(seed=seed, control=control, error=error)
        for control, errors in (("none", theirs), ("geometry", ours))
        for seed, error in enumerate(errors)
    ]
    shown = tables.tabulate_settings(rows, find_varied(rows)).splitlines()
    assert shown[0] == (
        "| setting | verdict | − no penalty | error | at the final mask | seeds |"
    )
    found = shown[2].strip("| ").split(" | ")
    assert found[:2] == ["torus DoG", "better than no penalty"]
    mean, deviation = statistics.mean(ours), statistics.stdev(ours)
    assert found[3] == f"{mean:.2f} ± {deviation:.2f}"
    assert found[4:] == [f"{2 * mean:.2f} ± {2 * deviation:.2f}", "5"]
    gain, low, high = (
        float(x) for x in found[2].replace("[", "").rstrip("]").replace(",", "").split()
    )
    assert gain == pytest.approx(np.mean(ours - theirs), abs=5e-3)
    resampled = [np.mean(rng.choice(ours - theirs, 5)) for _ in range(4000)]
    assert [low, high] == pytest.approx(np.quantile(resampled, [0.025, 0.975]), abs=0.05)


def test_the_right_manifold_is_compared_on_all_tasks_together():
    """Ratios, so that a task with large errors counts as much as one with small ones."""
    scales = {"A": 1.0, "B": 1000.0}
    right = {"A": "circle", "B": "torus"}
    noise = np.random.RandomState(0).uniform(1, 2, (2, 4))
    rows = [
        made_up_row(
            task=task,
            manifold=manifold,
            seed=seed,
            error=scales[task] * value * (0.9 if manifold == right[task] else 1.0),
        )
        for task, values in zip(scales, noise, strict=True)
        for manifold in ("circle", "torus", "sphere")
        for seed, value in enumerate(values)
    ]
    table = tables.compare_right(rows, set(), "task", right).splitlines()
    assert table[0] == (
        "| the right manifold − | verdict | all, in percent | A: circle DoG "
        "| B: torus DoG |"
    )
    lines = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in table[2:]}
    for manifold in ("circle", "torus", "sphere"):
        verdict, all_tasks = lines[f"{manifold} DoG"][1:3]
        assert verdict == "better"
        assert all_tasks == "-10.0 [-10.0, -10.0]", "in every case 0.9 of it"
    assert lines["circle DoG"][3] == "", "not against itself"


def test_the_report_shows_lottery_tickets_where_there_are_some():
    rows = [made_up_row(error=1.0, seed=seed) | {"lottery error": "3"} for seed in (0, 1)]
    head, _, line = tables.tabulate_settings(rows, set()).splitlines()
    assert head.split(" | ")[3].startswith("fresh weights, same mask")
    assert line.split(" | ")[3].startswith("3.00 ± 0.00")


def test_ratios_and_medians_since_the_final_mask():
    """What one seed, or one epoch, of ten times the error does not govern."""
    errors = {"none": [9, 8, 1, 1, 100], "geometry": [7, 7, 2, 200, 2]}
    rows = [
        settle(
            made_up_row(control=control, error=found[-1], seed=seed, end=0.4)
            | {"errors": json.dumps([scale * error for error in found])}
        )
        for seed, scale in enumerate((1, 10, 1000))
        for control, found in errors.items()
    ]
    shown = tables.tabulate_settings(rows, set(), {"settled": True, "relative": True})
    head, _, ours, _ = shown.splitlines()
    assert head.startswith("| setting | verdict | % to no penalty | median error |")
    assert "| worse than no penalty | +100 [+100, +100] |" in ours, "2 instead of 1"


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ({"L1": [-1, -2, -3], "rows": [-1, -1, -2]}, "better than L1, rows"),
        ({"L1": [-1, -2, -3], "rows": [1, 1, 2]}, "better than L1; worse than rows"),
        ({"L1": [-1, -2, 3], "rows": [1, 1, 2]}, "worse than rows"),
        ({"L1": [-1, 2, 3], "rows": [-1, 1, 2]}, "no difference"),
        ({key: [1, 2, 2] for key in "abc"}, "worse than all"),
        ({"L1": [-1, -2]}, ""),  # too few seeds for an interval
        ({}, ""),
    ],
)
def test_a_verdict_names_what_an_interval_leaves_zero_out_of(gains, verdict):
    assert cells.write_verdict(gains) == verdict


def test_a_column_without_anything_is_dropped():
    assert tables.drop_empty(["a", "b"], [["1", ""], ["2", ""]]) == (
        ["a"],
        [["1"], ["2"]],
    )


def made_up_seeds(effects, seeds=12):
    """Rows of settings that differ by so much, among seeds that differ by more."""
    rng = np.random.RandomState(0)
    level = 10 * rng.standard_normal(seeds)
    return [
        made_up_row(manifold=f"m{i}", seed=seed, error=level[seed] + effect + noise)
        for i, effect in enumerate(effects)
        for seed, noise in enumerate(rng.standard_normal(seeds))
    ]


@pytest.mark.parametrize("effect", [0.0, 0.4, 3.0])
def test_whether_penalties_differ_is_friedmans_question(effect):
    """For as many seeds as its limit needs, which five are not."""
    rows = made_up_seeds([0, 0, 0, effect, -effect])
    errors = [[*found.values()] for found in collect_figures(rows, set()).values()]
    expected = scipy.stats.friedmanchisquare(*errors).pvalue
    assert float(tables.write_chance(rows, set())) == pytest.approx(expected, abs=0.03)
    nothing = made_up_row(control="none", seed=0, error=1e6)
    with_none = tables.write_chance([*rows, nothing], set())
    assert with_none == tables.write_chance(rows, set())
    assert tables.write_chance(rows[:24], set()) == "", "two penalties have a difference"


def test_the_summary_pools_what_has_as_many_seeds():
    """Geometric means over settings, each against each of the same seed."""
    errors = {"circle": (1, 4, 5), "torus": (9, 1, 5), "sphere": (1e9,)}
    rows = [
        made_up_row(manifold=manifold, seed=seed, error=error)
        for manifold, found in errors.items()
        for seed, error in enumerate(found)
    ]
    for control, factor in (("none", 4), ("l1", 4), ("permuted", 1)):
        found = [factor * error for error in (3, 2, 5)]
        rows += [
            made_up_row(control=control, seed=seed, error=error)
            for seed, error in enumerate(found)
        ]
    dense = [made_up_row(control="none", seed=0, error=0.5)]
    line = summary.Line.pool("task", rows, dense)
    name, verdict, *changes, chance, dense, none, controls, geometry, seeds = (
        line.write_cells()
    )
    assert verdict == "better"
    assert line.judge() == (True, True), "ahead in every seed"
    assert (name, seeds) == ("task", "3")
    assert dense == "0.500"
    means = [mean.split(" ± ")[0] for mean in (none, controls, geometry)]
    assert means == ["13.3", "6.67", "3.33"]
    half, quarter = "-50 [-50, -50]", "-75 [-75, -75]"
    assert changes == [half, quarter, half]
    assert summary.choose_common([line]) == [line]
    mean, low, high = line.estimate_change()
    assert (mean, low, high) == pytest.approx((-50, -50, -50))
    assert 0 < float(chance) <= 1
    assert summary.spell_task("HeadDirection") == "Head direction"
    verdicts = 3 * [(True, True)] + 2 * [(False, False)] + [(True, False)]
    assert summary.count_lines(verdicts) == (
        "Geometry has the lower error in 4 of 6 lines, with an interval without zero in "
        "3, and the higher in 2, with one in 0."
    )


def test_a_title_says_what_large_blocks_reach():
    row = {"select": "recurrent", "sparsity": "0.98"}
    zeros = {"rnn/kernel": 0.0, "rnn/recurrent_kernel": 0.9375, "total": 0.9}
    short = row | {"zeros": json.dumps(zeros)}
    assert tables.describe_shortfall([short, short]) == ["of which 93.8% are reached"]
    assert tables.describe_shortfall([short | {"sparsity": "0.94"}]) == []
    kernels = short | {"sparsity": "0.9", "select": "kernels"}
    assert tables.describe_shortfall([kernels]) == []


def test_controls_without_positions_are_taken_from_another_table():
    known = [
        made_up_row(control=control, sparsity=sparsity, seed=seed, error=1.0)
        for control in ("geometry", "none", "l1", "permuted")
        for sparsity in (0.9, 0.95)
        for seed in (0, 1)
    ]
    rows = [made_up_row(learned=True, sparsity=0.95, seed=1, error=1.0)]
    found = select_placeless(known, rows, ["block", "sparsity"])
    shown = [(row["control"], row["sparsity"], row["seed"]) for row in found]
    assert shown == [("none", "0.95", "1"), ("l1", "0.95", "1")]
