"""Programs given by their matrices as the certificate reads them: NumPy, no solver."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy

from cvxjax.algebra.exact_products import combination
from cvxjax.algebra.rounding import (
    SPECTRAL,
    gamma,
    gauge_rounding,
    lengths,
    pulled,
    terms_of,
)
from cvxjax.judges.judge import GaugeJudge, lower_worst
from cvxjax.judges.sign_cones import LIFTS, NEGLIGIBLE, nearest, positive_lengths


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockJudge(GaugeJudge):
    """sum_b s_b F_p w_b, norms of the blocks, and cones A_p w_b >= 0."""

    features: np.ndarray  # [P, n, d], float64
    signs: np.ndarray  # [S]
    norm: str  # "group", "pairs" or "nuclear", of `cvxjax.regularisers`
    shape: tuple[int, int] | None  # of the matrix in a block; "nuclear" only
    rows: np.ndarray | None  # [P, m, d], or shared ones [m, d]; None: no cones
    masks: np.ndarray | None  # [P, m], bool: shared rows change signs where False
    interior: np.ndarray | None  # [P, d]

    @property
    def reach(self) -> np.ndarray:
        """What each prediction may be for R(w) <= 1, from above, [n]."""
        return np.max(lengths(self.features), axis=0)

    @property
    def terms(self) -> int:
        """Of `rounding`, for the price of a block."""
        n, d = self.features.shape[1:]
        walls = 0 if self.rows is None else self.rows.shape[-2]
        size = d if self.norm != "nuclear" else SPECTRAL * sum(self._matrix())
        return terms_of(n, walls, size)

    def predict(self, params: np.ndarray) -> np.ndarray:
        """[n]."""
        both = np.einsum("s,spd->pd", self.signs, params)
        return np.einsum("pnd,pd->n", self.features, both)

    def penalty(self, params: np.ndarray) -> float:
        """R(w), without beta."""
        if self.norm == "nuclear":
            matrices = params.reshape(-1, *self._matrix())
            return float(np.sum(np.linalg.svd(matrices, compute_uv=False)))
        size = 2 if self.norm == "pairs" else params.shape[-1]
        return float(np.sum(lengths(params.reshape(-1, size))))

    def violation(self, params: np.ndarray) -> float:
        """max(-A w, 0) / max|A w| over all blocks, A of unit rows; inf for NaN."""
        if not np.all(np.isfinite(params)):
            return float("inf")
        if self.rows is None:
            return 0.0
        each = range(len(self.features))
        values = [
            self._values(i, params[:, i]) / positive_lengths(self._rows_of(i))
            for i in each
        ]
        worst = max(float(-np.min(v, initial=0)) for v in values)
        size = max(float(np.max(np.abs(v), initial=0)) for v in values)
        return worst / size if worst > 0 else 0.0

    def repair(self, params: np.ndarray, *, keep_predictions: bool) -> np.ndarray:
        """Moves every non-zero block along its interior point into the cone.

        With `keep_predictions` the block of the other sign moves along. Points that
        rounding leaves outside are moved by more.
        """
        if self.rows is None or self.interior is None:
            return params
        fixed = params.copy()
        for i, inner in enumerate(self.interior):
            margin = self._values(i, inner[None])[0]
            safe = np.where(margin > 0, margin, np.inf)
            for doublings in range(LIFTS):
                values = self._values(i, fixed[:, i])
                lift = np.max(np.maximum(-values, 0) / safe, axis=1, initial=0)
                if keep_predictions:
                    lift = np.full_like(lift, lift.max())
                else:
                    lift = lift * np.any(params[:, i] != 0, axis=1)
                if not np.any(lift > 0):
                    break
                fixed[:, i] += (2.0**doublings * lift)[:, None] * inner
        return fixed

    def polar_bound(self, v: np.ndarray, multipliers: np.ndarray | None) -> float:
        """A rigorous upper bound of max_b max {v^T F w_b : R(w_b) <= 1, A w_b >= 0}.

        For every mu >= 0 the maximum over block b is at most R*(q_b + A_b^T mu). The
        given multipliers are tried first; then the worst block is solved for its best
        ones, until the worst is one that has been solved.

        Args:
          v: [n].
          multipliers: [S, P, m], clipped at 0, or None.
        """
        blocks = self.signs[:, None, None] * np.einsum("pnd,n->pd", self.features, v)
        terms, weight = self.terms, pulled(v, self.reach)
        rounding = gauge_rounding(terms, weight)
        norms = self._dual_norms(blocks) + rounding
        if self.rows is not None and multipliers is not None:
            multipliers = np.where(np.isfinite(multipliers), multipliers, 0)
            multipliers = np.maximum(multipliers, 0)
            moved = [
                blocks[:, i] + multipliers[:, i] @ self._rows_of(i)
                for i in range(len(self.features))
            ]
            weights = weight + np.sum(multipliers * lengths(self.rows), axis=-1)
            tried = gauge_rounding(terms, weights)
            moved = self._dual_norms(np.stack(moved, axis=1))
            norms = np.minimum(norms, moved + tried)

        def lowered(s: int, i: int) -> float:
            """By the best multipliers of the block, and summed exactly if need be."""
            known, given = float(norms[s, i]), []
            if self.rows is not None:
                given = [] if multipliers is None else [multipliers[s, i]]
                mu, least = self._least(blocks[s, i], i, known)
                known = min(known, least + rounding)
                given.append(mu)
            if rounding > NEGLIGIBLE * known:
                known = min(known, self._exact_price(s, i, v, given))
            return known

        return lower_worst(norms, lowered)

    def _least(self, q: np.ndarray, i: int, known: float) -> tuple[np.ndarray, float]:
        """Multipliers [m] of block i near the best ones, and an upper bound of theirs.

        Args:
          q: of the block, [d].
          known: an upper bound of min_{mu >= 0} R*(q + A_i^T mu).
        """
        signed = self._rows_of(i)
        sizes = positive_lengths(signed)
        signed = signed / sizes[:, None]
        mu, least = nearest(q, signed)
        if self.norm == "pairs":
            least = _pair_distance(q, signed, known)
        return mu / sizes, least

    def _exact_price(
        self, s: int, i: int, v: np.ndarray, multipliers: list[np.ndarray]
    ) -> float:
        """R*(q + A_i^T mu) for the best of these mu; inf where numbers overflow."""
        weights, rows = self.signs[s] * v, self.features[i]
        sums = [combination(weights, rows)]
        if multipliers:
            rows = np.concatenate([rows, self._rows_of(i)])
            every = [np.concatenate([weights, mu]) for mu in multipliers]
            sums = [combination(weights, rows) for weights in every]
        sums = [q for q in sums if np.all(np.isfinite(q))]
        if not sums:
            return float("inf")
        least = np.min(self._dual_norms(np.stack(sums)[None]))
        return float(least) * (1 + gamma(self.terms))

    def hidden(self, v: np.ndarray) -> float:
        """What `polar_bound` may come to by rounding alone, that of the multipliers."""
        return gauge_rounding(
            terms_of(0, 0, self.features.shape[2]), pulled(v, self.reach)
        )

    def _matrix(self) -> tuple[int, int]:
        if self.shape is None:
            raise ValueError("want the shape of the matrix in a block; got None")
        return self.shape

    def _dual_norms(self, q: np.ndarray) -> np.ndarray:
        """[S, P] of [S, P, d]."""
        if self.norm == "nuclear":
            matrices = q.reshape(*q.shape[:-1], *self._matrix())
            return np.linalg.svd(matrices, compute_uv=False)[..., 0]
        if self.norm == "pairs":
            pairs = q.reshape(*q.shape[:-1], -1, 2)
            return np.max(lengths(pairs), axis=-1)
        return lengths(q)

    def _rows_of(self, i: int) -> np.ndarray:
        """A_i, [m, d]."""
        assert self.rows is not None
        if self.masks is None:
            return self.rows[i]
        return np.where(self.masks[i][:, None], self.rows, -self.rows)

    def _values(self, i: int, w: np.ndarray) -> np.ndarray:
        """A_i w, [k, m] of [k, d]."""
        return w @ self._rows_of(i).T


def _pair_distance(q: np.ndarray, signed: np.ndarray, known: float) -> float:
    """An upper bound of min_{mu >= 0} max_k ||(q + A^T mu)_pair k||, near the minimum.

    With rounding upwards.

    In t and mu: minimise t where t^2 >= ||.||^2 for every pair, by SLSQP from several
    starts, since it may end early; whatever mu it ends at gives a bound.
    """
    size = float(lengths(q))
    if size == 0:
        return 0.0
    q = q / size
    terms = terms_of(0, *signed.shape)
    pairs = lambda mu: (q + mu @ signed).reshape(-1, 2)  # noqa: E731
    worst = lambda mu: float(np.max(np.linalg.norm(pairs(mu), axis=1)))  # noqa: E731
    groups = signed.reshape(len(signed), -1, 2)

    def room(x: np.ndarray) -> np.ndarray:
        return x[0] ** 2 - np.sum(pairs(x[1:]) ** 2, axis=1)

    def slope(x: np.ndarray) -> np.ndarray:
        inner = -2 * np.einsum("mkj,kj->km", groups, pairs(x[1:]))
        return np.hstack([np.full((len(inner), 1), 2 * x[0]), inner])

    least = worst(np.zeros(len(signed)))
    for first in (
        scipy.optimize.nnls(signed.T, -q)[0],
        np.full(len(signed), 0.1),
        np.zeros(len(signed)),
    ):
        result = scipy.optimize.minimize(
            lambda x: x[0],
            np.append(worst(first), first),
            jac=lambda x: np.eye(len(x))[0],
            bounds=[(0, None)] * (1 + len(signed)),
            constraints={"type": "ineq", "fun": room, "jac": slope},
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        )
        mu = np.maximum(np.nan_to_num(result.x[1:]), 0)
        rounding = gauge_rounding(terms, 1 + float(np.sum(mu)))
        least = min(least, worst(mu) + rounding)
    return min(known, size * least)
