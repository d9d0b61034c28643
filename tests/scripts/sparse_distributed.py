"""Run as a module, on JAX: sparse layers on four devices compute what they do on one.

The batch is shared, the columns of blocks are, or both.
"""

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)

import keras
import numpy as np

import keras_moduli as km

D = keras.distribution


def share(devices, batch, columns):
    """Shares the batch by some devices, and the columns of blocks by others."""
    mesh = D.DeviceMesh((batch, columns), ("batch", "columns"), devices)
    layout = D.LayoutMap(mesh)
    layout[".*recurrent_kernel$"] = ("columns", None, None)
    layout[".*recurrent_kernel_indices$"] = ("columns", None)
    return D.ModelParallel(layout_map=layout, batch_dim_name="batch")


def train(distribution):
    """Losses, weights and predictions of a short training."""
    keras.utils.set_random_seed(0)
    D.set_distribution(distribution)
    rule = km.connectivity.SmallWorld("torus", 1 / 2, block=(4, 8))
    layer = km.layers.SparseGRU(32, connectivity=rule)
    model = keras.Sequential([keras.Input((6, 3)), layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    x = np.random.RandomState(0).standard_normal((64, 6, 3)).astype("float32")
    history = model.fit(x, x[:, 0, :1], 16, epochs=3, shuffle=False, verbose=0)
    sharding = str(layer.cell.recurrent_kernel.value.sharding)
    values = [*model.get_weights(), model.predict(x, verbose=0)]
    return [np.array(history.history["loss"]), *values], sharding


def main():
    devices = D.list_devices()
    assert len(devices) == 4
    expected, _ = train(share(devices[:1], 1, 1))
    for batch, columns in ((4, 1), (1, 4), (2, 2)):
        values, sharding = train(share(devices, batch, columns))
        assert ("'columns'" in sharding) or columns == 1, sharding
        for one, other in zip(values, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
            print(batch, columns, np.abs(one - other).max())


if __name__ == "__main__":
    main()
