"""A neuron's price as a function with as few kinks as the data allow.

The terms of v^T (X u)_+ whose rows are positive multiples of one another add up to one
term. With (-a)_+ = (a)_+ - a, rows that are negative multiples join them and leave a
linear function, so that

    v^T (X u)_+ = q^T u + sum_i w_i (r_i^T u)_+

with unit rows r_i of which no two are parallel, in coordinates of the row space. Tables
of integers have many such rows. What rounding moves a row by is bounded and added.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cvxjax.algebra.row_space import left_out, row_space

_DIGITS = 12  # decimals of unit rows that must agree
_EPS = float(np.finfo(float).eps)


class Rays(NamedTuple):
    """f(u) = q^T u + sum_i w_i (r_i^T u)_+ on the unit ball of the row space."""

    rows: np.ndarray  # [m, r], of length one
    weights: np.ndarray  # [m], not zero
    slope: np.ndarray  # q [r]
    basis: np.ndarray  # [d, r], orthonormal: neurons of the data are basis u
    extra: float  # the most by which v^T (X u)_+ may exceed f, or -v^T (X u)_+ -f

    @property
    def size(self) -> float:
        """A bound of |f| on the ball, which rounding is proportional to."""
        return float(np.sum(np.abs(self.weights)) + np.linalg.norm(self.slope))

    def values(self, points: np.ndarray) -> np.ndarray:
        """f at points [k, r], [k]."""
        hinges = np.maximum(points @ self.rows.T, 0) @ self.weights
        return hinges + points @ self.slope

    def negated(self) -> Rays:
        """-f."""
        return self._replace(weights=-self.weights, slope=-self.slope)


def make_rays(X: np.ndarray, v: np.ndarray) -> Rays:
    """Merges the rows of X [n, d] with weights v [n], both finite."""
    basis = row_space(X)
    extra = float(np.abs(v) @ left_out(X, basis))
    rows = X @ basis
    lengths = np.linalg.norm(rows, axis=1)
    used = (v != 0) & (lengths > 0)
    weights, units = v[used] * lengths[used], rows[used] / lengths[used, None]
    if len(units) == 0:
        return Rays(units, weights, np.zeros(basis.shape[1]), basis, extra)
    keys = np.round(units, _DIGITS) + 0.0
    first = np.argmax(keys != 0, axis=1)
    signs = np.where(keys[np.arange(len(keys)), first] < 0, -1.0, 1.0)
    _, chosen, group = np.unique(
        signs[:, None] * keys + 0.0, axis=0, return_index=True, return_inverse=True
    )
    group = group.ravel()
    merged = signs[chosen, None] * units[chosen]
    moved = np.linalg.norm(signs[:, None] * units - merged[group], axis=1) + 4 * _EPS
    total = np.bincount(group, weights, len(chosen))
    slope = -(np.where(signs < 0, weights, 0) @ merged[group])
    # Sums that cancel up to rounding are no kinks.
    live = np.abs(total) > 4 * _EPS * np.bincount(group, np.abs(weights), len(chosen))
    extra += float(np.abs(weights) @ moved) + float(np.sum(np.abs(total[~live])))
    return Rays(merged[live], total[live], slope, basis, extra)
