"""Orders of neurons that bring connected ones together."""

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_moduli.regularizers import find_regularizer

Array = NDArray[Any]
Permutation = NDArray[np.intp]

AS_IT_IS = "as it is"


def list_orders(kernel: Any, weights: Array) -> dict[str, Permutation | None]:
    """Returns orders of the neurons of a recurrent kernel, by name.

    Args:
        kernel: The variable, (n, gates · n).
        weights: Its values.
    """
    orders: dict[str, Permutation | None] = {AS_IT_IS: None}
    if (located := _order_by_embedding(kernel)) is not None:
        return orders | {"embedding": located}
    if importlib.util.find_spec("scipy") is None:
        return orders
    return orders | {"reverse Cuthill-McKee": _order_by_graph(weights)}


def _order_by_embedding(kernel: Any) -> Permutation | None:
    """Returns the order along the manifold on which the neurons are, if they are."""
    regularizer = find_regularizer(kernel)
    if regularizer is None:
        return None
    positions = regularizer.positions(kernel.shape)[0]
    return regularizer.cost.manifold.order(positions)


def _order_by_graph(weights: Array) -> Permutation:
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import reverse_cuthill_mckee

    linked = (weights != 0).reshape(len(weights), -1, len(weights)).any(axis=1)
    graph = csr_matrix(linked | linked.T)
    return reverse_cuthill_mckee(graph, symmetric_mode=True)


def permute_neurons(kernel: Array, permutation: Any) -> Array:
    """Returns a recurrent kernel (n, gates · n) with its neurons in another order."""
    if permutation is None:
        return kernel
    return permute_columns(kernel[np.asarray(permutation)], permutation)


def permute_columns(array: Array, permutation: Any) -> Array:
    """Returns what each gate has for each neuron, on the last axis, in another order."""
    if permutation is None:
        return array
    gated = array.reshape(*array.shape[:-1], -1, len(permutation))
    return gated[..., np.asarray(permutation)].reshape(array.shape)
