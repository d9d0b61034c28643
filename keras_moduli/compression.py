"""Files whose size shows the zeros."""

import errno
import io
import json
import lzma
import os
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import h5py
import keras

from keras_moduli import _checks, _files, _keras_private

__all__ = ["load_compressed", "save_compressed"]

_WEIGHTS = "model.weights.h5"
# Keras refuses members that are larger and expand by more; with files of layers (without,
# from 4 GiB), and arrays within HDF5 from 4 GiB that expand a thousandfold, which zeros
# in pieces of this size do not.
_FLOOR, _EXPANSION, _CHUNK = 1 << 28, 100, 1 << 16
_FLOOR_WITHOUT_FILES = 1 << 32


def save_compressed(
    model: keras.Model, path: str | os.PathLike[str], *, include_optimizer: bool = False
) -> int:
    """Saves a model to a `.keras` file in which zeros take no room.

    `model.save` stores its archive uncompressed, so that a pruned model is as large as a
    dense one. This is the same archive under LZMA, which `keras.saving.load_model` reads
    as it is: nobody who loads it needs this package.

    The file is written beside its path, read back, and takes its place in one step:
    whatever goes wrong, what was there is there still. Weights are in memory once more
    meanwhile, for a moment twice, and never on the disk as they are.

    Args:
        model: A built model.
        path: Where to; must end in `.keras`. A file that is there is replaced, keeping
            its mode; of a link, the file that it leads to.
        include_optimizer: Whether to save how the model is compiled, too. An optimizer
            has moments as large as the weights and not sparse, which training needs and
            prediction does not.

    Returns:
        The size of the file in bytes.

    Raises:
        TypeError: If `model` is not a Keras model.
        ValueError: If the path does not end in `.keras`, or the model is not built.
        OSError: If the file cannot be written.

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
    save(model, path, zipfile.ZIP_LZMA, include_optimizer=include_optimizer)
    return path.stat().st_size


def save(
    model: keras.Model,
    path: Path,
    method: int = zipfile.ZIP_STORED,
    *,
    include_optimizer: bool = True,
) -> None:
    """Saves a model as `model.save` does, but whole or not at all."""
    skip = [] if include_optimizer else [getattr(model, "optimizer", None)]
    with _files.replace(path) as file:
        _write_archive(file, _make_members(model, skip), method)


def load_compressed(path: str | os.PathLike[str], **arguments: Any) -> keras.Model:
    """Loads what `save_compressed` saved, or any `.keras` file.

    All of the file is read and compared with its checksums first: of a damaged file Keras
    may load weights that nobody wrote.

    Args:
        path: Path of the file.
        **arguments: Of `keras.saving.load_model`.

    Returns:
        The model; compiled if the file says how.

    Raises:
        OSError: If the file cannot be read.
        TypeError: If `path` is no path, or a config in the file has a wrong type.
        ValueError: If the file is damaged, is none of a model, or a config in it is
            of nothing that can be made.

    Examples:
        >>> import tempfile, keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> path = tempfile.mkdtemp() + "/model.keras"
        >>> _ = km.save_compressed(model, path)
        >>> km.load_compressed(path).output_shape
        (None, 2)
    """
    path = _check_path(path)
    if zipfile.is_zipfile(path):
        _check_members(path)
    try:
        return keras.saving.load_model(path, **arguments)
    except (ImportError, OSError, TypeError, ValueError):
        raise
    except Exception as error:  # whatever a config of somebody else's can raise
        raise ValueError(
            f"No model can be made of the file {str(path)!r}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _check_members(path: Path) -> None:
    """Raises a ValueError unless an archive holds what was written to it."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not _is_refused(info, _FLOOR_WITHOUT_FILES):  # which Keras explains
                    _read(archive, info)
            if absent := {"config.json", _WEIGHTS} - set(archive.namelist()):
                problem = f"it has no {sorted(absent)}"
            else:
                return
    except OSError:
        raise
    except Exception as error:  # of zipfile, zlib, lzma and struct
        problem = f"{type(error).__name__}: {error}"
    raise ValueError(
        f"The file {str(path)!r} is damaged, or none of a model: {problem}. Copy it "
        "again, or save the model anew."
    )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """Reads a member to its end, where `zipfile` compares its checksum.

    So little at once, since what LZMA makes of it is not limited.
    """
    with archive.open(info) as member:
        while member.read(1 << 12):
            pass


def _is_refused(info: zipfile.ZipInfo, floor: int) -> bool:
    """Whether Keras takes a member for a bomb."""
    return info.file_size > max(floor, _EXPANSION * info.compress_size)


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


def _make_members(model: keras.Model, skip: Sequence[Any]) -> dict[str, IO[bytes]]:
    """Returns the files that Keras archives, under their names, in memory."""
    config, metadata = _keras_private.describe_model(model)
    if skip:
        config = json.dumps(json.loads(config) | {"compile_config": None})
    weights, files = io.BytesIO(), zipfile.ZipFile(io.BytesIO(), "w")
    _keras_private.write_state(model, weights, files, skip)
    return {
        "metadata.json": io.BytesIO(metadata.encode()),
        "config.json": io.BytesIO(config.encode()),
        _WEIGHTS: weights,
        **{name: files.open(name) for name in files.namelist()},
    }


def _write_archive(file: IO[bytes], members: dict[str, IO[bytes]], method: int) -> None:
    """Writes an archive that Keras reads, and reads it back."""
    methods = dict.fromkeys(members, method)
    sources = dict(members)
    while True:
        file.seek(0)
        file.truncate()
        with zipfile.ZipFile(file, "w") as archive:
            for name, source in sources.items():
                _add(archive, name, source, methods[name])
        refused = _check_archive(file)
        if not refused:
            return
        for name in refused:
            if name == _WEIGHTS and sources[name] is members[name]:
                sources[name] = _pack(members[name])
            else:
                methods[name] = zipfile.ZIP_STORED


def _add(archive: zipfile.ZipFile, name: str, source: IO[bytes], method: int) -> None:
    info = zipfile.ZipInfo(name)
    info.compress_type = method
    info.file_size = source.seek(0, io.SEEK_END)  # from which the header has its width
    source.seek(0)
    with archive.open(info, "w") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _check_archive(file: IO[bytes]) -> list[str]:
    """Returns the members that Keras refuses to read, as likely bombs.

    Raises:
        OSError: If a member is not what was written.
    """
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            try:
                _read(archive, info)
            except (zipfile.BadZipFile, lzma.LZMAError) as error:
                raise OSError(
                    errno.EIO, f"{info.filename!r} was not written as it is. Save again"
                ) from error
        return [info.filename for info in archive.infolist() if _is_refused(info, _FLOOR)]


def _pack(weights: IO[bytes]) -> io.BytesIO:
    """Compresses arrays within their HDF5 file, which makes that itself small.

    What expands more than a hundredfold is then no member of the archive.
    """
    packed = io.BytesIO()
    with h5py.File(weights, "r") as source, h5py.File(packed, "w") as target:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Group):
                made = target.require_group(name)
            else:
                options = _options(item)
                made = target.create_dataset(name, item.shape, item.dtype, **options)
                for part in made.iter_chunks() if options else [()]:
                    made[part] = item[part]
            made.attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(copy)
    return packed


def _options(item: Any) -> dict[str, Any]:
    """Returns how an array is compressed, if it is large."""
    if item.nbytes <= _CHUNK:
        return {}
    sides: list[int] = []
    left = _CHUNK // item.dtype.itemsize
    for side in reversed(item.shape):
        sides.insert(0, max(1, min(side, left)))
        left //= sides[0]
    return {"chunks": tuple(sides), "compression": "gzip"}
