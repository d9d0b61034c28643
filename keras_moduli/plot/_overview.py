"""One figure of a model: neurons, matrix, and distances."""

from typing import Any

import keras

from keras_moduli.plot import _style
from keras_moduli.plot._distances import distances
from keras_moduli.plot._matrix import matrix
from keras_moduli.plot._neurons import neurons
from keras_moduli.plot._sparsity import sparsity
from keras_moduli.plot._target import find_connections, find_placement


def overview(model: Any, kernel: str | None = None, *, edges: float = 0.25) -> Any:
    """Draws neurons with what survives, the sorted matrix, and how far connections reach.

    Of a model without a geometry: the matrix, of a recurrent layer sorted so that what is
    connected stands near the diagonal, and the zeros of every matrix.

    Args:
        model: A built Keras model or layer, or a `km.placement`.
        kernel: Name of a layer, or of a weight matrix as `km.geometry` prints it. By
            default the first that has a geometry, else the first recurrent one.
        edges: Fraction of the connections that is drawn, the strongest.

    Returns:
        The matplotlib figure, of three axes, or two; `figure.savefig("overview.svg")`
        keeps it.

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If a layer has no geometry, or no weight is left.

    Examples:
        >>> import keras, keras_moduli as km
        >>> regularizer = km.ModuliRegularizer("torus", "diffusion")
        >>> layer = keras.layers.SimpleRNN(32, recurrent_regularizer=regularizer)
        >>> model = keras.Sequential([keras.Input((5, 2)), layer])
        >>> figure = km.plot.overview(model)
        >>> len(figure.axes)
        3
    """
    pyplot = _style.load("matplotlib.pyplot")
    if isinstance(model, keras.Model) and find_connections(model, kernel)[1] is None:
        return _draw_plain(pyplot, model, kernel)
    placed = find_placement(model, kernel)
    with pyplot.rc_context(_style.SETTINGS):
        figure = pyplot.figure(figsize=(10.5, 3.7))
        left, middle, right = (figure.add_subplot(1, 3, k) for k in (1, 2, 3))
        try:
            neurons(placed, edges=edges, ax=left)
            matrix(placed, ax=middle)
            distances(placed, ax=right)
        except ValueError:  # pyplot would keep what there is of it
            pyplot.close(figure)
            raise
    return figure


def _draw_plain(pyplot: Any, model: keras.Model, kernel: str | None) -> Any:
    rows, columns, _ = find_connections(model, kernel)[0].shape
    with pyplot.rc_context(_style.SETTINGS):
        figure = pyplot.figure(figsize=(9.0, 3.7))
        left, right = (figure.add_subplot(1, 2, k) for k in (1, 2))
        matrix(model, kernel, order="graph" if rows == columns else None, ax=left)
        sparsity(model, ax=right)
    return figure
