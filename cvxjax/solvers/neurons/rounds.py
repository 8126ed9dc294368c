"""Rounds over neurons with several outputs: the best point, bounds, the solution.

minimise  L(sum_j phi_j v_j^T, Y) + beta sum_j ||u_j|| ||v_j||,  phi_j = (X u_j)_+
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cvxjax.recovery import independent
from cvxjax.solution import Solution, Status
from cvxjax.solvers.rounds import Rounds
from cvxjax.watch import Watch

_ROUNDING = 1e-12  # of an objective, by which fewer neurons of one fit may miss it
_DEPENDENT = 1e-9  # singular value of fits of unit length, over the largest


class NeuronRounds(Rounds):
    """Rounds whose points are sets of neurons, of which the best is kept."""

    def __init__(self, program: Any, solver: Any, watch: Watch) -> None:
        super().__init__(program, solver, watch)
        self.X = np.asarray(program.X, np.float64)
        d, c = self.X.shape[1], self.y.shape[1]
        self.best = np.zeros((0, d)), np.zeros((0, c))

    def residual_of(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Minus the gradient of L at F, [n, c]; Y - F for the squared loss."""
        return -self.loss.gradient(self._fit(u, v), self.y)

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
        fit = float(self.loss.value(self._fit(u, v), self.y))
        return fit + self.beta * float(sizes)

    def offer_residual(
        self, R: np.ndarray, highest: float, multipliers: np.ndarray | None = None
    ) -> float:
        """The bound of the best multiple t R, which is kept if it is the greatest.

        Args:
          R: [n, c].
          highest: a bound of max ||R^T (X u)_+|| over the listed cells, ||u|| <= 1; its
            rounding is added here.
          multipliers: of R in that bound, [P, k, 3]; their weights grow with t^2.
        """
        return self.offer_dual(R, self.rounded(R, highest), multipliers)

    def rounded(self, R: np.ndarray, highest: float) -> float:
        """The highest price of R, with what rounding may have hidden of it."""
        return highest + float(self.judged.rounding(R))

    def finish(self, status: Status, patterns: Any = None) -> Solution:
        """The solution, of as few neurons as have the same predictions."""
        _, m, width = self.program.shape
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
        self.objective = objective
        return self.solution(
            status, params, multipliers=self.multipliers, patterns=patterns
        )


def _with_sizes(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without neurons whose squared norms underflow to zero."""
    live = (np.linalg.norm(u, axis=1) > 0) & (np.linalg.norm(v, axis=1) > 0)
    return u[live], v[live]


def _independent(
    X: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same fit by at most n c neurons, sum ||u_j|| ||v_j|| not larger.

    While sum_j c_j phi_j v_j^T = 0 for some c, moving along c removes a neuron.
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
