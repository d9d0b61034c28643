"""Names of weights that tell them apart."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_moduli.pruning._selection import shorten_path

Variable = Any


def label_variables(model: keras.Model, variables: Sequence[Variable]) -> list[str]:
    """Returns a label for each weight, short where that is clear.

    Paths need not differ: inner layers of two submodels may have the same names.
    """
    labels = [shorten_path(v.path, model) for v in variables]
    if len(set(labels)) == len(labels):
        return labels
    counts = Counter(labels)
    homes = {id(v): name for v, name in reversed(list(_locate(model)))}
    long = [
        f"{homes.get(id(v), '')}{label}" if counts[label] > 1 else label
        for v, label in zip(variables, labels, strict=True)
    ]
    return _number(long)


def _locate(model: Any, home: str = "") -> Iterator[tuple[Variable, str]]:
    """Yields the weights of submodels, each with the names of those that hold it."""
    for layer in getattr(model, "layers", ()):
        if hasattr(layer, "layers"):
            inner = f"{home}{layer.name}/"
            yield from _locate(layer, inner)
            yield from ((v, inner) for v in layer.weights)


def _number(labels: list[str]) -> list[str]:
    counts, seen = Counter(labels), Counter[str]()
    numbered = []
    for label in labels:
        seen[label] += 1
        numbered.append(f"{label} ({seen[label]})" if counts[label] > 1 else label)
    return numbered
