"""Functions above a neuron's price that are less convex, for bounds of large cones.

Branch and bound errs by the convex terms of f(u) = q^T u + sum_i w_i (r_i^T u)_+, those
with w_i > 0. The relaxation of `relaxed` finds numbers B_ki by which the concave terms
lower them, and so does every share s of these numbers, 0 <= s <= 1: f is at most

    f_s(u) = q_s^T u + sum_i (d_i^T u)_+ - sum_k left_k (r_k^T u)_+,
    d_i = w_i r_i - s sum_k B_ki r_k,   left_k = |w_k| - s sum_i |B_ki|.

f_0 is f. f_1 has the smallest convex terms, and a maximum that is some per cent higher,
which matters where bounds of cones are farther than that from f. As cones become small,
a smaller share is better.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cvxjax.algebra.rounding import gamma, terms_of
from cvxjax.bounds.budget import Budget
from cvxjax.bounds.rays import Rays
from cvxjax.bounds.relaxed import Adam, Relaxation, countdown, smoothing_at

SHARES = (1.0, 0.7, 0.45, 0.25, 0.12, 0.05, 0.0)
_STEPS = 300  # of Adam


class Levels(NamedTuple):
    """f_s for `SHARES`, f itself last, and an upper bound of f on the unit ball."""

    functions: list[Rays]
    bound: float


def make_levels(rays: Rays, budget: Budget) -> Levels:
    """Improves the relaxation of f until the budget is over.

    Args:
      rays: f.
      budget: of the relaxation; one step is made in any case.
    """
    w = rays.weights
    if not np.any(w > 0) or not np.any(w < 0):
        return Levels([rays], float("inf"))
    relaxation, adam, least = Relaxation(rays.rows, w, rays.slope), Adam(), np.inf
    for left in countdown(_STEPS, budget):
        value, slopes = relaxation.bound(w, smoothing_at(left))
        least = min(least, value)
        relaxation.improve(adam, "", slopes, left)
    B = relaxation.subtracted(w)
    functions = [_lowered(rays, relaxation, s * B) for s in SHARES if s > 0]
    return Levels([*functions, rays], least)


def _lowered(rays: Rays, relaxation: Relaxation, B: np.ndarray) -> Rays:
    """f_s for B [k, m], s times the relaxation's."""
    w, gain, cost = rays.weights, relaxation.gain, relaxation.cost
    others = rays.rows[cost]
    parts = w[gain, None] * rays.rows[gain]
    parts[: B.shape[1]] -= B.T @ others
    left = np.maximum(-w[cost] - np.sum(np.abs(B), axis=1), 0)
    # (a)_+ is a / 2 + |a| / 2, of f as well as of its bound.
    slope = rays.slope + (w @ rays.rows - np.sum(parts, axis=0) + left @ others) / 2
    sizes = np.linalg.norm(parts, axis=1)
    some, kept = sizes > 0, left > 0
    units = np.concatenate([parts[some] / sizes[some, None], others[kept]])
    weights = np.concatenate([sizes[some], -left[kept]])
    terms = terms_of(len(w), len(w), rays.rows.shape[1])
    extra = rays.extra + gamma(4 * terms) * rays.size
    return Rays(units, weights, slope, rays.basis, extra)
