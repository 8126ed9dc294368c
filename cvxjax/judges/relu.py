"""Bounds over every ReLU neuron, listed or not: float64 NumPy, no solver."""

from __future__ import annotations

import abc
from collections.abc import Iterator

import numpy as np

from cvxjax.algebra.rounding import gauge_rounding, lengths, pulled, terms_of
from cvxjax.algebra.row_space import rank_of
from cvxjax.bounds.branching import EASY, MAX_RANK, price
from cvxjax.bounds.budget import Budget
from cvxjax.bounds.duals import improve_dual
from cvxjax.bounds.exact import best_neuron, is_exact, passed_over
from cvxjax.bounds.relaxed import neuron_bound
from cvxjax.judges.judge import GaugeJudge, Priced, Question

_FIRST, _FIRST_EASY = 0.1, 0.5  # shares of the time, for the vector at hand
_WHOLE = 0.6  # share of the rest for a better vector, before the ball is divided
_USUAL = 10.0  # seconds that the whole ball may have in any case, for large rank
_SECONDS, _SHARE = 5.0, 0.4  # the most for a price, and the share of the time


class ReluJudge(GaugeJudge):
    """A judge of neurons u that predict f(u)_s = sum_k (x_sk^T u)_+ of sample s."""

    @abc.abstractmethod
    def neuron_rows(self) -> np.ndarray:
        """x_sk, [n K, d], K rows of each sample; ValueError for gated networks."""
        ...

    def covers_every_neuron(self) -> bool:
        """Whether `network_bound` is exact: rank <= 3 of all rows together."""
        return is_exact(self.neuron_rows())

    def network_bound(self, v: np.ndarray, budget: Budget | None = None) -> float:
        """An upper bound of max |v^T f(u)| over all ||u|| <= 1, v [n].

        Whatever patterns are listed. Exact to rounding where `covers_every_neuron`.
        """
        rows = self.neuron_rows()
        return every_neuron_bound(rows, np.repeat(v, len(rows) // len(v)), budget)

    def network_prices(
        self, asked: Question, known: list[Priced], budget: Budget
    ) -> Iterator[Priced]:
        """The last of the known vectors, where its price is found, else a better one.

        With a price that is much too high, a vector that the relaxation treats better
        than the solver's gives a better bound.
        """
        rows = self.neuron_rows()
        if is_exact(rows) or not known:
            yield from super().network_prices(asked, known, budget)
            return
        v, scale, _ = known[-1]
        K, rank = len(rows) // len(v), rank_of(rows)
        if rank <= MAX_RANK:
            part = budget.part(_FIRST_EASY if rank <= EASY else _FIRST)
            found = price(rows, np.repeat(v, K), part)
            yield Priced(v, scale, found.upper + _rounding(rows, np.repeat(v, K)))
            if found.closed:
                return
        least = _USUAL if rank > MAX_RANK else 0.0
        turned = improve_dual(
            rows,
            asked.y,
            v,
            loss=asked.loss,
            beta=asked.beta,
            budget=Budget(max(_WHOLE * budget.left, min(budget.left, least))),
            division=budget if np.isfinite(budget.seconds) else None,
        )
        rounding = _rounding(rows, np.repeat(turned.vector, K))
        yield Priced(turned.vector, 1.0, turned.price + rounding)


def _rounding(X: np.ndarray, v: np.ndarray) -> float:
    """What rounding may change in a neuron's value, for rows X [n, d] and v [n]."""
    return gauge_rounding(terms_of(len(X), 0, X.shape[1]), pulled(v, lengths(X)))


def every_neuron_bound(
    X: np.ndarray, v: np.ndarray, budget: Budget | None = None
) -> float:
    """An upper bound of max |v^T (X u)_+| over ||u|| <= 1, for v [n].

    Exact for rank X <= 3, and often up to `branching.MAX_RANK`. For rounding, what the
    bounds estimate is added, and what `rounding` derives for the value of a neuron.
    """
    budget = Budget() if budget is None else budget
    rounding = _rounding(X, v)
    if is_exact(X):
        highest = max(best_neuron(X, s * v)[0] for s in (1, -1))
        return highest + passed_over(X, v) + rounding
    least = float("inf")
    if rank_of(X) <= MAX_RANK:
        found = price(X, v, Budget(min(_SECONDS, budget.left * _SHARE)))
        least = found.upper
        if found.closed:
            return least + rounding
    sides = [neuron_bound(X, v, budget=budget.part(0.5))]
    sides.append(neuron_bound(X, -v, budget=budget))
    return min(least, max(sides)) + rounding
