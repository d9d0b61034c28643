"""Images: classifiers, an autoencoder, pairs of them, and films."""

import keras
from keras import layers, ops

from tests.zoo.table import REGISTERED, architecture, draw_images, draw_integers


def digits():
    labels = draw_integers(0, 10)
    return draw_images(28, 28, 1), keras.utils.to_categorical(labels, 10)


@architecture(
    "examples/vision/mnist_convnet",
    digits,
    "categorical_crossentropy",
    pruning=({"sparsity": 0.9},),
    fast=1,
    slow=True,
)
def mnist_convnet():
    """Chollet, 2015, at its full size."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )


@architecture(
    "examples/vision/deeplabv3_plus",
    lambda: (draw_images(32, 32, 3), draw_integers(0, 10)),
    "sparse_categorical_crossentropy",
    pruning=({"sparsity": 0.9},),
    fast=1,
    slow=True,
)
def mobile_net_v2():
    """Sandler et al., 2018: the smallest, and of that the blocks that others build on."""
    whole = keras.applications.MobileNetV2(
        input_shape=(32, 32, 3), alpha=0.35, weights=None, include_top=False
    )
    x = layers.GlobalAveragePooling2D()(whole.get_layer("block_3_expand_relu").output)
    return keras.Model(whole.inputs, layers.Dense(10, activation="softmax")(x))


def noisy_digits():
    images = draw_images(16, 16, 1)
    return images.clip(0.2, 0.8), images


@architecture(
    "examples/vision/autoencoder",
    noisy_digits,
    "binary_crossentropy",
    slow=True,
)
def autoencoder():
    """Srihari, 2021: convolutions down, and transposed ones up again."""
    inputs = x = keras.Input((16, 16, 1))
    for _ in range(2):
        x = layers.Conv2D(16, (3, 3), activation="relu", padding="same")(x)
        x = layers.MaxPooling2D((2, 2), padding="same")(x)
    for _ in range(2):
        arguments = {"strides": 2, "activation": "relu", "padding": "same"}
        x = layers.Conv2DTranspose(16, (3, 3), **arguments)(x)
    x = layers.Conv2D(1, (3, 3), activation="sigmoid", padding="same")(x)
    return keras.Model(inputs, x)


def pairs():
    """Two images each, and whether they are of different things."""
    return [draw_images(16, 16, 1), draw_images(16, 16, 1, seed=1)], draw_integers(0, 2)


@REGISTERED
def contrastive(different, distance):
    near = (1 - different) * ops.square(distance)
    return ops.mean(near + different * ops.square(ops.maximum(1 - distance, 0)))


@architecture(
    "examples/vision/siamese_contrastive",
    pairs,
    contrastive,
    fast=2,
    slow=True,
)
def siamese():
    """Mehdi, 2021: one network sees both images."""
    image = x = keras.Input((16, 16, 1))
    x = layers.BatchNormalization()(x)
    for filters in (4, 16):
        x = layers.Conv2D(filters, (5, 5), activation="tanh", padding="same")(x)
        x = layers.AveragePooling2D(pool_size=(2, 2))(x)
    x = layers.BatchNormalization()(layers.Flatten()(x))
    tower = keras.Model(image, layers.Dense(16, activation="tanh")(x), name="tower")
    both = [keras.Input((16, 16, 1)) for _ in range(2)]
    a, b = map(tower, both)
    squares = ops.sum(ops.square(a - b), axis=1, keepdims=True)
    distance = ops.sqrt(ops.maximum(squares, 1e-7))
    x = layers.BatchNormalization()(distance)
    return keras.Model(both, layers.Dense(1, activation="sigmoid")(x))


def films():
    """Films of six images: five, and the five after each of them."""
    images = draw_images(6, 8, 8, 1)
    return images[:, :-1], images[:, 1:]


@architecture(
    "examples/vision/conv_lstm",
    films,
    "binary_crossentropy",
    pruning=({"sparsity": 0.75, "scope": "gate"},),
    slow=True,
)
def next_frame():
    """Joshi, 2021: convolutional LSTMs, and a convolution in time at the end."""
    inputs = x = keras.Input((None, 8, 8, 1))
    for size in (3, 1):
        arguments = {"padding": "same", "return_sequences": True, "activation": "relu"}
        x = layers.ConvLSTM2D(8, (size, size), **arguments)(x)
        x = layers.BatchNormalization()(x)
    x = layers.Conv3D(1, (3, 3, 3), activation="sigmoid", padding="same")(x)
    return keras.Model(inputs, x)


@architecture(
    "examples/vision/video_classification",
    lambda: (draw_images(5, 16, 16, 1), draw_integers(0, 5)),
    "sparse_categorical_crossentropy",
    fast=6,
)
def film_classifier():
    """Paul, 2021: each image through one network, what that finds through two GRUs."""
    image = x = keras.Input((16, 16, 1))
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
    features = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    inputs = keras.Input((5, 16, 16, 1))
    x = layers.TimeDistributed(features)(inputs)
    cells = [layers.GRUCell(16), layers.GRUCell(8)]
    x = layers.RNN(layers.StackedRNNCells(cells))(x)
    x = layers.Dropout(0.4)(x)
    x = layers.Dense(8, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(x))
