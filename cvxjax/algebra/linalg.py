"""Matrix products at full precision, and factorisations that several solvers use."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cvxjax.record import Record

Array = jax.Array

_GRAM_ELEMENTS = 1 << 23  # of a stored array of all products of two columns
_MASKED_ELEMENTS = 1 << 24  # of a temporary of masked products, [P, ..., n]
_LANCZOS_STEPS = 48
_SHORT = 0.05  # share of the largest eigenvalue that these steps may miss


def dot(a: Array, b: Array) -> Array:
    """a @ b with `precision=HIGHEST`, so that no device falls back to TF32."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def masked_gram(masks: Array, weights: Array, gram: Array) -> Array:
    """sum_i weights_i diag(masks_i) gram diag(masks_i) = (D^T diag(weights) D) o gram.

    Args:
      masks: [P, n], bool.
      weights: [P].
      gram: [n, n], symmetric.

    Returns:
      [n, n].
    """
    d = masks.astype(gram.dtype)
    return dot((d * weights[:, None]).T, d) * gram


def masked_sum(masks: Array, w: Array, rows: Array) -> Array:
    """sum_i diag(masks_i) rows w_i, of some i at a time where the summands are large.

    Args:
      masks: [P, n], bool.
      w: [P, ..., d].
      rows: [n, d].

    Returns:
      [..., n].
    """

    def part(mask: Array, w: Array) -> Array:
        z = dot(w, rows.T)
        mask = mask.reshape(len(mask), *[1] * (z.ndim - 2), -1)
        return jnp.sum(jnp.where(mask, z, 0), axis=0)

    P, n = masks.shape
    size = _chunk(P, n * (w[0].size // rows.shape[1]))
    if size == P:
        return part(masks, w)

    def add(total: Array, start: Array) -> tuple[Array, None]:
        first = jnp.minimum(start, P - size)  # the last chunk begins earlier
        take = partial(jax.lax.dynamic_slice_in_dim, start_index=first, slice_size=size)
        mask = take(masks) & (first + jnp.arange(size) >= start)[:, None]
        return total + part(mask, take(w)), None

    nothing = jnp.zeros(w.shape[1:-1] + (n,), w.dtype)
    return jax.lax.scan(add, nothing, jnp.arange(0, P, size))[0]


def masked_products(masks: Array, r: Array, rows: Array) -> Array:
    """(diag(masks_i) r)^T rows for every i, the adjoint of `masked_sum`.

    Args:
      masks: [P, n], bool.
      r: [..., n].
      rows: [n, d].

    Returns:
      [P, ..., d].
    """

    def part(mask: Array) -> Array:
        mask = mask.reshape(len(mask), *[1] * (r.ndim - 1), -1)
        return dot(jnp.where(mask, r[None], 0), rows)

    P = len(masks)
    size = _chunk(P, r.size)
    if size == P:
        return part(masks)

    def put(products: Array, start: Array) -> tuple[Array, None]:
        first = jnp.minimum(start, P - size)
        mask = jax.lax.dynamic_slice_in_dim(masks, first, size)
        place = partial(jax.lax.dynamic_update_slice_in_dim, axis=0)
        return place(products, part(mask), first), None

    nothing = jnp.zeros((P, *r.shape[:-1], rows.shape[1]), r.dtype)
    return jax.lax.scan(put, nothing, jnp.arange(0, P, size))[0]


def _chunk(P: int, elements: int) -> int:
    """How many of P patterns to take at once, each with so many elements."""
    return max(1, min(P, _MASKED_ELEMENTS // max(1, elements)))


def weighted_grams(weights: Array, rows: Array) -> Array:
    """sum_j weights_bj rows_j rows_j^T for every b, by one product if memory allows.

    Args:
      weights: [B, n].
      rows: [n, d].

    Returns:
      [B, d, d].
    """
    n, d = rows.shape
    if n * d * d > _GRAM_ELEMENTS:
        one = lambda w: dot((rows * w[:, None]).T, rows)  # noqa: E731
        return jax.lax.map(one, weights)
    i, j = np.triu_indices(d)
    place = np.zeros((d, d), int)
    place[i, j] = place[j, i] = np.arange(len(i))
    return dot(weights, rows[:, i] * rows[:, j])[:, place]


class ShiftedEigh(Record):
    """An eigendecomposition of K >= 0 that solves (shift I + K) x = b for any shift."""

    values: Array  # [n], >= 0
    vectors: Array  # [n, n]

    @classmethod
    def factor(cls, matrix: Array) -> ShiftedEigh:
        values, vectors = jnp.linalg.eigh(matrix)
        return cls(values=jnp.maximum(values, 0), vectors=vectors)

    def solve(self, shift: ArrayLike, b: Array) -> Array:
        """(shift I + K)^{-1} b, shift > 0, for b [n] or [n, c]."""
        return self._scaled(1 / (self.values + shift), b)

    def pinv(self, b: Array) -> Array:
        """K^+ b for b [n] or [n, c]; eigenvalues below n eps max(K) count as zero."""
        values = self.values
        eps = jnp.finfo(values.dtype).eps
        keep = values > values.shape[0] * eps * jnp.max(values)
        inverse = jnp.where(keep, 1 / jnp.where(keep, values, 1), 0)
        return self._scaled(inverse, b)

    def _scaled(self, weights: Array, b: Array) -> Array:
        inner = dot(self.vectors.T, b)
        return dot(self.vectors, inner * weights.reshape(-1, *[1] * (b.ndim - 1)))


def dot_blocks(w: Array, matrix: Array) -> Array:
    """w_b M or w_b M_p, [S, P, ..., d], for a matrix [d, d] or one a pattern [P, d, d].

    Args:
      w: [S, P, ..., d]; with matrices of the patterns' own, [S, P, d].
    """
    if matrix.ndim == 2:
        return dot(w, matrix)
    return jnp.einsum("spd,pde->spe", w, matrix, precision="highest")


def eigenvalue_bound(apply: Callable[[Array], Array], like: Array) -> Array:
    """An upper bound of a map's largest eigenvalue, at most 1 / 0.95 times that.

    Lanczos steps from a random start miss more than 5 % of it with probability at most
    1.648 sqrt(N) exp(-sqrt(0.05) (2 k - 1)) for N variables and k steps; that is 3e-7
    for N = 100,000 and k = 48.

    Args:
      apply: r -> K r, linear and symmetric, K >= 0.
      like: an array of the shape and dtype of r.

    Source: Kuczynski & Wozniakowski (1992), theorem 4.2.
    """
    norm = lambda r: jnp.sqrt(jnp.sum(r * r))  # noqa: E731
    start = jax.random.normal(jax.random.key(0), like.shape, like.dtype)

    def step(carry: tuple[Array, Array, Array], _: None) -> Any:
        before, q, beta = carry
        r = apply(q) - beta * before
        alpha = jnp.sum(q * r)
        r = r - alpha * q
        beta = norm(r)
        return (q, r / jnp.where(beta > 0, beta, 1), beta), (alpha, beta)

    first = jnp.zeros_like(like), start / norm(start), jnp.zeros((), like.dtype)
    alphas, betas = jax.lax.scan(step, first, length=_LANCZOS_STEPS)[1]
    side = jnp.diag(betas[:-1], 1)
    values = jnp.linalg.eigvalsh(jnp.diag(alphas) + side + side.T)
    return values[-1] / (1 - _SHORT)
