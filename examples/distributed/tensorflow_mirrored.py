"""Several devices of one machine share each batch, by `MirroredStrategy`.

    python -m examples.distributed.tensorflow_mirrored

Start it like this on any machine: it takes all its GPUs. Where there are fewer than two,
it makes two devices of the CPU.
"""

import argparse
import os

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--networks", nargs="+", default=["fixed", "learned", "sparse"])
args = parser.parse_args()

os.environ["KERAS_BACKEND"] = "tensorflow"

import tensorflow as tf

from . import networks

devices = [f"GPU:{n}" for n in range(len(tf.config.list_physical_devices("GPU")))]
if len(devices) < 2:
    cpu = tf.config.list_physical_devices("CPU")[0]
    half = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [half, half])
    devices = ["CPU:0", "CPU:1"]


# One for all: the collective operations of several would be taken for each other.
strategy = tf.distribute.MirroredStrategy(devices)


def train_together(name: str) -> networks.Arrays:
    with strategy.scope():
        return networks.train(name)


print(f"Devices: {devices}")
networks.compare_all(args.networks, networks.train, train_together)
