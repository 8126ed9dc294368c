"""The best single neuron for data of rank three or less, in NumPy float64.

    maximise  v^T (X u)_+   subject to  ||u|| <= 1

is linear on every cell of the arrangement {u : x_i^T u = 0}. Its maximum is therefore
the normalised X^T D v of some cell, where that lies in the cell, or it lies on the
plane of some row; there the problem has one dimension less. On a plane the cells are
arcs between sorted angles, and sums over the active rows change by one row from arc to
arc, which makes O(n^2 log n) of the O(n^3) cells of rank three.

The objective is evaluated at every candidate, so rounding cannot inflate the maximum.
It may be too low: cells narrower than about 1e-12 may be missed, and so is what the
data have outside of their numerical row space. `passed_over` bounds both.

Source: Edelsbrunner, Algorithms in Combinatorial Geometry (1987), for the sweep.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cvxjax.algebra.row_space import left_out, rank_of, row_space

MAX_RANK = 3
_THIN = 1e-11  # ten times the width of cells that may be missed, for unit rows
_PARALLEL = 1e-12  # sine of an angle that counts as zero
_SLACK = 1e-9  # candidates this far outside of their cell are evaluated all the same
_CHUNK_ELEMENTS = 1 << 20


def is_exact(X: np.ndarray) -> bool:
    """Whether `best_neuron` takes X [n, d]: rank <= 3."""
    return rank_of(X) <= MAX_RANK


def passed_over(X: np.ndarray, v: np.ndarray) -> float:
    """An upper bound of how much `best_neuron` may be too low.

    A neuron ||u|| <= 1 in a cell that is missed is about 1e-12 from one in a cell that
    is not, and so are its products with unit rows. Outside of the row space, with basis
    B, it gains at most ||x_i - B B^T x_i|| on row i.
    """
    sizes = _THIN * np.linalg.norm(X, axis=1) + left_out(X, row_space(X))
    return float(np.abs(v) @ sizes)


def best_neuron(X: np.ndarray, v: np.ndarray) -> tuple[float, np.ndarray]:
    """max v^T (X u)_+ over ||u|| <= 1 and a maximiser, for rank X <= 3.

    Args:
      X: [n, d]; duplicate, parallel and zero rows are fine.
      v: [n].

    Returns:
      The maximum, >= 0, and u [d] of norm 1, or 0 where nothing is gained.

    Raises:
      ValueError: if the rank of X is larger.
    """
    X, v = np.asarray(X, np.float64), np.asarray(v, np.float64)
    basis = row_space(X)
    rank = basis.shape[1]
    if rank > MAX_RANK:
        raise ValueError(f"want X of rank at most {MAX_RANK}; got rank {rank}")
    used = (v != 0) & np.any(X != 0, axis=1)
    rows = X[used] @ basis
    lengths = np.linalg.norm(rows, axis=1)
    weights, rows = v[used] * lengths, rows / lengths[:, None]
    if len(rows) == 0:
        return 0.0, np.zeros(X.shape[1])
    points = [np.eye(rank), -np.eye(rank)]
    if rank == 2:
        arcs = _arcs(rows[None], (weights[:, None] * rows)[None])
        points.append(_on_circle(arcs, arcs.slopes))
    elif rank == 3:
        size = max(1, _CHUNK_ELEMENTS // len(rows))
        for start in range(0, len(rows), size):
            points.append(_around_planes(rows, weights, slice(start, start + size)))
    candidates = np.concatenate(points)
    values = _evaluate(rows, weights, candidates)
    best = int(np.argmax(values))
    if values[best] <= 0:
        return 0.0, np.zeros(X.shape[1])
    u = basis @ candidates[best]
    return float(values[best]), u / np.linalg.norm(u)


def _evaluate(rows: np.ndarray, weights: np.ndarray, points: np.ndarray) -> np.ndarray:
    """weights^T (rows u)_+ for unit points [m, r], [m]."""
    size = max(1, _CHUNK_ELEMENTS // len(rows))
    parts = range(0, len(points), size)
    found = [np.maximum(points[i : i + size] @ rows.T, 0) @ weights for i in parts]
    return np.concatenate(found) if found else np.zeros(0)


class _Arcs(NamedTuple):
    """The 2 N arcs of the unit circle between kinks, for G problems of rank two."""

    slopes: np.ndarray  # [G, 2N, K], the sum of `parts` over the active rows
    start: np.ndarray  # [G, 2N], angle
    stop: np.ndarray  # [G, 2N], angle, >= start
    ends: tuple[np.ndarray, np.ndarray]  # [G, 2N] each, rows that vanish there


def _arcs(rows: np.ndarray, parts: np.ndarray) -> _Arcs:
    """Sorts the angles at which a row vanishes, and sums `parts` from arc to arc.

    Args:
      rows: [G, N, 2]; zero rows are legal, their parts must be zero.
      parts: [G, N, K], what a row adds to the slope of the objective where active.
    """
    N = rows.shape[1]
    angles = np.arctan2(rows[..., 1], rows[..., 0])[..., None]
    kinks = np.concatenate([angles - np.pi / 2, angles + np.pi / 2], axis=1)[..., 0]
    kinks = kinks % (2 * np.pi)
    order = np.argsort(kinks, axis=1, kind="stable")
    start = np.take_along_axis(kinks, order, axis=1)
    stop = np.concatenate([start[:, 1:], start[:, :1] + 2 * np.pi], axis=1)
    ends = order % N

    # A row is active from its first kink to its second; arc k begins at kink k.
    place = np.argsort(order, axis=1, kind="stable")
    enters, leaves = place[:, :N], place[:, N:]
    first = (enters == 0) | ((leaves < enters) & (leaves > 0))
    changes = np.concatenate([parts, -parts], axis=1)
    changes = np.take_along_axis(changes, order[..., None], axis=1)
    changes[:, 0] = np.sum(np.where(first[..., None], parts, 0), axis=1)
    after = np.concatenate([ends[:, 1:], ends[:, :1]], axis=1)
    return _Arcs(np.cumsum(changes, axis=1), start, stop, (ends, after))


def _on_circle(arcs: _Arcs, flat: np.ndarray) -> np.ndarray:
    """The best point [G, 2] on the unit circle, for slopes `flat` [G, 2N, 2]."""
    aim = np.arctan2(flat[..., 1], flat[..., 0])
    turn = (aim - arcs.start) % (2 * np.pi)
    inside = turn <= arcs.stop - arcs.start
    angle = np.where(inside, arcs.start + turn, arcs.start)
    points = _direction(angle)
    best = np.argmax(np.sum(flat * points, axis=-1), axis=1)
    return points[np.arange(len(best)), best]


def _direction(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _around_planes(rows: np.ndarray, weights: np.ndarray, part: slice) -> np.ndarray:
    """Candidates [m, 3] on the planes of some rows and in the cells beside them.

    A cell beside an arc is bounded there by three rows: that of the plane and those
    that vanish at the arc's ends. A slope on their other side is not in the cell.
    """
    normals = rows[part]
    axes = np.eye(3)[np.argmin(np.abs(normals), axis=1)]
    e1 = np.cross(normals, axes)
    e1 /= np.linalg.norm(e1, axis=1, keepdims=True)
    planes = np.stack([e1, np.cross(normals, e1)], axis=1)  # [G, 2, 3]
    flat = np.einsum("gak,nk->gna", planes, rows)
    parallel = np.linalg.norm(flat, axis=-1) <= _PARALLEL
    flat[parallel] = 0
    parts = np.where(parallel[..., None], 0, weights[:, None] * rows)
    arcs = _arcs(flat, parts)
    best = _on_circle(arcs, np.einsum("gak,gmk->gma", planes, arcs.slopes))
    found = [np.einsum("gak,ga->gk", planes, best)]

    middle = _direction((arcs.start + arcs.stop) / 2)
    index = np.arange(len(normals))[:, None]
    inward = [np.sign(np.sum(flat[index, end] * middle, axis=-1)) for end in arcs.ends]
    heights = normals @ rows.T
    for side in (1.0, -1.0):
        beside = np.where(parallel & (side * heights > 0), weights, 0) @ rows
        slopes = arcs.slopes + beside[:, None]
        sizes = np.linalg.norm(slopes, axis=-1)
        floor = -_SLACK * sizes
        keep = side * np.einsum("gmk,gk->gm", slopes, normals) >= floor
        for sign, end in zip(inward, arcs.ends, strict=True):
            keep &= sign * np.sum(slopes * rows[end], axis=-1) >= floor
        keep &= sizes > 0
        found.append(slopes[keep] / sizes[keep][:, None])
    return np.concatenate(found)
