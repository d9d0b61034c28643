"""The command line: what each command prints and writes, and how it fails."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_moduli as km
from keras_moduli.__main__ import main
from keras_moduli._commands import FIGURES

pytestmark = pytest.mark.backend_independent


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A pruned LSTM with a geometry, in a file."""
    regularizer = km.ModuliRegularizer("torus", "diffusion", gates=4)
    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            keras.layers.LSTM(256, recurrent_regularizer=regularizer, name="memory"),
            keras.layers.Dense(2),
        ]
    )
    mask = np.kron(np.eye(16, 4), np.ones((16, 64)))
    kernel = model.layers[0].cell.recurrent_kernel
    kernel.assign(keras.ops.convert_to_numpy(kernel.value) * np.tile(mask, 4))
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    return path


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_tables_are_those_of_python(saved, capsys):
    model = keras.saving.load_model(saved)
    assert run("sparsity", saved) == 0
    assert capsys.readouterr().out.strip() == str(km.sparsity(model)).strip()
    assert run("geometry", saved) == 0
    assert "Torus" in capsys.readouterr().out
    assert run("plan", saved, "--batch-size", 32) == 0
    assert "memory" in capsys.readouterr().out


def test_json_is_data(saved, capsys):
    assert run("sparsity", saved, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["label"] for row in rows} >= {"memory/recurrent_kernel"}
    assert run("geometry", saved, "--json") == 0
    assert json.loads(capsys.readouterr().out)[0]["verdict"] == "fine"
    assert run("plan", saved, "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert km.sparse.SparsePlan.from_dict(plan).rows[0].layer == "memory"


@pytest.mark.parametrize(
    "kind",
    sorted(FIGURES),
)
def test_figures_are_written(saved, kind, tmp_path, capsys):
    target = tmp_path / "figure.svg"
    assert run("plot", saved, "--kind", kind, "-o", target) == 0
    assert capsys.readouterr().out.strip() == str(target)
    assert "<svg" in target.read_text()


def test_compressed_and_sparsified_files_are_the_same_function(saved, tmp_path, capsys):
    x = np.random.RandomState(0).standard_normal((2, 5, 3)).astype("float32")
    expected = keras.saving.load_model(saved).predict(x, verbose=0)
    small, fast = tmp_path / "small.keras", tmp_path / "fast.keras"
    assert run("compress", saved, small) == 0
    assert f"{small.stat().st_size:,} bytes" in capsys.readouterr().out
    assert small.stat().st_size < saved.stat().st_size / 2
    assert run("sparsify", saved, fast, "--block", 16, 64) == 0
    for path in (small, fast):
        outputs = keras.saving.load_model(path).predict(x, verbose=0)
        np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_manifolds_are_listed(capsys):
    assert run("manifolds") == 0
    out = capsys.readouterr().out
    for name in (*km.manifolds.names(), *km.inhibitors.names()):
        assert name in out


def test_the_demo_trains_prunes_and_draws(tmp_path, capsys):
    target = tmp_path / "demo.svg"
    assert run("demo", "--epochs", 2, "-o", target) == 0
    assert "90.0" in capsys.readouterr().out
    assert target.exists()


def write(path, content):
    path.write_bytes(content)
    return path


def flip(content):
    """Changes some bytes of the weights."""
    middle = len(content) // 2
    return content[:middle] + bytes(100) + content[middle + 100 :]


def test_bad_files_are_named_in_one_line(saved, tmp_path, capsys):
    import zipfile

    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "a")
    whole = saved.read_bytes()
    hdf = write(tmp_path / "old.h5", b"\x89HDF\r\n\x1a\n" + b"0" * 10)
    for path, message in [
        (tmp_path / "none.keras", "none.keras: No such file or directory"),
        (tmp_path, "Is a directory"),
        (write(tmp_path / "empty.keras", b""), "but an empty file"),
        (write(tmp_path / "notes.txt", b"hello world"), "but text"),
        (write(tmp_path / "x.bin", b"\x00\x01abc"), "a file that begins with"),
        (hdf, "HDF5: weights alone, or a model of Keras 2"),
        (archive, "not of a model: no config.json"),
        (write(tmp_path / "cut.keras", whole[: len(whole) // 2]), "its end is missing"),
        (write(tmp_path / "model.bin", whole), "must end in .keras"),
        (write(tmp_path / "bad.keras", flip(whole)), "bad.keras' is damaged"),
    ]:
        assert run("sparsity", path) == 1, path
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("keras-moduli: ")
        assert message in captured.err
        assert captured.err.count("\n") == 1


def test_what_cannot_be_done_is_said_in_one_line(saved, tmp_path, monkeypatch, capsys):
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "broken_module.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    for arguments, message in [
        (("plot", saved, "--kernel", "rnn", "-o", tmp_path / "a.svg"), "no layer 'rnn'"),
        (("plot", saved, "-o", tmp_path / "none" / "a.svg"), "none: no such folder"),
        (("plot", saved, "-o", tmp_path / "a.xyz"), "xyz"),
        (("plot", saved, "-o", tmp_path / "a"), "a: must end in one of .svg"),
        (("plot", saved, "--kind", "speed", "--kernel", "memory"), "leave out --kernel"),
        (("plot", saved, "--kernel", "", "-o", tmp_path / "a.svg"), "no layer ''"),
        (("demo", "-o", tmp_path / "a.xyz"), "must end in one of"),
        (("demo", "--epochs", "0", "-o", tmp_path / "a.svg"), "--epochs must be"),
        (("compress", saved, tmp_path / "folder.keras"), "folder.keras: is a directory"),
        (("sparsity", saved, "--import", "broken_module"), "ZeroDivisionError"),
        (("compress", saved, saved), "is both read and written"),
        (("compress", saved, tmp_path / "a.h5"), "must end in .keras"),
        (("sparsity", saved, "--import", "no_such_module"), "no_such_module"),
    ]:
        assert run(*arguments) == 1, arguments
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.count("\n") == 1


def test_arguments_that_cannot_be_read_end_with_2(saved, capsys):
    for arguments in [(), ("nothing",), ("plot", saved, "--kind", "film")]:
        with pytest.raises(SystemExit) as error:
            run(*arguments)
        assert error.value.code == 2
        assert "usage: keras-moduli" in capsys.readouterr().err


def test_classes_of_ones_own_come_by_import(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_layers.py").write_text(
        "import keras\n"
        "@keras.saving.register_keras_serializable('own')\n"
        "class Doubled(keras.layers.Dense):\n"
        "    def call(self, x):\n"
        "        return 2 * super().call(x)\n"
    )
    monkeypatch.chdir(tmp_path)
    code = (
        "import keras, own_layers\n"
        "keras.Sequential([keras.Input((3,)), own_layers.Doubled(2)]).save('own.keras')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    assert run("sparsity", "own.keras") == 1
    assert "Doubled" in (message := capsys.readouterr().err)
    assert "--import MODULE" in message
    assert run("sparsity", "own.keras", "--import", "own_layers") == 0


def test_a_lambda_needs_a_module_that_allows_it(tmp_path, capsys):
    double = keras.layers.Lambda(lambda x: 2 * x)
    model = keras.Sequential([keras.Input((3,)), double, keras.layers.Dense(2)])
    model.save(tmp_path / "lambda.keras")
    assert run("sparsity", tmp_path / "lambda.keras") == 1
    message = capsys.readouterr().err
    assert "enable_unsafe_deserialization(): --import MODULE" in message


def test_the_module_runs(saved):
    command = [sys.executable, "-m", "keras_moduli", "sparsity", str(saved)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "weights (memory/bias, dense/bias)" in done.stdout
