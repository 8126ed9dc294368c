"""The best neurons and bound of the solvers of several outputs, and their solution.

minimise  L(sum_j phi_j v_j^T, Y) + beta sum_j ||u_j|| ||v_j||,  phi_j = (X u_j)_+
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from cvxjax.recovery import independent
from cvxjax.solution import History, Solution, Status
from cvxjax.solvers.host_bounds import HostBounds

_SECTIONS, _GOLDEN = 50, (3 - 5**0.5) / 2  # of the line search of a multiple
_FARTHEST = 4.0  # multiple that is tried
_ROUNDING = 1e-12  # of an objective, by which fewer neurons of one fit may miss it
_DEPENDENT = 1e-9  # singular value of fits of unit length, over the largest


class Ledger:
    """The best neurons and the best bound of a solver, and its history."""

    def __init__(self, program: Any) -> None:
        self.X = np.asarray(program.X, np.float64)
        self.Y = np.asarray(program.y, np.float64)
        self.beta, self.loss = float(program.beta), program.loss
        self.judged = HostBounds(program)
        zero = np.zeros_like(self.Y)
        with np.errstate(all="ignore"):  # solvers say what is not finite
            self.objective = float(self.loss.value(zero, self.Y))
            self.least = 0.0 - float(self.loss.conjugate(zero, self.Y))
        self.bound = self.least
        d, c = self.X.shape[1], self.Y.shape[1]
        self.best, self.dual = (np.zeros((0, d)), np.zeros((0, c))), 0 * self.Y
        self.multipliers: np.ndarray | None = None
        self.lines: list[tuple[int, float, float, float]] = []

    @property
    def gap(self) -> float:
        return self.judged.gap(self.objective, self.bound)

    def verdict(self, tol: float) -> Status:
        """CONVERGED, INCONSISTENT or RUNNING."""
        return self.judged.verdict(self.objective, self.bound, self.dual, tol)

    def residual(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Minus the gradient of L at F, [n, c]; Y - F for the squared loss."""
        return -self.loss.gradient(self._fit(u, v), self.Y)

    def _fit(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return np.maximum(self.X @ u.T, 0) @ v

    def offer_point(self, u: np.ndarray, v: np.ndarray) -> float:
        """The objective of u [m, d] and v [m, c], kept if it is the least so far."""
        value = self._value(u, v)
        if value < self.objective:
            self.objective, self.best = value, (u, v)
        return value

    def _value(self, u: np.ndarray, v: np.ndarray) -> float:
        sizes = np.linalg.norm(u, axis=1) @ np.linalg.norm(v, axis=1)
        fit = float(self.loss.value(self._fit(u, v), self.Y))
        return fit + self.beta * float(sizes)

    def bound_of(self, R: np.ndarray, highest: float) -> tuple[float, float]:
        """The dual objective at t R, and t, the best that the highest price allows.

        Args:
          R: [n, c].
          highest: of R, max ||R^T (X u)_+|| over ||u|| <= 1, or a bound of it; its
            rounding is added here.
        """
        highest = highest + float(self.judged.rounding(R))
        if not np.isfinite(highest):
            return self.judged.value(0 * R), 0.0
        limit = self.beta / highest if highest > 0 else np.inf
        if self.loss.quadratic:
            square, product = np.sum(R**2), np.sum(R * self.Y)
            t = float(np.clip(product / (square if square > 0 else 1), 0, limit))
            return self.judged.value(t * R), t

        def dual(t: float) -> float:
            return self.judged.value(t * R)

        # In the domain up to 1, since R is minus a gradient; seldom beyond it.
        low, high = 0.0, min(limit, _FARTHEST)
        tries = {low, high, min(high, 1.0)}
        for _ in range(_SECTIONS):
            a, b = low + _GOLDEN * (high - low), high - _GOLDEN * (high - low)
            if not dual(a) <= dual(b) or np.isinf(dual(b)):
                high = b
            else:
                low = a
        return max((dual(t), t) for t in tries | {low, high})

    def offer_residual(
        self, R: np.ndarray, highest: float, multipliers: np.ndarray | None = None
    ) -> None:
        """Keeps the best multiple t R if its bound is the greatest so far.

        Args:
          R: [n, c].
          highest: a bound of max ||R^T (X u)_+|| over the listed cells, ||u|| <= 1.
          multipliers: of R in that bound, [P, k, 3]; their weights grow with t^2.
        """
        bound, t = self.bound_of(R, highest)
        if bound > self.bound:
            self.bound, self.dual = bound, t * R
            if multipliers is not None:
                self.multipliers = multipliers * np.asarray([1, 1, t * t])

    def end_line(self, iteration: int | None = None) -> None:
        """Ends a line of the history, numbered unless an iteration is given."""
        number = len(self.lines) if iteration is None else iteration
        self.lines.append((number, self.objective, self.bound, self.gap))

    def finish(self, program: Any, status: Status) -> Solution:
        dtype = program.X.dtype
        _, m, width = program.shape
        u, v = _with_sizes(*self.best)
        fewer = _with_sizes(*_independent(self.X, u, v))
        objective, now = self._value(u, v), self._value(*fewer)
        as_good = now <= objective + _ROUNDING * abs(objective)
        if as_good or len(u) > m:
            (u, v), objective = fewer, now
            if status is Status.CONVERGED and not as_good:
                status = Status.STALLED
        ratio = np.sqrt(np.linalg.norm(v, axis=1) / np.linalg.norm(u, axis=1))[:, None]
        params = np.zeros((1, max(m, len(u)), width))
        params[0, : len(u)] = np.hstack([u * ratio, v / ratio])
        multipliers = self.multipliers
        return Solution(
            params=jnp.asarray(params, dtype),
            dual=jnp.asarray(self.dual, dtype),
            multipliers=None
            if multipliers is None
            else jnp.asarray(multipliers, dtype),
            status=jnp.asarray(status, jnp.int32),
            objective=jnp.asarray(objective, dtype),
            dual_bound=jnp.asarray(self.bound, dtype),
            gap=jnp.asarray(self.judged.gap(objective, self.bound), dtype),
            iterations=jnp.asarray(self.lines[-1][0], jnp.int32),
            history=History.of_lines(self.lines, dtype),
            scope=program.scope,
        )


def _with_sizes(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The neurons whose layers' sizes, squared, do not underflow to zero."""
    live = (np.linalg.norm(u, axis=1) > 0) & (np.linalg.norm(v, axis=1) > 0)
    return u[live], v[live]


def _independent(
    X: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same fit by at most n c neurons, sum ||u_j|| ||v_j|| not larger.

    Where sum_j c_j phi_j v_j^T = 0 for some c, neurons go as by `recovery.prune`.
    """
    fits = np.maximum(X @ u.T, 0).T[:, :, None] * v[:, None]  # [m, n, c]
    flat = fits.reshape(len(u), X.shape[0] * v.shape[1]).T  # of no neurons too
    sizes = np.linalg.norm(flat, axis=0)
    if len(u) <= flat.shape[0]:
        return u, v
    active = sizes > 0
    u, v, flat, sizes = u[active], v[active], flat[:, active], sizes[active]
    costs = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1) / sizes
    left = independent(flat / sizes, sizes, costs, _DEPENDENT)
    kept = left > 0
    return u[kept], v[kept] * (left / sizes)[kept, None]
