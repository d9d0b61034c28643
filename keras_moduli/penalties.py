"""The penalty and its controls, as pure functions of tensors.

    R_f(W) = Σⱼₖ f(d_M(i(j), i(k)))·|wⱼₖ|^ℓ

Source: Mackey et al., "Geometric sparsification in recurrent neural networks", 2024.
"""

import functools
import operator
from typing import Any

import numpy as np
from keras import ops

from keras_moduli._numerics import absolute, expm
from keras_moduli.inhibitors import Inhibitor
from keras_moduli.manifolds import Manifold

__all__ = ["coefficients", "communicability", "dispersion", "penalty", "permuted"]

Tensor = Any


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
    outputs = inputs if outputs is None else outputs
    squared = manifold.squared_distance(inputs[:, None, :], outputs[None, :, :])
    return inhibitor(squared)


def permuted(coefficients: Tensor, seed: int) -> Tensor:
    """The permuted control: the same coefficients in random places.

    What a penalty gains over this control, it gains by geometry; the rest is the gain of
    an uneven penalty.

    Args:
        coefficients: Tensor of shape (m, n).
        seed: Seed of `numpy.random.RandomState`.

    Returns:
        Tensor of shape (m, n), its m·n entries permuted.
    """
    shape = tuple(coefficients.shape)
    places = np.random.RandomState(seed).permutation(shape[0] * shape[1])
    places = places.astype("int32").reshape(shape)
    return ops.take(ops.reshape(coefficients, (-1,)), places)


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


def dispersion(squared_distances: Tensor) -> Tensor:
    """The repulsion of neurons that learn where to be: −mean log(d² + ε), ε = 0.1.

    Args:
        squared_distances: d² of all pairs, of shape (n, n).

    Returns:
        Scalar tensor. Pairs nearer than √ε hardly repel each other, so that neurons can
        pass.
    """
    return -ops.mean(ops.log(squared_distances + 0.1))


def penalty(
    kernel: Tensor, coefficients: Tensor, power: int = 1, reduction: str = "sum"
) -> Tensor:
    """The weighted cost of all connections: Σ c_jk·|w_jk|^ℓ.

    Args:
        kernel: w, of shape (m, n), or (m, g, n) for g gates that share coefficients.
        coefficients: c, of shape (m, n), or that of the kernel.
        power: ℓ, at least 1.
        reduction: `"sum"` for the formula, `"mean"` over all entries of the kernel.

    Returns:
        Scalar tensor. |w| has derivative 0 at 0 on every backend.
    """
    if len(kernel.shape) > len(coefficients.shape):
        coefficients = coefficients[:, None, :]
    # Products rather than ops.power, whose derivative at 0 differs by backend.
    magnitude = functools.reduce(operator.mul, [absolute(kernel)] * power)
    reduce = ops.sum if reduction == "sum" else ops.mean
    return reduce(coefficients * magnitude)
