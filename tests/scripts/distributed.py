"""Run as a module: pruning while two devices share the batch.

JAX under `keras.distribution.DataParallel`, TensorFlow under `MirroredStrategy`, each on
two virtual CPUs.
"""

import contextlib
import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)

import keras
import numpy as np

import keras_moduli as km


@contextlib.contextmanager
def two_devices():
    if keras.backend.backend() == "jax":
        assert len(keras.distribution.list_devices()) == 2
        keras.distribution.set_distribution(keras.distribution.DataParallel())
        yield
        return
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, logical)
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        yield


class Zeros(keras.callbacks.Callback):
    """How many weights are zero after each step."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def on_train_batch_end(self, batch, logs=None):
        self.counts.append(km.sparsity(self.model).total.zeros)


def main():
    x = np.random.RandomState(0).standard_normal((64, 6, 3)).astype("float32")
    zeros = Zeros()
    with two_devices():
        model = keras.Sequential(
            [keras.Input((6, 3)), keras.layers.SimpleRNN(16), keras.layers.Dense(1)]
        )
        model.compile(keras.optimizers.Adam(1e-2), "mse")
        callbacks = [km.MagnitudePruning(0.9, schedule="linear", end=3), zeros]
        model.fit(x, x[:, 0, :1], 16, epochs=5, callbacks=callbacks, verbose=0)
    size = km.sparsity(model).total.size
    expected = [round(0.9 * size * min(e, 3) / 3) for e in range(5) for _ in range(4)]
    assert zeros.counts == expected, (zeros.counts, expected)


if __name__ == "__main__":
    main()
