"""Upper bounds of quadratic functions on the unit ball, many at once; NumPy only.

    p^T u + u^T Q u <= lambda + p^T (lambda I - Q)^{-1} p / 4   where ||u|| <= 1,

for every lambda above the eigenvalues of Q. With S = lambda I - Q, the lambda that is
taken minimises the right side less smoothing times log det S, so that the bound is
differentiable in p and Q.

Source: Shor, Quadratic Optimization Problems (1987).
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray

_HALVINGS = 44  # of the interval for log lambda


def balls(p: Array, Q: Array, smoothing: Array) -> tuple[Array, Array, Array]:
    """Bounds of L functions.

    Args:
      p: [L, d].
      Q: [L, d, d].
      smoothing: [L], > 0.

    Returns:
      The bounds at lambda without smoothing [L], their slopes u in p [L, d], and their
      slopes in Q [L, d, d], in float64.
    """
    p, Q = p.astype(np.float64), Q.astype(np.float64)
    values, vectors = np.linalg.eigh((Q + np.swapaxes(Q, 1, 2)) / 2)
    turned = np.einsum("bij,bi->bj", vectors, p)
    weights, below = turned**2 / 4, values[:, -1:] - values
    least, smooth = np.maximum(0.0, -values[:, -1]), smoothing[:, None]
    high = 2 * (np.sqrt(np.sum(weights, axis=1)) + smoothing * values.shape[1])
    high = np.maximum(high, least)
    low = np.maximum(least, 1e-12 * high)
    for _ in range(_HALVINGS):
        middle = np.sqrt(low * high)
        s = middle[:, None] + below
        short = np.sum(weights / s**2 + smooth / s, axis=1) > 1
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    s = high[:, None] + below
    u = np.einsum("bij,bj->bi", vectors, turned / (2 * s))
    moments = u[:, :, None] * u[:, None, :]
    moments += (vectors * (smooth / s)[:, None]) @ np.swapaxes(vectors, 1, 2)
    bound = high + values[:, -1] + np.sum(weights / s, axis=1)
    return bound, u, moments
