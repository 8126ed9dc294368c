"""Neural decomposition: a PSD matrix under one trace equation as a sum of neurons.

For Z >= 0 of order q = d + 1 with tr(G Z) = 0, G = diag(1, .., 1, -1),

    Z = sum_j alpha_j [u_j; 1][u_j; 1]^T,   ||u_j|| = 1,  alpha_j > 0,  j = 1..r,

r = rank Z. From Z = R R^T, M = R^T G R has trace zero, and a symmetric matrix of trace
zero is orthogonally similar to one with a zero diagonal, by at most r - 1 rotations:
each turns a column of positive entry with one of negative entry, until one of the two
entries is zero. A column p = (c, e) of the rotated R then has
p^T G p = ||c||^2 - e^2 = 0 and is the neuron u = c / e with alpha = e^2.

Source: Bartan & Pilanci, Neural Spectrahedra and Semidefinite Lifts (2021), section 4,
for the decomposition; they take pairs of columns in sequence, here the one with the
largest entry and the one with the smallest.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array

_ROUNDING = 8  # eigenvalues below this times sqrt(q) eps, relative, are zero


@jax.jit
@partial(jnp.vectorize, signature="(q,q)->(q,d),(q)")
def decompose(Z: Array) -> tuple[Array, Array]:
    """Neurons whose sum is Z, in JAX; `neurons_of` is the same with checks.

    Eigenvalues below 8 sqrt(q) eps of the largest, and negative ones, are taken for
    rounding and left out: of a PSD matrix at most 8 q eps ||Z||. If tr(G Z) is not zero
    to rounding, Z is first balanced: Z_(1..d) is multiplied by s^2 and Z_qq by 1 / s^2,
    which moves no other entry nor the rank. NaN and infinity give NaN in alpha.

    Args:
      Z: [..., q, q], PSD with tr Z_(1..d) = Z_qq, d = q - 1 >= 1.

    Returns:
      u [..., q, d], all rows of unit norm, and alpha [..., q] >= 0, of which at most
      rank Z are not 0, with sum Z_qq. Half precision is returned as float32.
    """
    Z = Z.astype(jnp.promote_types(Z.dtype, jnp.float32))
    size = jnp.trace(Z)
    R = _balanced(_factor(Z / jnp.where(size <= 0, 1, size)))
    R = lax.fori_loop(0, Z.shape[-1] - 1, _rotate, R)
    c, e = R[:-1], R[-1:]
    norms = jnp.sqrt(jnp.sum(c**2, axis=0, keepdims=True))
    empty = norms <= 0
    first = jnp.zeros_like(c).at[0].set(1)
    u = jnp.where(empty, first, jnp.where(e < 0, -c, c) / jnp.where(empty, 1, norms))
    alpha = jnp.where(empty, 0, size * (norms**2 + e**2) / 2)
    return u.T, alpha[0]


def _factor(Z: Array) -> Array:
    """R [q, q] with R R^T = Z; columns of negligible eigenvalues are 0."""
    values, vectors = jnp.linalg.eigh(Z, symmetrize_input=True)
    least = _ROUNDING * len(Z) ** 0.5 * jnp.finfo(Z.dtype).eps * values[-1]
    roots = jnp.where(values <= least, 0, jnp.sqrt(jnp.abs(values)))
    return vectors * roots[None]


def _balanced(R: Array) -> Array:
    """D R for the D = diag(s, .., s, 1 / s) with tr(G D R R^T D) = 0."""
    upper, last = jnp.sum(R[:-1] ** 2), jnp.sum(R[-1] ** 2)
    both = (upper > 0) & (last > 0)
    s = jnp.where(both, last / jnp.where(both, upper, 1), 1) ** 0.25
    return jnp.concatenate([R[:-1] * s, R[-1:] / s])


def _rotate(_: int, R: Array) -> Array:
    """Rotates two columns of R so that p^T G p = 0 for one; none if it is for all.

    cos p + sin r, t = sin / cos, needs a + 2 m t - b t^2 = 0 for a = p^T G p > 0,
    b = -r^T G r > 0, m = p^T G r. Of the roots the one nearer 0, which subtracts
    nothing; both angles exist, as the discriminant m^2 + a b is positive.
    """
    excess = jnp.sum(R[:-1] ** 2, axis=0) - R[-1] ** 2
    i, j = jnp.argmax(excess), jnp.argmin(excess)
    a, b, p, r = excess[i], -excess[j], R[:, i], R[:, j]
    m = jnp.sum(p[:-1] * r[:-1]) - p[-1] * r[-1]
    # Only entries of opposite signs: equal ones would pair a column with itself. Those
    # below eps / q are rounding, as tr R R^T is 1, and their product may underflow.
    needed = jnp.minimum(a, b) > jnp.finfo(R.dtype).eps / len(R)
    bottom = jnp.abs(m) + jnp.sqrt(m**2 + jnp.where(needed, a * b, 1))
    length = jnp.hypot(a, bottom)
    cosine, sine = bottom / length, jnp.where(m < 0, a, -a) / length
    turned = R.at[:, i].set(cosine * p + sine * r).at[:, j].set(cosine * r - sine * p)
    return jnp.where(needed, turned, R)


def neurons_of(Z: Any) -> tuple[np.ndarray, np.ndarray]:
    """Neurons whose sum is Z, after checks of Z, in its dtype if JAX has it enabled.

    The tolerances, 1e-7 in float64 and else 1e-3, are relative: to the largest entry
    for symmetry, to the largest absolute eigenvalue for negative ones, and to tr Z for
    the trace equation.

    Args:
      Z: [q, q], PSD with tr Z_(1..d) = Z_qq, d = q - 1 >= 1.

    Returns:
      u [m, d], of unit norm, and alpha [m] > 0; m <= rank Z.

    Raises:
      ValueError: if Z is not finite, symmetric or PSD, or breaks the trace equation.
    """
    matrix, tol = _check_symmetric(Z, least=2)
    values = np.linalg.eigvalsh(matrix)
    if values[0] < -tol * np.max(np.abs(values)):
        raise ValueError(
            "want a positive semidefinite matrix; got eigenvalues from "
            f"{values[0]:.3g} to {values[-1]:.3g}"
        )
    upper, last = np.trace(matrix[:-1, :-1]), matrix[-1, -1]
    if abs(upper - last) > tol * (upper + last):
        raise ValueError(
            "want a trace of the leading block equal to the last entry; got "
            f"{upper:.9g} and {last:.9g}"
        )
    u, alpha = (np.asarray(array) for array in decompose(matrix))
    return u[alpha > 0], alpha[alpha > 0]


def quadratic_neurons(Z: Any) -> tuple[np.ndarray, np.ndarray]:
    """Neurons of x^T Z x = sum_j alpha_j (x^T u_j)^2: eigenvectors and eigenvalues.

    sum_j |alpha_j| is the nuclear norm of Z. Eigenvalues below 8 sqrt(d) eps of
    the largest, in absolute value, are taken for rounding and left out.

    Args:
      Z: [d, d], symmetric, of either sign.

    Returns:
      u [m, d], orthonormal, and alpha [m], not 0; m = rank Z.

    Raises:
      ValueError: if Z is not finite or not symmetric, as in `neurons_of`.
    """
    matrix, _ = _check_symmetric(Z, least=1)
    alpha, vectors = np.linalg.eigh(matrix)
    sizes = np.abs(alpha)
    eps = np.finfo(matrix.dtype).eps
    live = sizes > _ROUNDING * len(matrix) ** 0.5 * eps * np.max(sizes)
    return vectors.T[live], alpha[live]


def _check_symmetric(Z: Any, *, least: int) -> tuple[np.ndarray, float]:
    """Z as an exactly symmetric matrix of floats, and the relative tolerance."""
    matrix = np.asarray(Z)
    if matrix.dtype.kind in "biu":
        matrix = matrix.astype(float)
    if matrix.ndim != 2 or not least <= len(matrix) == matrix.shape[1]:
        raise ValueError(
            f"want a square matrix of order {least} or more; got {list(matrix.shape)}"
        )
    if not jnp.issubdtype(matrix.dtype, jnp.floating):
        raise ValueError(f"want a real matrix; got dtype {matrix.dtype}")
    matrix = matrix.astype(jnp.promote_types(matrix.dtype, jnp.float32))
    if not np.all(np.isfinite(matrix)):
        raise ValueError("want a finite matrix; got NaN or infinity")
    tol = 1e-7 if matrix.dtype == np.float64 else 1e-3
    apart, largest = np.max(np.abs(matrix - matrix.T)), np.max(np.abs(matrix))
    if apart > tol * largest:
        raise ValueError(
            f"want a symmetric matrix; got entries {apart:.3g} from those across the "
            f"diagonal, the largest {largest:.3g}"
        )
    return (matrix + matrix.T) / 2, tol
