"""CSV files of results, one row a run, and what their columns mean."""

import csv
import pathlib
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]


def target_epoch(end: float, epochs: int) -> int:
    """The epoch at whose start the final sparsity is reached, one at least being left."""
    return min(max(1, round(end * epochs)), epochs - 1)


def read(path: pathlib.Path) -> list[Row]:
    """The rows of a CSV file, none if there is no file."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write(path: pathlib.Path, rows: Iterable[Row]) -> None:
    """All rows; whoever stops this in between finds the old file or the new one."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".part")
    with open(new, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    new.replace(path)
