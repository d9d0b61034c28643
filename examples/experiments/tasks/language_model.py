"""A language model of words with sparse recurrent layers.

    python -m examples.experiments.single LanguageModel --data ../wikitext-2 --seeds 3

Words are embedded, read by recurrent layers, 35 at a time, and the next one is predicted
at each. `--data` is a folder with the text: `train.txt`, `valid.txt` and `test.txt` (or
`wiki.*.tokens`), such as WikiText-2, which is downloaded if no folder is named. A folder
without the training split, of 2.1 million words, still makes a small corpus: `valid.txt`
is then trained on (218 thousand words), the first half of `test.txt` is left for
choosing, and the second half tested. Its perplexity is no figure of WikiText-2.

Source: the sizes of Mackey et al., "Geometric sparsification in recurrent neural
networks", 2024, are `--cell SimpleRNN --units 650 --depth 3 --at-least 1`.
"""

import collections
import dataclasses
import functools
import math
import pathlib
from dataclasses import dataclass
from typing import Any, ClassVar

import keras
import numpy as np

from ..settings import Experiment, add_option
from . import register

STEPS = 35
URL = "https://wikitext.smerity.com/wikitext-2-v1.zip"
UNKNOWN = "<unk>"


def read_words(path: pathlib.Path) -> list[str]:
    """Reads the words of a text, with an end to each line."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [word for line in lines for word in [*line.split(), "<eos>"]]


@functools.cache
def read_splits(folder: str) -> dict[str, list[str]]:
    """Reads the words to train, to choose and to test with."""
    directory = pathlib.Path(folder or _download())
    files = {
        name: next((p for p in _list_files(directory, name) if p.exists()), None)
        for name in ("train", "valid", "test")
    }
    if not (files["valid"] and files["test"]):
        raise ValueError(
            f"`data` must be a folder with valid.txt and test.txt: {directory}"
        )
    texts = {name: read_words(path) for name, path in files.items() if path}
    if "train" in texts:
        return texts
    half = len(texts["test"]) // 2
    return {
        "train": texts["valid"],
        "valid": texts["test"][:half],
        "test": texts["test"][half:],
    }


def _list_files(directory: pathlib.Path, split: str) -> list[pathlib.Path]:
    return [directory / f"{split}.txt", directory / f"wiki.{split}.tokens"]


def _download() -> pathlib.Path:
    archive = pathlib.Path(keras.utils.get_file(origin=URL, extract=True))
    return next(archive.parent.rglob("wiki.train.tokens")).parent


@functools.cache
def load_corpus(folder: str, at_least: int) -> tuple[dict[str, np.ndarray], int]:
    """Loads windows (count, STEPS + 1) of each split, and the size of the vocabulary."""
    texts = read_splits(folder)
    counts = collections.Counter(texts["train"])
    known = sorted(word for word, count in counts.items() if count >= at_least)
    numbers = {word: i for i, word in enumerate(dict.fromkeys([UNKNOWN, *known]))}
    unknown = numbers[UNKNOWN]
    return {
        name: _cut_windows(
            np.array([numbers.get(word, unknown) for word in text], "int32")
        )
        for name, text in texts.items()
    }, len(numbers)


def _cut_windows(text: np.ndarray) -> np.ndarray:
    count = (len(text) - 1) // STEPS
    starts = STEPS * np.arange(count)[:, None]
    return text[starts + np.arange(STEPS + 1)]


@register
@dataclass(frozen=True, kw_only=True)
class LanguageModel(Experiment):
    """Train a sparse recurrent language model."""

    data: str = add_option(
        "", "folder with the text; WikiText-2 is downloaded if there is none"
    )
    at_least: int = add_option(3, "how often a word must occur, others are unknown ones")
    depth: int = add_option(1, "recurrent layers")
    embedding: int = add_option(128, "size of the embedding of words")
    dropout: float = add_option(0.3, "before and after the recurrent layers")
    cell: str = "LSTM"
    epochs: int = 6
    sparsity: float = 0.9
    learning_rate: float = 3e-3

    error_name: ClassVar[str] = "test perplexity"
    chance: ClassVar[float] = math.inf
    quick: ClassVar[dict[str, Any]] = {
        "units": 16,
        "embedding": 16,
        "epochs": 3,
        "sparsity": 0.3,
        "at_least": 5,
    }

    def build_network(self) -> keras.Model:
        _, vocabulary = load_corpus(self.data, self.at_least)
        model = keras.Sequential([keras.Input((STEPS,), dtype="int32")])
        model.add(keras.layers.Embedding(vocabulary, self.embedding, name="words"))
        for number in range(self.depth):
            model.add(keras.layers.Dropout(self.dropout, seed=self.seed + number))
            # Each layer has positions of its own.
            placed = dataclasses.replace(self, seed=self.seed + 1000 * number)
            name = "rnn" if self.depth == 1 else f"rnn_{number + 1}"
            model.add(placed.build_recurrent(return_sequences=True, name=name))
        model.add(keras.layers.Dropout(self.dropout, seed=self.seed + self.depth))
        model.add(keras.layers.Dense(vocabulary, name="readout"))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        nats = keras.metrics.SparseCategoricalCrossentropy("nats", from_logits=True)
        model.compile(self.make_optimizer(global_clipnorm=1.0), loss, metrics=[nats])
        return model

    def make_training(self) -> dict[str, Any]:
        windows = load_corpus(self.data, self.at_least)[0]["train"]
        return {"x": windows[:, :-1], "y": windows[:, 1:], "batch_size": 20}

    def measure_error(self, model: keras.Model) -> float:
        """Measures the perplexity, without what the penalty adds to the loss."""
        windows = load_corpus(self.data, self.at_least)[0]["test"]
        scores = model.evaluate(
            windows[:, :-1], windows[:, 1:], batch_size=50, verbose=0, return_dict=True
        )
        return math.exp(scores["nats"])
