"""Fast models of the zoo, loaded on another backend: run as a module, for test_zoo.

    python -m tests.scripts.zoo_elsewhere FOLDER

loads all models in FOLDER that this backend can call, compares what they give with what
is in the file beside each, and writes their names to FOLDER/HERE.txt.
"""

import pathlib
import sys

import keras
import numpy as np

from tests.zoo import ARCHITECTURES
from tests.zoo.table import evaluate


def compare(member, folder):
    model = keras.saving.load_model(folder / f"{member.name}.keras")
    wanted = list(np.load(folder / f"{member.name}.npz").values())
    outputs = evaluate(model, member.serve(member.data()[0]))
    for got, other in zip(outputs, wanted, strict=True):
        np.testing.assert_allclose(
            got, other, rtol=0, atol=1e-5 * max(1, abs(other).max()), err_msg=member.name
        )


def main(folder):
    here = keras.backend.backend()
    members = [
        member
        for member in ARCHITECTURES.values()
        if here in member.serves and (folder / f"{member.name}.npz").exists()
    ]
    for member in members:
        compare(member, folder)
    (folder / f"{here}.txt").write_text(" ".join(member.name for member in members))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
