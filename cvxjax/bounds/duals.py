"""A dual vector whose bound over all networks is better than the solver's own.

    maximise  -L*(-v)   subject to  bound(v) <= beta and bound(-v) <= beta

over v with the signs of a given one, where `bound` is that of `relaxed`, an upper bound
of the price. A solver's vector is feasible for the prices themselves. To make it
feasible for their upper bounds by scaling costs more dual value than by changing its
direction a little. The relaxation that is improved on the way bounds its price as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cvxjax.bounds.budget import Budget
from cvxjax.bounds.relaxed import (
    STEPS,
    Adam,
    Relaxation,
    countdown,
    neuron_bound,
    significant,
    smoothing_at,
)

if TYPE_CHECKING:
    from cvxjax.interfaces import Loss

_FIXED = 0.3  # share of the steps in which only the bound is improved, not v
_NEGLIGIBLE = 1e-9  # relative size of entries of v that are set to zero
_RATE = 0.02  # of log |v|
_PROX = 10.0  # step of the proximal-point iteration for the loss's minimiser


class Turned(NamedTuple):
    """A dual vector and the relaxation's bound of its price."""

    vector: np.ndarray  # [n]
    price: float


def improve_dual(
    X: np.ndarray,
    y: np.ndarray,
    v: np.ndarray,
    *,
    loss: Loss,
    beta: float,
    steps: int = STEPS,
    budget: Budget | None = None,
) -> Turned:
    """Changes |v_i| by Adam, so that the scaled dual value rises.

    Args:
      X: [n K, d], K rows of each sample one after another, which share its v_i.
      y: [n], labels.
      v: [n], in the loss's dual domain, not zero.
      loss: L.
      beta: > 0.
      steps: of Adam.
      budget: when to stop earlier; one step is made in any case.

    Returns:
      The best vector found, scaled so that it is feasible and in the loss's domain.
    """
    K = len(X) // len(v)
    sizes = np.abs(v) * np.linalg.norm(X, axis=1).reshape(-1, K).sum(axis=1)
    keep = sizes > _NEGLIGIBLE * np.max(sizes)
    if not np.any(keep):
        return Turned(0 * v, 0.0)
    start, of_rows = v[keep], np.repeat(v[keep], K)
    rows, weights, matter, _ = significant(X[np.repeat(keep, K)], of_rows)
    used = np.repeat(keep, K)
    used[used] = matter
    sides = [Relaxation(rows, s * weights) for s in (1.0, -1.0)]
    adam, shift, z = Adam(), np.zeros(len(start)), np.asarray(y, float).copy()
    best, found, kept = -np.inf, v, [side.parameters for side in sides]
    for left in countdown(steps, budget):
        now = np.exp(shift) * start
        values, slopes = zip(
            *(
                side.bound(sign * np.repeat(now, K)[matter], smoothing_at(left))
                for side, sign in zip(sides, (1.0, -1.0), strict=True)
            ),
            strict=True,
        )
        price = max(values)
        full = np.zeros(len(v))
        full[keep] = now
        scaled = -loss.clip_dual(-beta / price * full, y)
        value = -float(loss.conjugate(-scaled, y))
        if value > best:
            best, found = value, scaled
            kept = [side.parameters for side in sides]
        for name, side, slope in zip("+-", sides, slopes, strict=True):
            side.improve(adam, name, slope, left)
        z = loss.prox(z - _PROX * scaled, y, _PROX)  # towards the slope of -L*(-v)
        if left <= 1 - _FIXED:
            width = price * (0.02 * left + 0.001)
            share = 1 / (1 + np.exp(np.clip((values[1] - values[0]) / width, -50, 50)))
            of_rows[matter] = share * slopes[0].v - (1 - share) * slopes[1].v
            rise = np.where(matter, of_rows, 0).reshape(-1, K).sum(axis=1)
            scale = beta / price
            slope = scale * (z[keep] - (z[keep] @ now) / price * rise)
            shift += adam.move("v", -slope * now, _RATE * (left + 0.01))
    v = np.repeat(found, K)
    lengths = np.linalg.norm(X, axis=1)
    extra = float(np.abs(v[~used]) @ lengths[~used])
    if rows.shape[1] < X.shape[1]:
        extra += 8 * X.shape[1] * np.finfo(float).eps * float(np.abs(v) @ lengths)
    if np.any(np.sign(v[used]) != np.sign(weights)):  # the loss has moved it
        bounds = [neuron_bound(rows, s * v[used], budget=budget) for s in (1, -1)]
        return Turned(found, max(bounds) + extra)
    bounds = []
    for sign, side, known in zip((1.0, -1.0), sides, kept, strict=True):
        side.parameters = known
        bounds.append(side.bound(sign * v[used], smoothing_at(0))[0])
    return Turned(found, max(bounds) + extra)
