"""What the scripts on JAX set before it is imported."""

import os


def set_up(cpus: int) -> None:
    """Makes JAX the backend, with so many CPUs, and products that can be compared.

    Args:
        cpus: Devices to make of this machine's CPU. Accelerators are taken first.
    """
    os.environ["KERAS_BACKEND"] = "jax"
    # Accelerators round what they multiply, each product otherwise.
    os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
    flag = f"--xla_force_host_platform_device_count={cpus}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
