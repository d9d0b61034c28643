"""Figures of pages: which lines and bands are drawn, of which rows; no pixels."""

import json

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.collections import PolyCollection

from examples.experiments import learned_head_direction, planted_geometry
from examples.experiments.records import read, write
from examples.experiments.report import figures
from keras_moduli.plot import _style
from tests.backends import ROOT

pytestmark = pytest.mark.backend_independent
RESULTS = ROOT / "docs" / "results"


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


@pytest.fixture
def saved(monkeypatch):
    """The figures that would have been written."""
    found = []
    monkeypatch.setattr(_style, "save", lambda figure, path: found.append(figure))
    return found


def read_line(line):
    return dict(zip(*map(list, line.get_data()), strict=True))


def list_bands(axis):
    return [band for band in axis.collections if isinstance(band, PolyCollection)]


def test_a_band_is_the_median_from_least_to_most():
    axis = pyplot.figure().add_subplot()
    _style.draw_band(axis, [1, 2], [[3, 9, 4], [5, 5, 6]], "red")
    assert read_line(axis.lines[0]) == {1: 4, 2: 5}
    corners = list_bands(axis)[0].get_paths()[0].vertices
    assert {(1, 3), (1, 9), (2, 5), (2, 6)} <= {tuple(corner) for corner in corners}


def test_one_figure_is_one_file(tmp_path):
    for name in ("one.svg", "two.svg"):
        with _style.drawing() as axis:
            axis.plot([1, 2], [3, 4])
            _style.save(axis.figure, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert not pyplot.get_fignums()


def test_errors_are_drawn_by_kind_of_penalty(saved):
    figures.draw("navigation", None)
    rows = read(RESULTS / "navigation.csv")
    panels = saved[0].axes
    assert [axis.get_title(loc="left") for axis in panels] == [
        "all matrices together",
        "each matrix",
    ]
    names = [line.get_label() for line in panels[0].lines]
    assert names == [*figures.KINDS, "dense"]
    chosen = [
        float(row["error"])
        for row in rows
        if (row["control"], row["scope"], row["sparsity"])
        == ("geometry", "layer", "0.95")
    ]
    assert len(chosen) == 30
    x, y = panels[1].lines[0].get_data()
    np.testing.assert_allclose((x[-1], y[-1]), (5, np.median(chosen)))
    assert panels[0].get_ylabel() == "position error in cm"


def test_errors_are_drawn_by_epoch(saved):
    figures.draw("adding_schedules", None)
    rows = read(RESULTS / "adding_schedules.csv")
    epochs = len(json.loads(rows[0]["errors"]))
    for axis in saved[0].axes:
        geometry, none, end = axis.lines
        assert len(geometry.get_xdata()) == len(none.get_xdata()) == epochs
        assert len(list_bands(axis)) == 2
        share = axis.get_title(loc="left").split("final at ")[1].split("%")[0]
        assert end.get_xdata()[0] == epochs * float(share) / 100


def test_distances_are_drawn_with_what_nine_in_ten_pairs_have():
    points = np.random.RandomState(0).uniform(0, 1, 200)
    true = np.abs(points[:, None] - points)
    axis = pyplot.figure().add_subplot()
    figures.draw_distances(axis, true, 2 * true)
    x, y = axis.lines[0].get_data()
    np.testing.assert_allclose(y, 2 * x, atol=0.03)


def test_positions_are_read_as_they_were_written(tmp_path):
    points = {"circle in R2": np.array([[1.0, 2.5], [-0.25, 0.0]]), "circle": [[3.0]]}
    rows = [
        r for case in points for r in planted_geometry.list_positions(case, points[case])
    ]
    write(tmp_path / "positions.csv", rows)
    found = planted_geometry.read_positions(tmp_path / "positions.csv")
    assert {case: np.array(one).tolist() for case, one in points.items()} == {
        case: one.tolist() for case, one in found.items()
    }


def test_headings_are_drawn_on_a_palette_without_ends(saved):
    rows = read(RESULTS / "head_direction_positions.csv")
    learned_head_direction.draw(rows, None)
    dots = saved[0].axes[0].collections[-1]
    assert dots.get_cmap().name == _style.CYCLIC
    assert dots.get_clim() == (0, 360)
    tuned = [r for r in rows if float(r["sharpness"]) > learned_head_direction.TUNED]
    assert len(dots.get_offsets()) == len(tuned)


def test_speed_ups_are_those_of_the_tables(saved, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import pictures

    rows = read(RESULTS / "training_speed.csv")
    pictures.draw_training(rows, None)
    pictures.draw_inference(read(RESULTS / "inference.csv"), None)
    training, inference = saved
    assert [a.get_title(loc="left") for a in training.axes] == [
        "SimpleRNN",
        "GRU",
        "LSTM",
    ]
    axis = training.axes[2]
    dashed = [line for line in axis.lines if line.get_linestyle() == "--"]
    assert [line.get_color() for line in dashed] == [pictures.COLORS["torch"]]
    fastest = {
        int(row["units"]): float(row["over sparse"])
        for row in rows
        if (row["cell"], row["contestant"]) == ("LSTM", "dense, torch.nn")
    }
    assert read_line(dashed[0]) == fastest
    for axis in [*training.axes, *inference.axes]:
        assert sum(line.get_linestyle() == "-" for line in axis.lines) == 3 + 1
        assert list(axis.lines[-1].get_ydata()) == [1, 1]
        assert axis.get_yscale() == axis.get_xscale() == "log"
        low, high = axis.get_ylim()
        for line in axis.lines:
            assert all(low < time < high for time in line.get_ydata())
