"""Networks with weights -1 and 1, sampled from the optimum of a semidefinite program.

The program of f(x) = sum_j (x^T u_j)(x^T v_j) alpha_j with u_j, v_j in {-1, 1}^d has
the matrix Q = [[V, Z], [Z^T, W]] >= 0 of order 2d, all of whose diagonal is rho, and
predicts x^T Z x. With gamma = ln(1 + sqrt 2), the matrix

    Q' = [[sinh(gamma V / rho), sin(gamma Z / rho)], [., sinh(gamma W / rho)]],

elementwise, has unit diagonal and is positive semidefinite: the Taylor series are sums
of elementwise powers of Q / rho, with signs that alternate off the diagonal blocks. For
g ~ N(0, Q'), the signs u and v of its halves have E[u v^T] = (2/pi) arcsin(Q'_12) =
(2 gamma / pi) Z / rho. So m neurons with alpha_j = K rho / m, K = `GROTHENDIECK`, are
an unbiased estimate of Z, with sum_j |alpha_j| = K rho.

Source: Krivine, Constantes de Grothendieck et fonctions de type positif sur les spheres
(1979); Bartan & Pilanci, Training Quantized Neural Networks to Global Optimality via
Semidefinite Programming (ICML 2021).
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg

Array = jax.Array

_GAMMA = math.asinh(1.0)

GROTHENDIECK = math.pi / (2 * _GAMMA)
"""K = 1.7822, Krivine's bound: the penalty of a sampled network over rho."""

_RTOL = {np.dtype("float64"): 1e-6, np.dtype("float32"): 1e-4}


def krivine_transform(Q: Any, *, rtol: float | None = None) -> Array:
    """Q', the covariance whose signs have expectation (2 gamma / pi) Z / rho.

    Runs on the host, to refuse a Q that is no solution. Q is first scaled to unit
    diagonal; negative eigenvalues that Q' has after that are set to zero.

    Args:
      Q: [2d, 2d], unscaled; rho is the mean of its diagonal. Q = 0 gives the identity.
      rtol: tolerance, relative to rho, for symmetry, a constant diagonal and negative
        eigenvalues; default 1e-6, or 1e-4 in float32.

    Returns:
      [2d, 2d], of Q's dtype, its diagonal 1.

    Raises:
      ValueError: if Q is not of even order, finite, symmetric, of constant diagonal
        and positive semidefinite, to `rtol`.
    """
    Q = _floating(Q)
    rtol = _RTOL[np.dtype(Q.dtype)] if rtol is None else rtol
    _check(np.asarray(Q, np.float64), rtol)
    return _transform(Q)


def sample_signs(
    key: Array, Q: Any, num_neurons: int, *, rtol: float | None = None
) -> tuple[Array, Array, Array]:
    """Neurons with E[sum_j alpha_j u_j v_j^T] = Z, independent of each other.

    The error of that sum falls as 1 / sqrt(m): its mean square is
    (K^2 rho^2 d^2 - ||Z||_F^2) / m.

    Args:
      key: a typed PRNG key.
      Q: [2d, 2d], the program's solution, as for `krivine_transform`.
      num_neurons: m, >= 0.
      rtol: as for `krivine_transform`.

    Returns:
      u [m, d] and v [m, d], int8, all -1 or 1, and alpha [m], of Q's dtype, all of them
      `GROTHENDIECK` rho / m.

    Raises:
      ValueError: as `krivine_transform`, or m < 0.
    """
    if num_neurons < 0:
        raise ValueError(f"want num_neurons >= 0; got {num_neurons}")
    Q = _floating(Q)
    covariance = krivine_transform(Q, rtol=rtol)
    signs = _draw(key, covariance, num_neurons=num_neurons)
    share = GROTHENDIECK * jnp.mean(jnp.diag(Q)) / max(num_neurons, 1)
    u, v = jnp.split(signs, 2, axis=1)
    return u, v, jnp.full(num_neurons, share)


def _floating(Q: Any) -> Array:
    Q = jnp.asarray(Q)
    return Q if Q.dtype in _RTOL else Q.astype(float)


def _check(Q: np.ndarray, rtol: float) -> None:
    """Raises ValueError as `krivine_transform` says."""
    if Q.ndim != 2 or Q.shape[0] != Q.shape[1] or Q.shape[0] % 2 or not Q.size:
        raise ValueError(f"want Q [2d, 2d]; got shape {Q.shape}")
    if not np.all(np.isfinite(Q)):
        raise ValueError("want a finite Q; got NaN or infinity")
    diagonal = np.diag(Q)
    rho = diagonal.mean()
    if rho < 0:
        raise ValueError(f"want a diagonal >= 0; got a mean of {rho:.3g}")
    for fault, size in (
        ("entries unsymmetric", np.max(np.abs(Q - Q.T))),
        ("a diagonal that varies", np.max(np.abs(diagonal - rho))),
        ("a negative eigenvalue", -np.linalg.eigvalsh((Q + Q.T) / 2)[0]),
    ):
        if size > rtol * rho:
            raise ValueError(
                f"want Q symmetric, of constant diagonal rho and semidefinite, to "
                f"{rtol:.0e} rho; got {fault} by {size:.3g}, rho = {rho:.6g}"
            )


@jax.jit
def _transform(Q: Array) -> Array:
    """Q' without checks."""
    order = Q.shape[0]
    eye = jnp.eye(order, dtype=Q.dtype)
    # If rho = 0, so is Q: any signs will do, since all alpha are 0.
    correlation = _unit_diagonal(jnp.where(jnp.trace(Q) > 0, (Q + Q.T) / 2, eye))
    side = jnp.arange(order) < order // 2
    within = side[:, None] == side[None, :]
    scaled = _GAMMA * correlation
    root = _root(jnp.where(within, jnp.sinh(scaled), jnp.sin(scaled)))
    return jnp.where(eye > 0, 1, _unit_diagonal(linalg.dot(root, root.T)))


def _unit_diagonal(matrix: Array) -> Array:
    scale = 1 / jnp.sqrt(jnp.diag(matrix))
    return matrix * scale[:, None] * scale[None, :]


def _root(matrix: Array) -> Array:
    """R with R R^T = matrix, where negligible and negative eigenvalues count as 0."""
    values, vectors = jnp.linalg.eigh(matrix)
    floor = values.size * jnp.finfo(values.dtype).eps * values[-1]
    return vectors * jnp.sqrt(jnp.where(values > floor, values, 0))[None, :]


@functools.partial(jax.jit, static_argnames="num_neurons")
def _draw(key: Array, covariance: Array, *, num_neurons: int) -> Array:
    shape = num_neurons, covariance.shape[0]
    g = linalg.dot(jax.random.normal(key, shape, covariance.dtype), _root(covariance).T)
    return jnp.where(g >= 0, 1, -1).astype(jnp.int8)
