"""Tables of text."""

import io
import sys
from collections.abc import Iterable


def draw_table(
    headings: list[str],
    cells: list[list[str]],
    *,
    section_before_last: bool = False,
    notes: Iterable[str] = (),
) -> str:
    """Draws a table of at most 100 characters a line, with notes below it."""
    # Keras itself needs rich, for `model.summary()`.
    from rich.console import Console
    from rich.table import Table

    grid = Table()
    for column, heading in enumerate(headings):
        grid.add_column(heading, justify="right" if column else "left", overflow="fold")
    for row in cells:
        grid.add_row(*row)
    if section_before_last and len(cells) > 1:
        grid.rows[-2].end_section = True
    file = io.StringIO()
    Console(file=file, width=100).print(grid)
    return fit_to_terminal("\n".join([file.getvalue().rstrip(), *notes]))


def fit_to_terminal(text: str) -> str:
    """Returns a text without what the terminal cannot show, so that `print` never fails.

    Standard error needs none of this: Python escapes there what it cannot show.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_replace(character, encoding) for character in text)
    return text


_LOOK_ALIKE = str.maketrans("×·−–─━═│┃║", "x*-----|||")


def _replace(character: str, encoding: str) -> str:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        if "\u2500" <= character <= "\u257f":  # corners of tables
            alike = character.translate(_LOOK_ALIKE)
            return alike if alike.isascii() else "+"
        alike = character.translate(_LOOK_ALIKE)
        return alike.encode(encoding, "backslashreplace").decode(encoding)
    return character
