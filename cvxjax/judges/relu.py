"""Bounds over every ReLU neuron, listed or not: float64 NumPy, no solver."""

from __future__ import annotations

import abc

import numpy as np

from cvxjax.algebra.rounding import gauge_rounding, lengths, pulled, terms_of
from cvxjax.bounds.duals import improve_dual
from cvxjax.bounds.exact import best_neuron, is_exact, passed_over
from cvxjax.bounds.relaxed import neuron_bound
from cvxjax.judges.judge import GaugeJudge, Question


class ReluJudge(GaugeJudge):
    """A judge of neurons u that predict f(u)_s = sum_k (x_sk^T u)_+ of sample s."""

    @abc.abstractmethod
    def neuron_rows(self) -> np.ndarray:
        """x_sk, [n K, d], K rows of each sample; ValueError for gated networks."""
        ...

    def covers_every_neuron(self) -> bool:
        """Whether `network_bound` is exact: rank <= 3 of all rows together."""
        return is_exact(self.neuron_rows())

    def network_bound(self, v: np.ndarray) -> float:
        """An upper bound of max |v^T f(u)| over all ||u|| <= 1, v [n].

        Whatever patterns are listed. Exact to rounding where `covers_every_neuron`.
        """
        rows = self.neuron_rows()
        return every_neuron_bound(rows, np.repeat(v, len(rows) // len(v)))

    def improved(self, asked: Question, v: np.ndarray) -> np.ndarray | None:
        """A dual vector that the relaxation treats better, where the bound is one."""
        rows = self.neuron_rows()
        if is_exact(rows):
            return None
        return improve_dual(rows, asked.y, v, loss=asked.loss, beta=asked.beta)


def every_neuron_bound(X: np.ndarray, v: np.ndarray) -> float:
    """An upper bound of max |v^T (X u)_+| over ||u|| <= 1, for v [n].

    Exact for rank X <= 3. For rounding, what `bounds.exact` or `bounds.relaxed`
    estimate is added, and what `rounding` derives for the value of a neuron.
    """
    rounding = gauge_rounding(terms_of(len(X), 0, X.shape[1]), pulled(v, lengths(X)))
    if not is_exact(X):
        return max(neuron_bound(X, s * v) for s in (1, -1)) + rounding
    highest = max(best_neuron(X, s * v)[0] for s in (1, -1))
    return highest + passed_over(X, v) + rounding
