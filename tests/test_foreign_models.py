"""Models that are not ours, as their authors wrote them, pruned by one callback.

The architectures are those of keras.applications and of examples on keras.io.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_moduli as km

RNG = np.random.RandomState(0)
IMAGES = RNG.uniform(size=(32, 28, 28, 1)).astype("float32")
PICTURES = RNG.uniform(size=(16, 32, 32, 3)).astype("float32")
DIGITS = RNG.randint(0, 10, 32)
WORDS = RNG.randint(0, 20000, (32, 200))
VERDICTS = WORDS[:, 0] % 2


def mnist_convnet():
    """https://keras.io/examples/vision/mnist_convnet/ (Chollet, 2015)."""
    model = keras.Sequential(
        [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model, IMAGES, keras.utils.to_categorical(DIGITS, 10)


def bidirectional_lstm_imdb():
    """https://keras.io/examples/nlp/bidirectional_lstm_imdb/ (Chollet, 2020)."""
    inputs = keras.Input(shape=(None,), dtype="int32")
    x = layers.Embedding(20000, 128)(inputs)
    x = layers.Bidirectional(layers.LSTM(64, return_sequences=True))(x)
    x = layers.Bidirectional(layers.LSTM(64))(x)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    model = keras.Model(inputs, outputs)
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    return model, WORDS, VERDICTS


class TransformerBlock(layers.Layer):
    """Of the example below."""

    def __init__(self, embed_dim, num_heads, ff_dim, rate=0.1):
        super().__init__()
        self.att = layers.MultiHeadAttention(num_heads=num_heads, key_dim=embed_dim)
        self.ffn = keras.Sequential(
            [
                layers.Dense(ff_dim, activation="relu"),
                layers.Dense(embed_dim),
            ]
        )
        self.layernorm1 = layers.LayerNormalization(epsilon=1e-6)
        self.layernorm2 = layers.LayerNormalization(epsilon=1e-6)
        self.dropout1 = layers.Dropout(rate)
        self.dropout2 = layers.Dropout(rate)

    def call(self, inputs):
        attn_output = self.att(inputs, inputs)
        attn_output = self.dropout1(attn_output)
        out1 = self.layernorm1(inputs + attn_output)
        ffn_output = self.ffn(out1)
        ffn_output = self.dropout2(ffn_output)
        return self.layernorm2(out1 + ffn_output)


class TokenAndPositionEmbedding(layers.Layer):
    """Of the example below."""

    def __init__(self, maxlen, vocab_size, embed_dim):
        super().__init__()
        self.token_emb = layers.Embedding(input_dim=vocab_size, output_dim=embed_dim)
        self.pos_emb = layers.Embedding(input_dim=maxlen, output_dim=embed_dim)

    def call(self, x):
        maxlen = ops.shape(x)[-1]
        positions = ops.arange(start=0, stop=maxlen, step=1)
        positions = self.pos_emb(positions)
        x = self.token_emb(x)
        return x + positions


def text_classification_with_transformer():
    """https://keras.io/examples/nlp/text_classification_with_transformer/ (Nandan)."""
    inputs = layers.Input(shape=(200,))
    embedding_layer = TokenAndPositionEmbedding(200, 20000, 32)
    x = embedding_layer(inputs)
    transformer_block = TransformerBlock(32, 2, 32)
    x = transformer_block(x)
    x = layers.GlobalAveragePooling1D()(x)
    x = layers.Dropout(0.1)(x)
    x = layers.Dense(20, activation="relu")(x)
    x = layers.Dropout(0.1)(x)
    outputs = layers.Dense(2, activation="softmax")(x)
    model = keras.Model(inputs=inputs, outputs=outputs)
    model.compile(
        optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model, WORDS, VERDICTS


def mobile_net_v2():
    """keras.applications.MobileNetV2, the smallest."""
    model = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, weights=None, classes=10
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model, PICTURES, DIGITS[:16]


@pytest.mark.parametrize(
    "make",
    [
        mnist_convnet,
        bidirectional_lstm_imdb,
        text_classification_with_transformer,
        mobile_net_v2,
    ],
    ids=lambda make: make.__name__,
)
def test_prunes_to_nine_tenths(make, tmp_path):
    model, x, y = make()
    size = km.sparsity(model).total.size
    assert size > 0.9 * model.count_params(), "most of the model is prunable"
    before = model.get_weights()
    model.fit(x, y, 8, epochs=3, verbose=0, callbacks=[km.MagnitudePruning(0.9)])
    assert km.sparsity(model).total.zeros == round(0.9 * size)
    assert all(row.zeros < row.size for row in km.sparsity(model).rows)
    moved = [(a != b).any() for a, b in zip(before, model.get_weights(), strict=True)]
    assert np.mean(moved) > 0.8
    assert np.isfinite(model.evaluate(x, y, verbose=0)).all()
    assert km.save_compressed(model, tmp_path / "model.keras") < 4 * size / 4
