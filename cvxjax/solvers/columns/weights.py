"""The best sizes of given neurons, by a primal-dual interior point, in NumPy float64.

    minimise  L(A c, y) + beta sum_j c_j   over  c >= 0,

where A [n, m] has the predictions of m neurons of unit length, signs included. The
steps are taken in the dual vector v = -u,

    maximise  -L*(u)   subject to  beta + A^T u >= 0,  u in the domain of L*,

so that every loss that is a sum over samples is solved alike, smooth or not: L* enters
by two derivatives, and the ends of its domain by a barrier. Many neurons may be nearly
parallel, which makes A ill-conditioned; the barrier copes with that. Where the loss has
an intercept, a constant is added to the predictions, and entries of u add up to zero.

Source: Mehrotra, On the Implementation of a Primal-Dual Interior Point Method (1992).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy

if TYPE_CHECKING:
    from cvxjax.interfaces import Loss

_STEPS = 60
_PATIENCE = 5  # steps without a lower gap, after which rounding stops them
_LOW = 1e-4  # relative gap: where it is larger, it may stay the same for long
_TO_BOUNDARY = 0.995  # share of the way to the boundary that a step may take
_INSIDE = 0.9  # of the way from a point inside to the given dual vector
_WARM = 1e-2  # complementarity at a given dual vector, of that at none
_FALL = 0.05  # least share of the complementarity that a step aims at
_RIDGE = 1e-14  # relative, of the Newton system
_REFINED = 2  # times, at most: nearly parallel neurons cost digits
_EXACT = 1e-12  # relative residual that needs no refinement
_FLAT = 1e-6  # curvatures that differ by more make the smaller system inexact
_DENSE = 4_000  # samples up to which the larger one is solved instead


class Weighted(NamedTuple):
    """Sizes of the neurons, and the dual vector that proves them good."""

    sizes: np.ndarray  # [m], >= 0
    dual: np.ndarray  # [n], v, with A^T v <= beta
    value: float  # L(A c, y) + beta sum c
    gap: float  # value less the lower bound of v


def best_sizes(
    loss: Loss,
    y: np.ndarray,
    A: np.ndarray,
    beta: float,
    *,
    tol: float,
    near: np.ndarray | None = None,
) -> Weighted:
    """Solves the problem above.

    Args:
      loss: L, not a constraint; separable, or `with_intercept` of such a loss.
      y: [n].
      A: [n, m].
      beta: > 0.
      tol: > 0, the gap to reach, absolute.
      near: [n], a dual vector from which to start, of similar neurons.

    Returns:
      The best sizes met, with their gap, which may be larger than `tol` where rounding
      stops the steps.
    """
    point = _Point(loss, y, A, beta, near)
    best, since = point.judged(), 0
    for _ in range(_STEPS):
        if best.gap <= tol or since == _PATIENCE or not point.advance():
            break
        before = best.gap
        best = _better(best, point.judged())
        stays = best.gap >= before and best.gap <= _LOW * abs(best.value)
        since = since + 1 if stays else 0
    return best


def _better(one: Weighted, other: Weighted) -> Weighted:
    """The better sizes and the better dual vector of two."""
    bounds = one.value - one.gap, other.value - other.gap
    dual = one.dual if bounds[0] >= bounds[1] else other.dual
    better = min((one, other), key=lambda found: found.value)
    return Weighted(better.sizes, dual, better.value, better.value - max(bounds))


class _Point:
    """u strictly inside, multipliers of the neurons (c) and of the domain's ends."""

    def __init__(
        self,
        loss: Any,
        y: np.ndarray,
        A: np.ndarray,
        beta: float,
        near: np.ndarray | None,
    ) -> None:
        self.loss, self.y, self.A, self.beta = loss, y, A, beta
        self.sum = loss.loss if loss.coupled else loss  # over the samples
        low, high = (np.asarray(x, np.float64) for x in self.sum.box(y))
        self.low, self.high = low, high
        self.walled = not self.sum.steep  # else L* keeps u inside by itself
        self.u = self._start(near)
        self.slack = beta + self.u @ A
        self.room = high - self.u, self.u - low  # kept apart: differences lose digits
        scale = max(float(loss.value(np.zeros_like(y), y)), 1e-300)
        count = A.shape[1] + (2 * len(y) if self.walled else 0)
        mu = scale / count * (_WARM if near is not None else 1.0)
        self.c = mu / self.slack
        self.up, self.down = (self._barrier(mu, room) for room in self.room)

    def _start(self, near: np.ndarray | None) -> np.ndarray:
        """A point inside the domain and all constraints."""
        low, high = self.low, self.high
        bounded = np.where(np.isfinite(low), low, high - 2)
        middle = (bounded + np.where(np.isfinite(high), high, bounded + 2)) / 2
        middle = np.where((low < 0) & (high > 0), 0, middle)
        if self.loss.coupled and np.any(middle != 0):
            middle = _balanced(bounded, np.where(np.isfinite(high), high, bounded + 2))
        fall = max(0.0, -float(np.min(middle @ self.A, initial=0.0)))
        inner = middle * min(1.0, 0.5 * self.beta / fall if fall else 1.0)
        if near is None:
            return inner
        u = np.asarray(self.loss.clip_dual(-near, self.y))
        fall = max(0.0, -float(np.min(u @ self.A, initial=0.0)))
        if fall > self.beta:
            u = u * (self.beta / fall)
        return inner + _INSIDE * (u - inner)

    def _barrier(self, mu: float, room: np.ndarray) -> np.ndarray:
        """The multipliers mu / room of the domain's finite ends."""
        return np.where(np.isfinite(room) & self.walled, mu / room, 0.0)

    def judged(self) -> Weighted:
        """The objective of c, and what u proves."""
        value = float(self.loss.value(self.A @ self.c, self.y))
        value += self.beta * float(np.sum(self.c))
        bound = -float(self.sum.conjugate(self.u, self.y))
        return Weighted(self.c.copy(), -self.u, value, value - bound)

    def advance(self) -> bool:
        """A predictor and corrector step; False where rounding leaves none."""
        room = self.room
        ends = self.up * self._finite(room[0]), self.down * self._finite(room[1])
        count = self.A.shape[1] + np.count_nonzero(ends[0]) + np.count_nonzero(ends[1])
        mu = (self.c @ self.slack + np.sum(ends[0]) + np.sum(ends[1])) / count
        weight = np.asarray(self.sum.curvature(self.u, self.y), np.float64)
        weight = weight + self.up / room[0] + self.down / room[1]
        if self.loss.coupled:
            left = -float(np.sum(self.u))  # by rounding
            solve = _newton_summing_to(left, self.A, weight, self.c / self.slack)
        else:
            solve = _newton(self.A, weight, self.c / self.slack)
        if solve is None or not mu > 0:
            return False
        miss = np.asarray(self.sum.dual_slope(self.u, self.y))

        def move(mu: float, twisted: tuple[np.ndarray, ...] | None) -> _Move:
            own, above, below = twisted or (0.0, 0.0, 0.0)
            right = self.A @ ((mu - own) / self.slack) - miss
            right = right - np.where(self.up > 0, (mu - above) / room[0], 0)
            right = right + np.where(self.down > 0, (mu - below) / room[1], 0)
            du = solve(right)
            ds = du @ self.A
            dc = (mu - own - self.c * ds) / self.slack - self.c
            up = (mu - above + self.up * du) / room[0] - self.up
            down = (mu - below - self.down * du) / room[1] - self.down
            return _Move(
                du,
                ds,
                dc,
                np.where(self.up > 0, up, 0),
                np.where(self.down > 0, down, 0),
            )

        first = move(0.0, None)
        lengths = self._lengths(first, room)
        left = (self.c + lengths[1] * first.c) @ (self.slack + lengths[0] * first.slack)
        left += np.sum(
            (self.up + lengths[1] * first.up)
            * self._moved(room[0], -lengths[0] * first.u)
        )
        left += np.sum(
            (self.down + lengths[1] * first.down)
            * self._moved(room[1], lengths[0] * first.u)
        )
        share = min(1.0, max(float(left) / (count * mu), 0.0)) ** 3
        twisted = first.c * first.slack, -first.up * first.u, first.down * first.u
        second = move(max(share, _FALL * share ** (1 / 3)) * mu, twisted)
        primal, dual = self._lengths(second, room)
        if not (np.isfinite(primal * dual) and np.all(np.isfinite(second.u))):
            return False
        if not (self.loss.quadratic or len(self.y) == 0):
            primal = dual = min(primal, dual)  # L* is curved: u and c belong together
        self.u = self.u + primal * second.u
        self.slack = self.slack + primal * second.slack
        self.room = room[0] - primal * second.u, room[1] + primal * second.u
        self.c = self.c + dual * second.c
        self.up, self.down = self.up + dual * second.up, self.down + dual * second.down
        return bool(np.min(self.slack) > 0 and max(primal, dual) > 1e-8)

    def _finite(self, room: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(room), room, 0)

    def _moved(self, room: np.ndarray, change: np.ndarray) -> np.ndarray:
        return self._finite(room) + change

    def _lengths(
        self, move: _Move, room: tuple[np.ndarray, np.ndarray]
    ) -> tuple[float, float]:
        """The longest steps of u, and of the multipliers, that stay inside."""
        primal = min(
            _longest(self.slack, move.slack),
            _longest(room[0], -move.u),
            _longest(room[1], move.u),
        )
        dual = min(
            _longest(self.c, move.c),
            _longest(self.up, move.up),
            _longest(self.down, move.down),
        )
        return primal, dual


def _balanced(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The point low + t (high - low) whose entries add up to zero."""
    t = -np.sum(low) / np.sum(high - low)
    return low + t * (high - low)


class _Move(NamedTuple):
    u: np.ndarray
    slack: np.ndarray
    c: np.ndarray
    up: np.ndarray
    down: np.ndarray


def _longest(x: np.ndarray, change: np.ndarray) -> float:
    """The longest step, at most 1, that keeps x positive."""
    falls = (change < 0) & np.isfinite(x)
    if not np.any(falls):
        return 1.0
    return min(1.0, _TO_BOUNDARY * float(np.min(-x[falls] / change[falls])))


def _newton(A: np.ndarray, weight: np.ndarray, scale: np.ndarray):
    """The solution map of (diag(weight) + A diag(scale) A^T) du = right, or None."""
    once = _factored(A, weight, scale)
    if once is None:
        return None

    def solve(right: np.ndarray) -> np.ndarray:
        du = once(right)
        for _ in range(_REFINED):
            left = right - weight * du - A @ (scale * (du @ A))
            if np.linalg.norm(left) <= _EXACT * np.linalg.norm(right):
                break
            du = du + once(left)
        return du

    return solve


def _newton_summing_to(
    total: float, A: np.ndarray, weight: np.ndarray, scale: np.ndarray
):
    """The same where the sum of du is given, and a constant is added to `right`.

    The least curved entry k of du is what the sum leaves of it. With E du' the others
    and minus their sum, E^T (diag(weight) + A diag(scale) A^T) E has the same form.
    """
    n, k = len(weight), int(np.argmin(weight))
    others = np.arange(n) != k
    columns = np.column_stack([A[others] - A[k], np.ones(n - 1)])
    once = _newton(columns, weight[others], np.append(scale, weight[k]))
    if once is None:
        return None
    pull = A @ (scale * A[k])
    pull[k] += weight[k]

    def solve(right: np.ndarray) -> np.ndarray:
        right = right - total * pull
        rest = once(right[others] - right[k])
        return np.insert(rest, k, total - np.sum(rest))

    return solve


def _factored(A: np.ndarray, weight: np.ndarray, scale: np.ndarray):
    """The same up to rounding, by the smaller of two systems: n or m unknowns."""
    n, m = A.shape
    try:
        small, most = float(np.min(weight)), float(np.max(weight))
        if n <= m or (n <= _DENSE and small < _FLAT * most):
            M = (A * scale) @ A.T
            M[np.diag_indices(n)] += weight + _RIDGE * np.max(np.diagonal(M), initial=0)
            factor = scipy.linalg.cho_factor(M, overwrite_a=True, check_finite=False)
            return lambda r: scipy.linalg.cho_solve(factor, r, check_finite=False)
        part = A / weight[:, None]
        M = A.T @ part
        M[np.diag_indices(m)] += 1 / scale + _RIDGE * np.max(np.diagonal(M), initial=0)
        factor = scipy.linalg.cho_factor(M, overwrite_a=True, check_finite=False)
    except (scipy.linalg.LinAlgError, ValueError):
        return None

    def solve(right: np.ndarray) -> np.ndarray:
        inner = scipy.linalg.cho_solve(factor, part.T @ right, check_finite=False)
        return right / weight - part @ inner

    return solve
