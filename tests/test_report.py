"""The table, as data and as text."""

import csv
import io

import keras
import numpy as np
import pytest

import keras_moduli as km


def model():
    regularizer = km.ModuliRegularizer(gates=4, seed=3)
    network = keras.Sequential(
        [
            keras.Input((5, 2)),
            keras.layers.LSTM(8, recurrent_regularizer=regularizer),
            keras.layers.Dense(3),
        ]
    )
    kernel = network.layers[0].cell.recurrent_kernel
    weights = np.random.RandomState(0).standard_normal((8, 32))
    weights[np.abs(weights) < 1] = 0
    kernel.assign(weights)
    return network, weights


def test_rows_are_counts_and_mean_distances():
    network, weights = model()
    rows = {row.label: row for row in km.sparsity(network).rows}
    assert list(rows) == ["lstm/kernel", "lstm/recurrent_kernel", "dense/kernel"]
    row = rows["lstm/recurrent_kernel"]
    assert (row.shape, row.size, row.zeros) == ((8, 32), 256, int((weights == 0).sum()))
    points = km.manifolds.Torus().sample(8, 3)
    d = np.tile(keras.ops.convert_to_numpy(km.manifolds.Torus().pairwise(points)), 4)
    np.testing.assert_allclose(row.distance, d[weights != 0].mean(), rtol=1e-5)
    np.testing.assert_allclose(row.distance_before, d.mean(), rtol=1e-5)
    assert rows["dense/kernel"].distance is None


def test_labels_name_each_matrix_once():
    layers = keras.layers
    stacked = layers.StackedRNNCells([layers.LSTMCell(2), layers.LSTMCell(2)])
    network = keras.Sequential(
        [
            keras.Input((5, 2)),
            layers.Bidirectional(layers.GRU(2, return_sequences=True), name="both"),
            layers.SimpleRNN(2, return_sequences=True, name="plain"),
            layers.RNN(stacked, name="stack"),
        ]
    )
    labels = [row.label for row in km.sparsity(network).rows]
    assert len(set(labels)) == len(labels)
    assert {"both/forward_gru/kernel", "plain/recurrent_kernel"} < set(labels)


def test_total():
    network, weights = model()
    total = km.sparsity(network).total
    assert (total.size, total.zeros) == (64 + 256 + 24, int((weights == 0).sum()))
    assert total.sparsity == total.zeros / total.size


def test_dictionaries_make_a_csv():
    file = io.StringIO()
    rows = km.sparsity(model()[0]).to_dicts()
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    back = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert [float(row["sparsity"]) for row in back] == [row["sparsity"] for row in rows]


def test_text_has_every_matrix():
    report = km.sparsity(model()[0])
    text = str(report)
    for cell in ("lstm/recurrent_kernel", "8 × 32", "total", "before"):
        assert cell in text
    assert f"{report.total.sparsity:.2%}" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_kernel_without_weights_left():
    network, _ = model()
    network.layers[0].cell.recurrent_kernel.assign(np.zeros((8, 32)))
    row = km.sparsity(network).rows[1]
    assert (row.sparsity, row.distance) == (1.0, None)


def make_twins():
    def make_part(name):
        layers = [keras.Input((5, 4)), km.layers.ModuliSimpleRNN(4, name="rnn")]
        return keras.Sequential(layers, name=name)

    x = keras.Input((5, 4))
    parts = [make_part("left"), make_part("right")]
    model = keras.Model(x, keras.layers.concatenate([part(x) for part in parts]))
    parts[0].layers[0].cell.recurrent_kernel.assign(np.zeros((4, 4)))
    parts[1].layers[0].embedding.assign(np.zeros((4, 3)))
    return model


@pytest.mark.backend_independent
def test_weights_of_equal_names_are_told_apart():
    model = make_twins()
    report = km.sparsity(model, select="recurrent")
    zeros = {row.label: row.zeros for row in report.rows}
    assert zeros == {"left/rnn/recurrent_kernel": 16, "right/rnn/recurrent_kernel": 0}
    assert len({row.label for row in report.skipped}) == len(report.skipped)
    verdicts = {row.label: row.verdict for row in km.geometry(model).rows}
    assert verdicts == {
        "left/rnn/recurrent_kernel": "fine",
        "right/rnn/recurrent_kernel": "collapsed",
    }
    logs = {}
    monitor = km.GeometryMonitor()
    monitor.set_model(model)
    with pytest.warns(UserWarning, match="right/rnn/recurrent_kernel is collapsed"):
        monitor.on_epoch_end(0, logs)
    assert sorted(logs) == [f"spread {label}" for label in sorted(verdicts)]


@pytest.mark.backend_independent
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_what_is_printed_fits_any_terminal(encoding, monkeypatch):
    model = make_twins()
    model.name = "Nö×网"
    network = keras.Sequential([keras.Input((64,)), keras.layers.Dense(64, name="d网")])
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr("sys.stdout", terminal)
    tables = km.sparsity(network), km.geometry(model), km.sparse.plan(network)
    for table in (*tables, km.report.SparsityReport(())):
        print(table, repr(table))
    terminal.flush()
    text = terminal.buffer.getvalue().decode(encoding)
    assert ("64 × 64" if encoding != "ascii" else "64 x 64") in text
    assert ("d网" if encoding == "utf-8" else r"d\u7f51") in text


@pytest.mark.backend_independent
def test_tables_are_as_wide_as_the_terminal_and_html_in_a_notebook(monkeypatch):
    report = km.sparsity(model()[0])
    for width in (60, 140):
        monkeypatch.setenv("COLUMNS", str(width))
        assert max(map(len, str(report).splitlines())) <= width
    page = report._repr_html_()
    assert page.count("<tr>") == len(report.rows) + 2
    assert "8 × 32" in page
    plan = km.sparse.plan(model()[0])
    assert plan._repr_html_().startswith("<table>")
