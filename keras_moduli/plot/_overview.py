"""One figure of a geometry: neurons, matrix, and distances."""

from typing import Any

from keras_moduli.plot import _style
from keras_moduli.plot._distances import distances
from keras_moduli.plot._matrix import matrix
from keras_moduli.plot._neurons import neurons
from keras_moduli.plot._target import find_placement


def overview(model: Any, kernel: str | None = None, *, edges: float = 0.25) -> Any:
    """Draws neurons with what survives, the sorted matrix, and how far connections reach.

    Args:
        model: A built Keras model or layer, or a `km.placement`.
        kernel: Name of a layer, or of a weight matrix as `km.geometry` prints it. By
            default the first that has a geometry.
        edges: Fraction of the connections that is drawn, the strongest.

    Returns:
        The matplotlib figure, of three axes; `figure.savefig("overview.svg")` keeps it.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no geometry, or no weight is left.

    Examples:
        >>> import keras, keras_moduli as km
        >>> regularizer = km.ModuliRegularizer("torus", "diffusion")
        >>> layer = keras.layers.SimpleRNN(32, recurrent_regularizer=regularizer)
        >>> model = keras.Sequential([keras.Input((5, 2)), layer])
        >>> figure = km.plot.overview(model)
        >>> len(figure.axes)
        3
    """
    placed = find_placement(model, kernel)
    pyplot = _style.load("matplotlib.pyplot")
    with pyplot.rc_context(_style.SETTINGS):
        figure = pyplot.figure(figsize=(10.5, 3.7))
        left, middle, right = (figure.add_subplot(1, 3, k) for k in (1, 2, 3))
        neurons(placed, edges=edges, ax=left)
        matrix(placed, ax=middle)
        distances(placed, ax=right)
    return figure
