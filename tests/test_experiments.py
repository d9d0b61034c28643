"""The experiments: tasks learn, settings are fair, results are those of the tables."""

import csv
import dataclasses
import importlib
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
import tomllib

import command_line
import experiments
import keras
import numpy as np
import pytest
import results
import run_table
import scipy.stats

import keras_moduli as km
from tests.backends import ROOT

EXAMPLES = ROOT / "examples"

TABLES = sorted((EXAMPLES / "tables").glob("*.toml"))
INTEGRATIONS = ("HeadDirection", "PeriodicBox", "SphereRotation", "KleinBottle")


# The quickest to start.
one_backend = pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="no backend has a part in it: shown on one"
)


def task(name):
    return getattr(importlib.import_module(run_table.TASKS[name]), name)


@pytest.fixture
def text(tmp_path):
    """A small corpus of real text, in the two splits of a folder without training."""
    pages = "".join(p.read_text() for p in sorted((ROOT / "docs").glob("*.md")))
    (tmp_path / "valid.txt").write_text(pages)
    (tmp_path / "test.txt").write_text((ROOT / "README.md").read_text() * 2)
    return str(tmp_path)


@pytest.mark.parametrize("name", run_table.TASKS)
def test_task_learns_and_is_pruned(name, text):
    setting = task(name).quick
    if name == "LanguageModel":
        setting = setting | {"data": text}
    experiment = task(name)(**setting)
    model, row = experiment.run()
    chance = experiment.chance
    if name == "LanguageModel":
        chance = model.get_layer("readout").units
    assert row["error"] < 0.6 * chance, json.loads(row["errors"])
    assert abs(json.loads(row["zeros"])["total"] - experiment.sparsity) < 1e-3
    assert len(json.loads(row["errors"])) == experiment.epochs


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_points_are_read_as_they_are_written(name):
    one = task(name)(steps=5)
    points = one.walk(200, np.random.RandomState(0))[1]
    read = one.read(one.written(points))
    distance = one.truth.distance(read.astype("float32"), points.astype("float32"))
    assert float(keras.ops.max(distance)) < 0.1, "degrees"


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_a_walk_is_as_long_as_its_velocity(name):
    one = task(name)(steps=8)
    velocity, points = one.walk(300, np.random.RandomState(1))
    steps = one.truth.distance(
        points[:, :-1].astype("float32"), points[:, 1:].astype("float32")
    )
    lengths = np.rad2deg(np.linalg.norm(velocity[:, 1:], axis=-1))
    steps = keras.ops.convert_to_numpy(steps)
    assert (steps < lengths + 0.1).all(), "a turn moves points off its equator less"
    if name != "SphereRotation":
        near = lengths < 150  # farther on, the other way round may be shorter
        np.testing.assert_allclose(steps[near], lengths[near], atol=0.1)


def test_networks_see_no_seam_of_the_klein_bottle():
    bottle = task("KleinBottle")(steps=2)
    points = np.random.RandomState(0).uniform(0, 360, (50, 2))
    same = np.stack([points[:, 0] + 360, -points[:, 1]], -1)
    np.testing.assert_allclose(bottle.written(same), bottle.written(points), atol=1e-9)


@pytest.mark.parametrize("name", INTEGRATIONS)
def test_chance_is_the_distance_of_random_points(name):
    one = task(name)(steps=2)
    points = one.walk(4000, np.random.RandomState(2))[1].astype("float32")
    distances = one.truth.distance(points[:2000, 0], points[2000:, 0])
    assert abs(float(keras.ops.mean(distances)) - one.chance) < 0.05 * one.chance


def test_animals_stay_in_the_box_and_are_found_by_their_place_cells():
    import navigation

    walks = navigation.walks(500, 40, 1.1, np.random.RandomState(0))
    assert walks.min() >= 0
    assert walks.max() <= 1.1
    cells = navigation.centers(128, 1.1)
    activity = navigation.place_activity(walks, cells)
    np.testing.assert_allclose(activity.sum(-1), 1, atol=1e-5)
    errors = np.linalg.norm(navigation.decoded(activity, cells) - walks, axis=-1)
    assert errors.mean() < 0.05, "meters: the floor of what a network can reach"
    steps = np.linalg.norm(np.diff(walks, axis=1), axis=-1)
    # Of a Rayleigh distribution, less what walls take.
    assert 0.8 < steps.mean() / (0.02 * navigation.SPEED * np.sqrt(np.pi / 2)) < 1.0


@pytest.mark.parametrize("wall", range(4))
def test_animals_turn_along_walls_that_they_head_for(wall):
    import navigation

    ahead = np.pi / 2 * wall  # right, top, left, bottom
    close = 0.5 + 0.49 * np.array([[np.cos(ahead), np.sin(ahead)]] * 4)
    heading = ahead + np.array([0.3, -0.3, 2.0, 0.3])
    close[3] = 0.5  # in the middle
    turn, slowing = navigation.along_the_wall(close, heading, 1.0)
    along = np.cos(heading + turn - ahead)
    np.testing.assert_allclose(along[:2], 0, atol=1e-9)
    np.testing.assert_allclose(turn, [np.pi / 2 - 0.3, 0.3 - np.pi / 2, 0, 0])
    np.testing.assert_allclose(slowing, [0.25, 0.25, 1, 1])


@pytest.mark.parametrize("control", ["geometry", "l1", "permuted", "rows", "random"])
@pytest.mark.parametrize("cell", experiments.CELLS)
def test_all_penalties_cost_the_same_on_a_constant_kernel(control, cell):
    adding = task("AddingProblem")
    one = adding(control=control, units=24, strength=0.7, cell=cell, manifold="sphere")
    gates = experiments.CELLS[cell][2]
    cost = one.penalty()(keras.ops.full((24, 24 * gates), 0.5))
    assert float(cost) == pytest.approx(0.7 * 0.5, rel=1e-4)


@pytest.mark.parametrize("inhibitor", ["dog", "diffusion", "gaussian", "ripple"])
@pytest.mark.parametrize("manifold", ["torus", "klein_bottle", "6-torus"])
def test_random_costs_have_the_histogram_of_the_geometry(manifold, inhibitor):
    setting = {"units": 96, "manifold": manifold, "inhibitor": inhibitor}
    random = task("AddingProblem")(control="random", **setting).penalty().costs
    moduli = task("AddingProblem")(**setting).penalty()
    costs = moduli.coefficients((96, 96))
    random, costs = random / random.mean(), costs / costs.mean()
    np.testing.assert_array_equal(random, random.T)
    levels = np.linspace(0.1, 0.9, 9)
    spread = np.quantile(costs, 0.9) - np.quantile(costs, 0.1)
    difference = np.quantile(random, levels) - np.quantile(costs, levels)
    assert np.abs(difference).max() < 0.15 * spread


def test_rows_permute_the_places_and_nothing_else():
    adding = task("AddingProblem")
    placed = adding(units=32).penalty().coefficients((32, 32))
    rows = adding(units=32, control="rows").penalty().coefficients((32, 32))
    order = np.random.RandomState(0).permutation(32)
    np.testing.assert_allclose(rows, placed[np.ix_(order, order)], rtol=1e-5)
    assert not np.allclose(rows, placed)


def test_learned_places_move_and_have_no_controls_of_fixed_ones():
    head = task("HeadDirection")
    small = {"units": 16, "batches": 2, "epochs": 2, "learned": True, "steps": 4}
    one = head(manifold="circle", **small)
    model, _ = one.train()
    moved = keras.ops.convert_to_numpy(model.get_layer("rnn").embedding.value)
    assert not np.allclose(moved, km.manifolds.Circle().sample(16, 0))
    with pytest.raises(ValueError, match="one of fixed places"):
        head(control="random", **small)


def test_lottery_trains_fresh_weights_too():
    one = task("HeadDirection")(units=16, batches=2, epochs=2, steps=4, lottery=True)
    row = one.run()[1]
    assert np.isfinite(row["lottery error"])
    assert row["lottery error"] != row["error"]


def test_a_row_says_how_far_what_is_kept_reaches():
    one = task("HeadDirection")(units=16, batches=2, epochs=2, steps=4, manifold="circle")
    model, row = one.run()
    kept = keras.ops.convert_to_numpy(model.get_layer("rnn").cell.recurrent_kernel) != 0
    distances = one.penalty().distances((16, 16))
    expected = distances[kept].mean() / distances.mean()
    assert row["reach"] == pytest.approx(expected, abs=1e-4)
    assert dataclasses.replace(one, control="none").run()[1]["reach"] == ""


@pytest.mark.parametrize("control", experiments.CONTROLS)
def test_networks_are_saved_with_each_penalty(control, tmp_path):
    small = {"units": 8, "batches": 1, "epochs": 2, "steps": 3}
    model, _ = task("HeadDirection")(control=control, **small).run()
    command_line.save_and_check(model, tmp_path / "model.keras")


def test_the_command_of_a_run_is_the_run():
    one = task("HeadDirection")(block="4x8", learned=True, strength=0.3, seed=7)
    script, *arguments = shlex.split(one.command())[1:]
    assert script == "examples/head_direction.py"
    again, _ = command_line.parse(task("HeadDirection"), arguments)
    assert again == [one]


def test_a_table_stands_for_all_combinations_first_seeds_first():
    table = {"all": {"seed": [0, 1]}, "runs": [{"task": "A", "x": [1, 2]}, {"task": "B"}]}
    runs = list(run_table.declared(table))
    assert [(r["seed"], r["task"], r.get("x")) for r in runs] == [
        (0, "A", 1),
        (0, "A", 2),
        (0, "B", None),
        (1, "A", 1),
        (1, "A", 2),
        (1, "B", None),
    ]


def test_a_value_may_depend_on_the_task():
    table = {"runs": [{"task": ["A", "B"], "x": {"A": 1, "B": 2}, "seed": 0}]}
    runs = run_table.declared(table)
    assert [(run["task"], run["x"]) for run in runs] == [("A", 1), ("B", 2)]
    table["runs"][0]["task"] = "C"
    with pytest.raises(ValueError, match=r"`x` has values for .*Received: task='C'"):
        run_table.declared(table)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"task": "Walking"}, "Unknown task 'Walking'"),
        ({"task": "Digits", "manifold": "tours"}, "Did you mean 'torus'"),
        ({"task": "Digits", "colour": 1}, "colour"),
        ({"task": "Digits", "control": "l2"}, "control"),
    ],
)
def test_a_bad_table_is_refused(run, message):
    with pytest.raises((TypeError, ValueError), match=message):
        run_table.complete(run)


SMALL_TABLE = """
[all]
task = "HeadDirection"
units = 8
steps = 3
batches = 1
epochs = 2
[[runs]]
control = ["none", "l1"]
"""


@one_backend
def test_a_table_goes_on_where_it_was_killed(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL_TABLE)
    results_file = tmp_path / "small.csv"
    script = [sys.executable, EXAMPLES / "run_table.py", tmp_path / "small.toml"]
    command = [*map(str, [*script, "--backend", "torch", "--output", results_file])]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment) as killed:
        while not results_file.exists():
            assert killed.poll() is None
            time.sleep(0.1)
        killed.kill()
    first = run_table.read(results_file)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "2 runs, of which 1 are to be done" in done.stdout
    both = run_table.read(results_file)
    assert [row["control"] for row in both] == ["none", "l1"]
    assert first == both[:1], "seconds and all: it was not run again"
    assert both[1]["command"].startswith("python examples/head_direction.py --control l1")


@one_backend
@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_results_are_those_of_the_table(path):
    """Every row that is shown was declared, and none is there twice."""
    declared = run_table.unique(tomllib.loads(path.read_text()))
    wanted = {tuple(map(str, run.values())) for run in declared}
    names = {run["task"]: [*run] for run in declared}
    rows = run_table.read(run_table.RESULTS / f"{path.stem}.csv")
    found = [tuple(row[name] for name in names[row["task"]]) for row in rows]
    assert set(found) <= wanted
    assert len(set(found)) == len(found)
    if rows:
        assert results.report(path.stem)


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
    row = dict.fromkeys(results.PART, "") | common | setting
    return {name: str(value) for name, value in row.items()}


def test_the_report_has_means_and_paired_differences():
    rng = np.random.RandomState(0)
    ours, theirs = rng.uniform(1, 2, 5), rng.uniform(3, 4, 5)
    rows = [
        made_up_row(seed=seed, control=control, error=error)
        for control, errors in (("none", theirs), ("geometry", ours))
        for seed, error in enumerate(errors)
    ]
    shown = results.settings(rows, results.varied(rows)).splitlines()
    assert shown[0] == ("| setting | seeds | error | at the final mask | − no penalty |")
    cells = shown[2].strip("| ").split(" | ")
    assert cells[0] == "torus DoG"
    assert cells[1] == "5"
    assert cells[2] == f"{statistics.mean(ours):.2f} ± {statistics.stdev(ours):.2f}"
    assert (
        cells[3] == f"{2 * statistics.mean(ours):.2f} ± {2 * statistics.stdev(ours):.2f}"
    )
    gain, low, high = (
        float(x) for x in cells[4].replace("[", "").rstrip("]").replace(",", "").split()
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
    table = results.against(rows, set(), "task", right).splitlines()
    assert table[0] == "|  | A: circle DoG | B: torus DoG | all, in percent |"
    lines = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in table[2:]}
    for manifold in ("circle", "torus", "sphere"):
        all_tasks = lines[f"− {manifold} DoG"][-1].strip(" |")
        assert all_tasks == "-10.0 [-10.0, -10.0]", "in every case 0.9 of it"
    assert lines["− circle DoG"][1] == "", "not against itself"


def test_the_report_shows_lottery_tickets_where_there_are_some():
    rows = [made_up_row(error=1.0, seed=seed) | {"lottery error": "3"} for seed in (0, 1)]
    head, _, line = results.settings(rows, set()).splitlines()
    assert head.split(" | ")[4].startswith("fresh weights, same mask")
    assert line.split(" | ")[4].startswith("3.00 ± 0.00")


def test_ratios_and_medians_since_the_final_mask():
    """What one seed, or one epoch, of ten times the error does not govern."""
    errors = {"none": [9, 8, 1, 1, 100], "geometry": [7, 7, 2, 200, 2]}
    rows = [
        results.settled(
            made_up_row(control=control, error=found[-1], seed=seed, end=0.4)
            | {"errors": json.dumps([scale * error for error in found])}
        )
        for seed, scale in enumerate((1, 10, 1000))
        for control, found in errors.items()
    ]
    shown = results.settings(rows, set(), {"settled": True, "relative": True})
    head, _, ours, _ = shown.splitlines()
    assert head.startswith("| setting | seeds | median error |")
    assert "% to no penalty" in head
    assert ours.endswith("| +100 [+100, +100] |"), "2 instead of 1, for each seed"


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
    errors = [[*found.values()] for found in results.cases(rows, set()).values()]
    expected = scipy.stats.friedmanchisquare(*errors).pvalue
    assert float(results.alike(rows, set())) == pytest.approx(expected, abs=0.03)
    nothing = made_up_row(control="none", seed=0, error=1e6)
    assert results.alike([*rows, nothing], set()) == results.alike(rows, set())
    assert results.alike(rows[:24], set()) == "", "two penalties have a difference"


def test_the_summary_pools_what_has_as_many_seeds():
    """Geometric means over settings, each against each of the same seed."""
    import summary

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
    line = summary.Line.of("task", rows, dense)
    name, seeds, *shown, chance = line.cells()
    assert line.verdict() == (True, True), "ahead in every seed"
    assert (name, seeds) == ("task", "3")
    assert shown[0] == "0.500"
    assert [mean.split(" ± ")[0] for mean in shown[1:4]] == ["13.3", "6.67", "3.33"]
    half, quarter = "-50 [-50, -50]", "-75 [-75, -75]"
    assert shown[4:] == [half, quarter, half]
    assert 0 < float(chance) <= 1
    assert summary.spaced("HeadDirection") == "Head direction"
    verdicts = 3 * [(True, True)] + 2 * [(False, False)] + [(True, False)]
    assert summary.counted(verdicts) == (
        "Geometry has the lower error in 4 of 6 lines, with an interval without zero in "
        "3, and the higher in 2, with one in 0."
    )


def test_a_title_says_what_large_blocks_reach():
    row = {"select": "recurrent", "sparsity": "0.98"}
    zeros = {"rnn/kernel": 0.0, "rnn/recurrent_kernel": 0.9375, "total": 0.9}
    short = row | {"zeros": json.dumps(zeros)}
    assert results.missed([short, short]) == ["of which 93.8% are reached"]
    assert results.missed([short | {"sparsity": "0.94"}]) == []
    assert results.missed([short | {"sparsity": "0.9", "select": "kernels"}]) == []


def test_controls_without_places_are_taken_from_another_table():
    known = [
        made_up_row(control=control, sparsity=sparsity, seed=seed, error=1.0)
        for control in ("geometry", "none", "l1", "permuted")
        for sparsity in (0.9, 0.95)
        for seed in (0, 1)
    ]
    rows = [made_up_row(learned=True, sparsity=0.95, seed=1, error=1.0)]
    found = results.placeless(known, rows, ["block", "sparsity"])
    shown = [(row["control"], row["sparsity"], row["seed"]) for row in found]
    assert shown == [("none", "0.95", "1"), ("l1", "0.95", "1")]


def test_the_front_holds_what_nothing_beats():
    import search_geometry

    points = [(0.9, 3.0), (0.95, 2.0), (0.95, 4.0), (0.99, 5.0)]
    rows = [{"sparsity": s, "error": e} for s, e in points]
    best = [(row["sparsity"], row["error"]) for row in search_geometry.front(rows)]
    assert best == [(0.95, 2.0), (0.99, 5.0)]


@one_backend
def test_a_search_ends_in_a_front_and_goes_on(tmp_path, capsys):
    import search_geometry

    small = ("--units", 8, "--epochs", 2, "--batches", 1, "--output", tmp_path)
    for trials in (1, 2):
        search_geometry.main([*map(str, ("--trials", trials, *small))])
        with open(tmp_path / "trials.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == trials
        assert "True" in {row["best"] for row in rows}
    assert (tmp_path / "pareto.png").exists()
    assert "error in degrees" in capsys.readouterr().out


def test_settings_are_plain_and_frozen():
    one = task("Navigation")()
    json.dumps(dataclasses.asdict(one))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.units = 3
