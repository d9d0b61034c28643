"""Several machines share each batch, by `MultiWorkerMirroredStrategy` and a loop.

    python -m examples.distributed.tensorflow_workers

starts two processes on this machine's CPU. On several machines, start one process on
each, with the addresses of all and its own number:

    export TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:1234", "10.0.0.2:1234"]},
                       "task": {"type": "worker", "index": 0}}'
    python -m examples.distributed.tensorflow_workers

Keras's own `fit` fails there, as `--fit` shows: before the first step it asks the
strategy for the mean of a tuple of batches, which is a ValueError, "Attempt to convert a
value (PerReplica...) with an unsupported type to a Tensor". So it is in every version
tried, Keras 3.5.0, 3.10.0, 3.14.1, 3.15.0, 3.15.1 and the nightly 3.16.0.dev2026102704,
with
TensorFlow 2.21.0. This loop works instead: `attach` before the first step, `update`
before each. Each worker computes the same masks from the same weights.
"""

import argparse
import json
import os
from typing import Any

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--networks", nargs="+", default=["fixed", "learned", "sparse"])
parser.add_argument("--fit", action="store_true", help="train by `fit`, which fails")
args = parser.parse_args()

from . import processes

if "TF_CONFIG" not in os.environ:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in processes.find_ports(2)]}

    def configure(number: int) -> dict[str, str]:
        task = {"type": "worker", "index": number}
        config = json.dumps({"cluster": cluster, "task": task})
        return {"TF_CONFIG": config, "CUDA_VISIBLE_DEVICES": ""}

    processes.start("examples.distributed.tensorflow_workers", 2, configure)

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf

from . import networks

strategy = tf.distribute.MultiWorkerMirroredStrategy()  # before anything else
number = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
count = len(json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"])
replicas = strategy.num_replicas_in_sync


def make_step(model: keras.Model, where: tf.distribute.Strategy) -> Any:
    """Makes a step of all replicas, each of which has its share of a batch."""

    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            # The sum of all is the mean over the batch of all.
            loss = keras.ops.sum((model(x) - y) ** 2) / networks.BATCH
            loss += sum(model.losses) / where.num_replicas_in_sync
        variables = model.trainable_variables
        model.optimizer.apply(tape.gradient(loss, variables), variables)

    return tf.function(lambda batch: where.run(step, batch))


def train(name: str, where: tf.distribute.Strategy, number: int, count: int) -> Any:
    """Trains with what one of some workers has of each batch."""
    shares = [networks.take_share(a, number, count) for a in networks.draw_data()]
    with where.scope():
        model, callbacks = networks.make(name)
        if args.fit:
            model.fit(*shares, networks.BATCH)
        for callback in callbacks:
            callback.attach(model)
    size = networks.BATCH // count
    data = tf.data.Dataset.from_tensor_slices(tuple(shares)).batch(size).repeat()
    batches = iter(data)
    if count > 1:
        batches = iter(where.distribute_datasets_from_function(lambda _: data))
    run = make_step(model, where)
    for step in range(networks.STEPS):
        with where.scope():
            for callback in callbacks:
                callback.update(step)
        run(next(batches))
    return networks.read(model)


print(f"Worker {number} of {count}, {replicas} devices in all", flush=True)
networks.compare_all(
    args.networks,
    lambda name: train(name, tf.distribute.get_strategy(), 0, 1),
    lambda name: train(name, strategy, number, count),
)
