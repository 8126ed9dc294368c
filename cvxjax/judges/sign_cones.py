"""The judge of `forms.sign_cones`: vectors over patterns, with or without cones."""

from __future__ import annotations

import dataclasses

import numpy as np

from cvxjax.algebra.rounding import lengths, terms_of
from cvxjax.judges.cones import ConeJudge
from cvxjax.judges.judge import no_other_neurons
from cvxjax.judges.relu import ReluJudge

_CHUNK_ELEMENTS = 1 << 24
_PART = 1e-6  # of the largest block: the weight that zero blocks get in `match`


@dataclasses.dataclass(frozen=True, kw_only=True)
class SignConeJudge(ReluJudge, ConeJudge):
    """sum_si s D_i X w_si for signs s, group norms, cones (2 D_i - I) X w >= 0."""

    X: np.ndarray  # [n, d], float64
    masks: np.ndarray  # [P, n], bool
    signs: np.ndarray  # [S, P]: 1 and -1; of selected blocks S = 1, 0 for padding

    @property
    def reach(self) -> np.ndarray:
        return lengths(self.X)

    @property
    def width(self) -> int:
        return self.X.shape[1]

    @property
    def terms(self) -> int:
        n, d = self.X.shape
        return terms_of(n, 0 if self.interior is None else n, d)

    def predict(self, params: np.ndarray) -> np.ndarray:
        total = np.zeros(len(self.X))
        for part in self.chunks():
            both = np.sum(self.signs[:, part, None] * params[:, part], axis=0)
            z = both @ self.X.T
            total += np.sum(np.where(self.masks[part], z, 0), axis=0)
        return total

    def penalty(self, params: np.ndarray) -> float:
        return float(np.sum(lengths(params)))

    def match(self, params: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Adds the least change with which F w = y, blocks weighted by their norms.

        Where those that are not zero cannot reach y, the others get a small weight.
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
        """`match` with these weights of blocks, [2, P]."""
        total = np.sum(self.signs**2 * weights, axis=0)
        masks = self.masks.astype(np.float64)
        unit = float(np.max(np.abs(self.X), initial=0)) or 1.0
        X = self.X / unit
        gram = (masks.T @ (total[:, None] * masks)) * (X @ X.T)
        for _ in range(2):
            miss = y - self.predict(params)
            v = np.linalg.lstsq(gram, miss, rcond=None)[0]
            step = np.where(self.masks, v, 0) @ X / unit
            params = params + (self.signs * weights)[..., None] * step
        return params

    def neuron_rows(self) -> np.ndarray:
        """X; ValueError for gated networks, which have no neurons but those listed."""
        if self.interior is None:
            no_other_neurons()
        return self.X

    def adjoint(self, v: np.ndarray) -> np.ndarray:
        parts = [np.where(self.masks[part], v, 0) @ self.X for part in self.chunks()]
        q = np.concatenate(parts)
        return self.signs[..., None] * q

    def maps(self, s: int, i: int, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.where(self.masks[i], self.signs[s, i] * v, 0), self.X

    def cone_rows(self, i: int) -> np.ndarray:
        return np.where(self.masks[i][:, None], self.X, -self.X)

    def row_lengths(self, part: slice) -> np.ndarray:
        return self.reach

    def slacks(self, w: np.ndarray, part: slice) -> np.ndarray:
        return self._signed(w @ self.X.T, part)

    def cone_adjoint(self, mu: np.ndarray, part: slice) -> np.ndarray:
        return self._signed(mu, part) @ self.X

    def _signed(self, values: np.ndarray, part: slice) -> np.ndarray:
        return np.where(self.masks[part], values, -values)

    def chunks(self) -> list[slice]:
        P, n = self.masks.shape
        size = max(1, _CHUNK_ELEMENTS // n)
        return [slice(i, min(i + size, P)) for i in range(0, P, size)]
