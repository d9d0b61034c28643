"""Words and letters: classifiers, generators, and a translator."""

import keras
import numpy as np
from keras import layers, ops

from tests.zoo.table import REGISTERED, architecture, draw_integers, to_inputs

STEPS, WORDS = 8, 48
LETTERS = 16


def reviews():
    """Reviews of many lengths, padded with zeros, and whether they are good."""
    ids = draw_integers(1, WORDS, STEPS)
    lengths = draw_integers(2, STEPS + 1, 1, seed=1)
    return np.where(np.arange(STEPS) < lengths, ids, 0), ids[:, 0] % 2


@architecture(
    "examples/nlp/bidirectional_lstm_imdb",
    reviews,
    "binary_crossentropy",
    pruning=({"sparsity": 0.9},),
    fast=9,
    slow=True,
)
def bidirectional_lstm():
    """Chollet, 2020."""
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(WORDS, 32)(inputs)
    x = layers.Bidirectional(layers.LSTM(32, return_sequences=True))(x)
    x = layers.Bidirectional(layers.LSTM(32))(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


@architecture(
    "guides/understanding_masking_and_padding",
    reviews,
    "binary_crossentropy",
    pruning=(
        {"sparsity": 0.75, "select": "recurrent", "structure": (8, 8)},
        {"sparsity": 0.5, "select": ["embeddings$", "(?<!recurrent_)kernel$"]},
    ),
    fast=9,
)
def masked_bidirectional_gru():
    """Embeddings whose zeros mask the steps after the end of a review."""
    inputs = keras.Input((STEPS,), dtype="int32")
    x = layers.Embedding(WORDS, 32, mask_zero=True)(inputs)
    gru = layers.GRU(32, return_sequences=True)
    x = layers.Bidirectional(gru, merge_mode="sum")(x)
    x = layers.Bidirectional(layers.GRU(32))(x)
    x = layers.Dropout(0.3)(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


@architecture(
    "Bahdanau, Cho and Bengio, 2015; Yang et al., 2016",
    reviews,
    "binary_crossentropy",
    pruning=({"sparsity": 0.75, "scope": "gate"},),
    fast=5,
)
def attention_over_gru():
    """A weighted mean of all states, with weights that a small network learns."""
    inputs = keras.Input((STEPS,), dtype="int32")
    x = layers.Embedding(WORDS, 32)(inputs)
    states = layers.GRU(32, return_sequences=True)(x)
    scores = layers.Dense(1)(layers.Dense(32, activation="tanh")(states))
    weights = ops.softmax(scores, axis=1)
    context = ops.sum(weights * states, axis=1)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(context))


@REGISTERED
class TokenAndPositionEmbedding(layers.Layer):
    """What a word is plus where it stands."""

    def __init__(self, maxlen, vocab_size, embed_dim, **kwargs):
        super().__init__(**kwargs)
        self.token_emb = layers.Embedding(vocab_size, embed_dim)
        self.pos_emb = layers.Embedding(maxlen, embed_dim)

    def build(self, shape):
        self.token_emb.build(shape)
        self.pos_emb.build(shape)

    def call(self, x):
        return self.token_emb(x) + self.pos_emb(ops.arange(ops.shape(x)[-1]))


@REGISTERED
class TransformerBlock(layers.Layer):
    """Attention and two dense layers, each added to its inputs and normalized."""

    def __init__(self, embed_dim, num_heads, ff_dim, rate=0.1, **kwargs):
        super().__init__(**kwargs)
        self.att = layers.MultiHeadAttention(num_heads, embed_dim)
        self.ffn = keras.Sequential(
            [layers.Dense(ff_dim, activation="relu"), layers.Dense(embed_dim)]
        )
        self.norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
        self.drops = [layers.Dropout(rate) for _ in range(2)]

    def build(self, shape):
        self.att.build(shape, shape)
        for layer in (self.ffn, *self.norms):
            layer.build(shape)

    def call(self, x):
        x = self.norms[0](x + self.drops[0](self.att(x, x)))
        return self.norms[1](x + self.drops[1](self.ffn(x)))


@architecture(
    "examples/nlp/text_classification_with_transformer",
    reviews,
    "sparse_categorical_crossentropy",
    pruning=({"sparsity": 0.9},),
    fast=2,
)
def transformer():
    """Nandan, 2020: layers of one's own that hold others."""
    inputs = keras.Input((STEPS,), dtype="int32")
    x = TokenAndPositionEmbedding(STEPS, WORDS, 32)(inputs)
    x = TransformerBlock(32, 2, 32)(x)
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dropout(0.1)(x)
    x = layers.Dense(20, activation="relu")(x)
    x = layers.Dropout(0.1)(x)
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x))


def text():
    """Pieces of a text as one of so many letters a step, and the letter that follows."""
    ids = draw_integers(0, LETTERS, STEPS + 1)
    hot = keras.utils.to_categorical(ids, LETTERS)
    return hot[:, :-1], hot[:, -1]


@architecture(
    "examples/generative/lstm_character_level_text_generation",
    text,
    "categorical_crossentropy",
    pruning=(
        {"sparsity": 0.5, "select": "recurrent", "structure": (8, 16)},
        {"sparsity": 0.5, "select": "(?<!recurrent_)kernel$"},
    ),
    chain=True,
    fast=3,
    slow=True,
)
def text_generator():
    """Chollet, 2015."""
    return keras.Sequential(
        [
            keras.Input((STEPS, LETTERS)),
            layers.LSTM(48),
            layers.Dense(LETTERS, activation="softmax"),
        ]
    )


def translations():
    """Sentences, translations that a decoder has so far, and their next letters."""
    ids = draw_integers(0, LETTERS, STEPS)
    hot = keras.utils.to_categorical(ids, LETTERS)
    answers = np.roll(hot, 1, axis=2)[:, :6]
    before = np.pad(answers[:, :-1], [(0, 0), (1, 0), (0, 0)])
    return [hot, before], answers


@architecture(
    "examples/nlp/lstm_seq2seq",
    translations,
    "categorical_crossentropy",
    pruning=({"sparsity": 0.8, "scope": "erk"},),
    fast=5,
)
def seq2seq():
    """Chollet, 2017: the states of one LSTM are where the other starts."""
    encoder_inputs = keras.Input((None, LETTERS))
    _, *states = layers.LSTM(32, return_state=True)(encoder_inputs)
    decoder_inputs = keras.Input((None, LETTERS))
    decoder = layers.LSTM(32, return_sequences=True, return_state=True)
    outputs, _, _ = decoder(decoder_inputs, initial_state=states)
    outputs = layers.Dense(LETTERS, activation="softmax")(outputs)
    return keras.Model([encoder_inputs, decoder_inputs], outputs)


def sentences():
    """Raw strings, and whether the word `good` is in them."""
    words = np.array(["good", "bad", "film", "play", "slow", "fun", "the", "a"])
    rows = words[draw_integers(0, len(words), STEPS)]
    good = (rows == "good").any(axis=1).astype("float32")
    texts = np.array([" ".join(row) for row in rows])
    return to_inputs(text=texts)["text"], good


@architecture(
    "examples/nlp/text_classification_from_scratch",
    sentences,
    "binary_crossentropy",
    trains=("tensorflow",),
    serves=("tensorflow",),
    needs="tensorflow",
    fast=2,
)
def text_from_scratch():
    """Omernick and Chollet, 2019: from raw strings, with the vocabulary inside."""
    words = layers.TextVectorization(max_tokens=32, output_sequence_length=STEPS)
    words.adapt(["good bad film play", "slow fun the a"])
    inputs = keras.Input((), dtype="string")
    x = layers.Embedding(32, 32)(words(inputs))
    x = layers.Dropout(0.5)(x)
    x = layers.Conv1D(32, 3, padding="valid", activation="relu", strides=2)(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(32, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))
