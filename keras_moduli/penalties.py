"""The penalty and its controls, as pure functions of tensors.

    R_f(W) = Σⱼₖ f(d_M(i(j), i(k)))·|wⱼₖ|^ℓ

Source: Mackey et al., "Geometric sparsification in recurrent neural networks", 2024.
"""

from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import _checks, inhibitors, manifolds
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.manifolds import Manifold
from keras_moduli.numerics import absolute, expm

__all__ = [
    "coefficients",
    "communicability",
    "connectedness",
    "crowding",
    "penalty",
    "permute",
    "repulsion",
    "slope",
    "swap_neurons",
]

Tensor = Any

SOFTENING = 0.1  # ε, the d² below which neurons hardly repel each other
Array = NDArray[np.float64]


def coefficients(
    manifold: Manifold,
    inhibitor: Inhibitor,
    inputs: Tensor,
    outputs: Tensor | None = None,
) -> Tensor:
    """What each connection costs: c_jk = f(d(xⱼ, yₖ)).

    Args:
        manifold: Where the neurons live.
        inhibitor: f, the cost by distance.
        inputs: x, the points of the sending neurons, of shape (m, ambient_dim).
        outputs: y, those of the receiving ones, of shape (n, ambient_dim); `inputs`
            by default.

    Returns:
        Tensor of shape (m, n).
    """
    manifold, inhibitor = manifolds.get(manifold), inhibitors.get(inhibitor)
    inputs = _checks.tensor(inputs, "inputs")
    outputs = inputs if outputs is None else _checks.tensor(outputs, "outputs")
    squared = manifold.squared_distance(inputs[:, None, :], outputs[None, :, :])
    return inhibitor(squared)


@_checks.takes_tensors(2)
def permute(coefficients: Tensor, seed: int) -> Tensor:
    """Puts the same coefficients at random connections: the permuted control.

    What a penalty gains over this control, it gains by geometry; the rest is the gain of
    an uneven penalty.

    Args:
        coefficients: Tensor of shape (m, n).
        seed: Seed of `numpy.random.RandomState`.

    Returns:
        Tensor of shape (m, n), its m·n entries permuted.
    """
    shape = tuple(coefficients.shape)
    drawn = np.random.RandomState(_checks.seed("seed", seed)).permutation(
        shape[0] * shape[1]
    )
    drawn = drawn.astype("int32").reshape(shape)
    return ops.take(ops.reshape(coefficients, (-1,)), drawn)


@_checks.takes_tensors(3)
def communicability(kernel: Tensor) -> Tensor:
    """How well a network connects its neurons by paths of all lengths.

    C = exp(S^-½·|W|·S^-½), gate by gate, where S is the diagonal of the row sums of |W|.

    Args:
        kernel: w, of shape (n, g, n).

    Returns:
        Tensor of the same shape. A neuron without connections reaches itself only.

    Source: Achterberg et al., "Spatially embedded recurrent neural networks reveal
    widespread links between structural and functional neuroscience findings", 2023.
    """
    gates = ops.transpose(absolute(kernel), (1, 0, 2))
    strengths = ops.sum(gates, axis=-1)
    connected = strengths > 0
    scale = ops.where(connected, ops.rsqrt(ops.where(connected, strengths, 1.0)), 0.0)
    # |W|·S^-1 has the same spectrum, at most 1: the exponential is well scaled.
    normalized = scale[..., :, None] * gates * scale[..., None, :]
    return ops.transpose(expm(normalized), (1, 0, 2))


@_checks.takes_tensors(2, 1, 1)
def repulsion(squared_distances: Tensor, sending: Tensor, receiving: Tensor) -> Tensor:
    """How neurons that learn where to be repel each other: −Σ s_j·s_k·log(d_jk² + ε).

    Over (Σ s_j)² it is the dispersion, the mean of −log(d² + ε), ε = 0.1. Pairs nearer
    than √ε hardly repel each other, so that neurons can pass.

    Args:
        squared_distances: d², of shape (m, n).
        sending: s, how much each neuron counts in the mean, of shape (m,): of some rows.
        receiving: The same, of shape (n,): of all neurons.
    """
    counts = sending[:, None] * receiving[None, :]
    return ops.sum(counts * crowding(squared_distances))


@_checks.takes_tensors(0)
def crowding(squared_distances: Tensor) -> Tensor:
    """−log(d² + ε), ε = 0.1: what two neurons that repel each other cost.

    Takes and returns tensors of the same shape.
    """
    return -ops.log(squared_distances + SOFTENING)


@_checks.takes_tensors(1)
def connectedness(strengths: Tensor) -> Tensor:
    """s/(s + s̄/10): 0 for a neuron without connections, near 1 for any other.

    What nothing holds must not be pushed either, or it drifts away for ever: pruning
    leaves such neurons.

    Args:
        strengths: s, the total weight of each neuron's connections, of shape (n,).
    """
    return strengths / (strengths + 0.1 * ops.mean(strengths) + 1e-12)


@_checks.takes_tensors(2, 2)
def penalty(
    kernel: Tensor, coefficients: Tensor, power: int = 1, reduction: str = "sum"
) -> Tensor:
    """The weighted cost of all connections: Σ c_jk·|w_jk|^ℓ.

    Args:
        kernel: w, of shape (m, n), or (m, g, n) for g gates that share coefficients.
        coefficients: c, of shape (m, n), or that of the kernel.
        power: ℓ, from 1 to 64.
        reduction: `"sum"` for the formula, `"mean"` over all entries of the kernel.

    Returns:
        Scalar tensor. |w| has derivative 0 at 0 on every backend.
    """
    reduce = ops.sum if reduction == "sum" else ops.mean
    return reduce(kernel * _pull(kernel, coefficients, power))


@_checks.takes_tensors(2, 2)
def slope(kernel: Tensor, coefficients: Tensor, power: int = 1) -> Tensor:
    """The derivative of `penalty` by the kernel: ℓ·c_jk·|w_jk|^(ℓ−1)·sign w_jk.

    Takes what `penalty` takes, and returns a tensor of the kernel's shape.
    """
    return power * _pull(kernel, coefficients, power)


def _pull(kernel: Tensor, coefficients: Tensor, power: int) -> Tensor:
    """c_jk·|w_jk|^(ℓ−1)·sign w_jk, which times w is the cost and times ℓ its slope."""
    if len(kernel.shape) > len(coefficients.shape):
        coefficients = coefficients[:, None, :]  # of all gates
    # Products rather than ops.power, whose derivative at 0 differs by backend; and the
    # kernel first in each, so that in PyTorch the gradient's memory is laid out as it is:
    # adding up differently laid out ones for each time step costs more than all of this.
    pull, square = ops.stop_gradient(ops.sign(kernel)), None
    rest = _checks.power("power", power) - 1
    while rest:  # repeated squaring: a product for each binary digit
        square = absolute(kernel) if square is None else square * square
        if rest % 2:
            pull = pull * square
        rest //= 2
    return pull * coefficients


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
        sweeps: At most so many rounds over all neurons.
        others: What each neuron costs at each position by what lies elsewhere, of shape
            (n, n); nothing by default.

    Returns:
        p, a permutation of shape (n,): neuron j gets the position of number p[j]. It
        never costs more than the identity.

    Raises:
        ValueError: If the shapes do not fit each other.
    """
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
    places = np.zeros((n, n)) if others is None else _checks.array(others)
    if places.shape != (n, n):
        raise ValueError(
            f"`others` must be of shape ({n}, {n}). Received: shape {places.shape}"
        )
    sweeps = _checks.integer("sweeps", sweeps, minimum=0)
    return _sweep(pulls.reshape(-1, n, n), costs.reshape(-1, n, n), places, sweeps)


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
