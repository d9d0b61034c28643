"""One run: a network trained, pruned and tested, and the row that says so."""

import json
import shlex
import time
from dataclasses import asdict
from typing import Any

import keras
import numpy as np

import keras_moduli as km

from . import provenance
from .settings import Experiment


def run(experiment: Experiment, verbose: int = 0) -> tuple[keras.Model, dict[str, Any]]:
    """Trains and tests; returns the network and the row of the run."""
    start = time.time()
    model, errors = train(experiment, verbose)
    outcome: dict[str, Any] = {
        "error": errors[-1],
        "error at target": errors[experiment.end_epoch],
        "errors": json.dumps([float(f"{error:.5g}") for error in errors]),
    }
    if experiment.lottery:
        ticket = km.lottery_ticket(model, seed=experiment.seed + 1)
        outcome["lottery error"] = fit(experiment, ticket, [], verbose)[-1]
    outcome |= describe_masks(model) | {"seconds": round(time.time() - start, 1)}
    return model, asdict(experiment) | outcome | describe_run(experiment)


def train(experiment: Experiment, verbose: int = 0) -> tuple[keras.Model, list[float]]:
    """Trains and prunes a network; returns it and its error after each epoch."""
    keras.utils.set_random_seed(experiment.seed)
    model = experiment.build_network()
    return model, fit(experiment, model, [experiment.make_pruning()], verbose)


def fit(
    experiment: Experiment, model: keras.Model, callbacks: list[Any], verbose: int
) -> list[float]:
    """Fits a network to the task; returns its error after each epoch."""
    errors: list[float] = []
    model.fit(
        **experiment.make_training(),
        epochs=experiment.epochs,
        verbose=verbose,
        callbacks=[*callbacks, _Errors(experiment, errors)],
    )
    return errors


def describe_masks(model: keras.Model) -> dict[str, Any]:
    """Says how many zeros each matrix has, and how far what is kept reaches."""
    report = km.sparsity(model)
    zeros = {r.label: round(r.sparsity, 5) for r in (*report.rows, report.total)}
    reach = [r.distance / r.distance_before for r in report.rows if r.distance]
    return {
        "zeros": json.dumps(zeros),
        "reach": round(float(np.mean(reach)), 4) if reach else "",
    }


def describe_run(experiment: Experiment) -> dict[str, Any]:
    """Says in how much memory, with what, where and by which command a run was made."""
    return {
        "peak MiB": provenance.measure_peak_memory(),
        "backend": keras.backend.backend(),
        "command": write_command(experiment),
        "machine": provenance.describe_machine(),
        "versions": provenance.describe_versions(),
    }


def write_command(experiment: Experiment) -> str:
    """Writes what to type for this run alone."""
    defaults = type(experiment).__dataclass_fields__
    flags = [
        write_flag(name, value)
        for name, value in asdict(experiment).items()
        if value != defaults[name].default
    ]
    module = "python -m examples.experiments.single"
    return " ".join([module, type(experiment).__name__, *flags])


def write_flag(name: str, value: Any) -> str:
    """Writes a value of a setting as its flag."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag} {shlex.quote(str(value))}"


class _Errors(keras.callbacks.Callback):
    """The test error after each epoch."""

    def __init__(self, experiment: Experiment, errors: list[float]) -> None:
        super().__init__()
        self.experiment, self.errors = experiment, errors

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.errors.append(self.experiment.measure_error(self.model))
        if logs is not None:
            logs["test_error"] = self.errors[-1]
