"""Models that are adapted: to other data, by few weights, or to columns of a table."""

import keras
import numpy as np
from keras import layers

from tests.zoo.table import (
    architecture,
    compile_with_adam,
    draw,
    draw_images,
    draw_integers,
    to_inputs,
)


def cats_and_dogs():
    return 255 * draw_images(16, 16, 3), draw_integers(0, 2)


def make_base():
    """A small one in the style of Xception, as if it were trained already."""
    inputs = x = keras.Input((16, 16, 3))
    x = layers.Conv2D(16, 3, strides=2, padding="same", activation="relu")(x)
    shortcut = layers.Conv2D(32, 1, strides=2, padding="same")(x)
    x = layers.SeparableConv2D(32, 3, padding="same")(x)
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    return keras.Model(inputs, layers.add([x, shortcut]), name="base")


def unfreeze(model):
    """The second half of the guide: all of it, and slowly."""
    model.get_layer("base").trainable = True
    compile_with_adam(model, "binary_crossentropy", learning_rate=1e-4)


@architecture(
    "guides/transfer_learning",
    cats_and_dogs,
    "binary_crossentropy",
    change=unfreeze,
    further={"sparsity": 0.8},
    fast=2,
)
def fine_tuning():
    """Chollet, 2020: the head alone, and then everything."""
    base = make_base()
    base.trainable = False
    inputs = keras.Input((16, 16, 3))
    x = base(layers.Rescaling(scale=1 / 127.5, offset=-1)(inputs), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    x = layers.Dense(16, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


def next_words():
    ids = draw_integers(0, 32, 9)
    return ids[:, :-1], ids[:, 1:]


def add_adapters(model):
    """Freezes what has learned, beside which matrices of low rank learn."""
    for layer in model.layers:
        if isinstance(layer, layers.Dense | layers.EinsumDense | layers.Embedding):
            layer.enable_lora(rank=2)
    compile_with_adam(model, "sparse_categorical_crossentropy")


@architecture(
    "examples/nlp/parameter_efficient_finetuning_of_gpt2_with_lora",
    next_words,
    "sparse_categorical_crossentropy",
    change=add_adapters,
    fast=7,
)
def lora():
    """Soni and Shah, 2023, after Hu et al., "LoRA", 2021."""
    inputs = keras.Input((8,), dtype="int32")
    x = layers.Embedding(32, 32)(inputs)
    attention = layers.MultiHeadAttention(2, 16)
    x = layers.LayerNormalization()(x + attention(x, x, use_causal_mask=True))
    hidden = layers.EinsumDense("abc,cd->abd", (None, 48), activation="gelu")(x)
    x = layers.LayerNormalization()(x + layers.Dense(32)(hidden))
    return keras.Model(inputs, layers.Dense(32, activation="softmax")(x))


def patients():
    """Columns of a table: numbers on their scales, a code, and an hour."""
    columns = {
        "age": 50 + 9 * draw(1),
        "cholesterol": 200 + 40 * draw(1, seed=1),
        "code": draw_integers(0, 6, 1),
        "hour": 24 * draw_images(1, seed=2),
    }
    return columns, (columns["age"][:, 0] > 50).astype("float32")


def encode_columns(columns):
    """Returns inputs, and each of them made into features of order 1."""
    inputs = {k: keras.Input((1,), name=k, dtype=v.dtype) for k, v in columns.items()}
    features = []
    for name in ("age", "cholesterol"):
        normalization = layers.Normalization()
        normalization.adapt(columns[name])
        features.append(normalization(inputs[name]))
    features.append(layers.CategoryEncoding(6, output_mode="one_hot")(inputs["code"]))
    hours = layers.Discretization(num_bins=4, output_mode="one_hot")
    hours.adapt(columns["hour"])
    return inputs, [*features, hours(inputs["hour"])]


def make_head(inputs, features):
    x = layers.Dense(32, activation="relu")(layers.concatenate(features))
    x = layers.Dense(32, activation="relu")(layers.Dropout(0.5)(x))
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x))


@architecture(
    "examples/structured_data/structured_data_classification_from_scratch",
    patients,
    "binary_crossentropy",
    further={"sparsity": 0.9},
    needs="tensorflow",
    fast=3,
)
def structured_data():
    """Chollet, 2020: what was learned of the columns is inside of the model."""
    return make_head(*encode_columns(patients()[0]))


def named_patients():
    """The same, and a column of words."""
    columns, sick = patients()
    words = np.array(["fixed", "normal", "reversible"])[draw_integers(0, 3, 1)]
    return to_inputs(**columns, thal=words), sick


@architecture(
    "examples/structured_data/structured_data_classification_with_feature_space",
    named_patients,
    "binary_crossentropy",
    trains=("tensorflow",),
    serves=("tensorflow",),
    needs="tensorflow",
    fast=3,
)
def structured_words():
    """The first one with `StringLookup` and `Hashing` within the model."""
    columns, _ = patients()
    inputs, features = encode_columns(columns)
    inputs["thal"] = keras.Input((1,), name="thal", dtype="string")
    lookup = layers.StringLookup(output_mode="one_hot")
    lookup.adapt(["fixed", "normal", "reversible"])
    crossed = layers.Hashing(8, output_mode="one_hot")(inputs["thal"])
    return make_head(inputs, [*features, lookup(inputs["thal"]), crossed])
