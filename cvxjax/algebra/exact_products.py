"""Sums of products in twice the precision of float64, or exact but for one rounding.

A pair (high, low) of arrays stands for their sum, |low| <= ulp(high) / 2. Products of
two float64 numbers are split exactly into such pairs and added up with the errors of
every addition, so that a result keeps its digits where its terms cancel.

Source: Dekker (1971) for the product; Knuth (1969) for the sum; Ogita, Rump & Oishi,
Accurate Sum and Dot Product (2005).
"""

from __future__ import annotations

import math

import numpy as np

_SPLIT = 2.0**27 + 1


def product(high: np.ndarray, low: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, ...]:
    """(high + low) @ W as a pair [n, r], to about 1e-31 of the sum of absolute terms.

    Args:
      high, low: [n, d], entries of moderate size.
      W: [d, r], likewise.
    """
    shape = len(high), W.shape[1]
    total, rest = np.zeros(shape), low @ W
    for column, weights in zip(high.T, W, strict=True):
        term, error = _times(column[:, None], weights[None])
        total, lost = _plus(total, term)
        rest = rest + (error + lost)
    total, rest = _plus(total, rest)
    return total, rest


def combination(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """rows^T weights, every entry the exact sum rounded once, except for underflow.

    Args:
      weights: [k], of moderate size.
      rows: [k, d], of any size.

    Returns:
      [d]; all NaN where a product overflows.
    """
    scale = np.exp2(np.floor(np.log2(np.max(np.abs(rows), axis=0, initial=1e-300))))
    with np.errstate(over="ignore", invalid="ignore"):
        every = np.concatenate(_times(weights[:, None], rows / scale))
    if not np.all(np.isfinite(every)):
        return np.full(rows.shape[1], np.nan)
    return scale * [math.fsum(column) for column in every.T]


def _plus(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a + b and its error, exactly."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def _times(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a b and its error, exactly."""
    whole = a * b
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return whole, a2 * b2 - (((whole - a1 * b1) - a2 * b1) - a1 * b2)


def _halves(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """a as a sum of two numbers of 26 bits."""
    scaled = _SPLIT * a
    first = scaled - (scaled - a)
    return first, a - first
