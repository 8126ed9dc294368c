"""From a point near a maximum of v^T (X u)_+ to a local maximum, in NumPy float64.

On the cell of a mask D, closed, the maximum over ||u|| <= 1 is the length of the
projection of q = X^T D v onto its cone, q + A^T mu with the rows A = (2D - I) X and
mu >= 0. Across a row i that vanishes at the projection its multiplier becomes
-(v_i + mu_i): where that is negative the function rises on the other side. Crossing
such rows one by one raises the value and ends at a local maximum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

_FEASIBLE = 1e-12  # A u of a unit vector above minus this counts as >= 0
_ATTEMPTS = 100  # rounds of rows that join one projection
_ON = 1e-9  # |x^T u| of unit vectors that counts as zero


class Rows(NamedTuple):
    """The data as unit rows; v^T (X u)_+ = weights^T (unit u)_+."""

    unit: np.ndarray  # [n, d], zero rows stay zero
    lengths: np.ndarray  # [n]
    live: np.ndarray  # [n], bool: not zero


class Neuron(NamedTuple):
    """A local maximum: its value, where, in which closed cell, and the kinks there."""

    value: float
    u: np.ndarray  # [d], unit
    mask: np.ndarray  # [n], bool
    kinks: np.ndarray  # [k], indices of rows that vanish at u


def make_rows(X: np.ndarray) -> Rows:
    """Scales the rows of X [n, d]."""
    X = np.asarray(X, np.float64)
    lengths = np.linalg.norm(X, axis=1)
    live = lengths > 0
    return Rows(X / np.where(live, lengths, 1)[:, None], lengths, live)


def polish(
    rows: Rows, v: np.ndarray, mask: np.ndarray, *, crossings: int = 50
) -> Neuron | None:
    """Climbs from the cell of `mask` to a local maximum; None where nothing is gained.

    Args:
      v: [n].
      mask: [n], bool.
      crossings: from cell to cell, at most; 0 stays in the cell.
    """
    weights = v * rows.lengths
    mask, best = mask | ~rows.live, None
    near = np.zeros(0, int)
    for _ in range(crossings + 1):
        signs = np.where(mask, 1.0, -1.0)
        q = np.where(mask, weights, 0) @ rows.unit
        size = np.linalg.norm(q)
        if size == 0:
            return best
        found = _project(rows.unit, signs, q / size, near)
        if found is None:
            return best
        point, mu, near = found
        value = size * np.linalg.norm(point)
        if value <= _ON * size or (best is not None and value <= best.value):
            return best
        u = point / np.linalg.norm(point)
        on = (np.abs(rows.unit @ u) <= _ON) & rows.live
        best = Neuron(float(value), u, mask, np.flatnonzero(on))
        rise = np.where(on, weights + size * mu, 0)
        i = int(np.argmax(rise))
        if rise[i] <= _ON * size:
            return best
        mask = mask.copy()
        mask[i] = ~mask[i]
    return best


def _project(
    unit: np.ndarray, signs: np.ndarray, q: np.ndarray, near: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The point nearest to q [d] of {u : signs (unit u) >= 0}, mu [n], and rows used.

    NNLS on the rows `near`, to which violated ones are added until none is left; None
    without convergence.
    """
    n, d = unit.shape
    mu, used = np.zeros(n), near
    for _ in range(_ATTEMPTS):
        part = signs[used, None] * unit[used]
        try:
            mu[used] = scipy.optimize.nnls(part.T, -q)[0] if len(used) else 0
        except RuntimeError:
            return None
        point = q + mu[used] @ part
        slacks = signs * (unit @ point)
        slacks[used] = 0
        short = np.flatnonzero(slacks < -_FEASIBLE)
        if len(short) == 0:
            return point, mu, used[mu[used] > 0]
        worst = short[np.argsort(slacks[short])[: 2 * d]]
        used = np.concatenate([used, worst])
    return None


def cells_at(rows: Rows, neuron: Neuron) -> tuple[np.ndarray, np.ndarray]:
    """Open cells around the neuron: its own, where that is open, and its neighbours.

    Returns:
      masks [k, n] and gates [k, d], unit, strictly inside.
    """
    products = rows.unit @ neuron.u
    kinks = neuron.kinks
    sides = np.where(neuron.mask[kinks], 1.0, -1.0)
    flips = 1 - 2 * np.vstack([np.zeros((1, len(kinks))), np.eye(len(kinks))])
    inverse = np.linalg.pinv(rows.unit[kinks])
    away = np.ones(len(products), bool)
    away[kinks] = False
    masks, gates = [], []
    for side in flips * sides:
        step = inverse @ side
        change = rows.unit @ step
        if len(kinks) and np.min(side * change[kinks]) <= _ON:
            continue  # these signs are no open cell, or too thin a one
        back = away & rows.live & (products * change < 0)
        reach = np.min(-products[back] / change[back], initial=1.0)
        gate = neuron.u + reach / 2 * step
        masks.append((rows.unit @ gate > 0) | ~rows.live)
        gates.append(gate / np.linalg.norm(gate))
    d = rows.unit.shape[1]
    return np.reshape(masks, (-1, len(products))).astype(bool), np.reshape(
        gates, (-1, d)
    )
