"""On what machine, with which versions and in how much memory a figure was made."""

import importlib.metadata
import os
import pathlib
import platform
import sys

PACKAGES = ("keras", "numpy", "tensorflow", "tensorflow-cpu", "jax", "torch")


def machine() -> str:
    """Processor and number of cores."""
    name = platform.processor() or platform.machine()
    cpu = pathlib.Path("/proc/cpuinfo")
    if cpu.exists():
        lines = [line for line in cpu.read_text().splitlines() if "model name" in line]
        name = lines[0].split(":")[1].strip() if lines else name
    return f"{name}, {os.cpu_count()} cores"


def versions() -> str:
    """Of Python and of what runs."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def peak_memory() -> int | str:
    """MiB that this process has held at most, or nothing where no system says."""
    try:
        import resource
    except ImportError:  # on Windows
        return ""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit
