r"""Several processes share each batch, by PyTorch's `DistributedDataParallel`.

    python -m examples.distributed.torch_ddp

starts two processes on this machine's CPU. On GPUs, start it by torchrun on each, all
with the address of the first and a free port there:

    torchrun --nnodes 2 --nproc-per-node 8 --node-rank 0 --master-addr 10.0.0.1 \
        --master-port 1234 -m examples.distributed.torch_ddp

Keras's `fit` knows nothing of it: this is a loop with `attach` before the first step and
`update` before each. Each process computes the same masks from the same weights; where
gradients say what comes back, these are of the averages that all have.
"""

import argparse
import os
from typing import Any

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--networks", nargs="+", default=["fixed", "learned", "sparse"])
args = parser.parse_args()

from . import processes

if "RANK" not in os.environ:
    (port,) = processes.find_ports(1)
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    shared["CUDA_VISIBLE_DEVICES"] = ""  # NCCL wants a GPU for each
    processes.start(
        "examples.distributed.torch_ddp", 2, lambda number: shared | {"RANK": str(number)}
    )

os.environ["KERAS_BACKEND"] = "torch"

import keras
import torch
from torch.nn.parallel import DistributedDataParallel

from . import networks


def train(name: str, number: int, count: int) -> networks.Arrays:
    """Trains with what one of some processes has of each batch."""
    model, callbacks = networks.make(name)
    module: Any = model
    if count > 1:
        on = [torch.cuda.current_device()] if torch.cuda.is_available() else None
        module = DistributedDataParallel(model, device_ids=on)
    x, y = (networks.take_share(a, number, count) for a in networks.draw_data())
    size = networks.BATCH // count
    for callback in callbacks:
        callback.attach(model)
    for step in range(networks.STEPS):
        for callback in callbacks:
            callback.update(step)
        first = step * size % len(x)
        batch = [keras.ops.convert_to_tensor(a[first : first + size]) for a in (x, y)]
        model.zero_grad()
        loss = keras.ops.mean((module(batch[0]) - batch[1]) ** 2) + sum(model.losses)
        loss.backward()
        variables = model.trainable_variables
        model.optimizer.apply([v.value.grad for v in variables], variables)
    return networks.read(model)


if torch.cuda.is_available():
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
number, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
print(f"Process {number} of {count}")
networks.compare_all(
    args.networks, lambda name: train(name, 0, 1), lambda name: train(name, number, count)
)
torch.distributed.destroy_process_group()
