"""Upper bounds of a neuron's price on many simplicial cones at once.

On the cone of generators g_1..g_r, every u is a sum of lambda_k g_k with lambda >= 0.
For f(u) = q^T u + sum_i w_i (r_i^T u)_+, the terms with w_i > 0 are convex, and below
the linear function that agrees with them at the generators. Those with w_i < 0 are
below -t_i |w_i| r_i^T u for every t_i in [0, 1]. Hence f(u) <= h^T u on the cone if

    h^T g_k >= c_k(t) = q^T g_k + sum_{w_i > 0} w_i (r_i^T g_k)_+
                        - sum_{w_i < 0} t_i |w_i| r_i^T g_k    for all k,

and ||h|| bounds f on the unit ball. A row whose sign is that of all generators adds no
error: t_i is 1 or 0. The smallest ||h|| over t and h is a quadratic program with bounds
on its variables, solved by an interior-point method for a batch of cones. It is exact
where no r_i^T u with w_i > 0 changes its sign, so that only those must be split.

At the end c_k(t) is computed afresh, and h is moved along the cone's centre until it
satisfies the inequalities with what rounding may hide. So the bound does not depend on
how well the program was solved.

Source: Tuy, Convex Analysis and Global Optimization (1998), for concave envelopes on
simplices; Wright, Primal-Dual Interior-Point Methods (1997).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cvxjax.algebra.rounding import gamma, terms_of
from cvxjax.bounds.rays import Rays

Array = np.ndarray

_MOST = 30  # iterations
_FIRST = 3  # after which cones may be finished
_FINISHED = 0.2  # share of a batch that must be finished before it is made smaller
_CENTRING = 0.1  # of the mean complementarity
_BACK = 0.95  # share of the longest step
_LEAST = 1e-12  # of variables and slacks, relative
_PRECISE = 0.05  # of the bound's distance to its goal: an error to end with


class Parts(NamedTuple):
    """What is known of a batch of B cones."""

    bounds: Array  # [B], inf or nan where rounding left nothing
    points: Array  # [B, r], unit vectors where the majorant is largest, near the cones
    pairs: Array  # [B, 2], the generators between which to split
    shares: Array  # [B], the new one is share g_first + (1 - share) g_second
    inside: Array  # [B, r], the points as sums of generators, with any scale


class Majorant:
    """The bounds for one function; `scale` is its size, in whose units it works."""

    def __init__(self, rays: Rays, scale: float) -> None:
        self.scale = scale
        gain, cost = rays.weights > 0, rays.weights < 0
        self.convex, self.heights = rays.rows[gain], rays.weights[gain] / scale
        self.concave, self.depths = rays.rows[cost], -rays.weights[cost] / scale
        self.slope, self.rank = rays.slope / scale, rays.rows.shape[1]
        self.pulls = self.concave * self.depths[:, None]
        self.upper = np.triu_indices(self.rank)
        self.squares = self.pulls[:, self.upper[0]] * self.pulls[:, self.upper[1]]
        terms = terms_of(len(rays.rows), self.rank, self.rank)
        self.hidden = gamma(terms) * rays.size / scale

    def bound(self, cones: Array, goal: float) -> Parts:
        """Bounds f on cones [B, r, r], with unit generators as columns.

        Args:
          cones: with generators that have no negative products.
          goal: a bound below this ends the work for its cone.
        """
        goal, r = goal / self.scale, self.rank
        rows = np.swapaxes(cones, 1, 2)
        flat = np.ascontiguousarray(rows).reshape(-1, r)
        reach = (flat @ self.convex.T).reshape(len(cones), r, -1)
        others = (flat @ self.concave.T).reshape(len(cones), r, -1)
        values = np.maximum(reach, 0) @ self.heights + rows @ self.slope
        on, off = np.min(others, axis=1) >= 0, np.max(others, axis=1) <= 0
        free = ~(on | off)
        with np.errstate(all="ignore"):
            walls = _inverses(rows)
            start = (
                np.einsum("bik,bk->bi", walls, values) - on.astype(float) @ self.pulls
            )
            h, t = self._solved(start, walls, free, goal)
            weights = np.where(free, t, on) * self.depths
            wanted = values - np.einsum("bki,bi->bk", others, weights) + self.hidden
            short = wanted - np.einsum("bki,bi->bk", rows, h)
            centre = np.sum(rows, axis=1)
            centre /= np.linalg.norm(centre, axis=1, keepdims=True)
            inner = np.einsum("bki,bi->bk", rows, centre)
            h = h + np.max(np.maximum(short, 0) / inner, axis=1)[:, None] * centre
            sizes = np.linalg.norm(h, axis=1)
            points = h / sizes[:, None]
            inside = np.maximum(np.einsum("bik,bi->bk", walls, h), 0)
        inside = np.where(np.isfinite(inside), inside, 0)
        pairs, shares = self._splits(reach, inside)
        sizes *= 1 + gamma(4 * r)
        return Parts(self.scale * sizes, points, pairs, shares, inside)

    def values(self, cones: Array, inside: Array) -> Array:
        """The function that is above f on cones [B, r, r], at points `inside` [B, r].

        It is h^T u for the best t of every point, and what `bound` maximises.
        """
        rows = np.swapaxes(cones, 1, 2)
        heights = np.maximum(rows @ self.convex.T, 0) @ self.heights + rows @ self.slope
        points = np.einsum("bik,bk->bi", cones, inside)
        falls = np.maximum(points @ self.concave.T, 0) @ self.depths
        return self.scale * (np.sum(heights * inside, axis=1) - falls)

    def _splits(self, reach: Array, inside: Array) -> tuple[Array, Array]:
        """The pair of generators whose split lowers the majorant most, at a point.

        Between lambda_k g_k and lambda_l g_l, a row with products of opposite signs
        adds the smaller of them to the error.
        """
        B, r = inside.shape
        scaled = reach * inside[:, :, None]
        up, down = np.maximum(scaled, 0), np.maximum(-scaled, 0)
        best, shares = np.zeros(B), np.full(B, 0.5)
        pairs = np.tile([0, 1], (B, 1))
        for k in range(r):
            for m in range(k + 1, r):
                both = np.minimum(up[:, k], down[:, m]) + np.minimum(
                    down[:, k], up[:, m]
                )
                error = both @ self.heights
                better = error > best
                best[better], pairs[better] = error[better], (k, m)
                first, second = inside[better, k], inside[better, m]
                shares[better] = first / (first + second)
        return pairs, shares

    def _solved(
        self, start: Array, walls: Array, free: Array, goal: float
    ) -> tuple[Array, Array]:
        """min ||h|| over h = start - pulls^T t + walls mu, 0 <= t <= 1, mu >= 0.

        Returns:
          h [B, r] and t [B, number of concave terms], not optimal where ||h|| < goal.
        """
        all_h, all_t = start.copy(), np.full(free.shape, 0.5)
        some = np.any(free, axis=0)
        pulls, squares, size = self.pulls[some], self.squares[some], self.depths[some]
        free, columns = free[:, some].astype(float), np.flatnonzero(some)
        B, r = start.shape
        # Declared, since a type checker does not follow them through the loop.
        index: Array = np.arange(B)
        count: Array = 2 * np.sum(free, axis=1) + r
        t: Array = np.full(free.shape, 0.5)
        mu: Array = np.full((B, r), 0.2)
        low: Array = np.tile(size, (B, 1))
        high: Array = np.tile(size, (B, 1))
        inside: Array = mu + 0.3
        h: Array
        slack: Array
        for k in range(_MOST + 1):
            h = start - (free * t) @ pulls + np.einsum("bik,bk->bi", walls, mu)
            slack = np.sum(free * (t * low + (1 - t) * high), axis=1)
            slack = slack + np.sum(mu * inside, axis=1)
            above = np.linalg.norm(h, axis=1) - goal
            done = ~(above > 0) | (slack < _PRECISE * np.minimum(above, 1))
            if k == _MOST or (k >= _FIRST and np.mean(done) > _FINISHED):
                done |= k == _MOST
                all_h[index[done]] = h[done]
                all_t[np.ix_(index[done], columns)] = t[done]
                if np.all(done):
                    break
                left: Array = ~done
                index, count, t, mu = index[left], count[left], t[left], mu[left]
                low, high, inside = low[left], high[left], inside[left]
                free, walls, start = free[left], walls[left], start[left]
                h, slack = h[left], slack[left]
            middle = _CENTRING * np.maximum(slack / count, _LEAST)[:, None]
            to_low, to_high = middle * size / t, middle * size / (1 - t)
            inverse, walled = free / (low / t + high / (1 - t)), mu / inside
            matrix = np.empty((len(h), r, r))
            matrix[:, self.upper[0], self.upper[1]] = inverse @ squares
            matrix[:, self.upper[1], self.upper[0]] = matrix[
                :, self.upper[0], self.upper[1]
            ]
            matrix += np.eye(r)
            matrix += (walls * walled[:, None]) @ np.swapaxes(walls, 1, 2)
            rise_t = h @ pulls.T + to_low - to_high
            rise_mu = middle / mu - np.einsum("bik,bi->bk", walls, h)
            right = np.einsum("bik,bk->bi", walls, rise_mu * walled)
            move = _solutions(matrix, right - (rise_t * inverse) @ pulls)
            dt = (rise_t + move @ pulls.T) * inverse
            dmu = (rise_mu - np.einsum("bik,bi->bk", walls, move)) * walled
            dlow = free * (to_low - low - low / t * dt)
            dhigh = free * (to_high - high + high / (1 - t) * dt)
            din = middle / mu - inside - inside / mu * dmu
            changes: list[tuple[Array, Array]] = [
                *((t, dt), (1 - t, -dt), (mu, dmu)),
                *((low, dlow), (high, dhigh), (inside, din)),
            ]
            longest: Array = np.maximum.reduce(
                [np.max(-dx / x, axis=1, initial=_BACK) for x, dx in changes]
            )
            a = (_BACK / longest)[:, None]
            t = np.clip(t + a * dt, _LEAST, 1 - _LEAST)
            mu = np.maximum(mu + a * dmu, _LEAST)
            low = np.maximum(low + a * dlow, _LEAST * size)
            high = np.maximum(high + a * dhigh, _LEAST * size)
            inside = np.maximum(inside + a * din, _LEAST)
        return all_h, all_t


def _inverses(matrices: Array) -> Array:
    """Inverses [B, r, r]; nan where there are none."""
    try:
        return np.linalg.inv(matrices)
    except np.linalg.LinAlgError:
        return np.stack([_inverse(matrix) for matrix in matrices])


def _inverse(matrix: Array) -> Array:
    try:
        return np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return np.full_like(matrix, np.nan)


def _solutions(matrices: Array, right: Array) -> Array:
    """matrices^{-1} right, [B, r]; nan where there is none."""
    try:
        return np.linalg.solve(matrices, right[..., None])[..., 0]
    except np.linalg.LinAlgError:
        return np.einsum("bij,bj->bi", _inverses(matrices), right)
