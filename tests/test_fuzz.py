"""What strangers send: configs and files in which anything is something else.

A few dozen of each in every run, always the same; `--hypothesis-profile=long` tries
thousands of new ones.
"""

import contextlib
import copy
import io
import json
import math
import os
import sys
import tempfile
import warnings
import zipfile

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_moduli as km
from tests.configs import RULE, list_objects

pytestmark = [
    pytest.mark.backend_independent,
    pytest.mark.filterwarnings("ignore"),  # of what is odd, and still legal
]
EXAMPLES = settings().max_examples
serialize = keras.saving.serialize_keras_object
deserialize = keras.saving.deserialize_keras_object

LAMBDA = {"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}}
NUMBERS = [0, -1, 1, 2, 3, 4, 8, 0.5, 3.5, -0.0, 1e-300, 1e300, math.inf, math.nan]
NUMBERS += [10**400, 2**31, 2**63]
WORDS = ["", "torus", "relu", "x", "../x", "float16", "sum", "\x00", "🧠", "a" * 5000]
NESTED = [[], [1], [[1, 2], [3]], [None], ["torus"], {}, {"a": 1}, LAMBDA]
NESTED += [serialize(km.manifolds.Torus()), serialize(keras.layers.Dense(2))]
ODD = st.sampled_from([None, True, False, *NUMBERS, *WORDS, *NESTED])


def list_places(value):
    """Yields each place inside a config: what holds it, and its key or index."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from list_places(inner)


def mutate(draw, config):
    """Changes a config at one place: another value, none, one more, or one's neighbor."""
    holder, key = draw(st.sampled_from(list(list_places(config))))
    what = draw(st.sampled_from(["odd", "odd", "odd", "drop", "add", "swap"]))
    if what == "odd":
        holder[key] = copy.deepcopy(draw(ODD))
    elif what == "drop":
        del holder[key]
    elif what == "add" and isinstance(holder, dict):
        holder["another"] = copy.deepcopy(draw(ODD))
    elif what == "add":
        holder.append(copy.deepcopy(holder[key]))
    else:
        other, index = draw(st.sampled_from(list(list_places(config))))
        holder[key] = copy.deepcopy(other[index])


def write(thing):
    """Returns an object as a text, by which two are the same."""
    return json.dumps(to_plain(serialize(thing)), sort_keys=True)


def to_plain(value):
    if isinstance(value, dict):
        return {str(key): to_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(inner) for inner in value]
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else repr(value)


CONFIGS = [json.loads(write(thing)) for thing in list_objects()]
NAMES = {
    str(key)
    for config in CONFIGS
    for holder, key in [*list_places(config)]
    if isinstance(holder, dict)
}


@st.composite
def mutants(draw):
    config = copy.deepcopy(draw(st.sampled_from(CONFIGS)))
    for _ in range(draw(st.integers(1, 3))):
        if config["config"]:
            mutate(draw, config["config"])
    return config


@settings(max_examples=3 * EXAMPLES, suppress_health_check=list(HealthCheck))
@given(mutants())
def test_a_config_is_taken_or_refused_by_name(config):
    try:
        made = deserialize(copy.deepcopy(config))
    except AttributeError as error:  # of Keras, whatever the layer: a dtype that is none
        if "quantization_mode" not in str(error):
            raise
        return
    except (TypeError, ValueError) as error:
        message = str(error)
        assert any(name in message for name in NAMES) or "another" in message, message
        return
    assert write(deserialize(serialize(made))) == write(made)
    if isinstance(made, keras.layers.Layer):
        with contextlib.suppress(TypeError, ValueError):
            build(made)


def build(layer):
    """Builds a layer that is small, for inputs that most of them take."""
    if "." in layer.name:  # which PyTorch takes for no layer of Keras
        return
    if not isinstance(getattr(layer, "units", 1), int) or layer_size(layer) > 64:
        return
    shape = (None, 5, 8) if isinstance(layer, keras.layers.RNN) else (None, 8)
    if isinstance(layer, km.layers.NeuronEmbedding):
        shape = (4,)
    layer.build(shape)


def layer_size(layer):
    """Returns the largest number in the config of a layer."""
    places = list_places(to_plain(layer.get_config()))
    values = [holder[key] for holder, key in places]
    return max([v for v in values if isinstance(v, int | float)], default=0)


def make_model():
    neurons = km.layers.NeuronEmbedding("torus", name="shared")
    penalty = km.ModuliRegularizer(km.manifolds.Product(["circle", "sphere"]), "dog")
    return keras.Sequential(
        [
            keras.Input((3, 4)),
            km.layers.ModuliSimpleRNN(8, embedding=neurons, return_sequences=True),
            km.layers.SparseGRU(8, connectivity=RULE),
            keras.layers.Dense(4, kernel_regularizer=penalty),
        ]
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder, files of a model as Keras and as we write it, and its weights."""
    folder = tmp_path_factory.mktemp("fuzz")
    model = make_model()
    model.compile("sgd", "mse")
    model.save(folder / "plain.keras")
    km.save_compressed(model, folder / "small.keras", include_optimizer=True)
    written = [(folder / name).read_bytes() for name in ("plain.keras", "small.keras")]
    return folder, written, model.get_weights()


def read_members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_members(path, members):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)


def break_bytes(draw, content):
    """Returns a file with some bytes flipped, or without its end."""
    content = bytearray(content)
    if draw(st.integers(0, 5)) == 0:
        return bytes(content[: draw(st.integers(0, len(content) - 1))])
    for _ in range(draw(st.integers(1, 3))):
        content[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
    return bytes(content)


def break_members(draw, path):
    """Rewrites an archive, with right checksums: a member lacks, moves or is another."""
    members = read_members(path)
    names = list(members)
    one, other = draw(st.sampled_from(names)), draw(st.sampled_from(names))
    what = draw(st.sampled_from(["config", "config", "drop", "swap", "cut", "rename"]))
    if what == "config":
        config = json.loads(members["config.json"])
        for _ in range(draw(st.integers(1, 2))):
            mutate(draw, config)
        members["config.json"] = json.dumps(config).encode()
    elif what == "drop":
        del members[one]
    elif what == "swap":
        members[one], members[other] = members[other], members[one]
    elif what == "cut":
        members[one] = break_bytes(draw, members[one])
    else:
        members[draw(st.sampled_from(["../evil", "/tmp/evil", "x/../../evil"]))] = b"evil"
    write_members(path, members.items())
    return what


@contextlib.contextmanager
def watch():
    """Notes commands that are run, and files written outside of temporary folders."""
    seen = []
    WATCHES.append(seen)
    try:
        yield seen
    finally:
        WATCHES.remove(seen)


WATCHES = []
OURS = [tempfile.gettempdir(), "/dev/", os.environ.get("JAX_COMPILATION_CACHE_DIR", "//")]
RUNS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect")


def _note(event, arguments):
    if not WATCHES:
        return
    if event in RUNS:
        WATCHES[-1].append((event, arguments))
    elif event == "open" and isinstance(arguments[0], str) and (arguments[2] or 0) & 3:
        path = os.path.abspath(arguments[0])
        if "__pycache__" not in path and not path.startswith(tuple(OURS)):
            WATCHES[-1].append((event, path))


sys.addaudithook(_note)


def load(folder, seen_before):
    """Loads a broken file. Returns the model, or None if it was refused in words."""
    model = None
    with watch() as seen, contextlib.suppress(TypeError, ValueError, OSError):
        model = km.load_compressed(folder / "broken.keras")
    assert not seen
    assert {path.name for path in folder.iterdir()} == seen_before | {"broken.keras"}
    return model


@settings(max_examples=EXAMPLES // 2, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_of_a_broken_file_what_was_written_is_loaded_or_nothing(files, data):
    folder, written, expected = files
    names = {path.name for path in folder.iterdir()} - {"broken.keras"}
    path = folder / "broken.keras"
    path.write_bytes(break_bytes(data.draw, data.draw(st.sampled_from(written))))
    if (model := load(folder, names)) is not None:
        for one, other in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@settings(max_examples=EXAMPLES // 2, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_file_of_other_members_is_taken_or_refused(files, data):
    folder, written, expected = files
    names = {path.name for path in folder.iterdir()} - {"broken.keras"}
    path = folder / "broken.keras"
    path.write_bytes(data.draw(st.sampled_from(written)))
    what = break_members(data.draw, path)
    model = load(folder, names)
    if model is not None and what in ("drop", "rename"):
        for one, other in zip(model.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def find_members(path):
    """Returns where the content of each member of an archive lies."""
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            start = info.header_offset + 30 + len(info.filename.encode())
            yield info.filename, range(start, start + info.compress_size)


@pytest.mark.parametrize("number", [0, 1], ids=["plain", "small"])
@pytest.mark.parametrize("where", [0.3, 0.6, 0.99])
def test_damage_is_told(files, number, where):
    folder, written, _ = files
    path = folder / "broken.keras"
    path.write_bytes(written[number])
    for name, places in list(find_members(path)):
        content = bytearray(written[number])
        content[places[int(where * len(places))]] ^= 16
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"broken.keras' is damaged.*Copy it again"):
            km.load_compressed(path)
        members = [m for m in read_members_of(written[number]) if m[0] != name]
        write_members(path, members)
        if name != "metadata.json":
            with pytest.raises(ValueError, match=f"has no .*{name}"):
                km.load_compressed(path)


def read_members_of(content):
    return list(read_members(io.BytesIO(content)).items())
