"""Several devices of one machine share weights and batch, by `ModelParallel`.

    python -m examples.distributed.jax_model_parallel

Start it like this on any machine: it takes all the devices that JAX finds, and shares the
batch two ways if they are an even number of four or more. Where there are
only CPUs, it makes `--cpus`
devices of them.

Kernels are shared by columns, the neurons that they lead to. So are penalties, masks and
the moments of the optimizer, whose layout is that of their kernel: nothing more is to be
said. Blocks are shared by columns of blocks, with the indices of their rows. Positions of
neurons are few, and each device has them all.
"""

import argparse

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--cpus", type=int, default=2, help="devices, if there is no other")
parser.add_argument("--networks", nargs="+")
args = parser.parse_args()

from . import jax_settings

jax_settings.set_up(args.cpus)  # before Keras is imported

import keras

from . import jax_layouts, networks


def train(name: str, devices: list[str]) -> networks.Arrays:
    with jax_layouts.share_columns(devices).scope():
        return networks.train(name)


devices = keras.distribution.list_devices()
print(f"Devices: {devices}")
networks.compare_all(
    args.networks or list(networks.NETWORKS),
    lambda name: train(name, devices[:1]),
    lambda name: train(name, devices),
)
