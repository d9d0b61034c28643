"""Several machines share batches, by `keras.distribution.initialize`.

    python -m examples.distributed.jax_processes

starts two processes on this machine's CPU. On several machines, start one process on
each, all with the address of the first and a free port there:

    export KERAS_DISTRIBUTION_JOB_ADDRESSES=10.0.0.1:1234
    export KERAS_DISTRIBUTION_NUM_PROCESSES=2
    export KERAS_DISTRIBUTION_PROCESS_ID=0  # on the other machine 1
    python -m examples.distributed.jax_processes

Each process feeds the devices of its own machine, with its share of each batch. All run
the same callbacks, with the same seeds: each computes the same masks, from the weights
that all have. Kernels whose columns processes share are out of reach: none
can read the weights of the others.
"""

import argparse
import os

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--networks", nargs="+", default=["fixed", "learned", "sparse"])
args = parser.parse_args()

from . import jax_settings, processes

if "KERAS_DISTRIBUTION_NUM_PROCESSES" not in os.environ:
    (port,) = processes.find_ports(1)
    shared = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
        "JAX_PLATFORMS": "cpu",  # each would take all others
    }
    processes.start(
        "examples.distributed.jax_processes",
        2,
        lambda number: shared | {"KERAS_DISTRIBUTION_PROCESS_ID": str(number)},
    )

jax_settings.set_up(1)  # before Keras is imported

import keras

keras.distribution.initialize()

import jax

from . import jax_layouts, networks


def train_alone(name: str) -> networks.Arrays:
    own = jax.local_devices()[0]
    with jax_layouts.share_batch([f"{own.platform}:{own.id}"]).scope():
        return networks.train(name)


def train_together(name: str) -> networks.Arrays:
    devices = keras.distribution.list_devices()
    with jax_layouts.share_batch(devices).scope():
        return networks.train(name, jax.process_index(), jax.process_count())


print(f"Process {jax.process_index()}: {jax.local_devices()} of {jax.devices()}")
networks.compare_all(args.networks, train_alone, train_together)
