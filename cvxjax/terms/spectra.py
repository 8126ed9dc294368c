"""Penalties on pairs of positive semidefinite matrices, whose difference predicts.

Parameters are [2, B, q, q], Z+ first. R(Z+, Z-) >= 0 is linear on PSD matrices that
meet linear equations, and infinite on others, which makes it a gauge:

    UnitNeurons     R = sum_b Z+_qq + Z-_qq, each tr Z_(1..q-1) = Z_qq: sums of
                    alpha [u; 1][u; 1]^T with ||u|| = 1, and sum |alpha|
    TracePair       R = sum_b tr Z+ + tr Z-: the nuclear norm of the difference
    ConstantDiagonal    R = rho where diag(Z+ + Z-) = rho 1, one pair: the gamma_2 norm
                    of the difference

Records meet `interfaces.Gauge`, without a proximal map. For solvers they also have

    cost(q)     C [q, q] with R = sum <C, Z> over all blocks
    traces(q)   the factor tr Z / R, summed over all blocks
    ties(q)     the equations: orthonormal E [k, q, q] with <E, Z+ + Z-> = 0, and
                others with <E, Z+ - Z-> = 0
    centre(q)   a positive definite Z = Z+ = Z- [q, q] that meets them
    inside(w)   PSD matrices near w that meet them

Source: Bartan & Pilanci, Neural Spectrahedra and Semidefinite Lifts (2021); Bartan &
Pilanci, Training Quantized Neural Networks to Global Optimality via Semidefinite
Programming (ICML 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.algebra.symmetric import along, positive_part, symmetrise
from cvxjax.record import Record

Array = jax.Array

_BISECTIONS = 64
_STEPS = 40  # of an interior-point method, for the gamma_2 dual norm
_SHRINK = 0.1  # factor by which each of its steps aims to reduce the gap
_BOUNDARY = 0.95  # share of the way to the boundary that a step may go
_NEAR = 0.5  # smallest root of the ratio of two traces at which blocks are scaled


class UnitNeurons(Record):
    """sum_j |alpha_j| over neurons [u_j; 1] with ||u_j|| = 1, of both signs."""

    norm: ClassVar[str] = "unit neurons"
    degree: ClassVar[int] = 1

    def cost(self, q: int) -> np.ndarray:
        return np.diag(np.eye(q)[-1])

    def traces(self, q: int) -> float:
        return 2.0

    def ties(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        signs = np.append(np.ones(q - 1), -1) / np.sqrt(q)
        return np.diag(signs)[None], np.diag(signs)[None]

    def centre(self, q: int) -> np.ndarray:
        return np.diag(np.append(np.ones(q - 1), q - 1))

    def norms(self, w: Array) -> Array:
        return w[..., -1, -1]

    def dual_norms(self, matrices: Array) -> Array:
        """Upper bounds, exact to rounding, of max {[u; 1]^T Q [u; 1] : ||u|| = 1}.

        With Q = [[A, g], [g^T, c]] it is the least nu + g^T (nu I - A)^{-1} g + c over
        nu >= the largest eigenvalue of A (strong duality of the trust-region problem).
        """
        values, vectors = jnp.linalg.eigh(matrices[..., :-1, :-1])
        g = jnp.einsum(
            "...ij,...i->...j", vectors, matrices[..., :-1, -1], precision="highest"
        )
        top = values[..., -1]
        low, high = top + jnp.abs(g[..., -1]), top + jnp.sqrt(jnp.sum(g * g, axis=-1))

        def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bracket
            middle = (low + high) / 2
            ratio = _ratio(g, middle[..., None] - values)
            right = jnp.sum(ratio * ratio, axis=-1) > 1
            return jnp.where(right, middle, low), jnp.where(right, high, middle)

        nu = jax.lax.fori_loop(0, _BISECTIONS, halve, (low, high))[1]
        # Where g is below rounding, nu is an eigenvalue; any larger nu is a bound too.
        size = jnp.maximum(jnp.abs(top), jnp.abs(values[..., 0]))
        nu = jnp.maximum(nu, top + 2 * jnp.finfo(g.dtype).eps * size)
        pull = jnp.sum(g * _ratio(g, nu[..., None] - values), axis=-1)
        return jnp.maximum(nu + pull + matrices[..., -1, -1], 0)

    def inside(self, w: Array) -> Array:
        """PSD matrices near w with tr Z_(1..q-1) = Z_qq, mostly of the same rank.

        Where the two sides differ by a factor of less than four, both are scaled to
        their geometric mean; otherwise the smaller one is increased.
        """
        w = positive_part(w)
        q = w.shape[-1]
        corner = along(np.eye(q)[-1], w[..., 0]) > 0  # where the last entry is
        last = w[..., -1, -1]
        trace = jnp.trace(w, axis1=-2, axis2=-1) - last
        least, most = jnp.minimum(trace, last), jnp.maximum(trace, last)
        near = least > _NEAR**2 * most
        root = jnp.where(near, (last / jnp.where(near, trace, 1)) ** 0.25, 1)[..., None]
        scales = jnp.where(corner, 1 / root, root)
        w = w * scales[..., :, None] * scales[..., None, :]
        short = (jnp.trace(w, axis1=-2, axis2=-1) - 2 * w[..., -1, -1])[..., None]
        share = jnp.maximum(-short, 0) / max(1, q - 1)
        add = jnp.where(corner, jnp.maximum(short, 0), share)
        return w + add[..., None] * along(jnp.eye(q), w)


class TracePair(Record):
    """tr Z+ + tr Z-, at its least the nuclear norm of Z+ - Z-."""

    norm: ClassVar[str] = "trace"
    degree: ClassVar[int] = 1

    def cost(self, q: int) -> np.ndarray:
        return np.eye(q)

    def traces(self, q: int) -> float:
        return 1.0

    def ties(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((0, q, q)), np.zeros((0, q, q))

    def centre(self, q: int) -> np.ndarray:
        return np.eye(q)

    def norms(self, w: Array) -> Array:
        return jnp.trace(w, axis1=-2, axis2=-1)

    def dual_norms(self, matrices: Array) -> Array:
        """The largest eigenvalue of every block, or 0 if negative, [2, B]."""
        return jnp.maximum(jnp.linalg.eigvalsh(matrices)[..., -1], 0)

    def inside(self, w: Array) -> Array:
        """The positive and the negative part of the difference, where R is least."""
        difference = w[0] - w[1]
        return jnp.stack([positive_part(difference), positive_part(-difference)])


class ConstantDiagonal(Record):
    """rho, the constant diagonal of Z+ + Z-, for one pair: B = 1.

    Q = [[V, Z], [Z^T, W]] >= 0 with diag Q = rho 1 and a symmetric Z may be taken with
    V = W, since exchanging both halves changes nothing; in the coordinates of the sum
    and the difference of the halves it is V + Z = 2 Z+ and V - Z = 2 Z-.
    """

    norm: ClassVar[str] = "constant diagonal"
    degree: ClassVar[int] = 1

    def cost(self, q: int) -> np.ndarray:
        return np.eye(q) / q

    def traces(self, q: int) -> float:
        return float(q)

    def ties(self, q: int) -> tuple[np.ndarray, np.ndarray]:
        basis = np.linalg.qr(np.vstack([np.ones(q), np.eye(q)[:-1]]).T)[0].T[1:]
        return basis[:, :, None] * np.eye(q), np.zeros((0, q, q))

    def centre(self, q: int) -> np.ndarray:
        return np.eye(q)

    def norms(self, w: Array) -> Array:
        return jnp.trace(w, axis1=-2, axis2=-1) / w.shape[-1]

    def dual_norms(self, matrices: Array) -> Array:
        """Upper bounds of min {sum(t) : -Diag(t) <= Q+ <= Diag(t)}, [2, B]."""
        bounds = jax.lax.map(_dominating_trace, matrices[0])
        return jnp.stack([bounds, bounds])

    def inside(self, w: Array) -> Array:
        """The positive parts, with the same added to both until diagonals are right."""
        w = positive_part(w)
        total = jnp.diagonal(w[0] + w[1], axis1=-2, axis2=-1)
        short = jnp.max(total, axis=-1, keepdims=True) - total
        return w + along((short / 2)[..., None] * along(jnp.eye(w.shape[-1]), w[0]), w)


def _ratio(g: Array, distance: Array) -> Array:
    """g / distance, but 0 where g is 0."""
    safe = jnp.where(distance > 0, distance, jnp.finfo(g.dtype).tiny)
    return jnp.where(g == 0, 0, g / safe)


def _dominating_trace(S: Array) -> Array:
    """An upper bound of min {sum(t) : Diag(t) - S, Diag(t) + S >= 0} for S [q, q].

    Primal-dual interior-point steps for this and max {<S, X+ - X-> : diag(X+ + X-) = 1,
    X >= 0}. The t that they end at is made feasible by adding to all of its entries.

    Source: Helmberg, Rendl, Vanderbei & Wolkowicz, An Interior-Point Method for
    Semidefinite Programming (1996).
    """
    q, dtype = S.shape[0], S.dtype
    eye = jnp.eye(q, dtype=dtype)
    size = jnp.max(jnp.abs(jnp.linalg.eigvalsh(S)))
    scaled = S / jnp.where(size > 0, size, 1)
    sides = (scaled, -scaled)  # not a batch, of which LAPACK calls can hang on CPUs

    def gap_of(t: Array, X: tuple[Array, ...]) -> Array:
        # Not sum(t) - <S, X+ - X->, which is wrong once rounding moves the diagonals.
        slacks = [jnp.diag(t) - side for side in sides]
        products = [jnp.sum(x * T) for x, T in zip(X, slacks, strict=True)]
        return products[0] + products[1]

    def step(state: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
        t, X, count = state
        slacks = [jnp.diag(t) - side for side in sides]
        inverses = [jnp.linalg.inv(T) for T in slacks]
        mu = _SHRINK * gap_of(t, X) / (2 * q)
        slope = 1 - mu * (jnp.diag(inverses[0]) + jnp.diag(inverses[1]))
        curvature = X[0] * inverses[0] + X[1] * inverses[1]
        dt = -jnp.linalg.solve(curvature, slope)
        moves = [
            mu * T - x - symmetrise(linalg.dot(x * dt[None], T))
            for x, T in zip(X, inverses, strict=True)
        ]
        share = _share(slacks, [jnp.diag(dt)] * 2)
        ahead = t + share * dt
        share = _share(X, moves)
        moved = tuple(x + share * dx for x, dx in zip(X, moves, strict=True))
        fine = jnp.all(jnp.isfinite(ahead)) & jnp.isfinite(share)
        return jnp.where(fine, ahead, t), moved, jnp.where(fine, count + 1, _STEPS)

    def going(state: tuple[Array, Any, Array]) -> Array:
        t, X, count = state
        floor = 16 * q * jnp.finfo(dtype).eps * jnp.sum(t)
        return (count < _STEPS) & (gap_of(t, X) > floor)

    start = jnp.full(q, 1.5, dtype), (eye / 2, eye / 2), jnp.asarray(0)
    t = jax.lax.while_loop(going, step, start)[0]
    least = [jnp.linalg.eigvalsh(jnp.diag(t) - side)[0] for side in sides]
    return size * (jnp.sum(t) + q * jnp.maximum(-jnp.minimum(*least), 0))


def _share(points: Sequence[Array], moves: Sequence[Array]) -> Array:
    """The share of the moves, at most 1, that keeps all matrices positive definite."""
    least = jnp.asarray(jnp.inf, points[0].dtype)
    for point, move in zip(points, moves, strict=True):
        factor = jnp.linalg.cholesky(point)
        half = jax.scipy.linalg.solve_triangular(factor, move, lower=True)
        scaled = jax.scipy.linalg.solve_triangular(factor, half.T, lower=True)
        least = jnp.minimum(least, jnp.linalg.eigvalsh(symmetrise(scaled))[0])
    return jnp.minimum(1, _BOUNDARY / jnp.maximum(-least, jnp.finfo(least.dtype).tiny))
