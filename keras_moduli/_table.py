"""Tables, as text and as HTML."""

import abc
import html
import io
import shutil
import sys
import textwrap
from dataclasses import dataclass

_WIDTH, _NARROWEST = 100, 40  # where there is no terminal, and of any


@dataclass(frozen=True)
class Table:
    """A table with notes below it.

    Attributes:
        headings: Of the columns; the first holds names, the others numbers.
        cells: The texts of each row.
        notes: Lines below the table.
        has_total: Whether the last row stands apart.
    """

    headings: list[str]
    cells: list[list[str]]
    notes: tuple[str, ...] = ()
    has_total: bool = False

    def __str__(self) -> str:
        """The table in lines as long as the terminal, or of 100 characters."""
        # Keras itself needs rich, for `model.summary()`.
        from rich.console import Console
        from rich.table import Table as Grid

        width = max(shutil.get_terminal_size((_WIDTH, 24)).columns, _NARROWEST)
        grid = Grid()
        for column, heading in enumerate(self.headings):
            grid.add_column(
                heading, justify="right" if column else "left", overflow="fold"
            )
        for row in self.cells:
            grid.add_row(*row)
        if self.has_total and len(self.cells) > 1:
            grid.rows[-2].end_section = True
        file = io.StringIO()
        Console(file=file, width=width).print(grid)
        notes = [
            textwrap.fill(note, width, subsequent_indent="    ") for note in self.notes
        ]
        return fit_to_terminal("\n".join([file.getvalue().rstrip(), *notes]))

    def to_html(self) -> str:
        """Returns the table for a notebook."""
        rows = [_write_row("th", self.headings)]
        rows += [_write_row("td", row) for row in self.cells]
        notes = [f"<p>{html.escape(note)}</p>" for note in self.notes]
        return "\n".join(["<table>", *rows, "</table>", *notes])


def _write_row(tag: str, texts: list[str]) -> str:
    cells = (
        f'<{tag} style="text-align: {"right" if column else "left"}">'
        f"{html.escape(text)}</{tag}>"
        for column, text in enumerate(texts)
    )
    return f"<tr>{''.join(cells)}</tr>"


class Printable(abc.ABC):
    """What prints as a table, in a terminal and in a notebook."""

    @abc.abstractmethod
    def to_table(self) -> Table:
        """Returns the table."""

    def __str__(self) -> str:
        return str(self.to_table())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return self.to_table().to_html()


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
