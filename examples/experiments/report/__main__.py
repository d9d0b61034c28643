"""Prints a table of experiments as Markdown: `python -m examples.experiments.report`."""

import argparse

from ..declarations import find_file
from .tables import report_table


def main() -> None:
    """Prints the table that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", help="name of a table")
    print(report_table(find_file(parser.parse_args().table).stem))


if __name__ == "__main__":
    main()
