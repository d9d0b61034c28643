"""What is drawn: how many artists, which data, lines that wrap, limits; no pixels."""

import keras
import matplotlib
import numpy as np
import pytest

import keras_moduli as km
from tests import cases

matplotlib.use("Agg")
from matplotlib import pyplot

pytestmark = pytest.mark.backend_independent


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def make_model(manifold="torus", units=32, layer=keras.layers.SimpleRNN, **arguments):
    gates = {keras.layers.GRU: 3, keras.layers.LSTM: 4}.get(layer, 1)
    regularizer = km.ModuliRegularizer(manifold, "diffusion", gates=gates)
    rnn = layer(units, recurrent_regularizer=regularizer, **arguments)
    return keras.Sequential([keras.Input((5, 3)), rnn, keras.layers.Dense(2)])


def set_kernel(model, values):
    model.layers[0].cell.recurrent_kernel.assign(values)


def list_segments(ax):
    """The lines of all connections, each an array of points."""
    return [
        np.array(line)
        for collection in ax.collections
        if type(collection).__name__ == "LineCollection"
        for line in collection.get_segments()
    ]


# Placement


def test_a_placement_has_positions_order_distances_and_connections():
    model = make_model()
    kernel = np.zeros((32, 32))
    kernel[3, 7], kernel[0, 31] = 2.0, -1.0
    set_kernel(model, kernel)
    placed = km.placement(model)
    assert placed.label == "simple_rnn/recurrent_kernel"
    points = km.manifolds.Torus().sample(32)
    np.testing.assert_allclose(placed.positions, points)
    assert sorted(placed.order) == list(range(32))
    links = placed.connections
    assert list(zip(links.inputs, links.outputs, links.weights, strict=True)) == [
        (0, 31, -1.0),
        (3, 7, 2.0),
    ]
    wrapped = np.abs(points[:, None] - points)
    wrapped = np.minimum(wrapped, 10 - wrapped)
    expected = np.sqrt((wrapped**2).sum(axis=-1))
    np.testing.assert_allclose(placed.distances, expected, atol=1e-4)
    np.testing.assert_allclose(placed.spans, expected[[0, 3], [31, 7]], atol=1e-4)
    assert links.sparsity == 1 - 2 / 1024


@pytest.mark.parametrize("layer", [keras.layers.GRU, keras.layers.LSTM])
def test_connections_know_their_gates(layer):
    model = make_model(layer=layer)
    kernel = model.layers[0].cell.recurrent_kernel
    values = np.zeros(kernel.shape)
    values[4, 32 + 5] = 3.0  # the second gate
    kernel.assign(values)
    links = km.placement(model).connections
    assert (links.inputs, links.outputs, links.gates) == (4, 5, 1)
    assert links.shape == (32, 32, kernel.shape[1] // 32)


@pytest.mark.parametrize("gates", [1, 3])
def test_connections_of_blocks_are_those_of_the_dense_kernel(gates):
    rule = km.connectivity.SmallWorld("torus", 0.25, (8, 8))
    layer = {1: km.layers.SparseSimpleRNN, 3: km.layers.SparseGRU}[gates](
        64, connectivity=rule
    )
    model = keras.Sequential([keras.Input((5, 3)), layer])
    placed = km.placement(model)
    links = placed.connections
    dense = np.zeros((64, gates * 64), np.float32)
    dense[links.inputs, links.gates * 64 + links.outputs] = links.weights
    held = km.connectivity.find_kernel(layer.cell.recurrent_kernel)
    np.testing.assert_array_equal(dense, held.to_matrix())
    assert placed.inhibitor is None
    np.testing.assert_array_equal(placed.positions, km.manifolds.Torus().sample(64))
    assert placed.spans.mean() < placed.sample_distances().mean()


def test_learned_positions_are_those_of_the_weight():
    layer = km.layers.ModuliLSTM(16, manifold=km.manifolds.Euclidean(2))
    model = keras.Sequential([keras.Input((5, 3)), layer])
    placed = km.placement(model)
    assert placed.learned
    positions = keras.ops.convert_to_numpy(layer.embedding.value)
    np.testing.assert_allclose(placed.positions, positions)


def test_a_kernel_is_found_by_layer_by_label_and_by_path():
    first = keras.layers.SimpleRNN(
        8,
        name="first",
        return_sequences=True,
        recurrent_regularizer=km.ModuliRegularizer("torus"),
    )
    second = keras.layers.SimpleRNN(
        16,
        name="second",
        kernel_regularizer=km.ModuliRegularizer("circle", output_seed=1),
        recurrent_regularizer=km.ModuliRegularizer("sphere"),
    )
    model = keras.Sequential([keras.Input((5, 3)), first, second])
    assert km.placement(model).label == "first/recurrent_kernel"
    assert km.placement(model, "second").label == "second/kernel"
    label = "second/recurrent_kernel"
    assert km.placement(model, label).manifold == km.manifolds.Sphere()
    path = second.cell.recurrent_kernel.path
    assert km.placement(model, path).label == label
    assert km.placement(second).manifold == km.manifolds.Circle()


def test_what_has_no_geometry_says_what_has():
    model = make_model()
    with pytest.raises(ValueError, match=r"no layer 'rnn'. Known are: .*simple_rnn"):
        km.placement(model, "rnn")
    with pytest.raises(ValueError, match=r"dense/kernel has no geometry. Those that"):
        km.placement(model, "dense")
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r"no weight with a geometry. Use"):
        km.placement(plain)
    with pytest.raises(TypeError, match="Keras model or layer"):
        km.placement(3)
    with pytest.raises(ValueError, match="has no weights yet"):
        km.placement(keras.layers.Dense(2))


# Neurons


def test_lines_on_the_torus_leave_on_one_side_and_come_back_on_the_other():
    model = make_model(km.manifolds.Torus(), units=2)
    points = np.array([[1.0, 5.0], [9.0, 5.0]])  # 2 apart, over the edge
    regularizer = km.ModuliRegularizer("torus", "diffusion", embedding=points)
    rnn = keras.layers.SimpleRNN(2, recurrent_regularizer=regularizer)
    model = keras.Sequential([keras.Input((5, 3)), rnn])
    set_kernel(model, [[0.0, 1.0], [0.0, 0.0]])
    ax = km.plot.neurons(model, edges=1.0)
    segments = sorted(list_segments(ax), key=lambda s: s[:, 0].min())
    assert len(segments) == 2
    np.testing.assert_allclose(np.sort(segments[0][:, 0]), [-1, 1])
    np.testing.assert_allclose(np.sort(segments[1][:, 0]), [9, 11])
    assert ax.get_xlim() == (0, 10)
    assert ax.get_ylim() == (0, 10)


FLAT = ["torus", "klein_bottle", "mobius_strip"]


@pytest.mark.parametrize("name", FLAT)
def test_lines_of_flat_manifolds_are_as_long_as_the_distance(name):
    manifold = km.manifolds.get(name)
    layout = _lay_out(manifold, manifold.sample(40, seed=3))
    i, j = np.triu_indices(40, 1)
    for a, b in zip(i[::7], j[::7], strict=True):
        copies = layout.join(np.array([a]), np.array([b]))
        lengths = np.linalg.norm(copies[:, 1] - copies[:, 0], axis=-1)
        inside = _cut(copies, layout.limits).sum()
        distance = float(manifold.distance(layout.points[a], layout.points[b]))
        np.testing.assert_allclose(lengths, distance, rtol=1e-4)
        np.testing.assert_allclose(inside, distance, rtol=1e-3)


@pytest.mark.parametrize("name", ["sphere", "poincare_ball"])
def test_lines_of_curved_manifolds_are_geodesics(name):
    manifold = km.manifolds.get(name)
    points = manifold.sample(30, seed=3)
    layout = _lay_out(manifold, points)
    i, j = np.triu_indices(30, 1)
    paths = layout.join(i, j)
    steps = manifold.distance(
        paths[:, :-1].astype("float32"), paths[:, 1:].astype("float32")
    )
    total = keras.ops.convert_to_numpy(steps).sum(axis=-1)
    expected = keras.ops.convert_to_numpy(
        manifold.distance(points[i].astype("float32"), points[j].astype("float32"))
    )
    np.testing.assert_allclose(total, expected, rtol=2e-3, atol=2e-3)


def _lay_out(manifold, points):
    from keras_moduli.plot._layouts import lay_out

    return lay_out(manifold, points)


def _cut(segments, limits):
    """How much of each line lies between the limits (Liang and Barsky)."""
    start, way = segments[:, 0], segments[:, 1] - segments[:, 0]
    low, high = np.array(limits).T
    first, last = np.zeros(len(start)), np.ones(len(start))
    for axis in range(2):
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.stack([low[axis] - start[:, axis], high[axis] - start[:, axis]])
            ends = ends / way[:, axis]
        ends = np.where(np.isnan(ends), [[-np.inf], [np.inf]], ends)
        first = np.maximum(first, ends.min(axis=0))
        last = np.minimum(last, ends.max(axis=0))
    return np.maximum(last - first, 0) * np.linalg.norm(way, axis=-1)


@pytest.mark.parametrize("name", cases.MANIFOLDS)
def test_neurons_of_every_manifold_are_drawn(name):
    manifold = cases.MANIFOLDS[name].manifold
    points = manifold.sample(12)
    regularizer = km.ModuliRegularizer(manifold, "diffusion", embedding=points)
    rnn = keras.layers.SimpleRNN(12, recurrent_regularizer=regularizer)
    model = keras.Sequential([keras.Input((5, 3)), rnn])
    ax = km.plot.neurons(model, color=np.arange(12.0))
    dots = ax.collections[-1]
    shown = dots.get_offsets()
    assert len(shown) == 12
    assert np.isfinite(np.asarray(shown)).all()
    np.testing.assert_array_equal(dots.get_array(), np.arange(12.0))
    assert (ax.name == "3d") == (name == "sphere")


def test_angles_have_the_colors_of_a_circle():
    dots = km.plot.neurons(
        make_model(), color=np.arange(32) - 16, period=8.0
    ).collections[-1]
    np.testing.assert_array_equal(dots.get_array(), np.mod(np.arange(32) - 16, 8))
    assert (dots.norm.vmin, dots.norm.vmax) == (0, 8)
    first, last = dots.cmap(0.0), dots.cmap(1.0)
    np.testing.assert_allclose(first, last, atol=0.02)
    with pytest.raises(ValueError, match="`period` must be above 0"):
        km.plot.neurons(make_model(), color=np.arange(32), period=0)


@pytest.mark.parametrize("learned", [True, False])
def test_learned_neurons_without_connections_are_left_out(learned):
    """What has no connection is repelled only, and ends anywhere."""
    rnn = km.layers.ModuliSimpleRNN(
        6, manifold=km.manifolds.Euclidean(2), embedding_trainable=learned
    )
    model = keras.Sequential([keras.Input((5, 3)), rnn])
    points = np.arange(12.0).reshape(6, 2) ** 2
    rnn.embedding.assign(points)
    kernel = np.zeros((6, 6))
    kernel[1, 2] = kernel[4, 4] = 1.0
    set_kernel(model, kernel)
    placed = km.placement(model)
    np.testing.assert_array_equal(placed.connected, [1, 2, 4])
    kept = points[[1, 2, 4]] if learned else points
    ax = km.plot.neurons(model)
    np.testing.assert_allclose(ax.collections[-1].get_offsets(), kept)
    assert ax.get_title(loc="left").startswith("3 of 6" if learned else "6 neurons")
    apart = np.linalg.norm(kept[:, None] - kept, axis=-1)
    assert placed.sample_distances().mean() == pytest.approx(apart.mean(), rel=1e-5)


def test_edges_are_the_strongest_and_none_leads_to_itself():
    regularizer = km.ModuliRegularizer(km.manifolds.Euclidean(2), "diffusion")
    rnn = keras.layers.SimpleRNN(10, recurrent_regularizer=regularizer)
    model = keras.Sequential([keras.Input((5, 3)), rnn])
    kernel = np.diag(np.full(10, 9.0))
    kernel[0, 1:5] = [4.0, 3.0, 2.0, 1.0]
    set_kernel(model, kernel)
    points = km.placement(model).positions
    segments = list_segments(km.plot.neurons(model, edges=0.5))
    ends = {tuple(np.round(line[-1], 4)) for line in segments}
    assert ends == {tuple(np.round(points[k], 4)) for k in (1, 2)}
    assert not list_segments(km.plot.neurons(model, edges=0))


def test_an_overview_of_a_model_without_a_geometry():
    """Its recurrent kernel, sorted by its graph, and the zeros of all."""
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(8)])
    kernel = np.zeros((8, 32))
    kernel[0, [7, 15]] = 1.0
    set_kernel(model, kernel)
    matrix, bars = km.plot.overview(model).axes
    image = np.asarray(matrix.images[0].get_array())
    ((row, column),) = np.argwhere(image > 0)
    assert abs(row - column) == 1
    assert "zeros" in matrix.get_title(loc="left")
    assert len(bars.patches) == 4  # two matrices, all weights and what is left


# Matrix


def test_a_matrix_is_sorted_along_the_manifold():
    model = make_model()
    placed = km.placement(model)
    kernel = np.zeros((32, 32))
    kernel[placed.order[3], placed.order[8]] = -2.0
    set_kernel(model, kernel)
    image = km.plot.matrix(model, values="weight").images[0]
    assert np.argwhere(np.array(image.get_array())).tolist() == [[3, 8]]
    assert image.get_clim() == (-2.0, 2.0)
    plain = km.plot.matrix(model, order=None).images[0].get_array()
    assert np.argwhere(np.array(plain)).tolist() == [[placed.order[3], placed.order[8]]]


def test_a_matrix_sorted_by_its_graph_has_its_connections_near_the_diagonal():
    model = make_model()
    shuffled = np.random.RandomState(0).permutation(32)
    kernel = np.eye(32, k=1) + np.eye(32)
    set_kernel(model, kernel[np.ix_(shuffled, shuffled)])
    image = np.array(km.plot.matrix(model, order="graph").images[0].get_array())
    rows, columns = np.nonzero(image)
    assert len(rows) == 63
    assert np.abs(rows - columns).max() <= 1


def test_a_gate_is_drawn_alone_or_the_strongest_of_all():
    model = make_model(layer=keras.layers.LSTM)
    kernel = np.zeros((32, 128))
    kernel[2, 5], kernel[2, 32 + 5], kernel[1, 96 + 1] = 1.0, -3.0, 1.0
    set_kernel(model, kernel)
    image = km.plot.matrix(model, order=None, values="weight").images[0].get_array()
    assert image[2, 5] == -3.0
    assert image[1, 1] == 1.0
    ax = km.plot.matrix(model, order=None, gate=3)
    assert np.argwhere(np.array(ax.images[0].get_array())).tolist() == [[1, 1]]
    assert "99.9% zeros" in ax.get_title(loc="left")
    with pytest.raises(ValueError, match=r"4 gates, from 0 on. Received: gate=4"):
        km.plot.matrix(model, gate=4)


def test_a_large_matrix_shows_the_share_of_what_is_not_zero():
    rule = km.connectivity.Local("circle", 1 / 16, (16, 64))
    layer = km.layers.SparseSimpleRNN(4096, connectivity=rule)
    model = keras.Sequential([keras.Input((5, 3)), layer])
    image = np.array(km.plot.matrix(model).images[0].get_array())
    assert image.shape == (1024, 1024)
    assert set(np.unique(image)) <= {0.0, 1.0}  # each pixel lies in one block
    np.testing.assert_allclose(image.mean(), 1 / 16)


def test_a_matrix_needs_no_geometry():
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.GRU(8)])
    ax = km.plot.matrix(model)
    assert "recurrent_kernel" in ax.get_title(loc="left")
    assert ax.images[0].get_array().shape == (8, 8)
    fast = km.sparsify(_pruned(), block=(4, 8))
    assert km.plot.matrix(fast).images[0].get_array().shape == (64, 64)


def test_a_matrix_without_geometry_has_gates_and_input_axes():
    gru = keras.layers.GRU(8, name="gru")
    model = keras.Sequential([keras.Input((5, 3)), gru])
    weights = np.zeros((8, 24))
    weights[1, 16 + 2] = 1.0  # the third gate
    set_kernel(model, weights)
    images = [km.plot.matrix(model, gate=g).images[0].get_array() for g in range(3)]
    assert np.argwhere(images[2]).tolist() == [[1, 2]]
    assert not images[0].any()
    assert not images[1].any()
    with pytest.raises(ValueError, match="has 3 gates"):
        km.plot.matrix(gru, gate=3)
    assert km.plot.matrix(model, "gru/kernel").images[0].get_array().shape == (3, 8)
    features = keras.Input((5, 16))
    attention = keras.layers.MultiHeadAttention(2, 4, name="attention")
    heads = keras.Model(features, attention(features, features))
    assert km.plot.matrix(heads, "query").images[0].get_array().shape == (16, 8)
    output = km.plot.matrix(heads, "attention_output").images[0].get_array()
    assert output.shape == (8, 16)


def _pruned():
    model = keras.Sequential([keras.Input((5, 3)), keras.layers.SimpleRNN(64)])
    mask = np.kron(np.eye(16, 8) + np.eye(16, 8, k=-8), np.ones((4, 8)))
    set_kernel(model, mask)
    return model


# Distances, inhibitors, manifolds


def test_histograms_of_distances_are_those_of_the_placement():
    model = make_model()
    placed = km.placement(model)
    set_kernel(model, placed.distances < 2.0)
    ax = km.plot.distances(model)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    mean = placed.distances[placed.distances < 2.0].mean()
    assert f"connections, mean {mean:.2f}" in labels
    assert f"all pairs, mean {placed.distances.mean():.2f}" in labels
    set_kernel(model, np.zeros((32, 32)))
    with pytest.raises(ValueError, match=r"No weight of .* is left"):
        km.plot.distances(model)


@pytest.mark.parametrize("name", cases.INHIBITORS)
def test_the_curve_of_an_inhibitor_is_its_cost(name):
    inhibitor = cases.INHIBITORS[name][0]
    ax = km.plot.inhibitor(inhibitor, "torus")
    distance, cost = ax.lines[0].get_data()
    expected = keras.ops.convert_to_numpy(inhibitor(np.float32(distance**2)))
    np.testing.assert_allclose(cost, expected)
    assert distance[-1] <= np.sqrt(50) + 1e-5  # as far as it goes on that torus


def test_the_inhibitor_of_a_model_is_drawn_on_its_manifold():
    ax = km.plot.inhibitor(make_model("sphere"))
    assert ax.get_xlabel() == "distance on Sphere"
    assert ax.get_title(loc="left").startswith("Diffusion")
    plain = keras.Sequential([keras.Input((5, 3)), keras.layers.GRU(8)])
    with pytest.raises(ValueError, match=r"costs nothing by distance. Pass an inhib"):
        km.plot.inhibitor(plain)


@pytest.mark.parametrize("name", cases.MANIFOLDS)
def test_every_manifold_is_drawn_by_distances_from_a_point(name):
    ax = km.plot.manifold(cases.MANIFOLDS[name].manifold)
    distances = np.array(ax.collections[-2].get_array())
    assert distances.min() == pytest.approx(0.0, abs=1e-3)
    assert np.isfinite(distances).all()


def test_the_gallery_has_all_that_is_registered_with_defaults():
    axes = km.plot.gallery().axes  # those in space have their title in the middle
    titles = {(ax.get_title(loc="left") or ax.get_title()).split("\n")[0] for ax in axes}
    assert {"Torus", "KleinBottle", "Sphere", "Diffusion", "Ripple"} <= titles
    assert len(titles - {""}) == 9 + 6


# History, sparsity, speed


def test_a_history_has_its_curves_and_sparsity_in_percent():
    log = {
        "loss": [3.0, 2.0],
        "val_loss": [4.0, 2.5],
        "penalty": [0.5, 0.4],
        "sparsity": [0.0, 0.9],
    }
    ax = km.plot.history(log)
    assert [line.get_label() for line in ax.lines] == ["loss", "val_loss", "penalty"]
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [4.0, 2.5])
    assert ax.get_yscale() == "log"
    other = next(a for a in ax.figure.axes if a is not ax)
    np.testing.assert_allclose(other.lines[0].get_ydata(), [0.0, 90.0])
    assert km.plot.history({"loss": [1.0, -1.0]}).get_yscale() == "linear"
    with pytest.raises(ValueError, match="must have a 'loss'"):
        km.plot.history({"accuracy": [1.0]})
    with pytest.raises(TypeError, match=r"what `model.fit` returned"):
        km.plot.history([1.0])


def test_bars_of_sparsity_are_the_numbers_of_weights():
    model = make_model()
    set_kernel(model, np.eye(32))
    ax = km.plot.sparsity(model)
    widths = [bar.get_width() for bar in ax.patches]
    assert widths == [96, 1024, 64, 96, 32, 64]
    assert any(text.get_text() == " 96.9% zeros" for text in ax.texts)
    with pytest.raises(TypeError, match=r"that of `km.sparsity`"):
        km.plot.sparsity(3)


def test_bars_of_a_plan_are_its_speeds():
    model = _pruned()
    plan = km.sparse.plan(model, (4, 8))
    ax = km.plot.speed(plan)
    assert [bar.get_width() for bar in ax.patches] == [row.speed for row in plan.rows]
    assert len(ax.texts) == len(plan.rows)
    with pytest.raises(TypeError, match=r"that of `km.sparse.plan`"):
        km.plot.speed("plan")


# Persistence


def count_long(ax, color, length):
    from matplotlib.colors import to_rgba

    return sum(
        bar.get_width() > length and bar.get_facecolor() == to_rgba(color)
        for bar in ax.patches
    )


def test_persistence_finds_the_holes_of_a_circle_a_sphere_and_a_torus():
    from keras_moduli.plot._style import COLORS

    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    circle = km.plot.persistence(np.column_stack([np.cos(angle), np.sin(angle)]), (1,))
    assert count_long(circle, COLORS[1], 0.8) == 1
    ball = np.random.RandomState(0).standard_normal((150, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    sphere = km.plot.persistence(ball, (1, 2))
    assert count_long(sphere, COLORS[2], 0.5) == 1
    assert count_long(sphere, COLORS[1], 0.5) == 0
    torus = km.plot.persistence(make_model("torus", units=200), (1,))
    assert count_long(torus, COLORS[1], 1.5) == 2


def test_a_diagram_has_a_dot_for_each_feature():
    ax = km.plot.persistence(np.eye(5), (0,), kind="diagram")
    assert len(ax.collections[0].get_offsets()) == 5
    with pytest.raises(ValueError, match="`dims` must be some of 0, 1 and 2"):
        km.plot.persistence(np.eye(5), (3,))
    with pytest.raises(ValueError, match=r"`dims` must .* such as \(1,\)"):
        km.plot.persistence(np.eye(5), 1)
    with pytest.raises(ValueError, match="must be finite"):
        km.plot.persistence(np.full((5, 2), np.nan))
    with pytest.raises(ValueError, match="points of shape"):
        km.plot.persistence(np.zeros((2, 3, 4)))


# All


DRAWERS = {
    "neurons": lambda ax: km.plot.neurons(make_model(), ax=ax),
    "matrix": lambda ax: km.plot.matrix(make_model(), ax=ax),
    "distances": lambda ax: km.plot.distances(make_model(), ax=ax),
    "inhibitor": lambda ax: km.plot.inhibitor("dog", ax=ax),
    "manifold": lambda ax: km.plot.manifold("torus", ax=ax),
    "history": lambda ax: km.plot.history({"loss": [1.0]}, ax=ax),
    "sparsity": lambda ax: km.plot.sparsity(make_model(), ax=ax),
    "speed": lambda ax: km.plot.speed(make_model(), ax=ax),
    "persistence": lambda ax: km.plot.persistence(np.eye(5), (0,), ax=ax),
}


def test_every_function_of_the_module_is_in_the_table():
    assert set(km.plot.__all__) == set(DRAWERS) | {"overview", "gallery"}


@pytest.mark.parametrize("name", DRAWERS)
def test_each_draws_into_given_axes_and_returns_them(name):
    before = dict(matplotlib.rcParams)
    ax = pyplot.figure().add_subplot()
    assert DRAWERS[name](ax) is ax
    assert ax.get_xlabel()
    assert dict(matplotlib.rcParams) == before  # the style of others stays
    with pytest.raises(TypeError, match="axes of a matplotlib figure"):
        DRAWERS[name]("ax")


def test_without_matplotlib_it_is_said_what_to_type(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "keras-moduli\[viz\]"'):
        km.plot.inhibitor("dog")


def test_an_overview_has_neurons_matrix_and_distances():
    figure = km.plot.overview(make_model())
    assert len(figure.axes) == 3
    assert figure.axes[1].images
    sphere = km.plot.overview(make_model("sphere"))
    assert sorted(ax.name for ax in sphere.axes) == ["3d", "rectilinear", "rectilinear"]


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_drawn_and_counted(odd):
    model = make_model("torus")
    kernel = model.layers[0].cell.recurrent_kernel
    values = keras.ops.convert_to_numpy(kernel.value).copy()
    values[0, 1] = odd
    kernel.assign(values)
    ax = km.plot.overview(model).axes[0]
    assert ax.get_title(loc="left").endswith("1 weights are not finite")
    image = km.plot.matrix(model, values="weight", order=None).images[0]
    others = np.delete(values.ravel(), 1)
    np.testing.assert_allclose(image.norm.vmax, np.abs(others).max(), rtol=1e-6)


@pytest.mark.parametrize("name", ["neurons", "matrix", "distances", "sparsity", "speed"])
def test_axes_of_space_are_refused_where_a_plane_is_drawn(name):
    ax = pyplot.figure().add_subplot(projection="3d")
    with pytest.raises(ValueError, match="must have two axes, x and y"):
        getattr(km.plot, name)(make_model("torus"), ax=ax)


def spoil_positions(count, value=np.nan):
    """A model whose first neurons learned no positions but NaN or infinity."""
    layer = km.layers.ModuliSimpleRNN(32, manifold="torus")
    model = keras.Sequential([keras.Input((5, 2)), layer])
    positions = layer.embedding
    values = keras.ops.convert_to_numpy(positions.value).copy()
    values[:count] = value
    positions.assign(values)
    return model


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_positions_that_are_not_finite_are_left_out_and_counted(odd):
    model = spoil_positions(2, odd)
    left, _, right = km.plot.overview(model).axes
    assert left.get_title(loc="left").endswith("2 positions are not finite")
    assert len(left.collections[-1].get_offsets()) == 30
    assert right.get_title(loc="left").endswith(f"{32**2 - 30**2} spans are not finite")
    ax = km.plot.persistence(model.layers[0], dims=(0,))
    assert ax.get_title(loc="left").endswith("of 30 points")


@pytest.mark.parametrize("kind", ["neurons", "distances", "persistence"])
def test_no_position_of_a_connected_neuron_is_an_error(kind):
    model = spoil_positions(2)
    kernel = np.zeros((32, 32), "float32")
    kernel[0, 1] = 1.0
    model.layers[0].recurrent_kernel.assign(kernel)
    with pytest.raises(ValueError, match=r"No position of .* is finite: training"):
        getattr(km.plot, kind)(model if kind != "persistence" else model.layers[0])


@pytest.mark.parametrize("kind", ["overview", "neurons", "distances", "persistence"])
def test_no_position_that_is_finite_is_an_error(kind):
    model = spoil_positions(32)
    opened = pyplot.get_fignums()
    with pytest.raises(ValueError, match=r"No position of .* is finite: training"):
        getattr(km.plot, kind)(model if kind != "persistence" else model.layers[0])
    assert pyplot.get_fignums() == opened
