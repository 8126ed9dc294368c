"""Neural decomposition: a PSD matrix with one trace equation as a sum of neurons.

For Z of order d + 1 with tr Z_(1..d) = Z_(d+1),

    Z = sum_j alpha_j [u_j; 1][u_j; 1]^T,   ||u_j|| = 1,  alpha_j > 0,  j <= rank Z.

From Z = R R^T, M = R^T G R with G = diag(1, .., 1, -1) has trace zero, and a matrix of
trace zero is orthogonally similar to one with a zero diagonal, by one rotation of two
columns for each entry but the last. Every column p = (c, e) of the rotated R then has
p^T G p = ||c||^2 - e^2 = 0. Pairing the largest with the smallest entry, and rotating
by the angle that makes one of them zero, divides by no difference of entries, so that
ties and zeros need no special care.

Source: Bartan & Pilanci, Neural Spectrahedra and Semidefinite Lifts (2021), section 4.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array

_RANK = 64  # machine epsilons times the order: smaller eigenvalues, relative, are none
_BROKEN = {8: 1e-7, 4: 1e-3}  # relative, by bytes of the dtype: no decomposition above


@jax.jit
@partial(jnp.vectorize, signature="(q,q)->(q,d),(q)")
def decompose(Z: Array) -> tuple[Array, Array]:
    """u [..., q, d] and alpha [..., q] of Z [..., q, q], d = q - 1; pure.

    Z must be PSD with tr Z_(1..d) = Z_qq; only its symmetric part counts. Eigenvalues
    below 64 q machine epsilons of the largest, and negative ones, are left out; columns
    that are nothing have alpha = 0 and u = 0.
    """
    q = Z.shape[-1]
    values, vectors = jnp.linalg.eigh((Z + Z.T) / 2)
    eps = jnp.finfo(Z.dtype).eps
    live = values > _RANK * q * eps * jnp.max(jnp.abs(values))
    R = vectors * jnp.sqrt(jnp.where(live, values, 0))[None]
    R = jax.lax.fori_loop(0, q, _rotate, (R, live))[0]
    norms = jnp.sqrt(jnp.sum(R[:-1] ** 2, axis=0))
    last = R[-1]
    sizes = jnp.where(last < 0, -1, 1) * jnp.where(norms > 0, norms, 1)
    u = R[:-1] / sizes[None]
    return u.T, (norms**2 + last**2) / 2


def _rotate(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
    """Turns two columns so that one of them has p^T G p = 0, and is done with it."""
    R, open_ = state
    excess = jnp.sum(R[:-1] ** 2, axis=0) - R[-1] ** 2
    i = jnp.argmax(jnp.where(open_, excess, -jnp.inf))
    j = jnp.argmin(jnp.where(open_, excess, jnp.inf))
    p, r = R[:, i], R[:, j]
    a, b = jnp.maximum(excess[i], 0), jnp.maximum(-excess[j], 0)
    mixed = jnp.sum(p[:-1] * r[:-1]) - p[-1] * r[-1]
    # a + 2 mixed t - b t^2 = 0 for cos p + sin r, t = sin / cos: the smaller root.
    bottom = jnp.abs(mixed) + jnp.sqrt(mixed**2 + a * b)
    size = jnp.sqrt(a**2 + bottom**2)
    safe = jnp.where(size > 0, size, 1)
    cosine = jnp.where(size > 0, bottom / safe, 1)
    sine = jnp.where(mixed < 0, a, -a) / safe
    done, other = cosine * p + sine * r, cosine * r - sine * p
    turned = R.at[:, j].set(other).at[:, i].set(done)
    left = jnp.sum(open_) > 1
    return jnp.where(left, turned, R), open_.at[i].set(False)


def neurons_of(Z: Any) -> tuple[np.ndarray, np.ndarray]:
    """u [m, d], of unit norm, and alpha [m] > 0, m <= rank Z, with Z their sum.

    Args:
      Z: [d + 1, d + 1], PSD, tr Z_(1..d) = Z_(d+1), to 1e-7 relative in float64 and
        1e-3 in float32.

    Raises:
      ValueError: if it is not, saying what arrived.
    """
    matrix = _check_symmetric(Z)
    if not matrix.any():
        return np.zeros((0, len(matrix) - 1), matrix.dtype), np.zeros(0, matrix.dtype)
    tolerance = _BROKEN[matrix.dtype.itemsize]
    values = np.linalg.eigvalsh(matrix)
    if values[0] < -tolerance * np.max(np.abs(values)):
        raise ValueError(
            f"want a PSD matrix; got eigenvalues {values[0]:.2g} to {values[-1]:.2g}"
        )
    trace, last = float(np.trace(matrix[:-1, :-1])), float(matrix[-1, -1])
    if abs(trace - last) > tolerance * (trace + last):
        raise ValueError(
            "want a trace without the last entry that equals this entry; got "
            f"{trace:.8g} and {last:.8g}"
        )
    u, alpha = (np.asarray(x) for x in decompose(jnp.asarray(matrix)))
    live = alpha > 0
    return u[live], alpha[live]


def quadratic_neurons(Z: Any) -> tuple[np.ndarray, np.ndarray]:
    """u [m, d], orthonormal, and alpha [m], m = rank Z, with Z = sum alpha u u^T.

    By eigenvalues, of both signs; those below 64 d machine epsilons of the largest are
    left out.

    Args:
      Z: [d, d], symmetric.

    Raises:
      ValueError: if it is not, or not finite.
    """
    matrix = _check_symmetric(Z)
    values, vectors = np.linalg.eigh(matrix)
    size = np.max(np.abs(values), initial=0)
    live = np.abs(values) > _RANK * len(matrix) * np.finfo(matrix.dtype).eps * size
    return vectors.T[live], values[live]


def _check_symmetric(Z: Any) -> np.ndarray:
    matrix = np.asarray(Z)
    if matrix.dtype.kind != "f" or matrix.ndim != 2 or len(set(matrix.shape)) != 1:
        raise ValueError(
            f"want a square matrix of floats; got {matrix.dtype} {list(matrix.shape)}"
        )
    if not np.all(np.isfinite(matrix)):
        raise ValueError("want a finite matrix; got NaN or infinity")
    miss = float(np.max(np.abs(matrix - matrix.T), initial=0))
    if miss > _BROKEN[matrix.dtype.itemsize] * float(np.max(np.abs(matrix), initial=0)):
        raise ValueError(f"want a symmetric matrix; got entries {miss:.2g} apart")
    return (matrix + matrix.T) / 2
