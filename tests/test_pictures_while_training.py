"""Callbacks that write pictures and files for TensorBoard."""

import keras
import matplotlib
import numpy as np
import pytest

import keras_moduli as km

matplotlib.use("Agg")

X = np.random.RandomState(0).standard_normal((16, 5, 2)).astype("float32")
Y = np.zeros((16, 1), "float32")


def fit(*callbacks, epochs=4, layer=None):
    layer = layer or km.layers.ModuliSimpleRNN(12, manifold=km.manifolds.Euclidean(2))
    model = keras.Sequential([keras.Input((5, 2)), layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), verbose=0)
    return model


def test_pictures_are_of_the_start_and_of_every_other_epoch(tmp_path):
    from PIL import Image

    fit(km.callbacks.PlotGeometry(tmp_path / "new", every=2))
    names = sorted(path.name for path in (tmp_path / "new").iterdir())
    pictures = [f"geometry-{epoch:04d}.png" for epoch in (0, 2, 4)]
    assert names == [*pictures, "geometry.gif"]
    film = Image.open(tmp_path / "new" / "geometry.gif")
    assert film.n_frames == 3
    assert film.size == Image.open(tmp_path / "new" / pictures[0]).size
    frames = [np.asarray(Image.open(tmp_path / "new" / name)) for name in pictures]
    assert (frames[0] != frames[2]).any()  # weights of the epoch, not of the start


def test_a_run_that_diverges_is_not_ended_by_its_pictures(tmp_path):
    layer = km.layers.ModuliSimpleRNN(12, strength=3e38)
    with pytest.warns(UserWarning, match="no picture of epoch 2: No position .* finite"):
        fit(km.callbacks.PlotGeometry(tmp_path), layer=layer)
    assert (tmp_path / "geometry-0000.png").exists()


def test_a_layer_that_has_died_is_not_drawn_and_trains_on(tmp_path):
    layer = keras.layers.SimpleRNN(
        8,
        recurrent_initializer="zeros",
        recurrent_regularizer=km.ModuliRegularizer(),
    )
    with pytest.warns(UserWarning, match="no picture of epoch 0"):
        fit(km.callbacks.PlotGeometry(tmp_path), epochs=1, layer=layer)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["geometry-0001.png", "geometry.gif"]


def test_a_model_without_geometry_is_refused_at_once(tmp_path):
    for callback in (km.callbacks.PlotGeometry, km.callbacks.TensorBoardGeometry):
        with pytest.raises(ValueError, match="no weight with a geometry"):
            fit(callback(tmp_path), layer=keras.layers.SimpleRNN(4))


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(ValueError, match="`kind` must be one of"):
        km.callbacks.PlotGeometry(tmp_path, kind="film")
    with pytest.raises(TypeError, match="`directory` must be a path"):
        km.callbacks.PlotGeometry(3)
    with pytest.raises(TypeError, match="`log_dir` must be a path"):
        km.callbacks.TensorBoardGeometry(3)


def test_tensorboard_reads_images_and_finds_the_projector(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = fit(km.callbacks.TensorBoardGeometry(tmp_path, every=2))
    events = EventAccumulator(str(tmp_path), size_guidance={"images": 0}).Reload()
    (tag,) = events.Tags()["images"]
    assert tag == "geometry/moduli_simple_rnn/recurrent_kernel" or "recurrent" in tag
    images = events.Images(tag)
    assert [image.step for image in images] == [1, 3]
    assert images[0].encoded_image_string.startswith(b"\x89PNG")
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert config.count("embeddings {") == 1
    (name,) = [p for p in tmp_path.glob("*.tsv") if "neurons" not in p.name]
    assert f'tensor_path: "{name.name}"' in config
    positions = km.placement(model).positions
    np.testing.assert_allclose(np.loadtxt(name), positions, rtol=1e-4)
    rows = (tmp_path / f"{name.stem}_neurons.tsv").read_text().splitlines()
    assert rows[0] == "neuron\tconnections"
    assert len(rows) == 13


def test_the_projector_of_tensorboard_parses_its_config(tmp_path):
    from google.protobuf import text_format
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    fit(km.callbacks.TensorBoardGeometry(tmp_path), epochs=1)
    config = ProjectorConfig()
    text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), config)
    assert (tmp_path / config.embeddings[0].tensor_path).exists()
    assert (tmp_path / config.embeddings[0].metadata_path).exists()
