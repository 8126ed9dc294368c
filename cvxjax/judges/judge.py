"""What judges share: a question, its bounds, and the answer by weak duality.

For v with max {v^T F w : R(w) <= 1, A w >= 0} <= beta,

    -L*(-v) <= optimum <= L(F w, y) + beta R(w)   for every feasible w,

and scaling any v into that set makes it a rigorous lower bound. With the maximum over
all neurons in place of the listed patterns, it bounds every network. `GaugeJudge` has
this for every form whose penalty is a gauge; another form brings a `bounds` of its own.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

import numpy as np

from cvxjax.algebra.rounding import gauge_rounding, pulled
from cvxjax.bounds.multiples import dual_value, scaled_dual

if TYPE_CHECKING:
    from cvxjax.interfaces import Loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """A solution and its problem, in float64 NumPy."""

    loss: Loss
    y: np.ndarray  # [n], or [n, c]
    beta: float
    params: Any  # one array, or a tree of arrays
    dual: np.ndarray  # of y's shape
    multipliers: np.ndarray | None  # of the cones
    every_network: bool  # whether the lower bound is to hold for all of them
    eps: float  # relative violation of one operation, up to which points are inside


class Bounds(NamedTuple):
    """What a judge finds of a question."""

    primal: float  # the objective of the parameters, repaired; inf if they stay outside
    dual: float  # a lower bound of the optimum
    vector: np.ndarray  # of y's shape: whose bound it is, as it was scaled
    violation: float  # of the parameters as they came, relative to their size


class GaugeJudge(abc.ABC):
    """A judge of a gauge R, by one dual vector; subclasses have the maps.

    Without cones there is nothing to violate or to repair; and without other patterns,
    no bound over all networks.
    """

    free_width: ClassVar[bool] = False  # neurons of any number, certified as they are

    @property
    @abc.abstractmethod
    def reach(self) -> np.ndarray:
        """The most that prediction i can be for R(w) <= 1, from above, [n]."""
        ...

    @property
    @abc.abstractmethod
    def terms(self) -> int:
        """Of `rounding.terms_of`: how many roundings a block's price may hold."""
        ...

    @abc.abstractmethod
    def predict(self, params: Any) -> np.ndarray:
        """F w, of y's shape."""
        ...

    @abc.abstractmethod
    def penalty(self, params: Any) -> float:
        """R(w), without beta."""
        ...

    @abc.abstractmethod
    def polar_bound(self, v: np.ndarray, multipliers: np.ndarray | None) -> float:
        """An upper bound of max {v^T F w : R(w) <= 1, A w >= 0}, rounding included."""
        ...

    def violation(self, params: Any) -> float:
        """0, since there are no cones; inf for NaN."""
        return 0.0 if np.isfinite(self.penalty(params)) else float("inf")

    def repair(self, params: Any, *, keep_predictions: bool) -> Any:
        """The same parameters."""
        return params

    def match(self, params: Any, y: np.ndarray) -> Any:
        """Does nothing: no loss of these programs is a constraint."""
        return params

    def hidden(self, v: np.ndarray) -> float:
        """What `polar_bound` may come to by rounding alone."""
        return gauge_rounding(self.terms, pulled(v, self.reach))

    def rescaled_multipliers(self, multipliers: Any, factor: float) -> Any:
        """Those of a dual vector that is `factor` times larger."""
        return None if multipliers is None else factor * multipliers

    def covers_every_neuron(self) -> bool:
        """Whether `network_bound` is exact; ValueError where there is none."""
        raise ValueError(
            "want scope SAMPLED or EXHAUSTIVE: there is no bound over the networks of "
            "other patterns for this program"
        )

    def network_bound(self, v: np.ndarray) -> float:
        """An upper bound of `polar_bound` for every list of patterns."""
        return float(self.covers_every_neuron())

    def improved(self, asked: Question, v: np.ndarray) -> np.ndarray | None:
        """A dual vector with a better `network_bound` than v, where one is sought."""
        return None

    def bounds(self, asked: Question) -> Bounds:
        """The better of the dual vector and of minus the loss's gradient, scaled.

        Each until a rigorous bound of its polar gauge is at most beta, less what
        rounding may have added. Over every network, where that bound is a relaxation, a
        dual vector is sought that it treats well.
        """
        loss, y = asked.loss, asked.y
        violation = self.violation(asked.params)
        primal, predictions = self._primal(asked)
        candidates = [asked.dual]
        if loss.smoothness is not None:
            candidates.append(-loss.gradient(predictions, y))
        candidates = [
            -loss.clip_dual(-v, y) for v in candidates if np.all(np.isfinite(v))
        ]
        if asked.every_network and candidates and candidates[-1].any():
            better = self.improved(asked, candidates[-1])
            if better is not None:
                candidates = [candidates[-1], -loss.clip_dual(-better, y)]
        best, vector = dual_value(loss, 0 * y, y), 0 * y
        for v in filter(np.any, candidates):
            unit = 2.0 ** np.floor(np.log2(np.max(np.abs(v))))  # none underflows
            if asked.every_network:
                price = self.network_bound(v / unit)
            else:
                mu = self.rescaled_multipliers(asked.multipliers, 1 / unit)
                price = self.polar_bound(v / unit, mu)
            value, t = scaled_dual(loss, v / unit, y, asked.beta, price, start=unit)
            if value > best:
                best, vector = value, t * (v / unit)
        return Bounds(primal=primal, dual=best, vector=vector, violation=violation)

    def _primal(self, asked: Question) -> tuple[float, np.ndarray]:
        """The objective of the parameters, repaired if outside, and their predictions.

        Outside is a violation above eps times the operations that it takes. What is
        less is not repaired, which may take a long way in a cell that is as thin.
        """
        loss, y, params = asked.loss, asked.y, asked.params
        if loss.constraint == "equality" and np.isfinite(self.penalty(params)):
            params = self.match(params, y)
        least = min(asked.eps, float(np.finfo(float).eps))
        if self.violation(params) > self.terms * least:
            params = self.repair(params, keep_predictions=loss.constraint is not None)
        predictions, penalty = self.predict(params), self.penalty(params)
        if loss.constraint == "margin" and np.min(y * predictions) > 0:
            scale = 1 / np.min(y * predictions)
            predictions, penalty = scale * predictions, scale * penalty
        value = float(loss.value(predictions, y)) + asked.beta * penalty
        inside = self.violation(params) <= self.terms * asked.eps
        return (value if inside else float("inf")), predictions


def no_other_neurons() -> NoReturn:
    """Of gated networks, which have no neurons but those listed."""
    raise ValueError("want ReLU for a bound over all networks; got gated ReLU")


def lower_worst(norms: np.ndarray, lowered: Callable[[int, int], float]) -> float:
    """The largest of bounds [S, P], after the largest were replaced by lower ones.

    Args:
      norms: changed in place.
      lowered: another bound of block (s, i), asked once for each that is the largest.
    """
    solved = np.zeros(norms.shape, bool)
    while True:
        s, i = (int(k) for k in np.unravel_index(np.argmax(norms), norms.shape))
        if solved[s, i]:
            return float(norms[s, i])
        solved[s, i] = True
        norms[s, i] = np.fmin(norms[s, i], lowered(s, i))
