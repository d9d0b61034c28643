"""Draws docs/images: `python docs/make_figures.py`, a minute on JAX.

`overview.svg` is what the first code of the README draws, which is run for it.
"""

import pathlib
import re
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import keras

import keras_moduli as km


def main():
    """Runs the code of the README with a seed, and draws the gallery."""
    keras.utils.set_random_seed(0)
    code = re.search(
        r"```python\n(.*?)```", (HERE.parent / "README.md").read_text(), re.S
    )
    names = {}
    exec(code[1].replace('model.save("sparse.keras")', ""), names)
    target = HERE / "images" / "overview.svg"
    plt.gcf().savefig(target, metadata={"Date": None})
    pathlib.Path("overview.svg").unlink()
    # Thousands of dots: as an SVG, two megabytes.
    km.plot.gallery().savefig(HERE / "images" / "gallery.png", dpi=100)


if __name__ == "__main__":
    main()
