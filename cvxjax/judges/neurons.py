"""The judge of `forms.neurons`: ReLU neurons with several outputs."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from cvxjax.algebra.rounding import SPECTRAL, lengths, terms_of
from cvxjax.bounds.budget import Budget
from cvxjax.bounds.several_outputs import vector_bound
from cvxjax.judges.judge import GaugeJudge
from cvxjax.judges.relu import every_neuron_bound


@dataclasses.dataclass(frozen=True, kw_only=True)
class NeuronJudge(GaugeJudge):
    """sum_j (X u_j)_+ v_j^T for neurons (u_j, v_j); parameters are [1, m, d + c]."""

    X: np.ndarray  # [n, d], float64
    masks: np.ndarray  # [P, n], bool
    outputs: int
    free_width: ClassVar[bool] = True

    @property
    def reach(self) -> np.ndarray:
        return lengths(self.X)

    @property
    def terms(self) -> int:
        n, d = self.X.shape
        return terms_of(n, n, SPECTRAL * (d + self.outputs))

    def _split(self, params: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        d = self.X.shape[1]
        return params[0, :, :d], params[0, :, d:]

    def predict(self, params: np.ndarray) -> np.ndarray:
        u, v = self._split(params)
        return np.maximum(self.X @ u.T, 0) @ v

    def penalty(self, params: np.ndarray) -> float:
        """sum_j ||u_j|| ||v_j||, without beta."""
        u, v = self._split(params)
        return float(lengths(u) @ lengths(v))

    def violation(self, params: np.ndarray) -> float:
        """The farthest that a neuron is from every listed cell, over max |X u|."""
        if not np.all(np.isfinite(params)):
            return float("inf")
        u, v = self._split(params)
        values = u[np.any(v != 0, axis=1)] @ self.X.T
        size = np.max(np.abs(values), initial=0)
        worst = 0.0
        for row in values:
            short = np.max(np.where(self.masks, -row, row), axis=1, initial=0)
            worst = max(worst, float(np.min(short)))
        return worst / float(size) if worst > 0 else 0.0

    def polar_bound(self, v: np.ndarray, multipliers: np.ndarray | None) -> float:
        """A bound of max ||v^T (X u)_+|| over the listed cells, ||u|| <= 1, v [n, c].

        It is that of `bounds.several_outputs.vector_bound`, and rounding.
        """
        rounding = self.hidden(v)
        return vector_bound(self.X, self.masks, v, multipliers) + rounding

    def rescaled_multipliers(self, multipliers: Any, factor: float) -> Any:
        """Weights N_jl of [P, k, 3] (`bounds.several_outputs`) grow with the square."""
        if multipliers is None or multipliers.shape[-1] != 3:
            return None
        return multipliers * [1, 1, factor**2]

    def covers_every_neuron(self) -> bool:
        """False: with several outputs, `network_bound` is a relaxation."""
        return False

    def network_bound(self, v: np.ndarray, budget: Budget | None = None) -> float:
        """An upper bound of max ||v^T (X u)_+|| over all ||u|| <= 1, v [n, c].

        With outputs rotated until the columns v_k are orthogonal, each |v_k^T (X u)_+|
        has a bound, and the root of the sum of squares bounds all. That adds nothing
        for v of rank one.
        """
        rotated = v @ np.linalg.svd(v, full_matrices=False)[2].T
        budget, left = Budget() if budget is None else budget, rotated.shape[1]
        bounds = []
        for column in rotated.T:
            part = budget.part(1 / left)
            bounds.append(every_neuron_bound(self.X, column, part))
            left -= 1
        rounding = self.hidden(v)
        return float(np.linalg.norm(bounds)) + rounding
