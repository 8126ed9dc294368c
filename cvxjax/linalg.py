"""Contractions at full precision, and the few factorisations the solvers share."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.typing import ArrayLike

Array = jax.Array

_GRAM_ELEMENTS = 1 << 23  # of the products of all pairs of columns


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


def weighted_grams(weights: Array, rows: Array) -> Array:
    """sum_j weights_bj rows_j rows_j^T for every b, as one product where it has room.

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


class ShiftedEigh(struct.PyTreeNode, kw_only=True):
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


def largest_eigenvalue(matrix: Array) -> Array:
    """The largest eigenvalue of a symmetric matrix, from a full decomposition."""
    return jnp.linalg.eigvalsh(matrix)[-1]
