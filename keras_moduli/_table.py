"""Tables of text."""

import io


def draw_table(
    headings: list[str], cells: list[list[str]], *, section_before_last: bool = False
) -> str:
    """Draws a table of at most 100 characters a line."""
    # Keras itself needs rich, for `model.summary()`.
    from rich.console import Console
    from rich.table import Table

    grid = Table()
    for column, heading in enumerate(headings):
        grid.add_column(heading, justify="right" if column else "left", overflow="fold")
    for row in cells:
        grid.add_row(*row)
    if section_before_last:
        grid.rows[-2].end_section = True
    file = io.StringIO()
    Console(file=file, width=100).print(grid)
    return file.getvalue().rstrip()
