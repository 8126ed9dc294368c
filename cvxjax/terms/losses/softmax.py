"""Softmax cross entropy: a loss of several outputs that is no sum over them.

    L(Z, Y) = sum_s log sum_k exp(Z_sk) - Y_s^T Z_s,    Z [n, c], one-hot Y [n, c]

    L*(U) = sum_s sum_k P_sk log P_sk  at P = U + Y, rows of it in the simplex

The proximal map needs P = softmax(Z) of Z + step (P - Y) = X: entries of a row solve
log P_k + step (P_k - Y_k) = X_k - level, with one level for all of them, at which they
add up to one. Their sum is convex and falls as the level rises, so that Newton's method
from a level too low never overshoots; P_k - 1 stands for P_k where Y_k = 1, and X_k is
taken from there, so that large steps lose nothing to rounding.

Source: Boyd & Vandenberghe, Convex Optimization (2004), example 3.25, for the
conjugate; Duchi, Shalev-Shwartz, Singer & Chandra (2008) for the projection.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import numpy as np

from cvxjax.terms.losses.elementwise import DOMAIN_EPS, Array, SampleSum, prepare

_LEVELS = 60  # Newton steps to the level at most; 5 to 15 are usual
_LOG_STEPS = 7  # of Newton to log P; 6 reach rounding


class Softmax(SampleSum):
    """Softmax cross entropy of labels that are one-hot."""

    name = "softmax"
    smoothness = 0.5
    constraint = None
    separable = False

    def terms(self, z: Array, y: Array) -> Array:
        """The summand of each sample, [n]."""
        xp, z, y = _prepare(z, y)
        above = z - xp.sum(y * z, axis=-1, keepdims=True)
        top = above.max(axis=-1, keepdims=True)
        return top[..., 0] + xp.log(xp.sum(xp.exp(above - top), axis=-1))

    def gradient(self, z: Array, y: Array) -> Array:
        """softmax(z) - y, precise also where a class is nearly certain."""
        xp, z, y = _prepare(z, y)
        e = xp.exp(z - z.max(axis=-1, keepdims=True))
        p = e / e.sum(axis=-1, keepdims=True)
        others = xp.where(y == 1, xp.zeros_like(p), p)  # whose sum is 1 - p_k
        return xp.where(y == 1, -others.sum(axis=-1, keepdims=True), p - y)

    def conjugate_terms(self, u: Array, y: Array) -> Array:
        """The summand of each sample, [n]."""
        xp, u, y = _prepare(u, y)
        p = u + y
        slack = DOMAIN_EPS * float(xp.finfo(p.dtype).eps) * p.shape[-1]
        inside = (p.min(axis=-1) >= -slack) & (abs(p.sum(axis=-1) - 1) <= slack)
        logs = xp.log(xp.where(p > 0, p, xp.ones_like(p)))
        return xp.where(inside, xp.sum(p * logs, axis=-1), xp.inf)

    def clip_dual(self, u: Array, y: Array) -> Array:
        """The rows of u + y moved to the nearest points of the simplex, minus y."""
        xp, u, y = _prepare(u, y)
        p = u + y
        falling = -xp.sort(-p, axis=-1)
        excess = xp.cumsum(falling, axis=-1) - 1
        count = xp.asarray(np.arange(1, p.shape[-1] + 1), dtype=p.dtype)
        count = count.reshape(*(1,) * (p.ndim - 1), -1)
        level = (excess / count).max(axis=-1, keepdims=True)
        return xp.maximum(p - level, 0) - y

    def prox(self, x: Array, y: Array, step: Array) -> Array:
        """As `interfaces.Loss.prox`; `step` is a scalar, or [n, 1]."""
        xp, x, y = _prepare(x, y)
        step = xp.asarray(step, dtype=x.dtype)
        step = (xp.zeros_like(x) + step)[..., :1]
        return _solve_rows(xp, x, y, step)

    def check_labels(self, y: np.ndarray) -> None:
        """Raises ValueError, saying what arrived, unless y [n, c] is one-hot, c > 1."""
        y = np.asarray(y)
        wanted = "softmax loss wants one-hot labels [n, c], c >= 2"
        if y.dtype.kind not in "biuf" or y.ndim != 2 or y.shape[1] < 2:
            raise ValueError(f"{wanted}; got {y.dtype} {list(y.shape)}")
        wrong = ~(np.all((y == 0) | (y == 1), axis=1) & (np.sum(y, axis=1) == 1))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{wanted}; got {int(wrong.sum())} of {len(y)} rows that are not, "
                f"such as row {row}: {y[row, :5].tolist()}"
            )


def one_hot(labels: Any) -> np.ndarray:
    """One-hot Y [n, c] of classes [n], integers from 0 on; c is the largest plus one.

    Raises:
      ValueError: for other labels, c < 2, or c > n.
    """
    given = np.asarray(labels)
    wanted = "want classes [n], integers from 0 on, for the softmax loss"
    if given.dtype.kind not in "biuf" or given.ndim != 1 or given.size == 0:
        raise ValueError(f"{wanted}; got {given.dtype} {list(given.shape)}")
    wrong = given[~(np.isfinite(given) & (given >= 0) & (given == np.round(given)))]
    if wrong.size:
        raise ValueError(f"{wanted}; got {wrong[0]} among {wrong.size} others")
    count = int(given.max()) + 1
    if not 2 <= count <= given.size:
        raise ValueError(
            f"{wanted}, at most n - 1 = {given.size - 1}, of two classes at least; "
            f"got {count - 1} as the largest (one-hot Y [n, c] says c itself)"
        )
    return np.eye(count)[given.astype(int)]


def _prepare(first: Array, y: Array) -> tuple[Any, ...]:
    xp, first, y = prepare(first, y)
    if first.ndim < 2:
        raise ValueError(f"want several outputs [n, c]; got {list(first.shape)}")
    return xp, first, y


def _solve_rows(xp: ModuleType, x: Array, y: Array, step: Array) -> Array:
    """The proximal map, row by row; `step` [..., 1]."""
    hot = y == 1
    centre = xp.sum(y * x, axis=-1, keepdims=True)
    x = x - centre
    # At this level a single entry of P adds up to 1, so it is not too high.
    level = xp.where(hot, xp.zeros_like(x), x - step).max(axis=-1, keepdims=True)

    def moved(logs: Array) -> Array:
        """P - Y from log P."""
        return xp.where(hot, xp.expm1(logs), xp.exp(logs))

    def logs_of(level: Array) -> Array:
        """log P at this level, by Newton's method on a convex function, from above."""
        t = xp.log(step) + xp.where(hot, step, x) - level
        logs = xp.where(t > 1, xp.log(xp.maximum(t, 1)), t) - xp.log(step)

        def nearer(_: Any, logs: Array) -> Array:
            excess = logs + level - x + step * moved(logs)
            return logs - excess / (1 + step * xp.exp(logs))

        if xp is not np:
            return jax.lax.fori_loop(0, _LOG_STEPS, nearer, logs)
        for count in range(_LOG_STEPS):
            logs = nearer(count, logs)
        return logs

    def raised(level: Array) -> Array:
        logs = logs_of(level)
        p = xp.exp(logs)
        excess = moved(logs).sum(axis=-1, keepdims=True)
        rise = excess / xp.sum(p / (1 + step * p), axis=-1, keepdims=True)
        return level + xp.maximum(rise, 0)

    level = _settle(xp, raised, level)
    logs = logs_of(level)
    return centre + xp.where(step < 1, x - step * moved(logs), level + logs)


def _settle(xp: ModuleType, raised: Callable, level: Array) -> Array:
    """Raises the level until only its last digits change, at most `_LEVELS` times."""
    slack = 4 * float(xp.finfo(level.dtype).eps)

    def go_on(state: tuple) -> Array:
        count, now, before = state
        return (count < _LEVELS) & xp.any(now - before > slack * xp.abs(now))

    def turn(state: tuple) -> tuple:
        count, now, _ = state
        return count + 1, raised(now), now

    state = (xp.asarray(1), raised(level), level)
    if xp is not np:
        return jax.lax.while_loop(go_on, turn, state)[1]
    while go_on(state):
        state = turn(state)
    return state[1]
