"""The judge of `forms.pairs`: pairs of PSD matrices.

Prices are maxima over PSD matrices, which a few eigenvalues bound rigorously.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import scipy

from cvxjax.algebra.rounding import SPECTRAL, lengths, terms_of
from cvxjax.bounds.budget import Budget
from cvxjax.judges.judge import GaugeJudge

_STEPS = 60  # of an interior-point method
_CHUNK = 1 << 24  # numbers of a temporary


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpectralJudge(GaugeJudge):
    """sum_k <F_ik, Z+_tk - Z-_tk> with PSD Z+_b, Z-_b; parameters are [2, B, q, q].

    Fields are those of `forms.pairs.SpectralProgram`.
    """

    X: np.ndarray  # [n, d] or patches [n, K, h], float64
    hadamard: np.ndarray  # [q, q]
    shift: float
    pool: int
    lifted: bool
    outputs: int | None  # None: predictions [n]
    norm: str  # "unit neurons", "trace" or "constant diagonal", of `cvxjax.spectra`

    @property
    def reach(self) -> np.ndarray:
        # |<F_i, Z>| is at most the spectral norm of F_i times the trace of Z, which is
        # R, 2 R for unit neurons, and q R for constant diagonals.
        patches = lengths(self.X) ** 2 + self.lifted
        largest = patches if self.X.ndim == 2 else np.max(patches, axis=1)
        size = np.max(np.abs(self.hadamard)) * largest + abs(self.shift)
        traces = {"unit neurons": 2, "constant diagonal": len(self.hadamard)}
        return traces.get(self.norm, 1) * size

    @property
    def terms(self) -> int:
        rows = self.X.size // self.X.shape[-1]
        return terms_of(rows, 0, SPECTRAL * len(self.hadamard))

    def predict(self, params: np.ndarray) -> np.ndarray:
        D = params[0] - params[1]
        D = (D + np.swapaxes(D, 1, 2)) / 2
        q, count = D.shape[-1], self.outputs or 1
        D = D.reshape(count, -1, q, q)
        n, W = len(self.X), D.shape[1]
        f = np.zeros((n, count))
        for part in self._parts():
            for k in range(W):
                rows = self._rows(part, k)  # [m, p, q]
                for t in range(count):
                    left = rows @ (self.hadamard * D[t, k])
                    total = np.sum(left * rows, axis=(1, 2)) / rows.shape[1]
                    f[part, t] += total + self.shift * np.trace(D[t, k])
        return f if self.outputs is not None else f[:, 0]

    def penalty(self, params: np.ndarray) -> float:
        if self.norm == "unit neurons":
            return float(np.sum(params[..., -1, -1]))
        trace = float(np.sum(np.trace(params, axis1=2, axis2=3)))
        return trace / params.shape[-1] if self.norm == "constant diagonal" else trace

    def violation(self, params: np.ndarray) -> float:
        """The most that w misses to be symmetric, PSD, and to meet R's equations.

        Relative to the largest entry; 0 up to rounding, inf for NaN.
        """
        if not np.all(np.isfinite(params)):
            return float("inf")
        size = float(np.max(np.abs(params), initial=0))
        if size == 0:
            return 0.0
        turned = np.swapaxes(params, 2, 3)
        least = float(np.min(np.linalg.eigvalsh((params + turned) / 2)))
        worst = max(-least, float(np.max(np.abs(params - turned))))
        diagonals = np.diagonal(params, axis1=2, axis2=3)
        if self.norm == "unit neurons":
            miss = np.sum(diagonals[..., :-1], axis=-1) - diagonals[..., -1]
            worst = max(worst, float(np.max(np.abs(miss))))
        elif self.norm == "constant diagonal":
            total = np.sum(diagonals, axis=0)
            worst = max(worst, float(np.max(total) - np.min(total)))
        floor = 8 * params.shape[-1] * np.finfo(np.float64).eps
        return max(0.0, worst / size) if worst / size > floor else 0.0

    def repair(self, params: np.ndarray, *, keep_predictions: bool) -> np.ndarray:
        """PSD matrices near `params` that meet R's equations; `params` if they do."""
        if not np.all(np.isfinite(params)) or self.violation(params) == 0:
            return params
        fixed = (params + np.swapaxes(params, 2, 3)) / 2
        values, vectors = np.linalg.eigh(fixed)
        values = np.maximum(values, 0)
        fixed = np.einsum("sbij,sbj,sbkj->sbik", vectors, values, vectors)
        d = fixed.shape[-1] - 1
        diagonals = np.diagonal(fixed, axis1=2, axis2=3)
        add = np.zeros(diagonals.shape)
        if self.norm == "unit neurons":
            over = np.sum(diagonals[..., :-1], axis=-1) - diagonals[..., -1]
            add[..., :-1] = (np.maximum(-over, 0) / max(d, 1))[..., None]
            add[..., -1] = np.maximum(over, 0)
        elif self.norm == "constant diagonal":
            total = np.sum(diagonals, axis=0)
            add += (np.max(total) - total) / 2
        return fixed + add[..., None] * np.eye(d + 1)

    def polar_bound(self, v: np.ndarray, multipliers: np.ndarray | None) -> float:
        """An upper bound of max {v^T f : R <= 1}, exact to rounding, which is added.

        Args:
          v: [n], or [n, outputs].
          multipliers: not used, since the maximum itself is found.
        """
        best = 0.0
        for column in v.reshape(len(v), -1).T:
            for S in self._pull(column):
                best = max(best, self._gauge(S))
        return best + self.hidden(v)

    def covers_every_neuron(self) -> bool:
        return True  # there are no patterns: every network is a point of the program

    def network_bound(self, v: np.ndarray, budget: Budget | None = None) -> float:
        return self.polar_bound(v, None)

    def _gauge(self, S: np.ndarray) -> float:
        if self.norm == "unit neurons":
            return max(sphere_maximum(S), sphere_maximum(-S))
        if self.norm == "trace":
            return float(np.max(np.abs(np.linalg.eigvalsh(S))))
        return dominating_trace(S)

    def _parts(self) -> list[slice]:
        size = max(1, _CHUNK // max(1, self.X[0].size))
        return [slice(k, k + size) for k in range(0, len(self.X), size)]

    def _rows(self, part: slice, window: int) -> np.ndarray:
        """The rows r_l of some samples in one window, [samples, patches, q]."""
        patches = self.X[part]
        if patches.ndim == 2:
            patches = patches[:, None]
        else:
            patches = patches[:, window * self.pool : (window + 1) * self.pool]
        if not self.lifted:
            return patches
        return np.concatenate([patches, np.ones((*patches.shape[:2], 1))], axis=2)

    def _pull(self, v: np.ndarray) -> np.ndarray:
        """sum_i v_i F_ik, [W, q, q]."""
        q = len(self.hadamard)
        W = 1 if self.X.ndim == 2 else self.X.shape[1] // self.pool
        sums = np.zeros((W, q, q))
        for part in self._parts():
            for k in range(W):
                rows = self._rows(part, k)
                weights = np.repeat(v[part] / rows.shape[1], rows.shape[1])
                flat = rows.reshape(-1, q)
                sums[k] += self.hadamard * ((flat * weights[:, None]).T @ flat)
        return sums + self.shift * np.sum(v) * np.eye(q)


def sphere_maximum(Q: np.ndarray) -> float:
    """An upper bound of max {[u; 1]^T Q [u; 1] : ||u|| = 1}, exact to rounding.

    Let a_i be the eigenvalues of the first block of Q, g the last column in terms of
    its eigenvectors, and c the corner. Then nu + sum_i g_i^2 / (nu - a_i) + c is a
    bound for any nu > max a_i, and the maximum where sum_i g_i^2 / (nu - a_i)^2 = 1.

    Args:
      Q: [d + 1, d + 1], symmetric.
    """
    values, vectors = np.linalg.eigh(Q[:-1, :-1])
    g = vectors.T @ Q[:-1, -1]
    eps, size = np.finfo(np.float64).eps, float(np.max(np.abs(values)))
    live = np.abs(g) > eps**2 * size  # what is smaller underflows, squared
    g, values, top = g[live], values[live], float(values[-1])
    corner = float(Q[-1, -1])
    bound = lambda nu: nu + float(np.sum(g * g / (nu - values))) + corner  # noqa: E731
    if not live.any():
        return top + corner
    short = lambda nu: 1 / float(np.linalg.norm(g / (nu - values))) - 1  # noqa: E731
    gap = 4 * float(eps) * size  # nu + gap is another number
    low = max(top + gap, float(values[-1] + abs(g[-1])) if values[-1] == top else top)
    high = top + float(np.linalg.norm(g)) * (1 + 1e-12) + gap
    if short(low) >= 0 or low >= high:  # the norm is below one already
        return bound(max(low, top + gap))
    root: Any = scipy.optimize.brentq(short, low, high, xtol=1e-300)
    return bound(float(root))


def dominating_trace(S: np.ndarray) -> float:
    """An upper bound of min {sum(t) : -Diag(t) <= S <= Diag(t)}, in the PSD order.

    Primal-dual interior-point steps for this and max {<S, X - Y> : diag(X + Y) = 1,
    X, Y >= 0}. Each t is made feasible, and the least sum is returned.

    Source: Helmberg, Rendl, Vanderbei & Wolkowicz (1996).
    """
    size, q = float(np.max(np.abs(np.linalg.eigvalsh(S)))), len(S)
    if size == 0:
        return 0.0
    S = S / size
    slacks = lambda t: [np.diag(t) - S, np.diag(t) + S]  # noqa: E731
    t, X, best = np.full(q, 1.5), [np.eye(q) / 2] * 2, np.inf
    for _ in range(_STEPS):
        sides = slacks(t)
        least = min(float(np.linalg.eigvalsh(T)[0]) for T in sides)
        best = min(best, float(np.sum(t)) + q * max(0.0, -least))
        # Not sum(t) - <S, X - Y>: rounding moves the diagonals, and then their sum too.
        gap = sum(float(np.sum(x * T)) for x, T in zip(X, sides, strict=True))
        if gap <= 1e-13 * best or least <= 0:
            break
        try:
            t, X = _step(S, t, X, 0.1 * gap / (2 * q))
        except np.linalg.LinAlgError:  # the precision's floor
            break
    return size * best


def _step(
    S: np.ndarray, t: np.ndarray, X: list[np.ndarray], mu: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """One interior-point step of `dominating_trace` towards the parameter mu."""
    slacks = [np.diag(t) - S, np.diag(t) + S]
    inverses = [np.linalg.inv(T) for T in slacks]
    slope = 1 - mu * sum(np.diagonal(T) for T in inverses)
    curvature = sum(x * T for x, T in zip(X, inverses, strict=True))
    dt = -np.linalg.solve(curvature, slope)
    moves = []
    for x, T in zip(X, inverses, strict=True):
        turn = (x * dt) @ T
        moves.append(mu * T - x - (turn + turn.T) / 2)
    ahead = t + min(_room(T, np.diag(dt)) for T in slacks) * dt
    share = min(_room(x, dx) for x, dx in zip(X, moves, strict=True))
    return ahead, [x + share * dx for x, dx in zip(X, moves, strict=True)]


def _room(point: np.ndarray, move: np.ndarray) -> float:
    """The share of a move, at most 1, that keeps `point` + `move` positive definite."""
    least = float(scipy.linalg.eigh(move, point, eigvals_only=True)[0])
    return min(1.0, 0.95 / max(-least, 1e-300))
