"""On what machine and with which versions a figure was made."""

import importlib.metadata
import os
import pathlib
import platform

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
