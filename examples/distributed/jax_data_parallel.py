"""Several devices of one machine share each batch, by `keras.distribution.DataParallel`.

    python -m examples.distributed.jax_data_parallel

Start it like this on any machine: it takes all the devices that JAX finds. Where there
are only CPUs, it makes `--cpus` devices of them. For several machines see
`jax_processes`.
"""

import argparse

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--cpus", type=int, default=2, help="devices, if there is no other")
parser.add_argument("--networks", nargs="+", default=["fixed", "learned", "sparse"])
args = parser.parse_args()

from . import jax_settings

jax_settings.set_up(args.cpus)  # before Keras is imported

import keras

from . import jax_layouts, networks


def train(name: str, devices: list[str]) -> networks.Arrays:
    with jax_layouts.share_batch(devices).scope():
        return networks.train(name)


devices = keras.distribution.list_devices()
print(f"Devices: {devices}")
networks.compare_all(
    args.networks,
    lambda name: train(name, devices[:1]),
    lambda name: train(name, devices),
)
