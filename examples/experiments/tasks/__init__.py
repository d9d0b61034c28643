"""The tasks. Each is a file of this package, with a class that is registered in it."""

import importlib
import pkgutil

from ..settings import Experiment

_registered: dict[str, type[Experiment]] = {}


def register(task: type[Experiment]) -> type[Experiment]:
    """Makes a task known by the name of its class."""
    _registered[task.__name__] = task
    return task


def load_tasks() -> dict[str, type[Experiment]]:
    """Imports every file of this package; returns the tasks by name."""
    for file in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(file.name)
    return dict(sorted(_registered.items()))


def find_task(name: str | None) -> type[Experiment]:
    """Finds a task by name.

    Raises:
        ValueError: If no file registers one of this name.
    """
    tasks = load_tasks()
    if name not in tasks:
        raise ValueError(f"Unknown task {name!r}. Known tasks: {list(tasks)}")
    return tasks[name]
