"""Runs that back themselves up and may be killed, which `faults.py` does."""

# ruff: noqa: D102 (hooks of Keras)

import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import keras_moduli as km

BATCHES, BATCH = 4, 8
Parts = tuple[Any, list[Any]]  # a layer and the callbacks of its run
OPTIONS: dict[str, dict[str, Any]] = {
    "Keras": {},
    "double": {"double_checkpoint": True},
    "steps": {"save_freq": 3},
}


class WholeBackup(keras.callbacks.BackupAndRestore):
    """A backup that no kill breaks: a copy gets its name once it is whole."""

    def __init__(self, folder):
        self.folder, work = pathlib.Path(folder), pathlib.Path(folder, "work")
        shutil.rmtree(work, ignore_errors=True)
        if copies := sorted(self.folder.glob("epoch-*")):
            shutil.copytree(copies[-1], work)
        super().__init__(work, delete_checkpoint=False)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.backup_dir, copy)
        copy.rename(self.folder / f"epoch-{epoch:06}")
        for old in sorted(self.folder.glob("epoch-*"))[:-1]:
            shutil.rmtree(old)


class Telling(keras.callbacks.Callback):
    """Tells by a pipe that an epoch starts, `e`, and that a backup is written, `w`.

    It comes before the backup in the list of callbacks, which are called in turn.
    """

    def __init__(self, pipe: int, steps: int | None) -> None:
        super().__init__()
        self.pipe, self.steps, self.done = pipe, steps, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        os.write(self.pipe, b"e")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.done += 1
        if self.steps and self.done % self.steps == 0:
            os.write(self.pipe, b"w")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self.steps:
            os.write(self.pipe, b"w")


def plain() -> Parts:
    regularizer = km.ModuliRegularizer(strength=1e-3)
    layer = keras.layers.SimpleRNN(32, recurrent_regularizer=regularizer)
    return layer, [km.MagnitudePruning(0.9)]


def prune(**options: Any) -> Parts:
    layer, _ = plain()
    timeline = {"unit": "step", "begin": 2, "end": 40, "frequency": 3}
    return layer, [km.MagnitudePruning(0.9, **timeline, **options)]


def learned() -> Parts:
    layer = km.layers.ModuliSimpleRNN(32, manifold="sphere", strength=1e-2)
    return layer, [km.MagnitudePruning(0.9, unit="step", frequency=3)]


def rewire() -> Parts:
    rule = km.connectivity.SmallWorld("torus", density=1 / 4, block=(4, 4))
    layer = km.layers.SparseGRU(32, connectivity=rule)
    return layer, [km.Rewire(0.5, 4, select="recurrent", data=draw(), batch_size=16)]


KINDS: dict[str, Callable[[], Parts]] = {
    "plain": plain,
    "RigL": lambda: prune(regrow="rigl"),
    "SET": lambda: prune(regrow="set"),
    "blocks": lambda: prune(structure=(4, 4), select="recurrent"),
    "learned": learned,
    "Rewire": rewire,
    "Keras": lambda: (keras.layers.SimpleRNN(32), []),
    "Dropout": lambda: (keras.layers.SimpleRNN(32), []),
}


def draw() -> tuple[Any, Any]:
    x = np.random.RandomState(0).standard_normal((BATCHES * BATCH, 4, 3))
    return x.astype("float32"), x.sum(axis=(1, 2))[:, None].astype("float32")


def build(kind: str) -> tuple[keras.Model, list[Any]]:
    """Returns a model and the callbacks of its run, the same in each process."""
    keras.utils.set_random_seed(0)
    layer, callbacks = KINDS[kind]()
    noise = [keras.layers.Dropout(0.1)] if kind == "Dropout" else []
    parts = [layer, *noise, keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4, 3)), *parts])
    # XLA takes TensorFlow many seconds, and JAX has nothing else.
    model.compile("adam", "mse", jit_compile=keras.backend.backend() == "jax")
    return model, callbacks


def make_backup(name: str, folder: pathlib.Path) -> Any:
    """Returns the callback that backs a run up."""
    if name == "whole":
        return WholeBackup(folder)
    return keras.callbacks.BackupAndRestore(
        folder, delete_checkpoint=False, **OPTIONS[name]
    )


def train(kind: str, backup: str, folder: pathlib.Path, epochs: int, pipe: int) -> None:
    """Trains from the last backup to the end, and writes down all that there is then."""
    model, callbacks = build(kind)
    telling = Telling(pipe, OPTIONS.get(backup, {}).get("save_freq"))
    callbacks = [telling, make_backup(backup, folder / "backup"), *callbacks]
    history = model.fit(
        *draw(), BATCH, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks
    ).history
    state = [*model.weights, *model.optimizer.variables]
    arrays = {
        f"{i} {v.path}": keras.ops.convert_to_numpy(v.value) for i, v in enumerate(state)
    }
    if history:  # one that was killed after its last epoch has no more to train
        logs = {name: np.float64(values[-1]) for name, values in history.items()}
        np.savez(folder / "logs.npz", **logs)
    with open(folder / "part", "wb") as file:
        np.savez(file, **arrays)
    (folder / "part").rename(folder / "result.npz")
