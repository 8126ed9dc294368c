"""The judge of blocks in polyhedral cones, in float64 NumPy.

Nothing here calls the JAX side, so that a mistake there cannot certify itself.
"""

from __future__ import annotations

import abc
import dataclasses

import numpy as np
import scipy

from cvxjax.algebra.exact_products import combination
from cvxjax.algebra.rounding import gamma, gauge_rounding, lengths, pulled, terms_of
from cvxjax.judges.judge import GaugeJudge, lower_worst

_NEGLIGIBLE = 1e-10  # share of a price; larger rounding calls for an exact sum
_LIFTS = 54  # attempts to move into a cone, each twice as far: the bits of a float64


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConeJudge(GaugeJudge):
    """sum_b F_b w_b and cones A_b w_b >= 0, for S P blocks b = (s, i) in [S, P, d].

    Subclasses have the matrices F_b, and A_i, which both signs share. A chunk is a
    slice of the P patterns, k of them, that is worked on at a time.
    """

    interior: np.ndarray | None  # [P, d]; None: no cones

    @property
    @abc.abstractmethod
    def width(self) -> int:
        """d, the entries of a block."""

    @abc.abstractmethod
    def chunks(self) -> list[slice]:
        """The slices of the P patterns, in order."""

    @abc.abstractmethod
    def adjoint(self, v: np.ndarray) -> np.ndarray:
        """q_b = F_b^T v, [S, P, d]."""

    @abc.abstractmethod
    def maps(self, s: int, i: int, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights [n] and rows [n, d] with q_b = rows^T weights, for b = (s, i)."""

    @abc.abstractmethod
    def cone_rows(self, i: int) -> np.ndarray:
        """A_i, [m, d]."""

    def unit_rows(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """A_i with unit rows [m, d], and the lengths [m] they were divided by."""
        rows = self.cone_rows(i)
        sizes = _positive(lengths(rows))
        return rows / sizes[:, None], sizes

    def row_lengths(self, part: slice) -> np.ndarray:
        """The lengths of the rows of a chunk's A, [m]."""
        return lengths(self.cone_rows(part.start))

    def slacks(self, w: np.ndarray, part: slice) -> np.ndarray:
        """A w for blocks w [..., k, d] of a chunk, [..., k, m]."""
        return w @ self.cone_rows(part.start).T

    def cone_adjoint(self, mu: np.ndarray, part: slice) -> np.ndarray:
        """A^T mu for multipliers mu [..., k, m] of a chunk, [..., k, d]."""
        return mu @ self.cone_rows(part.start)

    def dual_norms(self, q: np.ndarray) -> np.ndarray:
        """R*(q_b) for q [..., d], [...]."""
        return lengths(q)

    def violation(self, params: np.ndarray) -> float:
        # By unit rows, since a long row would hide what short ones miss. Products are
        # divided, not rows, whose direction rounding would change.
        if not np.all(np.isfinite(params)):
            return float("inf")
        if self.interior is None:
            return 0.0
        worst, size = 0.0, 0.0
        for part in self.chunks():
            sizes = _positive(self.row_lengths(part))
            values = self.slacks(params[:, part], part) / sizes
            worst = max(worst, float(-np.min(values, initial=0)))
            size = max(size, float(np.max(np.abs(values), initial=0)))
        return worst / size if worst > 0 else 0.0

    def repair(self, params: np.ndarray, *, keep_predictions: bool) -> np.ndarray:
        """Adds to every non-zero block what it lacks of its cone's interior point.

        With `keep_predictions` the same is added to the block of the other sign. Where
        rounding leaves the sum outside of a thin cone, twice as much is added.
        """
        if self.interior is None:
            return params
        fixed = params.copy()
        for part in self.chunks():
            inner = self.interior[part]
            margin = self.slacks(inner, part)
            safe = np.where(margin > 0, margin, np.inf)
            for doublings in range(_LIFTS):
                values = self.slacks(fixed[:, part], part)
                lift = np.max(np.maximum(-values, 0) / safe, axis=-1, initial=0)
                if keep_predictions:
                    lift = np.broadcast_to(lift.max(axis=0), lift.shape)
                else:
                    lift = lift * np.any(params[:, part] != 0, axis=-1)
                if not np.any(lift > 0):
                    break
                fixed[:, part] += (2.0**doublings * lift)[..., None] * inner
        return fixed

    def polar_bound(self, v: np.ndarray, multipliers: np.ndarray | None) -> float:
        """A rigorous upper bound of max_b max {v^T F w_b : R(w_b) <= 1, A w_b >= 0}.

        For every mu >= 0 the maximum over block b is at most R*(q_b + A_b^T mu), and
        the best mu attains it; for Euclidean norms NNLS finds that. The given
        multipliers are tried first. Then the block of the largest bound gets its best
        ones, until one is the largest that has them already. Bounds on rounding, of
        `algebra.rounding`, are added; a price of which they are a large part is summed
        exactly instead.

        Args:
          v: [n].
          multipliers: [S, P, m], clipped at 0, or None.
        """
        terms, weight = self.terms, pulled(v, self.reach)
        rounding = gauge_rounding(terms, weight)
        blocks = self.adjoint(v)
        norms = self.dual_norms(blocks) + rounding
        if self.interior is None or multipliers is None:
            multipliers = None
        else:
            multipliers = np.where(np.isfinite(multipliers), multipliers, 0)
            multipliers = np.maximum(multipliers, 0)
            for part in self.chunks():
                mu = multipliers[:, part]
                moved = self.dual_norms(blocks[:, part] + self.cone_adjoint(mu, part))
                tried = gauge_rounding(terms, weight + mu @ self.row_lengths(part))
                norms[:, part] = np.minimum(norms[:, part], moved + tried)

        def lowered(s: int, i: int) -> float:
            """The bound by the block's best multipliers, summed exactly if need be."""
            known, given = float(norms[s, i]), []
            if self.interior is not None:
                given = [] if multipliers is None else [multipliers[s, i]]
                mu, least = self.least(blocks[s, i], i, known)
                known = min(known, least + rounding)
                given.append(mu)
            if rounding > _NEGLIGIBLE * known:
                known = min(known, self._exact_price(s, i, v, given))
            return known

        return lower_worst(norms, lowered)

    def least(self, q: np.ndarray, i: int, known: float) -> tuple[np.ndarray, float]:
        """Nearly the best multipliers of a block, and the bound that these give.

        Args:
          q: q_b of the block, [d].
          i: its pattern.
          known: an upper bound of min_{mu >= 0} R*(q + A_i^T mu).

        Returns:
          mu [m], and an upper bound of that minimum.
        """
        rows, sizes = self.unit_rows(i)
        mu, least = _nearest(q, rows)
        return mu / sizes, least

    def _exact_price(
        self, s: int, i: int, v: np.ndarray, multipliers: list[np.ndarray]
    ) -> float:
        """The least R*(q + A_i^T mu) of these mu, of exact sums; inf on overflow."""
        weights, rows = self.maps(s, i, v)
        sums = [combination(weights, rows)]
        if multipliers:
            rows = np.concatenate([rows, self.cone_rows(i)])
            every = [np.concatenate([weights, mu]) for mu in multipliers]
            sums = [combination(weights, rows) for weights in every]
        sums = [q for q in sums if np.all(np.isfinite(q))]
        if not sums:
            return float("inf")
        return float(np.min(self.dual_norms(np.stack(sums)))) * (1 + gamma(self.terms))

    def hidden(self, v: np.ndarray) -> float:
        # Sums that matter are exact; what is left is the rounding of the norm.
        return gauge_rounding(terms_of(0, 0, self.width), pulled(v, self.reach))


def _positive(sizes: np.ndarray) -> np.ndarray:
    """The same lengths, with 1 in place of 0."""
    return np.where(sizes > 0, sizes, 1)


def _nearest(q: np.ndarray, signed: np.ndarray) -> tuple[np.ndarray, float]:
    """mu >= 0 with the least ||q + A^T mu||, by NNLS, and an upper bound of the least.

    Args:
      q: [d].
      signed: A, [m, d], rows of length 1 or 0.
    """
    size = float(lengths(q))
    if size == 0:
        return np.zeros(len(signed)), 0.0
    try:
        mu, _ = scipy.optimize.nnls(signed.T, -q / size)
    except RuntimeError:  # no convergence: any mu >= 0 is a bound, 0 among them
        return np.zeros(len(signed)), size
    terms = terms_of(0, *signed.shape)
    rounding = gauge_rounding(terms, 1 + float(np.sum(mu)))
    return size * mu, size * (float(lengths(q / size + signed.T @ mu)) + rounding)
