"""Run as a module: a run that backs itself up, and may be killed.

    python -m tests.scripts.resuming FOLDER... [--kill] [--regrow NAME]

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


def main(folder, kill, regrow):
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
    first = FirstEpoch()
    callbacks = [
        first,
        keras.callbacks.BackupAndRestore(folder / "backup", delete_checkpoint=False),
        km.MagnitudePruning(0.9, unit="step", begin=2, frequency=3, regrow=regrow),
        *([Kill()] if kill else []),
    ]
    data = {"x": X, "y": Y, "batch_size": 16, "shuffle": False, "verbose": 0}
    model.fit(**data, epochs=8, callbacks=callbacks)
    assert km.sparsity(model).total.zeros == round(0.9 * km.sparsity(model).total.size)
    state = [*model.weights, *model.optimizer.variables]
    arrays = {str(i): keras.ops.convert_to_numpy(v.value) for i, v in enumerate(state)}
    np.savez(folder / "weights.npz", first_epoch=first.number, **arrays)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=pathlib.Path, nargs="+")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--regrow")
    args = parser.parse_args()
    for each in args.folders:
        main(each, args.kill, args.regrow)
