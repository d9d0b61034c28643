"""A sparse transformer with one geometry throughout, on real text.

Two causal blocks predict the next character. The features of the residual stream, the
hidden neurons of each feed-forward pair, the queries with the keys, and the values each
have learned places on one manifold, those of the stream being shared by all layers; every
kernel pays for the distances that it spans, and is pruned.

    python examples/transformer.py --data FILE_OR_FOLDER --output runs/transformer

prints the bits per character on held-out text, where the zeros are, and what became of
the geometry. By default the text is `../shared/data/wikitext-2`, where that exists.
"""

import argparse
import pathlib

import keras
import numpy as np
from command_line import OneLineParser

import keras_moduli as km

DEFAULT_TEXT = pathlib.Path(__file__).parents[2] / "shared" / "data" / "wikitext-2"
BATCH_SIZE = 32
BATCHES = 200  # in an epoch


def read(path: pathlib.Path) -> str:
    """The text of a file, or of all `.txt` files in a folder."""
    files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    return "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)


def encode(text: str) -> tuple[np.ndarray, list[str]]:
    """Each character as a number; what occurs less than 1 in 100,000 is one character."""
    characters, counts = np.unique(list(text), return_counts=True)
    kept = characters[counts >= max(1, len(text) // 100_000)]
    numbers = {character: i + 1 for i, character in enumerate(kept)}
    return np.array([numbers.get(c, 0) for c in text], "int32"), ["�", *kept]


class Windows(keras.utils.PyDataset):
    """Random windows of a text, new ones each epoch."""

    def __init__(self, codes: np.ndarray, steps: int, seed: int) -> None:
        super().__init__()
        self.codes, self.steps = codes, steps
        self.rng = np.random.RandomState(seed)

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, batch: int) -> tuple[np.ndarray, np.ndarray]:
        starts = self.rng.randint(0, len(self.codes) - self.steps - 1, BATCH_SIZE)
        windows = self.codes[starts[:, None] + np.arange(self.steps + 1)]
        return windows[:, :-1], windows[:, 1:]


@keras.saving.register_keras_serializable("transformer_example")
class Positions(keras.layers.Layer):
    """Adds a learned vector for each position."""

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.vectors = self.add_weight(
            name="vectors", shape=input_shape[1:], initializer="random_normal"
        )

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return x + self.vectors


def block(x: keras.KerasTensor, stream: km.layers.NeuronEmbedding, args, number: int):
    """Attention and feed-forward, each beside the stream."""
    width = x.shape[-1]
    geometry = {"inhibitor": args.inhibitor, "strength": args.strength}
    normed = keras.layers.LayerNormalization()(x)
    attention = keras.layers.MultiHeadAttention(args.heads, width // args.heads)
    x += km.layers.Moduli(
        attention,
        input_embedding=stream,
        output_embedding=stream,
        embedding_seed=10 * number,
        name=f"attention_{number}",
        **geometry,
    )(normed, normed, use_causal_mask=True)
    hidden = km.layers.NeuronEmbedding(args.manifold, seed=10 * number + 9)
    normed = keras.layers.LayerNormalization()(x)
    wide = km.layers.Moduli(
        keras.layers.Dense(4 * width, activation="gelu"),
        input_embedding=stream,
        output_embedding=hidden,
        name=f"widen_{number}",
        **geometry,
    )(normed)
    return x + km.layers.Moduli(
        keras.layers.Dense(width),
        input_embedding=hidden,
        output_embedding=stream,
        name=f"narrow_{number}",
        **geometry,
    )(wide)


def build(args: argparse.Namespace, vocabulary: int) -> keras.Model:
    """The model, compiled."""
    stream = km.layers.NeuronEmbedding(args.manifold, name="stream")
    tokens = keras.Input((args.steps,), dtype="int32")
    x = Positions()(keras.layers.Embedding(vocabulary, args.width)(tokens))
    for number in range(2):
        x = block(x, stream, args, number)
    x = keras.layers.LayerNormalization()(x)
    model = keras.Model(tokens, keras.layers.Dense(vocabulary)(x))
    model.compile(
        km.embedding_optimizer(keras.optimizers.Adam(2e-3), 0.01),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def bits_per_character(model: keras.Model, codes: np.ndarray, steps: int) -> float:
    """Mean surprise over consecutive windows, in bits."""
    count = min(400, (len(codes) - 1) // steps)
    x = codes[: count * steps].reshape(count, steps)
    y = codes[1 : count * steps + 1].reshape(count, steps)
    logits = model.predict(x, batch_size=BATCH_SIZE, verbose=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y, logits)
    return float(loss) / np.log(2)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = OneLineParser(
        description="A sparse transformer with learned geometry.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=pathlib.Path, default=DEFAULT_TEXT, help="text file or folder")
    add(
        "--manifold",
        default="euclidean",
        help="one of " + ", ".join(km.manifolds.names()),
    )
    add(
        "--inhibitor",
        default="diffusion",
        help="one of " + ", ".join(km.inhibitors.names),
    )
    add("--strength", type=float, default=1e-7, help="of the penalty")
    add("--sparsity", type=float, default=0.8)
    add("--width", type=int, default=64, help="features of the stream")
    add("--heads", type=int, default=4)
    add("--steps", type=int, default=64, help="characters in a window")
    add("--epochs", type=int, default=12, help="of 200 batches")
    add("--output", type=pathlib.Path, default="runs/transformer")
    args = parser.parse_args(arguments)
    if not args.data.exists():
        parser.error(f"argument --data: no file or folder {args.data}")
    try:
        km.layers.NeuronEmbedding(args.manifold)
        km.inhibitors.get(args.inhibitor)
        km.MagnitudePruning(args.sparsity)
    except (TypeError, ValueError) as error:
        parser.error(str(error))
    return args


def main() -> None:
    """Trains, tests, saves and reports."""
    args = parse()
    args.output.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(0)
    codes, characters = encode(read(args.data))
    split = int(0.9 * len(codes))
    model = build(args, len(characters))
    callbacks = [km.MagnitudePruning(args.sparsity), km.GeometryMonitor()]
    training = Windows(codes[:split], args.steps, seed=0)
    model.fit(training, epochs=args.epochs, callbacks=callbacks)
    path = args.output / "transformer.keras"
    model.save(path)
    loaded = keras.saving.load_model(path)
    held_out = codes[split:]
    before, after = (bits_per_character(m, held_out, args.steps) for m in (model, loaded))
    assert abs(before - after) < 1e-4, "the file predicts something else"
    print(f"\n{km.sparsity(model)}\n\n{km.geometry(model)}\n")
    print(f"{before:.3f} bits per character on held-out text; wrote {path}")


if __name__ == "__main__":
    main()
