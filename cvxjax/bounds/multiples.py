"""The best multiple of a dual vector, and the lower bound that it gives.

    maximise  -L*(-t v)   over  0 <= t <= beta / price

The function is concave in t, and its value at any t of the interval is a lower bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy

from cvxjax.algebra.rounding import dual_rounding

if TYPE_CHECKING:
    from cvxjax.interfaces import Loss

_DOUBLINGS = 1100  # of t where price is 0
_LARGEST = 1e300  # t that is tried; a few times as much would overflow
_OUTSIDE = 1e150  # in place of +inf, for a search that needs finite numbers
_RESOLUTION = 1e-13  # of t, relative to the largest


def dual_value(loss: Loss, v: np.ndarray, y: np.ndarray) -> float:
    """-L*(-v) minus what rounding may have added to it."""
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
    """The largest `dual_value` of t v that is found, and its t.

    In closed form where L is 1/2 ||z - y||^2, else by Brent's method.

    Args:
      loss: L.
      v: of y's shape, in float64.
      y: labels.
      beta: the most that t times `price` may be.
      price: an upper bound of v's price; if infinite, only t = 0 is allowed.
      start: a t to try as well, if it is allowed.
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
    """Two t to try: an upper end of the search for the maximum, and its result."""

    def value(t: float) -> float:
        return -float(loss.conjugate(-t * v, y))

    limit = min(limit, _LARGEST)
    high = min(start, limit)
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
