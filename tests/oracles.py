"""Slow float64 NumPy versions of every formula, sharing no code with the package.

Flat manifolds: the shortest of many lattice images. Spheres: arccos where it is well
conditioned, arcsin of the chord where it is not. Hyperbolic space: arccosh.
"""

import functools
import itertools
import math

import numpy as np

IMAGES = range(-7, 8)


def euclidean(x, y):
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True)))


def torus(*periods):
    def shortest(a, b, period):
        return min(abs(a - b + k * period) for k in IMAGES)

    def distance(x, y):
        wrapped = [shortest(*row) for row in zip(x, y, periods, strict=True)]
        return euclidean(wrapped, [0.0] * len(wrapped))

    return distance


def klein_bottle(period):
    def distance(x, y):
        images = itertools.product(IMAGES, repeat=2)
        return min(
            euclidean(x, (y[0] + k * period, (-1) ** k * y[1] + m * period))
            for k, m in images
        )

    return distance


def mobius_strip(period, width):
    def distance(x, y):
        return min(euclidean(x, (y[0] + k * period, (-1) ** k * y[1])) for k in IMAGES)

    return distance


def _direction(x):
    length = math.sqrt(sum(a * a for a in x))
    return [a / length for a in x] if length else [1.0] + [0.0] * (len(x) - 1)


def _angle(x, y):
    x, y = _direction(x), _direction(y)
    cosine = sum(a * b for a, b in zip(x, y, strict=True))
    if abs(cosine) < 0.9:
        return math.acos(cosine)
    if cosine > 0:
        return 2 * math.asin(min(1.0, euclidean(x, y) / 2))
    return math.pi - 2 * math.asin(min(1.0, euclidean(x, [-b for b in y]) / 2))


def sphere(radius):
    return lambda x, y: radius * _angle(x, y)


def projective_space(radius):
    return lambda x, y: radius * min(_angle(x, y), math.pi - _angle(x, y))


def special_orthogonal_3(scale):
    """The rotation angle by the trace of the relative rotation matrix."""

    def matrix(q):
        w, x, y, z = _direction(q)
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )

    def distance(p, q):
        relative = matrix(p).T @ matrix(q)
        # ‖R − I‖ = 2√2·sin(angle/2) has no trouble at small angles, the trace none at π.
        sine = np.linalg.norm(relative - np.eye(3)) / math.sqrt(8)
        cosine_squared = max(0.0, (np.trace(relative) + 1) / 4)
        return scale * 2 * math.atan2(sine, math.sqrt(cosine_squared))

    return distance


def poincare_ball(curvature):
    c = -curvature

    def distance(x, y):
        nx, ny = (1 - c * sum(a * a for a in p) for p in (x, y))
        return math.acosh(1 + 2 * c * euclidean(x, y) ** 2 / (nx * ny)) / math.sqrt(c)

    return distance


def product(parts, weights):
    """`parts` is a list of (oracle, number of coordinates)."""

    def distance(x, y):
        total, start = 0.0, 0
        for (part, size), weight in zip(parts, weights, strict=True):
            piece = slice(start, start + size)
            total += weight * part(x[piece], y[piece]) ** 2
            start += size
        return math.sqrt(total)

    return distance


def finite_metric(table):
    return lambda x, y: float(table[int(x[0])][int(y[0])])


@functools.cache
def peak_of_dog(wide, narrow):
    """The largest exp(−d²/wide) − exp(−d²/narrow) on a fine grid."""
    d = np.linspace(0.0, 20.0, 2_000_001)
    bracket = np.exp(-(d**2) / wide) - np.exp(-(d**2) / narrow)
    return d[np.argmax(bracket)], bracket.max()


def penalty(kernel, distances, cost, power):
    """Σ f(d_jk)·|w_jk|^ℓ, gate by gate, one connection at a time."""
    inputs, outputs = distances.shape
    total = 0.0
    for j in range(inputs):
        for column in range(kernel.shape[1]):
            k = column % outputs
            total += cost(float(distances[j, k])) * abs(float(kernel[j, column])) ** power
    return total


def pruned(weights, masks, zeros):
    """Masks by sorting Python tuples: the slow road to `magnitude_masks`."""
    entries = []
    for i, (w, m) in enumerate(zip(weights, masks, strict=True)):
        flat = [
            (abs(float(value)) if kept else -1.0)
            for value, kept in zip(w.ravel(), m.ravel(), strict=True)
        ]
        largest = flat.index(max(flat))
        entries += [(v, i, j) for j, v in enumerate(flat) if j != largest]
    masked = sum(1 for entry in entries if entry[0] < 0)
    gone = {entry[1:] for entry in sorted(entries)[: max(zeros, masked)]}
    return [
        np.array([(i, j) not in gone for j in range(w.size)]).reshape(w.shape)
        for i, w in enumerate(weights)
    ]


def pruned_units(scores, mask, zeros, unit_of, balanced=False):
    """One matrix, unit by unit in plain loops: the worst first, the best never.

    Args:
        scores: Matrix of scores.
        mask: True for what is kept.
        zeros: How many weights to mask, or the nearest that whole units allow.
        unit_of: Function from row and column to the name of a block (row, column).
        balanced: Whether the blocks of equal rank in their columns go together.
    """
    blocks = {}
    for row, column in np.ndindex(*scores.shape):
        blocks.setdefault(unit_of(row, column), []).append((row, column))

    def value(cells):
        if not any(mask[cell] for cell in cells):
            return -1.0
        squares = [float(scores[cell]) ** 2 for cell in cells if mask[cell]]
        return math.sqrt(sum(squares) / len(cells))

    units = {name: list(cells) for name, cells in blocks.items()}
    if balanced:
        units = {}
        for column in {name[1] for name in blocks}:
            names = sorted(n for n in blocks if n[1] == column)
            names.sort(key=lambda n: -value(blocks[n]))
            for rank, name in enumerate(names):
                units.setdefault(rank, []).extend(blocks[name])
    order = sorted(sorted(units), key=lambda n: value(units[n]))
    best = max(sorted(units), key=lambda n: value(units[n]))
    choices, gone = [], []
    for name in [None, *(n for n in order if n != best)]:
        gone = gone + (units[name] if name is not None else [])
        if all(value(units[n]) >= 0 or set(units[n]) <= set(gone) for n in units):
            choices.append(gone)
    chosen = min(choices, key=lambda cells: abs(len(cells) - zeros))
    result = mask.copy()
    for cell in chosen:
        result[cell] = False
    return result
