"""CSV files of results, one row a run, and what their columns mean."""

import csv
import pathlib
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]


def find_target_epoch(end: float, epochs: int) -> int:
    """Finds the epoch at whose start the final sparsity is reached: not the last."""
    return min(max(1, round(end * epochs)), epochs - 1)


def read(path: pathlib.Path) -> list[Row]:
    """Reads the rows of a CSV file, none if there is no file."""
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def write(path: pathlib.Path, rows: Iterable[Row]) -> None:
    """Writes all rows; whoever stops this finds the old file or the new one."""
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".part")
    with open(new, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    new.replace(path)
