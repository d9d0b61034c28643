"""The commands of the command line: what each does to files, and what it prints."""

import argparse
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_moduli import compression, plot, report, sparse
from keras_moduli._inhibitor import _registry as inhibitors
from keras_moduli._table import Table
from keras_moduli.manifolds._base import _registry as manifolds
from keras_moduli.plot import _style
from keras_moduli.pruning import MagnitudePruning
from keras_moduli.regularizers import ModuliRegularizer

Options = argparse.Namespace

_PICTURES = (".svg", ".png", ".pdf")


def run_sparsity(options: Options) -> str:
    """Returns the table of `km.sparsity`."""
    return _format(report.sparsity(load(options.file)), options.json)


def run_geometry(options: Options) -> str:
    """Returns the table of `km.geometry`."""
    return _format(report.geometry(load(options.file)), options.json)


def run_plan(options: Options) -> str:
    """Returns the table of `km.sparse.plan`."""
    model = load(options.file)
    with _say("planning"):
        plan = sparse.plan(model, _get_block(options), batch_size=options.batch_size)
    return json.dumps(plan.to_dict(), indent=2) if options.json else str(plan)


def run_plot(options: Options) -> str:
    """Draws a figure; returns where to."""
    target = options.output or Path(f"{options.kind}.svg")
    _check_picture(target)
    if options.kernel is not None and options.kind in ("sparsity", "speed"):
        raise ValueError(f"--kind {options.kind} is of all kernels: leave out --kernel")
    model = load(options.file)
    with _say("drawing"):
        drawn = FIGURES[options.kind](model, options.kernel)
        figure = getattr(drawn, "figure", drawn)
        return str(_style.write(figure, target))


def run_compress(options: Options) -> str:
    """Writes a file whose size shows the zeros; returns both sizes."""
    source, target = _get_pair(options)
    model = load(source, compile=options.include_optimizer)
    with _say("compressing"):
        size = compression.save_compressed(
            model, target, include_optimizer=options.include_optimizer
        )
    return f"{target}: {size:,} bytes, of {source.stat().st_size:,}"


def run_sparsify(options: Options) -> str:
    """Writes a faster model; returns the plan of what was done."""
    source, target = _get_pair(options)
    model = load(source)
    with _say("converting"):
        plan = sparse.plan(model, _get_block(options), batch_size=options.batch_size)
        if not any(row.block for row in plan.rows):
            raise ValueError(
                f"{source}: no layer gains from blocks, as `keras-moduli plan` explains. "
                "Nothing was written."
            )
        compression.save(sparse.sparsify(model, plan), target)
    return f"{plan}\n{target}"


def run_manifolds(options: Options) -> str:
    """Returns the tables of manifolds and inhibitors."""
    return "\n".join(
        str(Table([kind, "what it is"], _list_family(family.classes)))
        for kind, family in (("manifold", manifolds), ("inhibitor", inhibitors))
    )


def run_demo(options: Options) -> str:
    """Trains on the adding problem, prunes, and draws; returns the table."""
    _check_picture(options.output)
    if options.epochs < 1:
        raise ValueError(f"--epochs must be at least 1. Received: {options.epochs}")
    keras.utils.set_random_seed(0)
    rng = np.random.RandomState(0)
    x = rng.uniform(size=(4096, 20, 2))
    x[..., 1] = x[..., 1].argsort(axis=1) < 2  # two numbers of twenty are marked
    y = (x[..., 0] * x[..., 1]).sum(axis=1)
    regularizer = ModuliRegularizer("torus", "diffusion", strength=5e-5)
    layer = keras.layers.SimpleRNN(64, recurrent_regularizer=regularizer)
    model = keras.Sequential([keras.Input((20, 2)), layer, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(3e-3), "mse")
    model.fit(
        x, y, 64, epochs=options.epochs, callbacks=[MagnitudePruning(0.9)], verbose=2
    )
    target = _style.write(plot.overview(model), options.output)
    return f"{report.sparsity(model)}\n{target}"


FIGURES: dict[str, Callable[[Any, str | None], Any]] = {
    "distances": lambda model, kernel: plot.distances(model, kernel),
    "inhibitor": lambda model, kernel: plot.inhibitor(model, kernel=kernel),
    "matrix": lambda model, kernel: plot.matrix(model, kernel),
    "neurons": lambda model, kernel: plot.neurons(model, kernel),
    "overview": lambda model, kernel: plot.overview(model, kernel),
    "persistence": lambda model, kernel: plot.persistence(model, kernel=kernel),
    "sparsity": lambda model, kernel: plot.sparsity(model),
    "speed": lambda model, kernel: plot.speed(model),
}


def load(path: Path, *, compile: bool = False) -> keras.Model:
    """Loads a model.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is no saved model; it says what it is.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: not a model saved by Keras 3, but {_name(start)}")
    with _say(f"loading {path}"):
        try:
            _check_archive(path)
            return compression.load_compressed(path, compile=compile)
        except TypeError as error:
            if not (unknown := re.findall(r"not locate class '(\w+)'", str(error))):
                raise
            name = unknown[-1]
            raise ValueError(
                f"{path}: holds the class {name}, which is not known here. Name the "
                "module that registers it: --import MODULE. If it was not registered "
                "when it was saved, let the module say "
                f"keras.saving.get_custom_objects()[{name!r}] = {name}"
            ) from error
        except (zipfile.BadZipFile, json.JSONDecodeError) as error:
            raise ValueError(f"{path}: is damaged ({error})") from error
        except ValueError as error:
            if "enable_unsafe_deserialization" not in str(error):
                raise
            raise ValueError(
                f"{path}: holds a Python lambda, which can run anything. If you trust "
                "it, name a module that says "
                "keras.config.enable_unsafe_deserialization(): --import MODULE"
            ) from error


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if "config.json" not in archive.namelist():
            raise ValueError(f"{path}: a zip archive, but not of a model: no config.json")
    if path.suffix != ".keras":
        raise ValueError(f"{path}: must end in .keras; rename it")


def _name(start: bytes) -> str:
    """Returns what a file is that begins so."""
    if start == b"\x89HDF\r\n\x1a\n":
        return "HDF5: weights alone, or a model of Keras 2; load it and `model.save` it"
    if not start:
        return "an empty file"
    if start.startswith(b"PK"):
        return "a part of a zip archive: its end is missing, copy or save it again"
    is_text = all(32 <= byte < 127 or byte in b"\t\n\r" for byte in start)
    return "text" if is_text else f"a file that begins with {start!r}"


def _get_pair(options: Options) -> tuple[Path, Path]:
    source, target = getattr(options, "in"), options.out
    if target.suffix != ".keras":
        raise ValueError(f"{target}: must end in .keras")
    _check_folder(target)
    if target.is_dir():
        raise ValueError(f"{target}: is a directory")
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"{target}: is both read and written; choose another OUT")
    return source, target


def _check_folder(target: Path) -> None:
    if not target.parent.is_dir():
        raise ValueError(f"{target.parent}: no such folder")


def _check_picture(target: Path) -> None:
    _check_folder(target)
    if target.suffix.lower() not in _PICTURES:
        raise ValueError(f"{target}: must end in one of {', '.join(_PICTURES)}")


def _get_block(options: Options) -> tuple[int, int] | None:
    return None if options.block is None else tuple(options.block)


def _format(table: Any, is_json: bool) -> str:
    return json.dumps(table.to_dicts(), indent=2) if is_json else str(table)


def _list_family(classes: dict[str, type]) -> list[list[str]]:
    return [
        [name, (cls.__doc__ or "").splitlines()[0]]
        for name, cls in sorted(classes.items())
    ]


def _say(what: str) -> Any:
    """Shows on a terminal what is being done, until it is done."""
    from rich.console import Console

    return Console(stderr=True).status(f"{what} …")
