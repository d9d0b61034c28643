"""Space-filling order: neighbors in the order are neighbors in space."""

import numpy as np
from numpy.typing import NDArray

# A key is one unsigned 64-bit integer that all coordinates share; the Hilbert curve
# needs no finer grid than this per coordinate to order any real number of neurons.
_KEY_BITS = 63
_MAX_BITS = 16


def hilbert_order(coordinates: NDArray[np.floating]) -> NDArray[np.intp]:
    """The permutation that sorts points along a Hilbert curve.

    Args:
        coordinates: Array of shape (n, k), any real numbers. Each axis is scaled to its
            own range; in one dimension the order is that of the numbers. Beyond 63 axes
            the curve follows the 63 of the largest variance.

    Returns:
        Integer array of shape (n,). Ties keep their order.
    """
    if coordinates.shape[1] == 1:
        return np.argsort(coordinates[:, 0], kind="stable")
    if coordinates.shape[1] > _KEY_BITS:
        largest = np.argsort(-coordinates.var(axis=0), kind="stable")[:_KEY_BITS]
        coordinates = coordinates[:, np.sort(largest)]
    bits = min(_MAX_BITS, _KEY_BITS // coordinates.shape[1])
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    unit = (coordinates - low) / np.where(high > low, high - low, 1.0)
    grid = np.minimum(unit * 2.0**bits, 2.0**bits - 1).astype(np.uint64)
    return np.argsort(_hilbert_key(grid, bits), kind="stable")


def _hilbert_key(grid: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    """Position along the Hilbert curve of points on a 2^bits grid.

    Source: J. Skilling, "Programming the Hilbert curve", AIP Conf. Proc. 707 (2004).
    """
    x, one, k = grid.copy(), np.uint64(1), grid.shape[1]
    for level in range(bits - 1, 0, -1):
        bit = one << np.uint64(level)
        mask = bit - one
        for axis in range(k):
            high = (x[:, axis] & bit) != 0
            swap = np.where(high, np.uint64(0), (x[:, 0] ^ x[:, axis]) & mask)
            x[:, 0] ^= np.where(high, mask, swap)
            x[:, axis] ^= swap
    for axis in range(1, k):  # Gray code
        x[:, axis] ^= x[:, axis - 1]
    flip = np.zeros(len(x), np.uint64)
    for level in range(bits - 1, 0, -1):
        bit = one << np.uint64(level)
        flip ^= np.where((x[:, k - 1] & bit) != 0, bit - one, np.uint64(0))
    x ^= flip[:, None]
    key = np.zeros(len(x), np.uint64)
    for level in range(bits - 1, -1, -1):  # interleave, highest bits first
        for axis in range(k):
            key = (key << one) | ((x[:, axis] >> np.uint64(level)) & one)
    return key
