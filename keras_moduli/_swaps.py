"""Which neurons trade positions, so that the same weights cost less."""

import numpy as np
from numpy.typing import NDArray

from keras_moduli import _checks

Array = NDArray[np.float64]


def swap_neurons(
    pulls: Array,
    coefficients: Array,
    sweeps: int = 10,
    *,
    others: Array | None = None,
) -> NDArray[np.intp]:
    """Finds positions of neurons that lower Σ a_jk·c_p(j)p(k), by swapping pairs.

    The change when neurons r and s trade positions is, for all pairs at once, a few
    products of matrices; the best partner of each neuron is then tried in the order of
    the gains.

    Args:
        pulls: a, how strongly neurons are connected, of shape (n, n), or (t, n, n) for
            several kernels of the same neurons, whose costs add up.
        coefficients: c, what positions cost each other, of the shape of `pulls`.
        sweeps: At most so many rounds over all neurons, at least 0.
        others: What each neuron costs at each position by what lies elsewhere, of shape
            (n, n); nothing by default.

    Returns:
        p, a permutation of shape (n,): neuron j gets the position of number p[j]. It
        never costs more than the identity.

    Raises:
        TypeError: If an array holds no numbers, or `sweeps` is no integer.
        ValueError: If the shapes do not fit each other, or `sweeps` is negative.

    Examples:
        >>> import numpy as np, keras_moduli as km
        >>> pulls = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]])  # neurons 0 and 2
        >>> costs = np.array([[0, 1, 4], [1, 0, 1], [4, 1, 0]])  # three on a line
        >>> order = km.penalties.swap_neurons(pulls, costs)
        >>> before, after = (pulls * costs).sum(), (pulls * costs[order][:, order]).sum()
        >>> int(before), int(after)
        (8, 2)
    """
    pulls, costs = _check_arrays(pulls, coefficients)
    n = pulls.shape[-1]
    places = np.zeros((n, n)) if others is None else _checks.array(others)
    if places.shape != (n, n):
        raise ValueError(
            f"`others` must be of shape ({n}, {n}). Received: shape {places.shape}"
        )
    sweeps = _checks.integer("sweeps", sweeps, minimum=0)
    return _sweep(pulls.reshape(-1, n, n), costs.reshape(-1, n, n), places, sweeps)


def _check_arrays(pulls: Array, coefficients: Array) -> tuple[Array, Array]:
    pulls, costs = _checks.array(pulls), _checks.array(coefficients)
    n = pulls.shape[-1] if pulls.ndim else 0
    if (
        pulls.ndim not in (2, 3)
        or pulls.shape[-2:] != (n, n)
        or costs.shape != pulls.shape
    ):
        raise ValueError(
            "`pulls` and `coefficients` must both be of shape (n, n) or (t, n, n). "
            f"Received: shapes {pulls.shape} and {costs.shape}"
        )
    return pulls, costs


def _sweep(a: Array, c: Array, places: Array, sweeps: int) -> NDArray[np.intp]:
    positions = np.arange(a.shape[-1])
    tolerance = 1e-12 * max(float(np.abs(a * c).sum() + np.abs(places).sum()), 1e-300)
    for _ in range(sweeps):
        gains = -_swap_changes(a, c, places)
        partners = gains.argmax(axis=1)
        best = gains[np.arange(len(gains)), partners]
        improved = False
        for r in np.argsort(-best):
            s = int(partners[r])
            if best[r] <= tolerance:
                break
            # Earlier swaps of this sweep may have used up the gain.
            if _swap_change(a, c, places, int(r), s) < -tolerance:
                for array in (positions, places.T, *c, *c.transpose(0, 2, 1)):
                    array[[r, s]] = array[[s, r]]
                improved = True
        if not improved:
            break
    return positions


def _swap_changes(a: Array, c: Array, places: Array) -> Array:
    """The change of Σ a·c for each pair (r, s) that trades positions."""
    # What r's connections cost at the position of s.
    crossed = places + sum(x @ y.T + x.T @ y for x, y in zip(a, c, strict=True))
    own = np.diag(crossed)
    changes = crossed + crossed.T - own[:, None] - own[None, :]
    # The sums above move r and s one at a time; where they meet, both have moved.
    for x, y in zip(a, c, strict=True):
        changes = changes + _sum_where_met(x) * _sum_where_met(y)
    return changes


def _sum_where_met(x: Array) -> Array:
    return np.diag(x)[:, None] + np.diag(x)[None, :] - x - x.T


def _swap_change(a: Array, c: Array, places: Array, r: int, s: int) -> float:
    """The change of Σ a·c when r and s trade positions, by their rows and columns."""
    swap = np.arange(len(places))
    swap[[r, s]] = s, r
    rows = (a[:, [r, s]] * (c[:, [s, r]][..., swap] - c[:, [r, s]])).sum()
    rest = np.ones(len(places), bool)
    rest[[r, s]] = False
    columns = (a[..., [r, s]] * (c[..., [s, r]] - c[..., [r, s]]))[:, rest].sum()
    elsewhere = places[r, s] + places[s, r] - places[r, r] - places[s, s]
    return float(rows + columns + elsewhere)
