"""Looks at and converts saved models from a shell: `python -m keras_moduli --help`."""

import argparse
import functools
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keras_moduli import _commands
from keras_moduli._table import fit_to_terminal

_PROGRAM = "keras-moduli"
_EXAMPLES = f"""\
examples:
  {_PROGRAM} sparsity model.keras
  {_PROGRAM} plot model.keras --kind overview -o overview.svg
  {_PROGRAM} plan model.keras --batch-size 32
  {_PROGRAM} sparsify model.keras fast.keras
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: Those of the shell by default.

    Returns:
        0 if all went well, 1 if not; what went wrong is one line on standard error.
        Arguments that cannot be read end the program with 2.
    """
    options = make_parser().parse_args(arguments)
    if (folder := os.getcwd()) not in sys.path:  # for --import
        sys.path.insert(0, folder)
    try:
        for module in getattr(options, "modules", []):
            _import(module)
        print(fit_to_terminal(options.run(options)))
        sys.stdout.flush()
    except BrokenPipeError:  # as under `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except (OSError, ImportError, TypeError, ValueError) as error:
        print(f"{_PROGRAM}: {_shorten(error)}", file=sys.stderr)
        return 1
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Look at sparse Keras models and make them smaller and faster.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add = functools.partial(_add_command, commands)
    _add_json(
        add(_commands.run_sparsity, "print how sparse each weight matrix is", "FILE")
    )
    _add_json(add(_commands.run_geometry, "print where the neurons are", "FILE"))
    command = add(_commands.run_plan, "print which layers would get faster", "FILE")
    _add_blocks(command)
    _add_json(command)
    command = add(_commands.run_plot, "draw a figure", "FILE")
    command.add_argument("--kind", choices=sorted(_commands.FIGURES), default="overview")
    command.add_argument("--kernel", help="name of a layer or weight matrix")
    command.add_argument(
        "-o", "--output", type=Path, help="an .svg, .png or .pdf (default: KIND.svg)"
    )
    command = add(
        _commands.run_compress, "save a file whose size shows the zeros", "IN", "OUT"
    )
    command.add_argument(
        "--include-optimizer", action="store_true", help="keep how it is compiled"
    )
    _add_blocks(
        add(_commands.run_sparsify, "save the same function, faster", "IN", "OUT")
    )
    add(_commands.run_manifolds, "list manifolds and inhibitors by name")
    command = add(
        _commands.run_demo, "train a small network, prune it, and draw its geometry"
    )
    command.add_argument("-o", "--output", type=Path, default=Path("demo.svg"))
    command.add_argument("--epochs", type=int, default=20)
    return parser


def _add_command(
    commands: Any, run: Callable[[argparse.Namespace], str], help: str, *paths: str
) -> argparse.ArgumentParser:
    """Adds what `run_name` does as the command `name`."""
    name = run.__name__.removeprefix("run_")
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=help
    )
    command.set_defaults(run=run)
    for path in paths:
        command.add_argument(path.lower(), metavar=path, type=Path)
    if paths:
        command.add_argument(
            "--import",
            dest="modules",
            metavar="MODULE",
            action="append",
            default=[],
            help="a module that registers classes of the model with Keras",
        )
    return command


def _add_json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_blocks(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--block", nargs=2, type=int, metavar=("B", "C"), help="B inputs, C outputs"
    )
    command.add_argument(
        "--batch-size", type=int, default=1, help="sequences at once (default: 1)"
    )


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a module does
        raise ValueError(f"--import {module}: {type(error).__name__}: {error}") from error


def _shorten(error: BaseException) -> str:
    """Returns the message of an error in one line."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(line.strip() for line in lines)


if __name__ == "__main__":
    sys.exit(main())
