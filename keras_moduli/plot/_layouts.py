"""How the points of a manifold are laid out in a plane, or in space."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_moduli import manifolds
from keras_moduli.manifolds import Manifold

Array = NDArray[Any]

_STEPS = 17  # of the arc of a great circle


@dataclass(frozen=True)
class Layout:
    """Where points are drawn.

    Attributes:
        points: (n, 2) in the plane or (n, 3) in space.
        join: `join(i, j)`, the shortest paths from points i to points j as lines
            (paths, corners, 2 or 3), of which the parts beyond the limits are cut off.
        limits: Of each axis, or None for those of what is drawn.
        labels: What each axis shows.
        surface: A closed surface to draw in space, arrays x, y and z; or None.
        is_glued: Whether the limits are edges that are glued.
    """

    points: Array
    join: Callable[[Array, Array], Array]
    limits: tuple[tuple[float, float], ...] | None
    labels: tuple[str, ...]
    surface: tuple[Array, Array, Array] | None = None
    is_glued: bool = False


@functools.singledispatch
def lay_out(manifold: Manifold, points: Array) -> Layout:
    """Returns where to draw points: here by the two principal axes of their distances.

    Classical scaling: of all planes, the one that keeps most of the distances; for points
    of Rⁿ, their two principal components.
    """
    distances = ops.convert_to_numpy(manifold.pairwise(points.astype(np.float32)))
    plane, share = _scale(distances.astype(np.float64))
    labels = (f"first principal axis ({share[0]:.0%})", f"second ({share[1]:.0%})")
    return Layout(plane, _join_straight(plane), None, labels)


@lay_out.register
def _(manifold: manifolds.Euclidean, points: Array) -> Layout:
    if manifold.dim == 2:
        return Layout(points, _join_straight(points), None, ("x", "y"))
    if manifold.dim == 1:
        line = np.column_stack([points[:, 0], np.zeros(len(points))])
        return Layout(line, _join_straight(line), None, ("x", ""))
    centered = points - points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centered, full_matrices=False)
    share = sizes**2 / max(np.sum(sizes**2), 1e-30)
    plane = centered @ axes[:2].T
    labels = (f"first principal axis ({share[0]:.0%})", f"second ({share[1]:.0%})")
    return Layout(plane, _join_straight(plane), None, labels)


@lay_out.register
def _(manifold: manifolds.Circle, points: Array) -> Layout:
    radius = manifold.circumference / (2 * np.pi)
    angle = points[:, 0] / radius
    ring = radius * np.column_stack([np.cos(angle), np.sin(angle)])
    return Layout(ring, _join_straight(ring), None, ("x", "y"))


@lay_out.register
def _(manifold: manifolds.Torus, points: Array) -> Layout:
    if manifold.dim != 2:
        return lay_out.dispatch(Manifold)(manifold, points)
    width, height = np.broadcast_to(np.asarray(manifold.period, float), 2)
    images = [_shift(i * width, k * height) for i in _AROUND for k in _AROUND]
    inside = points % [width, height]
    return _tile(inside, images, ((0, width), (0, height)))


@lay_out.register
def _(manifold: manifolds.KleinBottle, points: Array) -> Layout:
    length = manifold.period
    images = [
        _shift(i * length, k * length, flip=i % 2)
        for i in _AROUND
        for k in (-2, *_AROUND, 2)
    ]
    inside = np.array(ops.convert_to_numpy(manifold.project(points.astype(np.float32))))
    return _tile(inside, images, ((0, length), (0, length)))


@lay_out.register
def _(manifold: manifolds.MobiusStrip, points: Array) -> Layout:
    length, half = manifold.period, manifold.width / 2
    images = [_shift(i * length, 0.0, flip=i % 2) for i in _AROUND]
    inside = np.array(ops.convert_to_numpy(manifold.project(points.astype(np.float32))))
    return _tile(inside, images, ((0, length), (-half, half)))


@lay_out.register
def _(manifold: manifolds.Sphere, points: Array) -> Layout:
    radius = manifold.radius
    unit = points / np.linalg.norm(points, axis=-1, keepdims=True)
    if manifold.dim == 1:
        return Layout(radius * unit, _join_straight(radius * unit), None, ("x", "y"))
    if manifold.dim != 2:
        return lay_out.dispatch(Manifold)(manifold, points)

    def join(i: Array, j: Array) -> Array:
        return radius * _follow_great_circles(unit[i], unit[j])

    u, v = np.mgrid[0 : 2 * np.pi : 40j, 0 : np.pi : 20j]
    ball = (np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v))
    x, y, z = (0.97 * radius * axis for axis in ball)
    limits = ((-radius, radius),) * 3
    return Layout(radius * unit, join, limits, ("x", "y", "z"), (x, y, z))


@lay_out.register
def _(manifold: manifolds.PoincareBall, points: Array) -> Layout:
    if manifold.dim != 2:
        return lay_out.dispatch(Manifold)(manifold, points)
    inside = np.array(ops.convert_to_numpy(manifold.project(points.astype(np.float32))))
    radius = 1 / np.sqrt(-manifold.curvature)
    places = (inside / radius) @ [1, 1j]

    def join(i: Array, j: Array) -> Array:
        return radius * _follow_hyperbolic_lines(places[i], places[j])

    return Layout(inside, join, ((-radius, radius),) * 2, ("x", "y"))


_AROUND = (-1, 0, 1)


def _shift(x: float, y: float, flip: int = 0) -> Callable[[Array], Array]:
    """Returns (x, y) ↦ (x + Δx, ±y + Δy), which takes points to images of themselves."""
    sign = np.array([1.0, -1.0 if flip else 1.0])
    return lambda points: points * sign + [x, y]


def _tile(
    points: Array,
    images: list[Callable[[Array], Array]],
    limits: tuple[tuple[float, float], ...],
) -> Layout:
    """Returns the layout of a flat manifold: a rectangle whose edges are glued."""

    def join(i: Array, j: Array) -> Array:
        start = points[i]
        ends = np.stack([image(points[j]) for image in images])
        nearest = np.argmin(((ends - start) ** 2).sum(axis=-1), axis=0)
        line = np.stack([start, ends[nearest, np.arange(len(start))]], axis=1)
        # Each image of the whole path; the axes cut off what lies beyond their limits.
        copies = np.concatenate([image(line) for image in images])
        low, high = np.array(limits).T
        beyond = ((copies < low).all(axis=1) | (copies > high).all(axis=1)).any(axis=-1)
        return copies[~beyond]

    return Layout(points, join, limits, ("x", "y"), is_glued=True)


def _join_straight(points: Array) -> Callable[[Array, Array], Array]:
    return lambda i, j: np.stack([points[i], points[j]], axis=1)


def _follow_great_circles(x: Array, y: Array) -> Array:
    """Returns arcs (paths, steps, 3) between unit vectors."""
    angle = np.arccos(np.clip((x * y).sum(axis=-1), -1.0, 1.0))[:, None, None]
    t = np.linspace(0.0, 1.0, _STEPS)[None, :, None]
    scale = np.maximum(np.sin(angle), 1e-9)
    arc = (np.sin((1 - t) * angle) * x[:, None] + np.sin(t * angle) * y[:, None]) / scale
    straight = (1 - t) * x[:, None] + t * y[:, None]
    return np.where(angle < 1e-4, straight, arc)


def _follow_hyperbolic_lines(x: Array, y: Array) -> Array:
    """Returns arcs (paths, steps, 2) between complex numbers in the unit disk."""
    moved = (y - x) / (1 - x.conj() * y)  # where y is once x has moved to the center
    length, t = np.abs(moved)[:, None], np.linspace(0.0, 1.0, _STEPS)
    way = moved[:, None] / np.maximum(length, 1e-9)
    ray = np.tanh(t * np.arctanh(np.minimum(length, 1 - 1e-9))) * way
    arc = (x[:, None] + ray) / (1 + x.conj()[:, None] * ray)
    return np.stack([arc.real, arc.imag], axis=-1)


def _scale(distances: Array) -> tuple[Array, Array]:
    """Classical scaling to a plane, and each axis's share of the variance."""
    n = len(distances)
    center = np.eye(n) - 1.0 / n
    values, vectors = np.linalg.eigh(-0.5 * center @ distances**2 @ center)
    largest = values[::-1][:2].clip(min=0.0)
    share = largest / max(values.clip(min=0.0).sum(), 1e-30)
    plane = vectors[:, ::-1][:, :2] * np.sqrt(largest)
    if plane.shape[1] < 2:  # one neuron
        plane, share = np.pad(plane, ((0, 0), (0, 1))), np.append(share, 0.0)
    return plane, share
