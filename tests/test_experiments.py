"""The experiments: tasks learn, settings are fair, results are those of the tables."""

import csv
import dataclasses
import json
import os
import shlex
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

import keras_moduli as km
from examples.experiments import declarations, run, single, training
from examples.experiments import learned_head_direction as learned
from examples.experiments.command_line import parse_settings
from examples.experiments.controls import CONTROLS, make_penalty
from examples.experiments.geometry import GATES
from examples.experiments.records import read
from examples.experiments.report.tables import report_table
from examples.experiments.tasks import find_task, load_tasks, navigation
from tests.backends import ROOT, installed

independent = pytest.mark.backend_independent
TABLES = sorted(path.stem for path in declarations.TABLES.glob("*.toml"))
INTEGRATIONS = ("HeadDirection", "PeriodicBox", "SphereRotation", "KleinBottle")
# Each trains what no other trains; the rest have networks like those of HeadDirection.
OWN_KIND = ("HeadDirection", "JapaneseVowels", "LanguageModel", "Navigation")
SMALL = {"units": 16, "batches": 2, "epochs": 2, "steps": 4, "manifold": "circle"}


@pytest.fixture
def text(tmp_path):
    """A small corpus of real text, in the two splits of a folder without training."""
    pages = "".join(p.read_text() for p in sorted((ROOT / "docs").glob("*.md")))
    (tmp_path / "valid.txt").write_text(pages)
    (tmp_path / "test.txt").write_text((ROOT / "README.md").read_text() * 2)
    return str(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in OWN_KIND else independent)
        for name in load_tasks()
    ],
)
def test_task_learns_and_is_pruned(name, text):
    setting = find_task(name).quick
    if name == "LanguageModel":
        setting = setting | {"data": text}
    experiment = find_task(name)(**setting)
    model, row = training.run(experiment)
    chance = experiment.chance
    if name == "LanguageModel":
        chance = model.get_layer("readout").units
    assert row["error"] < 0.6 * chance, json.loads(row["errors"])
    assert abs(json.loads(row["zeros"])["total"] - experiment.sparsity) < 1e-3
    assert len(json.loads(row["errors"])) == experiment.epochs


@independent
def test_a_task_is_known_by_its_file_alone(tmp_path, monkeypatch):
    """Dropped into the folder, it is listed, trained and tabulated."""
    from examples.experiments import tasks

    source = (ROOT / "examples/experiments/tasks/head_direction.py").read_text()
    source = source.replace("from .", "from examples.experiments.tasks.")
    source = source.replace("tasks. import register", "tasks import register")
    (tmp_path / "dropped_in.py").write_text(source.replace("HeadDirection", "DroppedIn"))
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path)])
    monkeypatch.setattr(tasks, "_registered", dict(tasks._registered))
    assert "DroppedIn" in load_tasks()
    row = run.run_here({"task": "DroppedIn", "learned": True, **SMALL})
    assert row["task"] == "DroppedIn"
    assert row["command"].startswith("python -m examples.experiments.single DroppedIn")


@independent
@pytest.mark.parametrize("name", INTEGRATIONS)
def test_points_are_read_as_they_are_written(name):
    one = find_task(name)(steps=5)
    points = one.draw_walk(200, np.random.RandomState(0))[1]
    distance = one.truth.distance(
        one.read(one.embed(points)).astype("float32"), points.astype("float32")
    )
    assert float(keras.ops.max(distance)) < 0.1, "degrees"


@independent
@pytest.mark.parametrize("name", INTEGRATIONS)
def test_a_walk_is_as_long_as_its_velocity(name):
    one = find_task(name)(steps=8)
    velocity, points = one.draw_walk(300, np.random.RandomState(1))
    steps = one.truth.distance(
        points[:, :-1].astype("float32"), points[:, 1:].astype("float32")
    )
    lengths = np.rad2deg(np.linalg.norm(velocity[:, 1:], axis=-1))
    steps = keras.ops.convert_to_numpy(steps)
    assert (steps < lengths + 0.1).all(), "a turn moves points off its equator less"
    if name != "SphereRotation":
        near = lengths < 150  # farther on, the other way round may be shorter
        np.testing.assert_allclose(steps[near], lengths[near], atol=0.1)


@independent
def test_networks_see_no_seam_of_the_klein_bottle():
    bottle = find_task("KleinBottle")(steps=2)
    points = np.random.RandomState(0).uniform(0, 360, (50, 2))
    same = np.stack([points[:, 0] + 360, -points[:, 1]], -1)
    np.testing.assert_allclose(bottle.embed(same), bottle.embed(points), atol=1e-9)


@independent
@pytest.mark.parametrize("name", INTEGRATIONS)
def test_chance_is_the_distance_of_random_points(name):
    one = find_task(name)(steps=2)
    points = one.draw_walk(4000, np.random.RandomState(2))[1].astype("float32")
    distances = one.truth.distance(points[:2000, 0], points[2000:, 0])
    assert abs(float(keras.ops.mean(distances)) - one.chance) < 0.05 * one.chance


@independent
def test_animals_stay_in_the_box_and_are_found_by_their_place_cells():
    walks = navigation.draw_walks(500, 40, 1.1, np.random.RandomState(0))
    assert walks.min() >= 0
    assert walks.max() <= 1.1
    cells = navigation.place_cells(128, 1.1)
    activity = navigation.activate(walks, cells)
    np.testing.assert_allclose(activity.sum(-1), 1, atol=1e-5)
    errors = np.linalg.norm(navigation.decode(activity, cells) - walks, axis=-1)
    assert errors.mean() < 0.05, "meters: the floor of what a network can reach"
    steps = np.linalg.norm(np.diff(walks, axis=1), axis=-1)
    # Of a Rayleigh distribution, less what walls take.
    assert 0.8 < steps.mean() / (0.02 * navigation.SPEED * np.sqrt(np.pi / 2)) < 1.0


@independent
@pytest.mark.parametrize("wall", range(4))
def test_animals_turn_along_walls_that_they_head_for(wall):
    ahead = np.pi / 2 * wall  # right, top, left, bottom
    close = 0.5 + 0.49 * np.array([[np.cos(ahead), np.sin(ahead)]] * 4)
    heading = ahead + np.array([0.3, -0.3, 2.0, 0.3])
    close[3] = 0.5  # in the middle
    turn, slowing = navigation.turn_along_wall(close, heading, 1.0)
    along = np.cos(heading + turn - ahead)
    np.testing.assert_allclose(along[:2], 0, atol=1e-9)
    np.testing.assert_allclose(turn, [np.pi / 2 - 0.3, 0.3 - np.pi / 2, 0, 0])
    np.testing.assert_allclose(slowing, [0.25, 0.25, 1, 1])


@pytest.mark.parametrize("control", ["geometry", "l1", "permuted", "rows", "random"])
@pytest.mark.parametrize("cell", GATES)
def test_all_penalties_cost_the_same_on_a_constant_kernel(control, cell):
    one = find_task("AddingProblem")(
        control=control, units=24, strength=0.7, cell=cell, manifold="sphere"
    )
    cost = make_penalty(one)(keras.ops.full((24, 24 * GATES[cell]), 0.5))
    assert float(cost) == pytest.approx(0.7 * 0.5, rel=1e-4)


@independent
@pytest.mark.parametrize("inhibitor", ["dog", "diffusion", "gaussian", "ripple"])
@pytest.mark.parametrize("manifold", ["torus", "klein_bottle", "6-torus"])
def test_random_costs_have_the_histogram_of_the_geometry(manifold, inhibitor):
    setting = {"units": 96, "manifold": manifold, "inhibitor": inhibitor}
    adding = find_task("AddingProblem")
    random = make_penalty(adding(control="random", **setting)).costs
    costs = make_penalty(adding(**setting)).coefficients((96, 96))
    random, costs = random / random.mean(), costs / costs.mean()
    np.testing.assert_array_equal(random, random.T)
    levels = np.linspace(0.1, 0.9, 9)
    spread = np.quantile(costs, 0.9) - np.quantile(costs, 0.1)
    difference = np.quantile(random, levels) - np.quantile(costs, levels)
    assert np.abs(difference).max() < 0.15 * spread


@independent
def test_rows_permute_the_positions_and_nothing_else():
    adding = find_task("AddingProblem")
    placed = make_penalty(adding(units=32)).coefficients((32, 32))
    rows = make_penalty(adding(units=32, control="rows")).coefficients((32, 32))
    order = np.random.RandomState(0).permutation(32)
    np.testing.assert_allclose(rows, placed[np.ix_(order, order)], rtol=1e-5)
    assert not np.allclose(rows, placed)


def test_learned_positions_move():
    one = find_task("HeadDirection")(learned=True, **SMALL)
    model, _ = training.train(one)
    assert not np.allclose(
        learned.get_positions(model), km.manifolds.Circle().sample(16, 0)
    )


@independent
def test_learned_positions_have_no_controls_of_fixed_ones():
    with pytest.raises(ValueError, match="one of fixed positions"):
        find_task("HeadDirection")(control="random", learned=True, **SMALL)


def test_a_row_says_how_far_what_is_kept_reaches_and_what_a_ticket_does():
    one = find_task("HeadDirection")(lottery=True, **SMALL)
    model, row = training.run(one)
    kept = keras.ops.convert_to_numpy(model.get_layer("rnn").cell.recurrent_kernel) != 0
    distances = make_penalty(one).distances((16, 16))
    expected = distances[kept].mean() / distances.mean()
    assert row["reach"] == pytest.approx(expected, abs=1e-4)
    assert np.isfinite(row["lottery error"])
    assert row["lottery error"] != row["error"], "fresh weights were trained too"
    plain = dataclasses.replace(one, control="none").build_network()
    assert training.describe_masks(plain)["reach"] == ""


@pytest.mark.parametrize("control", CONTROLS)
def test_networks_are_saved_with_each_penalty(control, tmp_path):
    model = find_task("HeadDirection")(control=control, **SMALL).build_network()
    single.save_and_check(model, tmp_path / "model.keras")


@independent
def test_single_trains_saves_and_reports_each_seed(tmp_path, capsys):
    small = "--units 32 --batches 60 --epochs 3 --learning-rate 3e-3 --sparsity 0.5"
    arguments = f"{small} --seeds 2 --control permuted --output {tmp_path}"
    single.main(["HeadDirection", *arguments.split()])
    assert "error in degrees" in capsys.readouterr().out
    with open(tmp_path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"0", "1"}
    labels = {row["label"] for row in rows}
    assert labels == {"rnn/kernel", "rnn/recurrent_kernel", "readout/kernel", "total"}
    totals = [row for row in rows if row["label"] == "total"]
    assert all(abs(float(row["sparsity"]) - 0.5) < 1e-3 for row in totals)
    assert all(float(row["error"]) < 90 for row in totals), "no worse than a guess"
    files = sorted(path.name for path in tmp_path.glob("*.keras"))
    assert files == ["seed0.keras", "seed1.keras"]


@independent
def test_the_command_of_a_run_is_the_run():
    task = find_task("HeadDirection")
    one = task(block="4x8", learned=True, strength=0.3, seed=7)
    command = shlex.split(training.write_command(one))
    prefix = ["python", "-m", "examples.experiments.single", "HeadDirection"]
    assert command[:4] == prefix
    assert parse_settings(task, command[4:])[0] == [one]


@independent
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--manifold", "tours"], "Did you mean 'torus'?"),
        (["--inhibitor", "dgo"], "Did you mean 'dog'?"),
        (["--control", "l2"], "invalid choice: 'l2'"),
        (["--sparsity", "95"], "[0, 1)"),
        (["--strength", "-1"], "`strength`"),
        (["--units", "0"], "`units` must be at least 1"),
        (["--learning-rate", "0"], "`learning_rate` must be above 0"),
        (["--block", "8"], "8x16"),
        (["--epochs", "ten"], "invalid int value: 'ten'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_arguments_get_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_settings(find_task("AddingProblem"), arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@independent
def test_a_table_stands_for_all_combinations_first_seeds_first():
    table = {"all": {"seed": [0, 1]}, "runs": [{"task": "A", "x": [1, 2]}, {"task": "B"}]}
    runs = declarations.expand_runs(table)
    assert [(r["seed"], r["task"], r.get("x")) for r in runs] == [
        (0, "A", 1),
        (0, "A", 2),
        (0, "B", None),
        (1, "A", 1),
        (1, "A", 2),
        (1, "B", None),
    ]


@independent
def test_a_value_may_depend_on_the_task():
    table = {"runs": [{"task": ["A", "B"], "x": {"A": 1, "B": 2}, "seed": 0}]}
    runs = declarations.expand_runs(table)
    assert [(run["task"], run["x"]) for run in runs] == [("A", 1), ("B", 2)]
    table["runs"][0]["task"] = "C"
    with pytest.raises(ValueError, match=r"`x` has values for .*Received: task='C'"):
        declarations.expand_runs(table)


@independent
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
        declarations.complete_run(run)


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


@independent
def test_a_table_goes_on_where_it_was_killed(tmp_path, monkeypatch, capfd):
    (tmp_path / "small.toml").write_text(SMALL_TABLE)
    rows_file = tmp_path / "small.csv"
    fastest = next(name for name in ("torch", "jax", "tensorflow") if installed(name))
    arguments = ["--backend", fastest, "--output", str(rows_file)]
    arguments = [str(tmp_path / "small.toml"), *arguments]
    script = [sys.executable, "-m", "examples.experiments.run", *arguments]
    with subprocess.Popen(script, cwd=ROOT) as killed:
        while not rows_file.exists():
            assert killed.poll() is None
            time.sleep(0.1)
        killed.kill()
    first = read(rows_file)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    run.main(arguments)
    assert "2 runs, of which 1 are to be done" in capfd.readouterr().out
    both = read(rows_file)
    assert [row["control"] for row in both] == ["none", "l1"]
    assert first == both[:1], "seconds and all: it was not run again"
    command = "python -m examples.experiments.single HeadDirection --control l1"
    assert both[1]["command"].startswith(command)


@independent
@pytest.mark.parametrize("table", TABLES)
def test_results_are_those_of_the_table(table):
    """Every row that is shown was declared, and none is there twice."""
    declared = declarations.list_runs(declarations.read_declaration(table))
    wanted = {tuple(map(str, run.values())) for run in declared}
    names = {run["task"]: [*run] for run in declared}
    rows = read(declarations.RESULTS / f"{table}.csv")
    settings = [tuple(row[name] for name in names[row["task"]]) for row in rows]
    assert set(settings) <= wanted
    assert len(set(settings)) == len(settings)
    if rows:
        assert declarations.is_done(declared[0], rows)
        assert report_table(table)


@independent
def test_a_network_learns_where_its_neurons_are():
    args = learned.parse(["--units", "48", "--epochs", "8", "--verbose", "0"])
    args.batches = 30
    model = learned.train(args, seed=0, permuted=False)
    assert find_task("HeadDirection")().measure_error(model) < 45, "chance is 90"
    correlation, tuned = learned.correlate_geometry(model)
    assert tuned > 10
    assert np.isfinite(correlation)


@independent
def test_the_front_holds_what_nothing_beats():
    from examples.experiments import search_geometry

    points = [(0.9, 3.0), (0.95, 2.0), (0.95, 4.0), (0.99, 5.0)]
    rows = [{"sparsity": s, "error": e} for s, e in points]
    best = [(row["sparsity"], row["error"]) for row in search_geometry.find_front(rows)]
    assert best == [(0.95, 2.0), (0.99, 5.0)]


@independent
def test_a_search_ends_in_a_front_and_goes_on(tmp_path, capsys):
    from examples.experiments import search_geometry

    small = ("--units", 8, "--epochs", 2, "--batches", 1, "--output", tmp_path)
    for trials in (1, 2):
        search_geometry.main([*map(str, ("--trials", trials, *small))])
        with open(tmp_path / "trials.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == trials
        assert "True" in {row["best"] for row in rows}
    assert (tmp_path / "pareto.svg").exists()
    assert "error in degrees" in capsys.readouterr().out


@independent
def test_settings_are_plain_and_frozen():
    one = find_task("Navigation")()
    json.dumps(dataclasses.asdict(one))
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.units = 3
