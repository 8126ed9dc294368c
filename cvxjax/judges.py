"""Programs over sign cones as the certificate reads them: float64 NumPy, no solver.

Nothing here calls the JAX side, so a mistake there cannot certify itself.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import nnls

from cvxjax.pricing.bounds import neuron_bound
from cvxjax.pricing.exact import MAX_RANK, best_neuron, row_space

_CHUNK_ELEMENTS = 1 << 24
_ROUNDING = 64 * np.finfo(np.float64).eps
_THIN = 1e-11  # what cells that the sweep may pass over add, in units of sum |v| |x|


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignConeJudge:
    """sum_i D_i X (w_0i - w_1i), group norms, and the cones (2 D_i - I) X w >= 0."""

    X: np.ndarray  # [n, d], float64
    masks: np.ndarray  # [P, n], bool
    interior: np.ndarray | None  # [P, d]; None: no cones

    def predict(self, params: np.ndarray) -> np.ndarray:
        """[n]."""
        total = np.zeros(len(self.X))
        for part in self._chunks():
            z = (params[0, part] - params[1, part]) @ self.X.T
            total += np.sum(np.where(self.masks[part], z, 0), axis=0)
        return total

    def penalty(self, params: np.ndarray) -> float:
        """sum ||w_b||, without beta."""
        return float(np.sum(np.linalg.norm(params, axis=-1)))

    def violation(self, params: np.ndarray) -> float:
        """max(-A w, 0) / max|A w| over all blocks; 0 without cones, inf for NaN."""
        if not np.all(np.isfinite(params)):
            return float("inf")
        if self.interior is None:
            return 0.0
        worst, size = 0.0, 0.0
        for part in self._chunks():
            values = self._signed(params[:, part] @ self.X.T, part)
            worst = max(worst, float(-values.min()))
            size = max(size, float(np.abs(values).max()))
        return worst / size if worst > 0 else 0.0

    def repair(self, params: np.ndarray, *, keep_predictions: bool) -> np.ndarray:
        """Moves every non-zero block along its cell's interior point into the cone.

        With `keep_predictions` the block of the other sign moves along, so that the
        predictions stay. Parameters of a float32 solver become exactly feasible.
        """
        if self.interior is None:
            return params
        fixed = params.copy()
        for part in self._chunks():
            inner = self.interior[part]
            margin = self._signed(inner @ self.X.T, part)
            values = self._signed(params[:, part] @ self.X.T, part)
            safe = np.where(margin > 0, margin, np.inf)
            lift = np.max(np.maximum(-values, 0) / safe, axis=-1)
            if keep_predictions:
                lift = np.broadcast_to(lift.max(axis=0), lift.shape)
            else:
                lift = lift * np.any(params[:, part] != 0, axis=-1)
            fixed[:, part] += lift[..., None] * inner
        return fixed

    def match(self, params: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Adds the least change, blocks weighted by their norms, so that F w = y.

        Does nothing where the predictions are y to rounding or y is out of reach.
        """
        weights = np.linalg.norm(params, axis=-1)
        total = weights.sum(axis=0)
        masks = self.masks.astype(np.float64)
        gram = (masks.T @ (total[:, None] * masks)) * (self.X @ self.X.T)
        for _ in range(2):
            miss = y - self.predict(params)
            v = np.linalg.lstsq(gram, miss, rcond=None)[0]
            step = np.where(self.masks, v, 0) @ self.X
            params = params + weights[..., None] * np.stack([step, -step])
        return params

    def polar_bound(self, v: np.ndarray, multipliers: np.ndarray | None) -> float:
        """A rigorous upper bound of max_b max {v^T F w_b : ||w_b|| <= 1, A w_b >= 0}.

        For every mu >= 0 the maximum over block b is at most ||q_b + A_b^T mu||,
        with q_b = +-X^T D_i v, and NNLS over mu attains it. The given multipliers
        are tried first; then the worst block is solved by NNLS until the worst one
        is one that has been solved.

        Args:
          v: [n].
          multipliers: [2, P, n], clipped at 0, or None.
        """
        P = len(self.masks)
        norms = np.empty((2, P))
        blocks = np.empty((2, P, self.X.shape[1]))
        for part in self._chunks():
            g = np.where(self.masks[part], v, 0) @ self.X
            blocks[:, part] = g, -g
            norms[:, part] = np.linalg.norm(blocks[:, part], axis=-1)
            if self.interior is not None and multipliers is not None:
                mu = multipliers[:, part]
                mu = np.where(np.isfinite(mu), np.maximum(mu, 0), 0)
                moved = blocks[:, part] + self._signed(mu, part) @ self.X
                tried = np.linalg.norm(moved, axis=-1)
                norms[:, part] = np.minimum(norms[:, part], tried)
        if self.interior is not None:
            self._solve_worst(norms, blocks)
        rounding = _ROUNDING * np.linalg.norm(v) * np.linalg.norm(self.X)
        return float(norms.max()) + rounding

    def covers_every_neuron(self) -> bool:
        """Whether `network_bound` is exact: rank X <= 3.

        Raises:
          ValueError: for gated networks, which have no neurons but those listed.
        """
        if self.interior is None:
            raise ValueError("want ReLU for a bound over all networks; got gated ReLU")
        return every_neuron_is_covered(self.X)

    def network_bound(self, v: np.ndarray) -> float:
        """A rigorous upper bound of max |v^T (X u)_+| over all neurons ||u|| <= 1.

        Whatever patterns are listed. Exact to rounding where `covers_every_neuron`.

        Args:
          v: [n].

        Raises:
          ValueError: as `covers_every_neuron`.
        """
        self.covers_every_neuron()
        return every_neuron_bound(self.X, v)

    def _solve_worst(self, norms: np.ndarray, blocks: np.ndarray) -> None:
        """Replaces the largest bounds by exact ones, in place."""
        lengths = np.linalg.norm(self.X, axis=1)
        rows = self.X / np.where(lengths > 0, lengths, 1)[:, None]
        exact = np.zeros(norms.shape, bool)
        while True:
            s, i = np.unravel_index(np.argmax(norms), norms.shape)
            if exact[s, i]:
                return
            exact[s, i] = True
            signed = np.where(self.masks[i][:, None], rows, -rows)
            norms[s, i] = min(norms[s, i], cone_distance(blocks[s, i], signed))

    def _signed(self, values: np.ndarray, part: slice) -> np.ndarray:
        return np.where(self.masks[part], values, -values)

    def _chunks(self) -> list[slice]:
        P, n = self.masks.shape
        size = max(1, _CHUNK_ELEMENTS // n)
        return [slice(i, min(i + size, P)) for i in range(0, P, size)]


def every_neuron_is_covered(X: np.ndarray) -> bool:
    """Whether `every_neuron_bound` is exact for X [n, d]: rank X <= 3."""
    return row_space(X).shape[1] <= MAX_RANK


def every_neuron_bound(X: np.ndarray, v: np.ndarray) -> float:
    """A rigorous upper bound of max |v^T (X u)_+| over ||u|| <= 1, for v [n]."""
    if not every_neuron_is_covered(X):
        return max(neuron_bound(X, s * v) for s in (1, -1))
    thin = _THIN * float(np.abs(v) @ np.linalg.norm(X, axis=1))
    return max(best_neuron(X, s * v)[0] for s in (1, -1)) + thin


def cone_distance(q: np.ndarray, signed: np.ndarray) -> float:
    """min_{mu >= 0} ||q + A^T mu|| by NNLS, rounding included upwards."""
    size = np.linalg.norm(q)
    if size == 0:
        return 0.0
    try:
        mu, _ = nnls(signed.T, -q / size)
    except RuntimeError:  # no convergence: any mu >= 0 is a bound, 0 among them
        return float(size)
    return float(size * np.linalg.norm(q / size + signed.T @ mu))
