"""The penalty and its controls, as pure functions of tensors.

    R_f(W) = Σⱼₖ f(d_M(i(j), i(k)))·|wⱼₖ|^ℓ

Source: Mackey et al., "Geometric sparsification in recurrent neural networks", 2024.
"""

from typing import Any

import numpy as np
from keras import ops

from keras_moduli import _backend, _checks, inhibitors, manifolds
from keras_moduli._swaps import swap_neurons
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

    Raises:
        TypeError: If the points do not hold numbers, or `manifold` or `inhibitor` is
            neither a name, a config nor one.
        ValueError: If the last axis is not of size `ambient_dim`.

    Examples:
        >>> import keras_moduli as km
        >>> costs = km.penalties.coefficients("circle", "diffusion", [[0.0], [3.0]])
        >>> float(costs[0, 1])
        9.0
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
        seed: Seed of `numpy.random.RandomState`, in [0, 2³²).

    Returns:
        Tensor of shape (m, n), its m·n entries permuted.

    Raises:
        TypeError: If `coefficients` does not hold real numbers, or `seed` is no integer.
        ValueError: If `coefficients` has less than two axes, or `seed` is out of range.

    Examples:
        >>> import keras_moduli as km
        >>> permuted = km.penalties.permute([[1.0, 2.0], [3.0, 4.0]], seed=0)
        >>> sorted(float(cost) for row in permuted for cost in row)
        [1.0, 2.0, 3.0, 4.0]
    """
    shape = tuple(coefficients.shape)
    drawn = np.random.RandomState(_checks.seed("seed", seed)).permutation(
        shape[0] * shape[1]
    )
    drawn = drawn.astype("int32").reshape(shape)
    return _backend.take(ops.reshape(coefficients, (-1,)), drawn)


@_checks.takes_tensors(3)
def communicability(kernel: Tensor) -> Tensor:
    """How well a network connects its neurons by paths of all lengths.

    C = exp(S^-½·|W|·S^-½), gate by gate, where S is the diagonal of the row sums of |W|.

    Args:
        kernel: w, of shape (n, g, n).

    Returns:
        Tensor of the same shape. A neuron without connections reaches itself only, as
        does one with less than 10⁻²⁰ of what another has.

    Raises:
        TypeError: If `kernel` does not hold real numbers.
        ValueError: If it has less than three axes.

    Examples:
        >>> import keras_moduli as km
        >>> kernel = [[[0.0, 1.0]], [[1.0, 0.0]]]  # two neurons, one gate
        >>> paths = km.penalties.communicability(kernel)
        >>> [round(float(path), 2) for path in paths[0, 0]]  # cosh 1, sinh 1
        [1.54, 1.18]

    Source: Achterberg et al., "Spatially embedded recurrent neural networks reveal
    widespread links between structural and functional neuroscience findings", 2023.
    """
    gates = ops.transpose(absolute(kernel), (1, 0, 2))
    # Of no scale: roots of strengths near the ends of float32 have no gradient there.
    largest = ops.stop_gradient(ops.max(gates))
    gates = gates / ops.where(largest > 0, largest, ops.ones_like(largest))
    strengths = ops.sum(gates, axis=-1)
    connected = strengths > 1e-20
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

    Returns:
        Scalar tensor.

    Raises:
        TypeError: If an argument does not hold real numbers.
        ValueError: If `squared_distances` has less than two axes, or another none.

    Examples:
        >>> import keras_moduli as km
        >>> squares = [[0.0, 0.9], [0.9, 0.0]]
        >>> round(float(km.penalties.repulsion(squares, [1.0, 1.0], [1.0, 1.0])), 2)
        4.61
    """
    counts = sending[:, None] * receiving[None, :]
    return ops.sum(counts * crowding(squared_distances))


@_checks.takes_tensors(0)
def crowding(squared_distances: Tensor) -> Tensor:
    """−log(d² + ε), ε = 0.1: what two neurons that repel each other cost.

    Args:
        squared_distances: d², a tensor of any shape.

    Returns:
        Tensor of the same shape.

    Raises:
        TypeError: If `squared_distances` does not hold real numbers.

    Examples:
        >>> import keras_moduli as km
        >>> round(float(km.penalties.crowding(0.0)), 4)
        2.3026
    """
    return -ops.log(squared_distances + SOFTENING)


@_checks.takes_tensors(1)
def connectedness(strengths: Tensor) -> Tensor:
    """s/(s + s̄/10): 0 for a neuron without connections, near 1 for any other.

    What nothing holds must not be pushed either, or it drifts away for ever: pruning
    leaves such neurons.

    Args:
        strengths: s, the total weight of each neuron's connections, of shape (n,).

    Returns:
        Tensor of shape (n,), in [0, 1).

    Raises:
        TypeError: If `strengths` does not hold real numbers.
        ValueError: If it has no axis.

    Examples:
        >>> import keras_moduli as km
        >>> [round(float(c), 2) for c in km.penalties.connectedness([0.0, 2.0])]
        [0.0, 0.95]
    """
    total = strengths + 0.1 * ops.mean(strengths)
    return strengths / ops.where(total > 0, total, ops.ones_like(total))


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

    Raises:
        TypeError: If a tensor does not hold real numbers, or `power` is no integer.
        ValueError: If a tensor has less than two axes, or `power` is out of range.

    Examples:
        >>> import keras_moduli as km
        >>> float(km.penalties.penalty([[-1.0, 2.0]], [[3.0, 4.0]]))
        11.0
    """
    reduce = ops.sum if reduction == "sum" else ops.mean
    return reduce(kernel * _pull(kernel, coefficients, power))


@_checks.takes_tensors(2, 2)
def slope(kernel: Tensor, coefficients: Tensor, power: int = 1) -> Tensor:
    """The derivative of `penalty` by the kernel: ℓ·c_jk·|w_jk|^(ℓ−1)·sign w_jk.

    Args:
        kernel: w, of shape (m, n), or (m, g, n) for g gates that share coefficients.
        coefficients: c, of shape (m, n), or that of the kernel.
        power: ℓ, from 1 to 64.

    Returns:
        Tensor of the kernel's shape.

    Raises:
        TypeError: If a tensor does not hold real numbers, or `power` is no integer.
        ValueError: If a tensor has less than two axes, or `power` is out of range.

    Examples:
        >>> import keras_moduli as km
        >>> slopes = km.penalties.slope([[-1.0, 2.0]], [[3.0, 4.0]])
        >>> [float(slope) for slope in slopes[0]]
        [-3.0, 4.0]
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
    if rest > 1:  # what costs nothing must not overflow, since 0 · inf is no number
        limit = float(np.finfo(np.float32).max) ** (1 / power)
        free = (coefficients == 0) & (ops.abs(kernel) > limit)
        kernel = ops.where(free, ops.zeros_like(kernel), kernel)
    while rest:  # repeated squaring: a product for each binary digit
        square = absolute(kernel) if square is None else square * square
        if rest % 2:
            pull = pull * square
        rest //= 2
    return pull * coefficients
