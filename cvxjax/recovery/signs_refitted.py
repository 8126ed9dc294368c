"""The best output weights of a network of signs, an l1 problem.

    minimise  L(Phi alpha, y) + beta sum_j |alpha_j|,   Phi_ij = (x_i^T u_j)(x_i^T v_j)

over the neurons that were sampled, after merging those with the same function. There
may be more of them than products of two features, so that Phi has not full rank, and
beta is small. Coordinate descent and gradient methods are then slow; this is an
interior-point method.

Source: Koh, Kim & Boyd, An Interior-Point Method for Large-Scale l1-Regularized
Logistic Regression (2007), for the dual point; Boyd & Vandenberghe, Convex Optimization
(2004), section 11.7, for the steps.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cvxjax.algebra import linalg
from cvxjax.interfaces import Loss
from cvxjax.record import Record
from cvxjax.terms import losses

Array = jax.Array

_CENTRING = 0.1  # share of the mean product p s that a step aims at
_TO_BOUNDARY = 0.99  # share of the way to the boundary that a step may go
_PATIENCE = 15  # steps without a smaller gap, after which rounding is to blame
_POLISH_STEPS = 4
_MULTIPLE = 64  # to which neurons are padded, so that few shapes are compiled


class Refit(Record):
    """Neurons with their new output weights, none of them 0; NumPy arrays.

    If `gap` is above the `tol` asked for, the solver stopped before the optimum.
    """

    u: np.ndarray  # [m, d], int8
    v: np.ndarray  # [m, d], int8
    alpha: np.ndarray  # [m]
    objective: float  # L(Phi alpha, y) + beta sum_j |alpha_j|
    gap: float  # (primal - dual) / max(|primal|, 1e-4 L(0, y))


def refit(
    u: Any,
    v: Any,
    alpha: Any,
    X: Any,
    y: Any,
    *,
    beta: float,
    loss: Loss | None = None,
    tol: float = 1e-8,
    max_iters: int = 100,
) -> Refit:
    """Minimises L(Phi alpha, y) + beta sum_j |alpha_j| over alpha, from `alpha`.

    The objective is never above that of the neurons given. In float64 throughout,
    whatever JAX's default.

    Args:
      u: [m, d], signs.
      v: [m, d], signs.
      alpha: [m].
      X: [n, d].
      y: [n], whatever the loss takes.
      beta: > 0.
      loss: L, a sum over samples; None is the squared loss 1/2 ||f(X) - y||^2.
      tol: relative duality gap.
      max_iters: the most steps of Newton's method.

    Raises:
      ValueError: for shapes, labels or numbers that are not as said above, or a loss
        that is not smooth.
    """
    loss = losses.squared() if loss is None else loss
    if loss.smoothness is None:
        raise ValueError(f"want a smooth loss; got {loss.name}")
    if not (np.isfinite(beta) and beta > 0):
        raise ValueError(f"want a finite beta > 0; got {beta}")
    X, y = np.asarray(X, float), np.asarray(y, float)
    u, v, alpha = np.asarray(u), np.asarray(v), np.asarray(alpha, float)
    m, d = len(alpha), X.shape[-1]
    if X.ndim != 2 or y.shape != X.shape[:1] or not u.shape == v.shape == (m, d):
        raise ValueError(
            f"want X [n, d], y [n], u [m, d], v [m, d], alpha [m]; got {X.shape}, "
            f"{y.shape}, {u.shape}, {v.shape}, {alpha.shape}"
        )
    if not (np.all(np.isfinite(X)) and np.all(np.isfinite(alpha))):
        raise ValueError("X or alpha holds NaN or infinity")
    loss.check_labels(y)

    u, v, alpha = merge_signs(u, v, alpha)
    features = (X @ u.T) * (X @ v.T)
    judge = functools.partial(_judge, loss, features, y, beta)
    objective, gap = judge(alpha)
    if np.any(features):
        basis, core = _factors(features / beta)
        with jax.enable_x64(True):  # float32 cannot factor the matrices
            # To a smaller gap than `tol`, which separates small weights from the rest.
            more = (0, -len(alpha) % _MULTIPLE)
            padded = np.pad(core, ((0, 0), more)), y, np.pad(alpha * beta, more)
            numbers = map(jnp.asarray, (basis, *padded, tol / 100))
            found = np.asarray(_interior_point(loss, *numbers, max_iters))
            found = found[: len(alpha)] / beta
            found = _polish(loss, features, y, beta, found, tol)
        if judge(found)[0] < objective:
            alpha, (objective, gap) = found, judge(found)
    keep = alpha != 0
    return Refit(
        u=u[keep],
        v=v[keep],
        alpha=alpha[keep],
        objective=float(objective),
        gap=float(gap),
    )


def merge_signs(
    u: np.ndarray, v: np.ndarray, alpha: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Adds up neurons with the same function: (u, v), (v, u), (-u, v), and so on.

    There are no others, since u v^T + v u^T determines u and v up to exchange and sign.
    The sum of |alpha_j| does not grow.

    Args:
      u: [m, d], signs.
      v: [m, d], signs.
      alpha: [m].

    Returns:
      u [m', d], v [m', d], their first entries 1, u >= v in lexicographic order; and
      alpha [m'], which may be 0.
    """
    if len(alpha) == 0:
        return u, v, alpha
    alpha = alpha * u[:, 0] * v[:, 0]
    u, v = u * u[:, :1], v * v[:, :1]
    first = np.argmax(u != v, axis=1)[:, None]
    exchange = np.take_along_axis(u, first, 1) < np.take_along_axis(v, first, 1)
    pairs = np.hstack([np.where(exchange, v, u), np.where(exchange, u, v)])
    pairs, group = np.unique(pairs, axis=0, return_inverse=True)
    u, v = np.hsplit(pairs, 2)
    return u, v, np.bincount(group.ravel(), weights=alpha)


def _factors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An orthonormal basis [n, r] and coordinates [r, m], r the numerical rank."""
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    keep = sizes > max(matrix.shape) * np.finfo(float).eps * sizes[0]
    return left[:, keep], sizes[keep, None] * right[keep]


def _polish(
    loss: Loss,
    features: np.ndarray,
    y: np.ndarray,
    beta: float,
    alpha: np.ndarray,
    tol: float,
) -> np.ndarray:
    """Sets small weights to zero, and improves the others by Newton's method.

    Signs do not change. Of several thresholds it takes the one with the fewest weights
    that reaches a gap of `tol`, else the one of the smallest gap.
    """
    sizes, best, least = np.abs(alpha), alpha, np.inf
    largest = np.max(sizes)
    for exponent in range(13):
        large = sizes > 10.0**-exponent * largest
        kept, point = np.flatnonzero(large), np.where(large, alpha, 0)
        signs, columns = np.sign(alpha[kept]), features[:, kept]
        for _ in range(_POLISH_STEPS):
            gap = _judge(loss, features, y, beta, point)[1]
            if gap < least:
                best, least = np.array(point), gap
            if least <= tol:
                return best
            z = jnp.asarray(columns @ point[kept])
            slope, curvature = map(np.asarray, _derivatives(loss, z, jnp.asarray(y)))
            hessian = (columns * curvature[:, None]).T @ columns
            # It may be singular; the ridge changes the steps, not their limit.
            hessian[np.diag_indices(len(kept))] += 1e-12 * np.trace(hessian) + 1e-300
            change = np.linalg.solve(hessian, columns.T @ slope + beta * signs)
            if not np.max(np.abs(change), initial=0) <= largest:
                break  # too few weights, or no curvature
            point[kept] -= change
    return best


def _derivatives(loss: Any, z: Array, y: Array) -> tuple[Array, Array]:
    """The first and second derivatives of L's terms at z, [n] both."""
    slope, curvature = jax.jvp(lambda z: loss.gradient(z, y), (z,), (jnp.ones_like(z),))
    return slope, jnp.maximum(curvature, 0)


class _Point(Record):
    """An iterate: alpha = p - q, and the multipliers s, t of p >= 0, q >= 0."""

    p: Array  # [m], > 0
    q: Array  # [m], > 0
    s: Array  # [m], > 0
    t: Array  # [m], > 0

    def ahead(self, by: _Point, step: Array) -> _Point:
        return jax.tree.map(lambda value, change: value + step * change, self, by)


@jax.jit
def _interior_point(
    loss: Any,
    basis: Array,
    core: Array,
    y: Array,
    start: Array,
    tol: Array,
    max_iters: Array,
) -> Array:
    """Minimises L(Phi alpha, y) + sum_j |alpha_j| to a relative gap of `tol`.

    Newton's method on Phi^T grad L + 1 = s, -Phi^T grad L + 1 = t, p s = q t = mu, with
    steps that keep all positive. A step is halved while the residual does not shrink,
    but four times at most: it need not shrink where L is piecewise quadratic, nor at
    the end, where it is rounding.

    Args:
      basis: [n, r], orthonormal, and core: [r, m], with Phi = basis core.

    Returns:
      [m], the iterate of the smallest gap.
    """
    m = len(start)

    def slopes(point: _Point) -> tuple[Array, Array, Array, Array]:
        z = linalg.dot(basis, linalg.dot(core, point.p - point.q))
        slope, curvature = _derivatives(loss, z, y)
        pulled = linalg.dot(core.T, linalg.dot(basis.T, slope))
        return z, slope, pulled, curvature

    def residual(point: _Point, pulled: Array, mu: Array) -> Array:
        parts = (
            1 + pulled - point.s,
            1 - pulled - point.t,
            point.p * point.s - mu,
            point.q * point.t - mu,
        )
        return jnp.sqrt(sum(jnp.vdot(part, part) for part in parts))

    def newton(point: _Point, pulled: Array, curvature: Array, mu: Array) -> _Point:
        p, q, s, t = point.p, point.q, point.s, point.t
        weights = p / s + q / t
        free = (mu - p * (1 + pulled)) / s - (mu - q * (1 - pulled)) / t
        # The change of alpha is free - weights core^T w, where w = M core times that
        # change, M = basis^T diag(curvature) basis: hence the system for w, of the
        # order of the rank, without an inverse of M.
        M = linalg.dot((basis * curvature[:, None]).T, basis)
        matrix = linalg.dot(M, linalg.dot(core * weights[None, :], core.T))
        right = linalg.dot(M, linalg.dot(core, free))
        w = jnp.linalg.solve(matrix + jnp.eye(len(M), dtype=y.dtype), right)
        pulled = pulled + linalg.dot(core.T, w)
        return _Point(
            p=(mu - p * (1 + pulled)) / s,
            q=(mu - q * (1 - pulled)) / t,
            s=1 + pulled - s,
            t=1 - pulled - t,
        )

    def longest(point: _Point, by: _Point) -> Array:
        pairs = zip(jax.tree.leaves(point), jax.tree.leaves(by), strict=True)
        ratios = [jnp.max(-change / value) for value, change in pairs]
        return 1 / jnp.maximum(1, jnp.max(jnp.stack(ratios)) / _TO_BOUNDARY)

    def iterate(carry: Any) -> Any:
        count, idle, point, best, least = carry
        _, _, pulled, curvature = slopes(point)
        products = jnp.vdot(point.p, point.s) + jnp.vdot(point.q, point.t)
        mu = _CENTRING * products / (2 * m)
        by = newton(point, pulled, curvature, mu)
        before = residual(point, pulled, mu)

        most = longest(point, by)

        def too_long(step: Array) -> Array:
            new = point.ahead(by, step)
            grown = residual(new, slopes(new)[2], mu) > (1 - step / 100) * before
            return grown & (step > most / 10)

        step = lax.while_loop(too_long, lambda step: step / 2, most)
        point = point.ahead(by, step)
        z, slope, pulled, _ = slopes(point)
        alpha = point.p - point.q
        gap = _objective_and_gap(loss, y, 1.0, alpha, z, slope, pulled)[1]
        idle = jnp.where(gap < least, 0, idle + 1)
        best = jnp.where(gap < least, alpha, best)
        return count + 1, idle, point, best, jnp.minimum(gap, least)

    size = jnp.mean(jnp.abs(start))
    size = jnp.where(size > 0, size, loss.value(jnp.zeros_like(y), y) / m)
    p, q = jnp.maximum(start, 0) + size, jnp.maximum(-start, 0) + size
    point = _Point(p=p, q=q, s=p, t=q)
    pulled = slopes(point)[2]
    # Multipliers >= 1, above the slopes 1 + pulled and 1 - pulled by a constant.
    large = 1 + jnp.max(jnp.abs(pulled))
    point = point.replace(s=large + pulled, t=large - pulled)

    def unfinished(carry: Any) -> Array:
        count, idle, _, _, least = carry
        return (least > tol) & (count < max_iters) & (idle < _PATIENCE)

    infinity = jnp.full_like(tol, jnp.inf)
    begin = 0, 0, point, start, infinity
    return lax.while_loop(unfinished, iterate, begin)[3]


def _judge(
    loss: Loss, features: np.ndarray, y: np.ndarray, beta: float, alpha: np.ndarray
) -> tuple[Any, Any]:
    """The objective and the relative gap at alpha, in NumPy."""
    z = features @ alpha
    slope = loss.gradient(z, y)
    return _objective_and_gap(loss, y, beta, alpha, z, slope, features.T @ slope)


def _objective_and_gap(
    loss: Loss, y: Any, beta: Any, alpha: Any, z: Any, slope: Any, pulled: Any
) -> tuple[Any, Any]:
    """The objective, and its relative gap to the dual value of -slope; NumPy or JAX.

    The dual problem maximises -L*(-r, y) over ||Phi^T r||_inf <= beta; r = -slope is
    scaled to be feasible.

    Args:
      z: [n], Phi alpha.
      slope: [n], the gradient of L at z.
      pulled: [m], Phi^T slope.
    """
    objective = loss.value(z, y) + beta * abs(alpha).sum()
    scale = beta / abs(pulled).max(initial=0).clip(beta)
    gap = objective + loss.conjugate(scale * slope, y)
    size = abs(objective).clip(1e-4 * loss.value(0 * y, y))
    return objective, gap / (size + (size == 0))
