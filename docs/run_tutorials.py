"""Runs the tutorials, and writes what they print and draw into them.

`python docs/run_tutorials.py [NAME ...]`, a minute or two each on JAX. The code of a page
runs in order; a block of text after it becomes what it printed, a picture the figure that
it drew.
"""

import contextlib
import io
import os
import pathlib
import re
import sys
import tempfile

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

matplotlib.rcParams["svg.hashsalt"] = "keras_moduli"  # the same file each time
HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
CELL = re.compile(
    r"^```python\n(?P<code>.*?)^```\n"
    r"(?P<gap>\n```text\n)?(?(gap)(?P<text>.*?)^```\n)"
    r"(?:\n!\[[^\]]*\]\((?P<picture>[^)]+)\))?",
    re.M | re.S,
)


def run_page(path):
    """Runs a page's code, and writes its output and figures where the page has them."""
    names = {"__name__": "__main__"}

    def run_cell(match):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(match["code"], str(path), "exec"), names)
        if match["picture"]:
            target = path.parent / match["picture"]
            plt.gcf().savefig(target, metadata={"Date": None})
        plt.close("all")
        if match["text"] is None:
            return match[0]
        start, end = (at - match.start() for at in match.span("text"))
        lines = [line.rstrip() for line in printed.getvalue().splitlines()]
        return match[0][:start] + "\n".join([*lines, ""]) + match[0][end:]

    return CELL.sub(run_cell, path.read_text())


def main():
    """Runs the pages that are named, or all."""
    os.environ["COLUMNS"] = "90"
    folder = HERE / "tutorials"
    for path in [folder / f"{name}.md" for name in sys.argv[1:]] or sorted(
        folder.glob("*.md")
    ):
        with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
            path.write_text(run_page(path))


if __name__ == "__main__":
    main()
