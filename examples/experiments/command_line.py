"""Command lines: every field of a setting is a flag, and errors are one line."""

import argparse
import pathlib
from dataclasses import Field, fields
from typing import Any, NoReturn

from .settings import Experiment


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong, and no more: `--help` has the rest."""

    def error(self, message: str) -> NoReturn:
        """Ends with one line."""
        self.exit(2, f"{self.prog}: error: {message} (--help lists the arguments)\n")


def parse_settings(
    task: type[Experiment], arguments: list[str] | None = None
) -> tuple[list[Experiment], argparse.Namespace]:
    """Reads one experiment for each seed, checked before anything is trained."""
    parser = OneLineParser(
        prog=f"single {task.__name__}",
        description=task.__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    for option in fields(task):
        _add_flag(parser, task, option)
    folder = pathlib.Path("runs", task.__name__)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from `--seed` on")
    parser.add_argument("--output", type=pathlib.Path, default=folder, help="folder")
    args = parser.parse_args(arguments)
    values = {option.name: getattr(args, option.name) for option in fields(task)}
    if args.seeds < 1:
        parser.error("argument --seeds: must be at least 1")
    try:
        seeds = range(args.seed, args.seed + args.seeds)
        return [task(**values | {"seed": seed}) for seed in seeds], args
    except (TypeError, ValueError) as error:
        parser.error(str(error))


def _add_flag(
    parser: argparse.ArgumentParser, task: type[Experiment], option: Field
) -> None:
    """Adds a flag for a field; a task that changes a default keeps what is said of it."""
    declared = [
        base.__dataclass_fields__[option.name].metadata
        for base in task.__mro__
        if option.name in getattr(base, "__dataclass_fields__", {})
    ]
    metadata: dict[str, Any] = next(filter(None, declared), {})
    kind = type(option.default)
    if kind is bool:
        form: dict[str, Any] = {"action": argparse.BooleanOptionalAction}
    else:
        form = {"type": kind, "choices": metadata.get("choices")}
    flag = "--" + option.name.replace("_", "-")
    parser.add_argument(flag, default=option.default, help=metadata.get("help"), **form)
