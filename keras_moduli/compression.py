"""Files whose size shows the zeros."""

import io
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras

from keras_moduli import _checks

__all__ = ["load_compressed", "save_compressed"]

_WEIGHTS, _CONFIG = "model.weights.h5", "config.json"


def save_compressed(
    model: keras.Model, path: str | os.PathLike[str], *, include_optimizer: bool = False
) -> int:
    """Saves a model to a `.keras` file in which zeros take no room.

    `model.save` stores its archive uncompressed, so that a pruned model is as large as a
    dense one. This is the same archive under LZMA, which `keras.saving.load_model` reads
    as it is: nobody who loads it needs this package.

    Args:
        model: A built model.
        path: Where to; must end in `.keras`. A file that is there is replaced.
        include_optimizer: Whether to save how the model is compiled, too. An optimizer
            has moments as large as the weights and not sparse, which training needs and
            prediction does not.

    Returns:
        The size of the file in bytes.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the path does not end in `.keras`, or the model is not built.

    Examples:
        >>> import keras, numpy as np, tempfile, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((512,)), keras.layers.Dense(512)])
        >>> model.set_weights([np.eye(512), np.zeros(512)])
        >>> path = tempfile.mkdtemp() + "/model.keras"
        >>> km.save_compressed(model, path) < 20_000  # of 1 MB of numbers
        True
        >>> bool((km.load_compressed(path).get_weights()[0] == np.eye(512)).all())
        True
    """
    _checks.built_model(model)
    _checks.boolean("include_optimizer", include_optimizer)
    path = _check_target(path)
    # Beside the target, to take its place in one step: a reader never sees half a file.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        plain, packed = Path(folder, "plain.keras"), Path(folder, "packed.keras")
        model.save(plain)
        _repack(plain, packed, include_optimizer)
        packed.replace(path)
    return path.stat().st_size


def load_compressed(path: str | os.PathLike[str], **arguments: Any) -> keras.Model:
    """Loads what `save_compressed` saved, or any `.keras` file.

    Args:
        path: Path of the file.
        **arguments: Of `keras.saving.load_model`.

    Returns:
        The model; compiled if the file says how.
    """
    return keras.saving.load_model(_check_path(path), **arguments)


def _check_target(path: Any) -> Path:
    path = _check_path(path)
    if path.suffix != ".keras":
        raise ValueError(f"`path` must end in `.keras`. Received: path={str(path)!r}")
    if not path.parent.is_dir():
        raise ValueError(f"The folder of `path` must exist. Received: path={str(path)!r}")
    return path


def _check_path(path: Any) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"`path` must be a path such as 'model.keras'. Received: path={path!r}"
        )
    return Path(path)


def _repack(plain: Path, packed: Path, include_optimizer: bool) -> None:
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA) as target,
    ):
        for name in source.namelist():
            data = source.read(name)
            if not include_optimizer and name in (_CONFIG, _WEIGHTS):
                data = (_strip_compile_config if name == _CONFIG else _strip_optimizer)(
                    data
                )
            target.writestr(name, data)


def _strip_compile_config(config: bytes) -> bytes:
    return json.dumps(json.loads(config) | {"compile_config": None}).encode()


def _strip_optimizer(weights: bytes) -> bytes:
    file = io.BytesIO()
    with h5py.File(io.BytesIO(weights), "r") as source, h5py.File(file, "w") as target:
        target.attrs.update(source.attrs)
        for name in source:
            if name != "optimizer":
                source.copy(name, target)
    return file.getvalue()
