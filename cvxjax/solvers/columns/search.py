"""Neurons that come close to max v^T (X u)_+ over ||u|| <= 1, by ascent in parallel.

The function is linear on each cell with slope X^T D(u) v. Where v_i < 0 it has a
concave kink, on which maxima like to lie and plain ascent zigzags; there D is smoothed
over a width that shrinks to zero. The results are points on the sphere, so their
values are lower bounds; `polish` turns them into local maxima.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg

Array = jax.Array

_STEPS = 80
_WIDTH = 0.5  # of the first smoothing, in units of a row's typical product
_CHUNK_ELEMENTS = 1 << 19
_TINY = 1e-30


def _length(u: Array) -> Array:
    return jnp.sqrt(jnp.sum(u * u, axis=-1, keepdims=True)) + _TINY


@jax.jit
def climb(rows: Array, weights: Array, starts: Array) -> tuple[Array, Array]:
    """Normalised ascent on weights^T (rows u)_+ from every start.

    Args:
      rows: [n, d], unit or zero.
      weights: [n].
      starts: [S, d], any but zero.

    Returns:
      The best point met on each way [S, d], unit, and its value [S].
    """
    n, d = rows.shape
    size = max(1, min(len(starts), _CHUNK_ELEMENTS // n))  # of a chunk, in the cache
    chunks = -(-len(starts) // size)
    padded = jnp.pad(starts, ((0, chunks * size - len(starts)), (0, 0)), mode="edge")
    parts = padded.reshape(chunks, size, d)
    points, values = jax.lax.map(lambda part: _climb(rows, weights, part), parts)
    return points.reshape(-1, d)[: len(starts)], values.ravel()[: len(starts)]


def _climb(rows: Array, weights: Array, starts: Array) -> tuple[Array, Array]:
    """`climb` from a few starts."""
    d = rows.shape[1]
    falls = weights < 0
    typical = 1 / jnp.sqrt(jnp.asarray(d, rows.dtype))

    def value(z: Array) -> Array:
        return linalg.dot(jnp.maximum(z, 0), weights)

    def step(k: Array, carry: tuple[Array, Array, Array]):
        u, best, most = carry
        z = linalg.dot(u, rows.T)
        now = value(z)
        better = now > most
        best = jnp.where(better[:, None], u, best)
        most = jnp.where(better, now, most)
        left = 1 - k / _STEPS
        width = _WIDTH * typical * left * left + _TINY
        soft = jnp.clip(z / (2 * width) + 0.5, 0, 1)
        active = jnp.where(falls[None], soft, (z > 0).astype(z.dtype))
        slope = linalg.dot(active * weights[None], rows)
        size = 0.02 + 0.98 * left
        u = (1 - size) * u + size * slope / _length(slope)
        return u / _length(u), best, most

    u = starts / _length(starts)
    nothing = jnp.full(len(starts), -jnp.inf, rows.dtype)
    u, best, most = jax.lax.fori_loop(0, _STEPS, step, (u, u, nothing))
    now = value(linalg.dot(u, rows.T))
    better = now > most
    return jnp.where(better[:, None], u, best), jnp.where(better, now, most)
