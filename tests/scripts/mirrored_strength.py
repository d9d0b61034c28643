"""Prints what `suggest_strength` says of a model on two devices, and of one on one."""

import keras
import numpy as np
import tensorflow as tf

import keras_moduli as km

HALF = tf.config.LogicalDeviceConfiguration()
CPU = tf.config.list_physical_devices("CPU")[0]


def build():
    regularizer = km.ModuliRegularizer("torus", "diffusion", 1e-3)
    layer = keras.layers.SimpleRNN(16, recurrent_regularizer=regularizer)
    model = keras.Sequential([keras.Input((5, 2)), layer])
    model.compile("adam", "mse")
    return model


def main():
    tf.config.set_logical_device_configuration(CPU, [HALF, HALF])
    rng = np.random.RandomState(0)
    x, y = rng.normal(size=(33, 5, 2)), rng.normal(size=(33, 16))
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        shared = build()
    alone = build()
    alone.set_weights(shared.get_weights())
    for model in (shared, alone):
        print(*km.suggest_strength(model, x, y).values())


if __name__ == "__main__":
    main()
