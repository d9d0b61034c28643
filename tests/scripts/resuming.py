"""Run as a module: a run that backs itself up, and may be killed.

    python -m tests.scripts.resuming FOLDER... [--kill]

does a run in each folder and writes its final weights and optimizer state to weights.npz
there.
"""

import argparse
import os
import pathlib
import signal

import keras
import numpy as np

import keras_moduli as km

X = np.random.RandomState(0).standard_normal((64, 6, 3)).astype("float32")
Y = X.sum(axis=(1, 2))[:, None]


class Kill(keras.callbacks.Callback):
    """The power goes out in the middle of epoch 3."""

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 3 and batch == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch


class FirstEpoch(keras.callbacks.Callback):
    """Which epoch this process began with."""

    number = None

    def on_epoch_begin(self, epoch, logs=None):
        if self.number is None:
            self.number = epoch


def main(folder, kill):
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            km.layers.ModuliSimpleRNN(16, strength=1e-3),
            keras.layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    first, steps = FirstEpoch(), {"unit": "step", "begin": 2, "frequency": 3}
    callbacks = [
        first,
        keras.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False),
        km.MagnitudePruning(0.9, **steps, select="recurrent", regrow="rigl"),
        km.MagnitudePruning(0.9, **steps, select=r"(?<!recurrent_)kernel$"),
        *([Kill()] if kill else []),
    ]
    data = {"x": X, "y": Y, "batch_size": 16, "shuffle": False, "verbose": 0}
    model.fit(**data, epochs=8, callbacks=callbacks)
    recurrent, *others = sorted(km.sparsity(model).rows, key=lambda row: -row.size)
    assert recurrent.zeros == round(0.9 * recurrent.size)
    assert sum(r.zeros for r in others) == round(0.9 * sum(r.size for r in others))
    state = [*model.weights, *model.optimizer.variables]
    arrays = {str(i): keras.ops.convert_to_numpy(v.value) for i, v in enumerate(state)}
    np.savez(folder / "weights.npz", first_epoch=first.number, **arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=pathlib.Path, nargs="+")
    parser.add_argument("--kill", action="store_true")
    args = parser.parse_args()
    for each in args.folders:
        main(each, args.kill)
