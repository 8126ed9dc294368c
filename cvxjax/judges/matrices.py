"""The judge of `forms.matrices`: gated networks with several outputs."""

from __future__ import annotations

import dataclasses

import numpy as np

from cvxjax.algebra.rounding import SPECTRAL, lengths, terms_of
from cvxjax.bounds.several_outputs import gated_maxima
from cvxjax.judges.judge import GaugeJudge, no_other_neurons


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatedVectorJudge(GaugeJudge):
    """sum_i D_i X V_i and nuclear norms; parameters are V_i^T, [1, P, c, d]."""

    X: np.ndarray  # [n, d], float64
    masks: np.ndarray  # [P, n], bool
    outputs: int

    @property
    def reach(self) -> np.ndarray:
        return lengths(self.X)

    @property
    def terms(self) -> int:
        n, d = self.X.shape
        return terms_of(n, 0, SPECTRAL * (d + self.outputs))

    def predict(self, params: np.ndarray) -> np.ndarray:
        total = np.zeros((len(self.X), params.shape[2]))
        for V, mask in zip(params[0], self.masks, strict=True):
            total += np.where(mask[:, None], self.X @ V.T, 0)
        return total

    def penalty(self, params: np.ndarray) -> float:
        return float(np.sum(np.linalg.svd(params[0], compute_uv=False)))

    def polar_bound(self, v: np.ndarray, multipliers: np.ndarray | None) -> float:
        """max_i ||v^T D_i X||_2 for v [n, c], and the rounding of it."""
        rounding = self.hidden(v)
        return float(np.max(gated_maxima(self.X, self.masks, v))) + rounding

    def covers_every_neuron(self) -> bool:
        no_other_neurons()
