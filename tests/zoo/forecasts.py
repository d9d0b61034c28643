"""Time series: forecasts and classes of them."""

import keras
from keras import layers

from tests.zoo.table import BATCH, architecture, draw, draw_integers

STEPS, SENSORS = 6, 4


def series():
    """Some steps of all sensors, and the next of the first."""
    x = draw(STEPS + 1, SENSORS).cumsum(axis=1)
    return x[:, :-1], x[:, -1, :1]


def weather():
    """The same in the units of a barometer."""
    x, y = series()
    return 1013 + 10 * x, y


@architecture(
    "examples/timeseries/timeseries_weather_forecasting",
    weather,
    "mse",
    pruning=({"sparsity": 2 / 3, "select": "lstm.*kernel$", "structure": (4, 32)},),
    chain=True,
    fast=2,
)
def weather_forecaster():
    """Attri, Sharma, Takahashi and Shrivastava, 2020, normalized within the model."""
    normalization = layers.Normalization()
    normalization.adapt(weather()[0])
    lstm = layers.LSTM(32)
    return keras.Sequential(
        [keras.Input((STEPS, SENSORS)), normalization, lstm, layers.Dense(1)]
    )


@architecture(
    "guides/working_with_rnns",
    series,
    "mse",
    pruning=({"sparsity": 0.75, "select": "recurrent", "structure": (8, 32)},),
    chain=True,
    serve=lambda x: x[:BATCH],
    # Keras's gradients of stateful LSTMs and GRUs fail on PyTorch.
    trains=("tensorflow", "jax"),
    fast=5,
    slow=True,
)
def stateful_forecaster():
    """Stacked, and each batch goes on where the one before has ended."""
    return keras.Sequential(
        [
            keras.Input(batch_shape=(BATCH, STEPS, SENSORS)),
            layers.LSTM(32, return_sequences=True, stateful=True),
            layers.LSTM(32, stateful=True),
            layers.Dense(8, activation="relu"),
            layers.Dense(1),
        ]
    )


def waves():
    return draw(16, 1), draw_integers(0, 2)


@architecture(
    "examples/timeseries/timeseries_classification_transformer",
    waves,
    "sparse_categorical_crossentropy",
    fast=10,
    slow=True,
)
def timeseries_transformer():
    """Ntakouris, 2021: attention within the graph of the model."""
    inputs = x = keras.Input((16, 1))
    for _ in range(2):
        attention = layers.MultiHeadAttention(8, 4, dropout=0.25)
        attended = layers.Dropout(0.25)(attention(x, x))
        x = residual = layers.LayerNormalization(epsilon=1e-6)(attended) + x
        x = layers.Conv1D(4, kernel_size=1, activation="relu")(x)
        x = layers.Conv1D(1, kernel_size=1)(layers.Dropout(0.25)(x))
        x = layers.LayerNormalization(epsilon=1e-6)(x) + residual
    x = layers.GlobalAveragePooling1D(data_format="channels_first")(x)
    x = layers.Dropout(0.4)(layers.Dense(32, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
