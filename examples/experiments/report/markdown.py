"""The one writer of Markdown tables, and of the numbers in them.

It imports nothing, so that benchmarks can use it before they choose a backend.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any


def write_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Writes a table: cells of text as they are, numbers as `format_number` does."""
    lines = [list(head), ["---"] * len(head), *map(list, rows)]
    cells = [[_write_cell(cell) for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _write_cell(cell: Any) -> str:
    return cell if isinstance(cell, str) else format_number(cell)


def format_number(
    value: Any, places: int | None = None, *, digits: int = 3, signed: bool = False
) -> str:
    """Writes a number, or the text of one, as tables have it.

    Args:
        value: A number, or a text, which stays as it is if it is not one, or is whole.
        places: Places after the point; by default as many as show `digits`.
        digits: How many digits that count.
        signed: Whether a plus is written too.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    if math.isnan(number):
        return ""
    if places is not None:
        return f"{number:{'+' if signed else '-'}z.{places}f}"
    if isinstance(value, str | bool) and number.is_integer():
        return str(value)
    if number.is_integer() or abs(number) >= 1000:
        return f"{number:.0f}"
    return f"{number:.{digits}g}"


def format_share(share: float, places: int = 0) -> str:
    """Writes a fraction in percent."""
    return f"{share:.{places}%}"


def count_places(value: float) -> int:
    """Counts the places after the point, one at least, that show three digits."""
    return max(1, 2 - math.floor(math.log10(abs(value)))) if value else 2
