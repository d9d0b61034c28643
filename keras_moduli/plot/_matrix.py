"""A weight matrix as an image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_moduli import _checks
from keras_moduli.plot import _style
from keras_moduli.plot._target import find_connections
from keras_moduli.report import Connections, Placement

Array = NDArray[Any]
Axes = Any

_MOST_PIXELS = 1024  # of each side


def matrix(
    model: Any,
    kernel: str | None = None,
    *,
    order: str | None = "manifold",
    values: str = "mask",
    gate: int | None = None,
    ax: Axes = None,
) -> Axes:
    """Draws a weight matrix, its neurons sorted: rows send, columns receive.

    Args:
        model: A built Keras model or layer, or a `km.placement`.
        kernel: Name of a layer, or of a weight matrix as `km.sparsity` prints it. By
            default the first that has a geometry, else the first recurrent one.
        order: `"manifold"`, along it if there is one; `"graph"`, so that connections
            lie near the diagonal (reverse Cuthill-McKee); or None, as they are.
        values: `"mask"`, what is not zero; or `"weight"`.
        gate: Which gate to draw, from 0; by default the strongest weight of all.
        ax: Axes of matplotlib to draw into; by default those of a new figure.

    Returns:
        The axes. Beyond 1,024 rows or columns a pixel is the mean of several weights.

    Raises:
        ImportError: If matplotlib is not installed, or SciPy for `"graph"`.
        TypeError: If `gate` is no integer.
        ValueError: If there is no such weight or gate, or an option is unknown.

    Examples:
        >>> import keras, keras_moduli as km
        >>> model = keras.Sequential([keras.Input((5, 2)), keras.layers.SimpleRNN(32)])
        >>> ax = km.plot.matrix(model, order="graph")
        >>> ax.images[0].get_array().shape
        (32, 32)
    """
    _checks.optional(_choose_order, "order", order)
    _checks.choice("values", values, ("mask", "weight"))
    links, placed, label = find_connections(model, kernel)
    _check_gate(gate, links.shape[2], label)
    rows, columns, weights, zeros = _pick_gate(links, gate)
    rows, columns = _sort(order, placed, rows, columns, links.shape[:2])
    image = _paint(rows, columns, weights if values == "weight" else 1.0, links.shape[:2])
    which = "" if gate is None else f", gate {gate}"
    with _style.drawing(ax, size=(3.8, 3.8)) as ax:
        _show(ax, image, values, is_binned=max(links.shape[:2]) > _MOST_PIXELS)
        ax.set_title(f"{label}{which}\n{zeros:.1%} zeros")
        ax.set(xlabel=f"to{_name_order(order, placed)}", ylabel="from")
        _style.hide_ticks(ax)
    return ax


def _choose_order(name: str, value: Any) -> str:
    return _checks.choice(name, value, ("manifold", "graph"))


def _check_gate(gate: int | None, gates: int, label: str) -> None:
    if gate is not None and _checks.integer("gate", gate, minimum=0) >= gates:
        raise ValueError(
            f"{label} has {gates} gate{'s' * (gates > 1)}, from 0 on. "
            f"Received: gate={gate}"
        )


def _name_order(order: str | None, placed: Placement | None) -> str:
    if order == "manifold":
        return "" if placed is None else ", along the manifold"
    return "" if order is None else ", by connections"


def _pick_gate(links: Connections, gate: int | None) -> tuple[Array, Array, Array, float]:
    """Returns rows, columns and weights of one gate, or of the strongest of all.

    Also the fraction of zeros, of that gate or of all.
    """
    rows, columns, weights = links.inputs, links.outputs, links.weights
    if gate is not None:
        chosen = np.flatnonzero(links.gates == gate)
        zeros = 1 - len(chosen) * links.shape[2] / links.size
    else:
        place = rows * links.shape[1] + columns
        by_place = np.lexsort((-np.abs(weights), place))
        is_first = np.diff(place[by_place], prepend=-1) != 0
        chosen, zeros = by_place[is_first], links.sparsity
    return rows[chosen], columns[chosen], weights[chosen], zeros


def _sort(
    order: str | None,
    placed: Placement | None,
    rows: Array,
    columns: Array,
    shape: tuple[int, int],
) -> tuple[Array, Array]:
    """Returns the places of rows and columns in an order."""
    if order == "graph":
        by = _sort_graph(rows, columns, shape)
    elif order == "manifold" and placed is not None:
        by = placed.input_order, placed.order
    else:
        return rows, columns
    return np.argsort(by[0])[rows], np.argsort(by[1])[columns]


def _sort_graph(
    rows: Array, columns: Array, shape: tuple[int, int]
) -> tuple[Array, Array]:
    sparse, graphs = _style.load("scipy.sparse"), _style.load("scipy.sparse.csgraph")
    ones = np.ones(len(rows), bool)
    if shape[0] == shape[1]:
        table = sparse.csr_matrix((ones, (rows, columns)), shape)
        order = graphs.reverse_cuthill_mckee(table + table.T, symmetric_mode=True)
        return order, order
    n = sum(shape)  # senders and receivers are different nodes of one graph
    table = sparse.csr_matrix((ones, (rows, columns + shape[0])), (n, n))
    order = graphs.reverse_cuthill_mckee(table + table.T, symmetric_mode=True)
    return order[order < shape[0]], order[order >= shape[0]] - shape[0]


def _paint(rows: Array, columns: Array, weights: Any, shape: tuple[int, int]) -> Array:
    """Returns an image, each pixel the mean of the weights that it stands for."""
    size = [min(side, _MOST_PIXELS) for side in shape]
    places = [
        index * pixels // side
        for index, side, pixels in zip((rows, columns), shape, size, strict=True)
    ]
    image = np.zeros(size)
    np.add.at(image, tuple(places), weights)
    counts = [
        np.bincount(np.arange(side) * pixels // side, minlength=pixels)
        for side, pixels in zip(shape, size, strict=True)
    ]
    return image / np.outer(*counts)


def _show(ax: Axes, image: Array, values: str, is_binned: bool) -> None:
    colors = _style.load("matplotlib.colors")
    if values == "weight":
        most = max(np.abs(image[np.isfinite(image)]).max(initial=0.0), 1e-30)
        picture = ax.imshow(image, cmap=_style.DIVERGING, vmin=-most, vmax=most)
    else:
        ramp = colors.LinearSegmentedColormap.from_list("ink", ["white", _style.INK])
        most = max(image.max(initial=0.0), 1e-30) if is_binned else 1.0
        picture = ax.imshow(image, cmap=ramp, vmin=0.0, vmax=most)
    picture.set_interpolation("nearest" if not is_binned else "antialiased")
    if values == "weight" or is_binned:
        label = "weight" if values == "weight" else "share that is not zero"
        ax.figure.colorbar(picture, ax=ax, shrink=0.7, label=label)
