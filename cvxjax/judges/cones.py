"""Blocks in polyhedral cones as the certificate reads them: float64 NumPy, no solver.

Nothing here calls the JAX side, so a mistake there cannot certify itself.
"""

from __future__ import annotations

import abc
import dataclasses

import numpy as np
import scipy

from cvxjax.algebra.exact_products import combination
from cvxjax.algebra.rounding import gamma, gauge_rounding, lengths, pulled, terms_of
from cvxjax.judges.judge import GaugeJudge, lower_worst

_NEGLIGIBLE = 1e-10  # share of a price, up to which rounding may be added to it
_LIFTS = 54  # into a cone, each of twice what is lacking: by all digits of a number


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConeJudge(GaugeJudge):
    """sum_b F_b w_b and the cones A_b w_b >= 0, of S P blocks: S signs, P matrices.

    Subclasses have the matrices, and say how many are taken at a time.
    """

    interior: np.ndarray | None  # [P, d]; None: no cones

    @property
    @abc.abstractmethod
    def width(self) -> int:
        """d, entries of a block."""
        ...

    @abc.abstractmethod
    def chunks(self) -> list[slice]:
        """Of the P matrices, those taken at a time."""
        ...

    @abc.abstractmethod
    def pull(self, v: np.ndarray) -> np.ndarray:
        """q_b = F_b^T v, [S, P, d]."""
        ...

    @abc.abstractmethod
    def maps(self, s: int, i: int, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights [n] and rows [n, d] of a block's sum q_b."""
        ...

    @abc.abstractmethod
    def walls(self, i: int) -> np.ndarray:
        """A_i, [m, d]."""
        ...

    def unit_walls(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """A_i of unit rows, [m, d], and what they were divided by, [m]."""
        rows = self.walls(i)
        sizes = _positive(lengths(rows))
        return rows / sizes[:, None], sizes

    def wall_lengths(self, part: slice) -> np.ndarray:
        """Of the rows of a chunk's A, [m] for all."""
        return lengths(self.walls(part.start))

    def slacks(self, w: np.ndarray, part: slice) -> np.ndarray:
        """A w of a chunk, [..., k, m] of [..., k, d]."""
        return w @ self.walls(part.start).T

    def turned(self, mu: np.ndarray, part: slice) -> np.ndarray:
        """A^T mu of a chunk, [..., k, d] of [..., k, m]."""
        return mu @ self.walls(part.start)

    def dual_norms(self, q: np.ndarray) -> np.ndarray:
        """R*(q_b), [...] of [..., d]."""
        return lengths(q)

    def violation(self, params: np.ndarray) -> float:
        """max(-A w, 0) / max|A w| over all blocks, A of unit rows; inf for NaN.

        Among rows of their own lengths, a long one would hide what short ones miss. The
        products are divided, not the rows, which rounding would turn.
        """
        if not np.all(np.isfinite(params)):
            return float("inf")
        if self.interior is None:
            return 0.0
        worst, size = 0.0, 0.0
        for part in self.chunks():
            sizes = _positive(self.wall_lengths(part))
            values = self.slacks(params[:, part], part) / sizes
            worst = max(worst, float(-np.min(values, initial=0)))
            size = max(size, float(np.max(np.abs(values), initial=0)))
        return worst / size if worst > 0 else 0.0

    def repair(self, params: np.ndarray, *, keep_predictions: bool) -> np.ndarray:
        """Moves every non-zero block along its interior point into the cone.

        With `keep_predictions` the block of the other sign moves along, so that the
        predictions stay. Parameters of a float32 solver become exactly feasible. In
        thin cones the point itself is rounded to outside: it is then moved by more.
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
        NNLS over mu attains it for Euclidean norms. The given multipliers are tried
        first; then the worst block is solved for its best ones, until the worst one is
        one that has been solved. Rounding is added upwards, as `rounding` derives;
        where it is no small part of a price, that price is summed exactly.

        Args:
          v: [n].
          multipliers: [S, P, m], clipped at 0, or None.
        """
        terms, weight = self.terms, pulled(v, self.reach)
        rounding = gauge_rounding(terms, weight)
        blocks = self.pull(v)
        norms = self.dual_norms(blocks) + rounding
        if self.interior is None or multipliers is None:
            multipliers = None
        else:
            multipliers = np.where(np.isfinite(multipliers), multipliers, 0)
            multipliers = np.maximum(multipliers, 0)
            for part in self.chunks():
                mu = multipliers[:, part]
                moved = self.dual_norms(blocks[:, part] + self.turned(mu, part))
                tried = gauge_rounding(terms, weight + mu @ self.wall_lengths(part))
                norms[:, part] = np.minimum(norms[:, part], moved + tried)

        def lowered(s: int, i: int) -> float:
            """By the best multipliers of the block, and summed exactly if need be."""
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
        """Multipliers [m] of block i near the best ones, and an upper bound of theirs.

        Args:
          q: of the block, [d].
          known: an upper bound of min_{mu >= 0} R*(q + A_i^T mu).
        """
        rows, sizes = self.unit_walls(i)
        mu, least = _nearest(q, rows)
        return mu / sizes, least

    def _exact_price(
        self, s: int, i: int, v: np.ndarray, multipliers: list[np.ndarray]
    ) -> float:
        """R*(q + A_i^T mu) for the best of these mu; inf where numbers overflow."""
        weights, rows = self.maps(s, i, v)
        sums = [combination(weights, rows)]
        if multipliers:
            rows = np.concatenate([rows, self.walls(i)])
            every = [np.concatenate([weights, mu]) for mu in multipliers]
            sums = [combination(weights, rows) for weights in every]
        sums = [q for q in sums if np.all(np.isfinite(q))]
        if not sums:
            return float("inf")
        return float(np.min(self.dual_norms(np.stack(sums)))) * (1 + gamma(self.terms))

    def hidden(self, v: np.ndarray) -> float:
        """What `polar_bound` may come to by rounding alone, that of the multipliers."""
        return gauge_rounding(terms_of(0, 0, self.width), pulled(v, self.reach))


def _positive(sizes: np.ndarray) -> np.ndarray:
    """Lengths, 1 for those that are zero."""
    return np.where(sizes > 0, sizes, 1)


def _nearest(q: np.ndarray, signed: np.ndarray) -> tuple[np.ndarray, float]:
    """mu >= 0 of the least ||q + A^T mu||, by NNLS, and an upper bound of that.

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
