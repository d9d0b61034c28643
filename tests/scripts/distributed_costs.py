"""Run as a module, on JAX: memory and communication of a penalty on four devices.

What `docs/distributed.md` says of them, asked of the compiled program.
"""

import os
import re

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import keras_moduli as km
from keras_moduli import _backend
from keras_moduli.regularizers import _evaluation

N, DEVICES, ROWS = 512, 4, 32
SENT = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"


def measure(axes, devices=DEVICES):
    """Bytes of temporary arrays of one device, and those that it is sent, of a step."""
    mesh = Mesh(np.array(jax.devices()[:devices]), ["columns"])
    layout = NamedSharding(mesh, PartitionSpec(*axes))
    kernel = jax.device_put(np.ones((N, N), "float32"), layout)
    regularizer = km.ModuliRegularizer("torus")
    step = jax.jit(jax.value_and_grad(regularizer), out_shardings=(None, layout))
    compiled = step.lower(kernel).compile()
    sent = 0
    for line in compiled.as_text().splitlines():
        found = re.search(rf"= (.*?) (?:{SENT})(?:-start)?\(", line)
        if found:
            for size in re.findall(r"\w+\[([\d,]*)\]", found[1]):
                sent += 4 * int(np.prod([int(n) for n in size.split(",") if n]))
    return compiled.memory_analysis().temp_size_in_bytes, sent


def main():
    kernel = 4 * N * N
    whole, columns, rows = (None, None), (None, "columns"), ("columns", None)
    at_once = {axes: measure(axes) for axes in (whole, columns, rows)}
    _evaluation.MOST_PAIRS = 1000
    _backend.count_pairs_of_a_block = lambda: ROWS * N
    by_rows = {axes: measure(axes) for axes in (whole, columns, rows)}
    print(kernel, at_once, by_rows)
    assert at_once[whole] == (kernel, 0)
    for axes in (columns, rows):
        assert at_once[axes] == (kernel // DEVICES, 4)
    block = 4 * ROWS * N
    assert by_rows[whole][0] <= block
    assert by_rows[columns][0] <= block // DEVICES
    assert by_rows[columns][1] == 4
    assert by_rows[rows][1] >= kernel  # the whole kernel comes to each device


if __name__ == "__main__":
    main()
