"""Symmetric matrices as vectors, and their positive semidefinite part.

svec M = (M_ij sqrt(2 - [i = j]))_{i <= j} keeps inner products of symmetric matrices:
<M, N> = svec M . svec N.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg

Array = jax.Array


def svec(matrices: Array) -> Array:
    """svec M, [..., q (q + 1) / 2], for M [..., q, q]; reads the upper triangle."""
    scales = _places(matrices.shape[-1])[2]
    return upper(matrices) * along(scales, matrices[..., 0])


def smat(vectors: Array) -> Array:
    """Symmetric [..., q, q] of [..., q (q + 1) / 2]: the inverse of `svec`."""
    q = order_of(vectors.shape[-1])
    _, _, scales, back = _places(q)
    scaled = vectors / along(scales, vectors)
    return scaled[..., back].reshape(*vectors.shape[:-1], q, q)


def along(values: Array | np.ndarray, like: Array) -> Array:
    """`values` in like's dtype, with axes of size 1 before its own, to have as many."""
    shape = (1,) * (like.ndim - values.ndim) + values.shape
    return jnp.asarray(values, like.dtype).reshape(shape)


def upper(matrices: Array) -> Array:
    """The upper triangle, unscaled, in the order of `svec`: [..., q (q + 1) / 2]."""
    rows, columns, _, _ = _places(matrices.shape[-1])
    return matrices[..., rows, columns]


def order_of(length: int) -> int:
    """The order q of matrices whose `svec` has this length."""
    return int((np.sqrt(8 * length + 1) - 1) / 2 + 0.5)


def symmetrise(matrices: Array) -> Array:
    """(M + M^T) / 2."""
    return (matrices + jnp.swapaxes(matrices, -1, -2)) / 2


def congruence(inner: Array, matrices: Array) -> Array:
    """L M L^T for L = inner and M [..., q, q]; symmetric up to rounding if M is."""
    left = linalg.dot(inner, matrices)
    return linalg.dot(left, jnp.swapaxes(inner, -1, -2))


def positive_part(matrices: Array) -> Array:
    """The nearest positive semidefinite matrices in Frobenius norm, [..., q, q]."""
    values, vectors = jnp.linalg.eigh(matrices)
    kept = vectors * jnp.maximum(values, 0)[..., None, :]
    return linalg.dot(kept, jnp.swapaxes(vectors, -1, -2))


@functools.cache
def _places(q: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows and columns of `svec`'s entries, their factors, and places in it [q^2]."""
    rows, columns = np.triu_indices(q)
    back = np.zeros((q, q), int)
    back[rows, columns] = back[columns, rows] = np.arange(len(rows))
    scales = np.where(rows == columns, 1.0, np.sqrt(2.0))
    return rows, columns, scales, back.ravel()
