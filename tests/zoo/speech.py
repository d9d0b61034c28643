"""Sequences that are aligned with shorter ones: CTC."""

import keras
import numpy as np
from keras import layers, ops

from keras_moduli.pruning.structures import Blocks
from tests.zoo.table import REGISTERED, architecture, draw, draw_images, draw_integers

LETTERS, LENGTH = 8, 3


@REGISTERED
class CTCLayer(layers.Layer):
    """Adds the loss to the model, and returns the predictions as they are."""

    def call(self, labels, predictions):
        self.add_loss(ops.mean(keras.losses.ctc(labels, predictions)))
        return predictions


def captchas():
    """Pictures of some letters, and the letters, which are an input as well."""
    labels = draw_integers(1, LETTERS, LENGTH)
    return {"image": draw_images(32, 8, 1), "label": labels}, None


@architecture(
    "examples/vision/captcha_ocr",
    captchas,
    deploy=lambda model: keras.Model(
        model.inputs[0], model.get_layer("predictions").output
    ),
    serve=lambda x: x["image"],
    fast=10,
    slow=True,
)
def crnn():
    """Nain, 2020: convolutions, then LSTMs along the width, then CTC."""
    image = keras.Input((32, 8, 1), name="image")
    labels = keras.Input((LENGTH,), dtype="int32", name="label")
    x = image
    for filters in (8, 16):
        arguments = {"activation": "relu", "padding": "same"}
        x = layers.Conv2D(filters, 3, kernel_initializer="he_normal", **arguments)(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Reshape((8, 2 * 16))(x)
    x = layers.Dense(16, activation="relu")(x)
    x = layers.Dropout(0.2)(x)
    x = layers.Bidirectional(layers.LSTM(32, return_sequences=True, dropout=0.25))(x)
    x = layers.Bidirectional(layers.LSTM(16, return_sequences=True, dropout=0.25))(x)
    x = layers.Dense(LETTERS + 1, name="predictions")(x)
    return keras.Model([image, labels], CTCLayer()(labels, x))


def spectrograms():
    """Spectrograms of 24 steps and 16 frequencies, and what is said."""
    return draw(24, 16), draw_integers(1, LETTERS, LENGTH)


@architecture(
    "examples/audio/ctc_asr",
    spectrograms,
    keras.losses.CTC(),
    pruning=({"sparsity": 0.8, "scope": "layer"},),
    fast=10,
    slow=True,
)
def deep_speech():
    """Bensaid and Hamidi, 2021, after Amodei et al., "Deep Speech 2", 2015."""
    inputs = keras.Input((None, 16))
    x = layers.Reshape((-1, 16, 1))(inputs)
    for size, strides in (((5, 5), (2, 2)), ((3, 5), (1, 2))):
        arguments = {"strides": strides, "padding": "same", "use_bias": False}
        x = layers.Conv2D(8, size, **arguments)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Reshape((-1, x.shape[-2] * x.shape[-1]))(x)
    for last in (False, True):
        x = layers.Bidirectional(layers.GRU(24, return_sequences=True))(x)
        x = x if last else layers.Dropout(0.5)(x)
    x = layers.Dropout(0.5)(layers.Dense(48, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(LETTERS + 1)(x))


def microphones():
    """Four microphones, and which of them is loudest."""
    waves = draw(32, 4)
    return waves, np.argmax(np.abs(waves).mean(axis=1), axis=1)


@architecture(
    "examples/audio/speaker_recognition_using_cnn",
    microphones,
    "sparse_categorical_crossentropy",
    pruning=({"sparsity": 0.75, "structure": Blocks((4, 4), balanced=False)},),
    fast=2,
    slow=True,
)
def residual_speaker_net():
    """Badhe, 2020: blocks of convolutions in time with shortcuts around them."""
    inputs = x = keras.Input((32, 4))
    for filters, depth in ((16, 2), (32, 3)):
        shortcut = layers.Conv1D(filters, 1, padding="same")(x)
        for _ in range(depth - 1):
            x = layers.Conv1D(filters, 3, padding="same", activation="relu")(x)
        x = layers.Add()([layers.Conv1D(filters, 3, padding="same")(x), shortcut])
        x = layers.MaxPool1D(2, 2)(layers.Activation("relu")(x))
    x = layers.Flatten()(layers.AveragePooling1D(3, 3)(x))
    x = layers.Dense(32, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(x))
