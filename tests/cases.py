"""The one table of cases: a row for each object of the library drives every test."""

import dataclasses
import math
from collections.abc import Callable

import keras
import numpy as np
from hypothesis import strategies as st

import keras_moduli as km
from tests import oracles

M, I = km.manifolds, km.inhibitors  # noqa: E741

# Sixty-fourths: exact in float32, with zeros, periods and half periods among them.
COORDINATES = st.integers(-20 * 64, 20 * 64).map(lambda k: k / 64)
INSIDE_BALL = st.integers(-40, 40).map(lambda k: k / 64)
GRAPH = np.array([[0, 2, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1], [1, 0, 0, 0]], float)
TABLE = [[0, 2, 2, 1], [2, 0, 1, 2], [2, 1, 0, 1], [1, 2, 1, 0]]


@dataclasses.dataclass(frozen=True)
class ManifoldCase:
    """A manifold, and what tests must know to try it.

    Attributes:
        manifold: The instance under test.
        oracle: The distance of two points, in float64 and by other formulas.
        deck: Maps of points to other coordinates of the same points.
        far: Pairs of points as far apart as can be, where distance has no gradient.
        coordinates: Strategy for one coordinate.
    """

    manifold: M.Manifold
    oracle: Callable
    deck: tuple[Callable, ...] = ()
    far: tuple[tuple, ...] = ()
    coordinates: st.SearchStrategy = COORDINATES


def _shift(*offsets):
    return lambda points: points + np.array(offsets)


def _glide(points):
    return points * [1, -1] + [10.0, 0.0]


def _scale(points):
    return 3.0 * points


def _negate(points):
    return -points


ANTIPODES = (([0, 0, 1.0], [0, 0, -1.0]), ([0, 0, 0.0], [0, 0, 0.0]))
MANIFOLDS = {
    "euclidean": ManifoldCase(M.Euclidean(3), oracles.euclidean),
    "circle": ManifoldCase(
        M.Circle(10.0), oracles.torus(10.0), (_shift(10), _shift(-20)), (([1.0], [6.0]),)
    ),
    "torus": ManifoldCase(
        M.Torus(),
        oracles.torus(10.0, 10.0),
        (_shift(10, 0), _shift(0, -10)),
        (([0.0, 0], [5.0, 5]), ([0.0, 0], [5.0, 1])),
    ),
    "rectangular_torus": ManifoldCase(
        M.Torus(3, (8.0, 12.0, 16.0)),
        oracles.torus(8.0, 12.0, 16.0),
        (_shift(8, 0, 0), _shift(0, 12, -16)),
        (([0.0, 0, 0], [4.0, 6, 8]),),
    ),
    "klein_bottle": ManifoldCase(
        M.KleinBottle(),
        oracles.klein_bottle(10.0),
        (_glide, _shift(0, 10), _shift(20, -10)),
        (([0.0, 0], [5.0, 5]), ([0.0, 2.5], [5.0, 0])),
    ),
    "mobius_strip": ManifoldCase(
        M.MobiusStrip(10.0, 40.0),
        oracles.mobius_strip(10.0, 40.0),
        (_glide, _shift(20, 0)),
        (([0.0, 0], [5.0, 0]), ([0.0, 1], [10.0, 1])),
    ),
    "sphere": ManifoldCase(M.Sphere(), oracles.sphere(5.0), (_scale,), ANTIPODES),
    "sphere_1": ManifoldCase(
        M.Sphere(1, 2.0), oracles.sphere(2.0), (_scale,), (([0, 1.0], [0, -1.0]),)
    ),
    "projective_space": ManifoldCase(
        M.ProjectiveSpace(),
        oracles.projective_space(5.0),
        (_scale, _negate),
        (*ANTIPODES, ([1.0, 0, 0], [0, 1.0, 0])),
    ),
    "special_orthogonal_3": ManifoldCase(
        M.SpecialOrthogonal3(),
        oracles.special_orthogonal_3(1.0),
        (_scale, _negate),
        (([1.0, 0, 0, 0], [-1.0, 0, 0, 0]), ([1.0, 0, 0, 0], [0, 0, 1.0, 0])),
    ),
    "poincare_ball": ManifoldCase(
        M.PoincareBall(2, -1.0),
        oracles.poincare_ball(-1.0),
        (),
        (([1.0, 0], [-1.0, 0]), ([3.0, 4], [0, 0]), ([3.0, 4], [6.0, 8])),
        INSIDE_BALL,
    ),
    "product": ManifoldCase(
        M.Product([M.Sphere(), "torus"], [1.0, 2.0]),
        oracles.product(
            [(oracles.sphere(5.0), 3), (oracles.torus(10.0, 10.0), 2)], [1, 2]
        ),
        (_shift(0, 0, 0, 10, -10),),
        (([0, 0, 1.0, 0, 0], [0, 0, -1.0, 5, 5]),),
    ),
    "finite_metric": ManifoldCase(
        M.FiniteMetric.from_graph(GRAPH),
        oracles.finite_metric(TABLE),
        (),
        (([0.0], [1.0]),),
        st.integers(0, 3).map(float),
    ),
}

PEAK = oracles.peak_of_dog(3.0, 0.5)[1]
INHIBITORS = {
    "constant": (I.Constant(0.5), lambda d: 0.5),
    "identity": (I.Identity(), lambda d: d),
    "diffusion": (I.Diffusion(), lambda d: d**2),
    "gaussian": (I.Gaussian(100.0), lambda d: 100 * math.exp(-(d**2) / 3)),
    "dog": (
        I.DifferenceOfGaussians(100.0),
        lambda d: 100 - 100 * (math.exp(-(d**2) / 5) - math.exp(-4 * d**2)),
    ),
    "dog_from_peak": (
        I.DifferenceOfGaussians(2.0, 3.0, 0.5, "peak"),
        lambda d: 2 * (PEAK - math.exp(-(d**2) / 3) + math.exp(-2 * d**2)),
    ),
    "ripple": (I.Ripple(100.0), lambda d: 50 + 50 * math.cos(2 * d)),
}

SCHEDULES = {
    "constant": (km.schedules.Constant(), [1, 1, 1, 1, 1]),
    "one_shot": (km.schedules.OneShot(), [0, 0, 0, 0, 1]),
    "linear": (km.schedules.Linear(), [0, 0.25, 0.5, 0.75, 1]),
    "linear_from_half": (km.schedules.Linear(0.5), [0.5, 0.625, 0.75, 0.875, 1]),
    "cubic": (km.schedules.Cubic(), [0, 1 - 0.75**3, 1 - 0.5**3, 1 - 0.25**3, 1]),
    "cubic_from_half": (km.schedules.Cubic(0.5), [0.5, 0.7890625, 0.9375, 0.9921875, 1]),
}

REGROWTHS = [km.pruning.RigL(0.4), km.pruning.SET(0.2, seed=3)]

# Each with how many of 16 × 8 weights are zero where half of them are to be.
STRUCTURES = {
    "weights": (km.pruning.Weights(), 64),
    "blocks": (km.pruning.Blocks((4, 2), balanced=False), 64),
    "balanced blocks": (km.pruning.Blocks((4, 2)), 64),
    "balanced weights": (km.pruning.Blocks((1, 1)), 64),
    "padded blocks": (km.pruning.Blocks((8, 3), pad=True), 64),
    "2 of 4": (km.pruning.NofM(2, 4), 64),
    "padded 3 of 6": (km.pruning.NofM(3, 6, pad=True), 56),
}

# Each with the indices of the gates that compete: of kernels (4, 8) of two gates, (8, 8)
# of two, and (8, 1).
SCOPES = {
    "global": (km.pruning.scopes.Global(), [[0, 1, 2]]),
    "layer": (km.pruning.scopes.Layer(), [[0], [1], [2]]),
    "gate": (km.pruning.scopes.Gate(), [[0], [0], [1], [1], [2]]),
    "erk": (km.pruning.scopes.ErdosRenyiKernel(), [[0], [1], [2]]),
}

SCORES = {
    "magnitude": km.pruning.scores.Magnitude(),
    "geometric": km.pruning.scores.Geometric(),
}

C = km.connectivity
# Each makes the rule of a density and a block, for 64 neurons that reach themselves.
CONNECTIVITIES = {
    "local": lambda density, block: C.Local("torus", density, block),
    "local on a sphere": lambda density, block: C.Local("sphere", density, block, 2),
    "local on a graph": lambda density, block: C.Local(
        M.FiniteMetric.from_graph(np.eye(64, k=1)), density, block
    ),
    "small world": lambda density, block: C.SmallWorld("torus", density, block),
    "all random": lambda density, block: C.SmallWorld("circle", density, block, 1, 3),
    "random": lambda density, block: C.Random(density, block, 5),
    "banded": lambda density, block: C.Banded(density, block),
    "permuted": lambda density, block: C.Permuted(C.Local("torus", density, block)),
    "permuted twice": lambda density, block: C.Permuted(
        C.Permuted(C.Banded(density, block)), 7
    ),
}

L, K = km.layers, keras.layers
FEATURES = 3
# Layers that take sequences (batch, 6, FEATURES); each is made anew for each test.
LAYERS = {
    "ModuliSimpleRNN": lambda **k: L.ModuliSimpleRNN(8, **k),
    "ModuliGRU": lambda **k: L.ModuliGRU(8, manifold="torus", inhibitor="dog", **k),
    "ModuliLSTM": lambda **k: L.ModuliLSTM(8, manifold="sphere", power=2, **k),
    "dropout": lambda **k: L.ModuliLSTM(8, dropout=0.2, recurrent_dropout=0.2, **k),
    "sequences": lambda **k: L.ModuliGRU(8, return_sequences=True, unroll=True, **k),
    "L2 beside": lambda **k: L.ModuliSimpleRNN(8, recurrent_regularizer="l2", **k),
    "communicability": lambda **k: L.ModuliLSTM(8, communicability=True, **k),
    "fixed positions": lambda **k: L.ModuliGRU(
        8, manifold=MANIFOLDS["finite_metric"].manifold, embedding_trainable=False, **k
    ),
    "initializer": lambda **k: L.ModuliSimpleRNN(
        8, embedding_initializer=keras.initializers.RandomNormal(seed=1), **k
    ),
    "Bidirectional": lambda **k: K.Bidirectional(L.ModuliLSTM(8, **k)),
    "cell": lambda **k: K.RNN(L.ModuliSimpleRNNCell(8, **k)),
    "stacked cells": lambda **k: K.RNN(
        K.StackedRNNCells(
            [
                L.ModuliLSTMCell(4, **k),
                L.ModuliGRUCell(5, **k),
                L.ModuliSimpleRNNCell(6, **k),
            ]
        )
    ),
    "Moduli(Dense)": lambda **k: L.Moduli(K.Dense(8), **k),
    "Moduli(EinsumDense)": lambda **k: L.Moduli(
        K.EinsumDense("abc,cde->abde", (6, 2, 4)), "torus", **k
    ),
    "Moduli(Conv1D)": lambda **k: L.Moduli(K.Conv1D(8, 3), "sphere", "gaussian", **k),
    "Moduli(LSTM)": lambda **k: L.Moduli(K.LSTM(8), **k),
    "Moduli(SimpleRNN)": lambda **k: L.Moduli(K.SimpleRNN(8), embedding_seed=4, **k),
    "TimeDistributed": lambda **k: K.TimeDistributed(L.Moduli(K.Dense(8), **k)),
}


def table(rows):
    """Arguments of `pytest.mark.parametrize`: each row a case with its name."""
    return {"argvalues": list(rows.values()), "ids": list(rows)}
