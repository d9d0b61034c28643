"""On what machine, with which versions and in how much memory a figure was made."""

import importlib.metadata
import os
import pathlib
import platform
import sys

PACKAGES = ("keras", "numpy", "tensorflow", "tensorflow-cpu", "jax", "torch", "sparselab")


def describe_machine() -> str:
    """Names the processor and its number of cores."""
    name = platform.processor() or platform.machine()
    cpu = pathlib.Path("/proc/cpuinfo")
    if cpu.exists():
        lines = [line for line in cpu.read_text().splitlines() if "model name" in line]
        name = lines[0].split(":")[1].strip() if lines else name
    return f"{name}, {os.cpu_count()} cores"


def describe_versions() -> str:
    """Lists the versions of Python and of what runs."""
    installed = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            installed.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(installed)


def measure_peak_memory() -> int | str:
    """Measures the MiB held at most by this process; empty where no system says."""
    try:
        import resource
    except ImportError:  # on Windows
        return ""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
