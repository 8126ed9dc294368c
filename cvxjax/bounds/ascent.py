"""From many points at once to local maxima of w^T (X u)_+ over the sphere, in NumPy.

The function is linear on each cell, and across the plane x_i^T u = 0 of a row it bends
up where w_i > 0, down where w_i < 0. Maxima like to lie on planes of the second kind,
the *kinks*. A point moves in rounds: to the longest vector of its face, q projected
onto the planes of its kinks, q = X^T D w, or to the first plane with w_i < 0 on the way
there, which becomes a kink. A kink i is left where its multiplier is not in [w_i, 0],
for then the function rises beside it. All points take their rounds together, so that
the work is in products of matrices.

Source: Goldfarb & Idnani (1983) for active sets of projections; here the cells change
on the way, which a polyhedron's do not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

ON = 1e-12  # |x^T u| of unit vectors that counts as zero
_WRONG = 1e-8  # of the slope: a multiplier outside its interval by more is wrong
_THIN = 1e-8  # of the largest: singular values of directions that are left out
_FLAT = 1e-9  # of ||w||: a slope that is zero up to rounding
_RIDGE = 1e-13
_MOST_ELEMENTS = 1 << 22  # of a temporary [points, n]
_TRIED, _CLIMBED = 1_000, 100  # points of `highest_found`, and those it moves
_LONG = 80  # rounds of their ascent
_TURNS = 10  # of ascents and output weights


class Maxima(NamedTuple):
    """Points on the sphere and their values."""

    points: np.ndarray  # [S, d], unit
    values: np.ndarray  # [S]


def ascend(
    unit: np.ndarray, weights: np.ndarray, starts: np.ndarray, rounds: int = 40
) -> Maxima:
    """Moves every start to a local maximum, or as far as the rounds take it.

    Args:
      unit: X [n, d], rows of length 1 or 0.
      weights: w of each start, [S, n].
      starts: [S, d], not zero.
      rounds: at most, of each start.

    Returns:
      The points and their values, which are exact for the points.
    """
    size = max(1, _MOST_ELEMENTS // len(unit))
    parts = [slice(i, i + size) for i in range(0, len(starts), size)]
    found = [_ascend(unit, weights[part], starts[part], rounds) for part in parts]
    if not found:
        return Maxima(np.zeros((0, unit.shape[1])), np.zeros(0))
    return Maxima(*map(np.concatenate, zip(*found, strict=True)))


def whitening(unit: np.ndarray) -> np.ndarray:
    """Axes [r, d] with unit @ axes.T orthonormal; thin directions are left out."""
    _, values, axes = np.linalg.svd(unit, full_matrices=False)
    wide = values > _THIN * np.max(values, initial=0)
    return axes[wide] / values[wide, None]


def highest_found(X: np.ndarray, v: np.ndarray, climbed: int = _CLIMBED) -> float:
    """The largest ||v^T (X u)_+|| over ||u|| <= 1 that ascents find: a lower bound.

    They start from the best of rows, of X^T v and of random directions, plain and in
    coordinates in which the data are white; the same for the same data.

    Args:
      X: [n, d].
      v: [n], or [n, c] for c outputs.
      climbed: from how many points of each sign the ascents start.
    """
    lengths = np.linalg.norm(X, axis=1)
    unit = X / np.where(lengths > 0, lengths, 1)[:, None]
    weights, rng = (v.T * lengths).T, np.random.default_rng(0)
    axes = whitening(unit)
    drawn = rng.standard_normal((_TRIED, X.shape[1]))
    white = rng.standard_normal((_TRIED, len(axes))) @ axes
    some = unit[rng.permutation(len(unit))[:_TRIED]]
    whole = np.reshape(weights.T @ unit, (-1, X.shape[1]))
    starts = np.concatenate([whole, some, drawn, white])
    starts = np.concatenate([starts, -starts])
    starts = starts[np.any(starts != 0, axis=1)]
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    prices = np.maximum(starts @ unit.T, 0) @ weights
    if v.ndim > 1:
        best = np.argsort(-np.linalg.norm(prices, axis=1))[:climbed]
        return _highest_of_outputs(unit, weights, starts[best])
    highest = 0.0
    for sign in (1.0, -1.0):
        best = starts[np.argsort(-sign * prices)[:climbed]]
        wide_weights = np.broadcast_to(sign * weights, (len(best), len(weights)))
        found = ascend(unit, wide_weights, best, _LONG)
        highest = max(highest, float(np.max(found.values, initial=0)))
    return highest


def _highest_of_outputs(unit: np.ndarray, weights: np.ndarray, u: np.ndarray) -> float:
    """The largest ||weights^T (unit u)_+|| after ascents from u [S, d], weights [n, c].

    A neuron's output weights are best along its price; for these the price is that of
    one output, which an ascent raises. The two take turns.
    """
    for _ in range(_TURNS):
        prices = np.maximum(u @ unit.T, 0) @ weights
        sizes = np.linalg.norm(prices, axis=1, keepdims=True)
        along = prices / np.where(sizes > 0, sizes, 1)
        u = ascend(unit, along @ weights.T, u, _LONG).points
    prices = np.maximum(u @ unit.T, 0) @ weights
    return float(np.max(np.linalg.norm(prices, axis=1), initial=0))


class _State(NamedTuple):
    """Points, their products with the rows, which rows count, and their kinks."""

    u: np.ndarray  # [S, d]
    p: np.ndarray  # [S, n], 0 on kinks
    on: np.ndarray  # [S, n], bool; off on kinks
    kinks: np.ndarray  # [S, n], bool

    def take(self, rows: np.ndarray) -> _State:
        return _State(*(x[rows] for x in self))

    def put(self, rows: np.ndarray, other: _State) -> None:
        for own, new in zip(self, other, strict=True):
            own[rows] = new


def _ascend(
    unit: np.ndarray, weights: np.ndarray, starts: np.ndarray, rounds: int
) -> Maxima:
    u = starts / np.linalg.norm(starts, axis=1, keepdims=True)
    p = u @ unit.T
    kinks = (np.abs(p) <= ON) & (weights < 0)
    state = _State(u, p, (p > ON) & ~kinks, kinks)
    live = np.arange(len(u))
    for _ in range(rounds):
        part = state.take(live)
        ended = _advance(unit, weights[live], part)
        state.put(live, part)
        live = live[~ended]
        if len(live) == 0:
            break
    values = np.sum(weights * np.maximum(state.u @ unit.T, 0), axis=1)
    return Maxima(state.u, values)


def _advance(unit: np.ndarray, w: np.ndarray, at: _State) -> np.ndarray:
    """One round of every point, in place; returns which have ended, [S]."""
    every = np.arange(len(w))
    slope, index, multipliers = _on_faces(unit, w, at)
    size = np.linalg.norm(slope, axis=1)
    flat = size <= _FLAT * np.linalg.norm(np.where(at.on, w, 0), axis=1)
    least = np.where(index >= 0, w[every[:, None], index], 0)
    miss = np.where(index >= 0, np.maximum(multipliers, least - multipliers), -1)
    worst = np.argmax(miss, axis=1)
    leaves = (miss[every, worst] > _WRONG * size) & ~flat

    out = every[leaves]
    which = worst[leaves]
    row = index[out, which]
    at.kinks[out, row] = False
    at.on[out, row] = multipliers[out, which] < least[out, which]

    goes = ~leaves & ~flat
    target = slope / np.where(flat, 1, size)[:, None]
    ahead = target @ unit.T
    wrong = np.where(at.on, ahead < -ON, ahead > ON) & ~at.kinks
    bends = wrong & (w < 0) & goes[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(bends, np.clip(at.p / (at.p - ahead), 0, 1), 2.0)
    first = np.argmin(share, axis=1)
    hits = goes & (share[every, first] <= 1)

    on_way = every[hits]
    step = share[on_way, first[hits]][:, None]
    at.kinks[on_way, first[hits]] = True
    _move(unit, w, at, on_way, at.u[on_way] + step * (target[on_way] - at.u[on_way]))
    arrives = every[goes & ~hits]
    changed = _move(unit, w, at, arrives, target[arrives])
    ended = flat.copy()
    ended[arrives] = ~changed
    return ended


def _move(
    unit: np.ndarray, w: np.ndarray, at: _State, rows: np.ndarray, u: np.ndarray
) -> np.ndarray:
    """Puts some points at u; returns for which of them other rows count now."""
    size = np.linalg.norm(u, axis=1, keepdims=True)
    u = np.where(size > ON, u / np.maximum(size, ON), at.u[rows])
    p = np.where(at.kinks[rows], 0, u @ unit.T)
    free = (w[rows] >= 0) & ~at.kinks[rows]
    on = np.where(free, p > ON, at.on[rows]) & ~at.kinks[rows]
    changed = np.any(on != at.on[rows], axis=1)
    at.u[rows], at.p[rows], at.on[rows] = u, p, on
    return changed


def _on_faces(
    unit: np.ndarray, w: np.ndarray, at: _State
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The slopes on the points' faces, and the multipliers of their kinks.

    Returns:
      slope [S, d]; index [S, k], the rows that are kinks, -1 beyond their number; and
      multipliers [S, k], with slope = X^T D w + sum of multipliers times kinks' rows.
    """
    q = np.where(at.on, w, 0) @ unit
    count = np.sum(at.kinks, axis=1)
    index = np.full((len(w), max(1, int(np.max(count, initial=0)))), -1)
    point, row = np.nonzero(at.kinks)
    index[point, np.arange(len(point)) - (np.cumsum(count) - count)[point]] = row
    rows = np.where((index >= 0)[..., None], unit[index], 0)
    gram = rows @ np.swapaxes(rows, 1, 2)
    places = np.arange(index.shape[1])
    gram[:, places, places] += np.where(index >= 0, _RIDGE, 1)
    multipliers, slope = np.zeros(index.shape), q
    for _ in range(2):  # the second time refines
        more = np.linalg.solve(gram, -(rows @ slope[..., None]))[..., 0]
        multipliers = multipliers + more
        slope = slope + (more[:, None] @ rows)[:, 0]
    return slope, index, multipliers
