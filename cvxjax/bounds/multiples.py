"""The best multiple of a dual vector, which every lower bound is a choice of.

    maximise  -L*(-t v)   over  0 <= t <= beta / price,

a concave function of t. Whatever t is found, its value is a bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from cvxjax.algebra.rounding import dual_rounding

if TYPE_CHECKING:
    from cvxjax.interfaces import Loss

_DOUBLINGS = 1100  # of t without a limit: beyond them numbers overflow
_OUTSIDE = 1e150  # stands for the infinite value outside the domain of L*
_RESOLUTION = 1e-13  # of the largest t


def dual_value(loss: Loss, v: np.ndarray, y: np.ndarray) -> float:
    """-L*(-v), less what rounding may have added."""
    value = -float(loss.conjugate(-v, y))
    return value - float(dual_rounding(v, y, value))


def scaled_dual(
    loss: Loss,
    v: np.ndarray,
    y: np.ndarray,
    beta: float,
    price: float,
    start: float = 1.0,
) -> tuple[float, float]:
    """The largest value found of -L*(-t v), less its rounding, and its t.

    In closed form where L is 1/2 ||z - y||^2, else by Brent's method.

    Args:
      v: of y's shape, in float64.
      beta: which t times the price may not exceed.
      price: an upper bound of v's polar gauge; infinite: only t = 0 is allowed.
      start: a t that is tried, if it is allowed.
    """
    if not np.isfinite(price):
        return dual_value(loss, 0 * v, y), 0.0
    limit = beta / price if price > 0 else np.inf
    tried = [0.0, min(start, limit)]
    with np.errstate(over="ignore", invalid="ignore"):
        if loss.quadratic:
            square = np.vdot(v, v)
            t = np.vdot(v, y) / (square if square > 0 else 1)
            tried.append(float(np.clip(t, 0, limit)))
        else:
            tried += _searched(loss, v, y, limit, tried[1])
        found = [(dual_value(loss, t * v, y), t) for t in tried]
    known = [(value, t) for value, t in found if not np.isnan(value)]
    return max(known, default=(-np.inf, 0.0))


def _searched(
    loss: Loss, v: np.ndarray, y: np.ndarray, limit: float, start: float
) -> list[float]:
    """A t within whose double the maximum is, and one near the maximum."""

    def value(t: float) -> float:
        return -float(loss.conjugate(-t * v, y))

    high = start
    for _ in range(_DOUBLINGS):
        if high >= limit or not value(2 * high) > value(high):
            break
        high = 2 * high
    high = min(2 * high, limit)
    if not high > 0:
        return []

    def fall(t: float) -> float:
        at = value(t)
        return -at if abs(at) < _OUTSIDE else _OUTSIDE * (1 + t / high)

    options = {"xatol": _RESOLUTION * high}
    found = scipy.optimize.minimize_scalar(
        fall, bounds=(0, high), method="bounded", options=options
    )
    return [high, float(found.x)]
