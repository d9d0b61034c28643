"""What the archive of a model holds, without the archive."""

import contextlib
import io
import zipfile
from collections.abc import Iterable
from typing import Any

import keras
from keras.src.saving import saving_lib


def describe_model(model: keras.Model) -> tuple[str, str]:
    """Returns the config of a model and what Keras notes beside it, both in JSON.

    `model.get_config` says neither how layers share objects nor how the model is
    compiled.
    """
    return saving_lib._serialize_model_as_json(model)


def write_state(
    model: keras.Model, weights: io.BytesIO, assets: zipfile.ZipFile, skip: Iterable[Any]
) -> None:
    """Writes the weights of a model in HDF5, and the files of its layers to an archive.

    `model.save` writes to the disk, and all of it uncompressed.

    Args:
        model: The model.
        weights: Where weights go.
        assets: Where files go, as of vocabularies.
        skip: Optimizers and layers that are left out.
    """
    with (
        contextlib.closing(saving_lib.H5IOStore(weights, mode="w")) as store,
        contextlib.closing(saving_lib.DiskIOStore("assets", assets, "w")) as files,
    ):
        saving_lib._save_state(model, store, files, "", {id(each) for each in skip})
