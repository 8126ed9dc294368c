"""Programs over sign cones as the certificate reads them: float64 NumPy, no solver.

Nothing here calls the JAX side, so a mistake there cannot certify itself.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy

from cvxjax.algebra.exact_products import combination
from cvxjax.algebra.rounding import gamma, gauge_rounding, lengths, pulled, terms_of
from cvxjax.bounds.exact import best_neuron, is_exact, passed_over
from cvxjax.bounds.relaxed import neuron_bound
from cvxjax.judges.judge import GaugeJudge, lower_worst, no_other_neurons

_CHUNK_ELEMENTS = 1 << 24
_PART = 1e-6  # of the largest block: what others may take to reach the labels
NEGLIGIBLE = 1e-10  # share of a price, up to which rounding may be added to it
LIFTS = 54  # into a cone, each of twice what is lacking: by all digits of a number


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignConeJudge(GaugeJudge):
    """sum_i D_i X (w_0i - w_1i), group norms, and the cones (2 D_i - I) X w >= 0."""

    X: np.ndarray  # [n, d], float64
    masks: np.ndarray  # [P, n], bool
    interior: np.ndarray | None  # [P, d]; None: no cones

    @property
    def reach(self) -> np.ndarray:
        """Lengths of the rows, [n]: what each prediction may be for R(w) <= 1."""
        return lengths(self.X)

    @property
    def terms(self) -> int:
        """Of `rounding`, for the price of a block."""
        n, d = self.X.shape
        return terms_of(n, 0 if self.interior is None else n, d)

    def predict(self, params: np.ndarray) -> np.ndarray:
        """[n]."""
        total = np.zeros(len(self.X))
        for part in self._chunks():
            z = (params[0, part] - params[1, part]) @ self.X.T
            total += np.sum(np.where(self.masks[part], z, 0), axis=0)
        return total

    def penalty(self, params: np.ndarray) -> float:
        """sum ||w_b||, without beta."""
        return float(np.sum(lengths(params)))

    def violation(self, params: np.ndarray) -> float:
        """max(-A w, 0) / max|A w| over all blocks, A of unit rows; inf for NaN.

        Among rows of their own lengths, a long one would hide what short ones miss. The
        products are divided, not the rows, which rounding would turn.
        """
        if not np.all(np.isfinite(params)):
            return float("inf")
        if self.interior is None:
            return 0.0
        worst, size, sizes = 0.0, 0.0, positive_lengths(self.X)
        for part in self._chunks():
            values = self._signed(params[:, part] @ self.X.T / sizes, part)
            worst = max(worst, float(-values.min()))
            size = max(size, float(np.abs(values).max()))
        return worst / size if worst > 0 else 0.0

    def repair(self, params: np.ndarray, *, keep_predictions: bool) -> np.ndarray:
        """Moves every non-zero block along its cell's interior point into the cone.

        With `keep_predictions` the block of the other sign moves along, so that the
        predictions stay. Parameters of a float32 solver become exactly feasible. In
        thin cells the point itself is rounded to outside: it is then moved by more.
        """
        if self.interior is None:
            return params
        fixed = params.copy()
        for part in self._chunks():
            inner = self.interior[part]
            margin = self._signed(inner @ self.X.T, part)
            safe = np.where(margin > 0, margin, np.inf)
            for doublings in range(LIFTS):
                values = self._signed(fixed[:, part] @ self.X.T, part)
                lift = np.max(np.maximum(-values, 0) / safe, axis=-1)
                if keep_predictions:
                    lift = np.broadcast_to(lift.max(axis=0), lift.shape)
                else:
                    lift = lift * np.any(params[:, part] != 0, axis=-1)
                if not np.any(lift > 0):
                    break
                fixed[:, part] += (2.0**doublings * lift)[..., None] * inner
        return fixed

    def match(self, params: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Adds the least change, blocks weighted by their norms, so that F w = y.

        Does nothing where the predictions are y to rounding or y is out of reach. Where
        the blocks that are not zero do not reach y, others take a small part.
        """
        weights = lengths(params)
        largest = np.max(weights, initial=0)
        weights = weights / (largest if largest > 0 else 1)
        matched = self._matched(params, y, weights)
        rounding = self.terms * np.finfo(np.float64).eps * np.max(np.abs(y), initial=0)
        if np.max(np.abs(y - self.predict(matched)), initial=0) <= rounding:
            return matched
        wider = self._matched(params, y, weights + _PART)
        reached = np.max(np.abs(y - self.predict(wider)), initial=0) <= rounding
        return wider if reached else matched

    def _matched(
        self, params: np.ndarray, y: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """`match` by blocks of these weights [2, P]."""
        total = weights.sum(axis=0)
        masks = self.masks.astype(np.float64)
        unit = float(np.max(np.abs(self.X), initial=0)) or 1.0
        X = self.X / unit
        gram = (masks.T @ (total[:, None] * masks)) * (X @ X.T)
        for _ in range(2):
            miss = y - self.predict(params)
            v = np.linalg.lstsq(gram, miss, rcond=None)[0]
            step = np.where(self.masks, v, 0) @ X / unit
            params = params + weights[..., None] * np.stack([step, -step])
        return params

    def polar_bound(self, v: np.ndarray, multipliers: np.ndarray | None) -> float:
        """A rigorous upper bound of max_b max {v^T F w_b : ||w_b|| <= 1, A w_b >= 0}.

        For every mu >= 0 the maximum over block b is at most ||q_b + A_b^T mu||,
        with q_b = +-X^T D_i v, and NNLS over mu attains it. The given multipliers
        are tried first; then the worst block is solved by NNLS until the worst one
        is one that has been solved. Rounding is added upwards, as `rounding` derives;
        where it is no small part of a price, that price is summed exactly.

        Args:
          v: [n].
          multipliers: [2, P, n], clipped at 0, or None.
        """
        P = len(self.masks)
        terms, weight = self.terms, pulled(v, self.reach)
        rounding = gauge_rounding(terms, weight)
        norms = np.empty((2, P))
        blocks = np.empty((2, P, self.X.shape[1]))
        for part in self._chunks():
            g = np.where(self.masks[part], v, 0) @ self.X
            blocks[:, part] = g, -g
            norms[:, part] = lengths(blocks[:, part]) + rounding
            if self.interior is not None and multipliers is not None:
                mu = multipliers[:, part]
                mu = np.where(np.isfinite(mu), np.maximum(mu, 0), 0)
                moved = blocks[:, part] + self._signed(mu, part) @ self.X
                tried = gauge_rounding(terms, weight + mu @ self.reach)
                norms[:, part] = np.minimum(norms[:, part], lengths(moved) + tried)
        sizes = positive_lengths(self.X)
        rows, twice = self.X / sizes[:, None], np.concatenate([self.X, self.X])

        def lowered(s: int, i: int) -> float:
            """By the best multipliers of the block, and summed exactly if need be."""
            signs, tried = np.where(self.masks[i], 1.0, -1.0), [np.zeros_like(v)]
            known = float(norms[s, i])
            if self.interior is not None:
                mu, least = nearest(blocks[s, i], signs[:, None] * rows)
                known = min(known, least + rounding)
                tried = [mu / sizes]
                if multipliers is not None:
                    tried.append(np.maximum(multipliers[s, i], 0))
            if rounding <= NEGLIGIBLE * known:
                return known
            own = np.where(self.masks[i], v if s == 0 else -v, 0)
            for mu in tried:
                weights = np.concatenate([own, signs * mu])
                price = lengths(combination(weights, twice)) * (1 + gamma(self.terms))
                known = np.fmin(known, price)
            return known

        return lower_worst(norms, lowered)

    def hidden(self, v: np.ndarray) -> float:
        """What `polar_bound` may come to by rounding alone, that of the multipliers."""
        return gauge_rounding(terms_of(0, 0, self.X.shape[1]), pulled(v, self.reach))

    def covers_every_neuron(self) -> bool:
        """Whether `network_bound` is exact: rank X <= 3.

        Raises:
          ValueError: for gated networks, which have no neurons but those listed.
        """
        if self.interior is None:
            no_other_neurons()
        return every_neuron_is_covered(self.X)

    def network_bound(self, v: np.ndarray) -> float:
        """An upper bound of max |v^T (X u)_+| over all neurons ||u|| <= 1.

        Whatever patterns are listed. Exact to rounding where `covers_every_neuron`.

        Args:
          v: [n].

        Raises:
          ValueError: as `covers_every_neuron`.
        """
        self.covers_every_neuron()
        return every_neuron_bound(self.X, v)

    def _signed(self, values: np.ndarray, part: slice) -> np.ndarray:
        return np.where(self.masks[part], values, -values)

    def _chunks(self) -> list[slice]:
        P, n = self.masks.shape
        size = max(1, _CHUNK_ELEMENTS // n)
        return [slice(i, min(i + size, P)) for i in range(0, P, size)]


def every_neuron_is_covered(X: np.ndarray) -> bool:
    """Whether `every_neuron_bound` is exact for X [n, d]: rank X <= 3."""
    return is_exact(X)


def every_neuron_bound(X: np.ndarray, v: np.ndarray) -> float:
    """An upper bound of max |v^T (X u)_+| over ||u|| <= 1, for v [n].

    For rounding, what `bounds.exact` or `bounds.relaxed` estimate is added, and what
    `rounding` derives for the value of a neuron.
    """
    rounding = gauge_rounding(terms_of(len(X), 0, X.shape[1]), pulled(v, lengths(X)))
    if not every_neuron_is_covered(X):
        return max(neuron_bound(X, s * v) for s in (1, -1)) + rounding
    highest = max(best_neuron(X, s * v)[0] for s in (1, -1))
    return highest + passed_over(X, v) + rounding


def positive_lengths(rows: np.ndarray) -> np.ndarray:
    """The lengths of rows [..., d], 1 for those that are zero."""
    sizes = lengths(rows)
    return np.where(sizes > 0, sizes, 1)


def nearest(q: np.ndarray, signed: np.ndarray) -> tuple[np.ndarray, float]:
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
