"""What judges share: bounds of the optimum by weak duality.

For v with price max {v^T F w : R(w) <= 1, A w >= 0} <= beta,

    -L*(-v) <= optimum <= L(F w, y) + beta R(w)   for every feasible w,

so that any v, scaled until its price is at most beta, gives a rigorous lower bound.
With the maximum over all neurons in place of those of listed patterns, the bound holds
for every network. `GaugeJudge` has this for every form whose R is a gauge (convex, >= 0
and R(t w) = t R(w)); another form needs a method `bounds` of its own.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

import numpy as np

from cvxjax.algebra.rounding import gauge_rounding, pulled
from cvxjax.bounds.budget import Budget
from cvxjax.bounds.multiples import dual_value, scaled_dual

if TYPE_CHECKING:
    from cvxjax.interfaces import Loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """What `certify` asks a judge: which bounds a solution proves; float64 NumPy."""

    loss: Loss
    y: np.ndarray  # [n], or [n, c]
    beta: float
    params: Any  # one array, or a tree of arrays
    dual: np.ndarray  # of y's shape
    multipliers: np.ndarray | None  # of the cones, if known
    every_network: bool  # whether the lower bound is to hold for all networks
    eps: float  # parameters count as inside up to eps times `terms`, relative
    seconds: float = float("inf")  # that a bound over all networks may take


class Bounds(NamedTuple):
    """A judge's answer to a `Question`."""

    primal: float  # the objective after `repair`; inf if that leaves w outside
    dual: float  # a lower bound of the optimum
    vector: np.ndarray  # of y's shape: the scaled dual vector of this bound
    violation: float  # of the parameters before `repair`


class Priced(NamedTuple):
    """A dual vector and what is known of it."""

    vector: np.ndarray  # of y's shape
    scale: float  # scale times `vector` is a vector to try as it is
    price: float  # an upper bound of the price of `vector`


class GaugeJudge(abc.ABC):
    """A judge of a form whose R is a gauge; subclasses define F, R and prices.

    Methods without a docstring have it in `interfaces.Judge`. The defaults here are for
    forms without cones, of which there is no bound over all networks.
    """

    free_width: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def reach(self) -> np.ndarray: ...

    @property
    @abc.abstractmethod
    def terms(self) -> int: ...

    @abc.abstractmethod
    def predict(self, params: Any) -> np.ndarray: ...

    @abc.abstractmethod
    def penalty(self, params: Any) -> float: ...

    @abc.abstractmethod
    def polar_bound(self, v: np.ndarray, multipliers: np.ndarray | None) -> float: ...

    def violation(self, params: Any) -> float:
        return 0.0 if np.isfinite(self.penalty(params)) else float("inf")

    def repair(self, params: Any, *, keep_predictions: bool) -> Any:
        return params

    def match(self, params: Any, y: np.ndarray) -> Any:
        return params  # no loss of these programs is a constraint

    def hidden(self, v: np.ndarray) -> float:
        return gauge_rounding(self.terms, pulled(v, self.reach))

    def rescaled_multipliers(self, multipliers: Any, factor: float) -> Any:
        """The multipliers of factor v, where `multipliers` are those of v."""
        return None if multipliers is None else factor * multipliers

    def covers_every_neuron(self) -> bool:
        raise ValueError(
            "want scope SAMPLED or EXHAUSTIVE: there is no bound over the networks of "
            "other patterns for this program"
        )

    def network_bound(self, v: np.ndarray, budget: Budget | None = None) -> float:
        return float(self.covers_every_neuron())  # raises

    def network_prices(
        self, asked: Question, known: list[Priced], budget: Budget
    ) -> Iterator[Priced]:
        """Dual vectors, each with an upper bound of its price over all networks.

        Args:
          asked: the question.
          known: dual vectors with their scales, not zero; their prices are not known.
          budget: when to stop.
        """
        for k, one in enumerate(known):
            part = budget.part(1 / (len(known) - k))
            yield one._replace(price=self.network_bound(one.vector, part))

    def bounds(self, asked: Question) -> Bounds:
        """The objective, and the best of the lower bounds that a few dual vectors give.

        They are the solution's, and minus the loss's gradient at its predictions; for a
        bound over all networks, `network_prices` may find others. Each is scaled until
        a rigorous bound of its price is at most beta; what rounding may have added to
        its value is subtracted.
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
        best, vector = dual_value(loss, 0 * y, y), 0 * y
        for v, scale, price in self._prices(asked, list(filter(np.any, candidates))):
            value, t = scaled_dual(loss, v, y, asked.beta, price, start=scale)
            if value > best:
                best, vector = value, t * v
        return Bounds(primal=primal, dual=best, vector=vector, violation=violation)

    def _prices(
        self, asked: Question, candidates: list[np.ndarray]
    ) -> Iterator[Priced]:
        """The candidates, or better vectors, with bounds of their prices."""
        # In units of their largest entries, so that nothing underflows.
        units = [2.0 ** np.floor(np.log2(np.max(np.abs(v)))) for v in candidates]
        known = [
            Priced(v / unit, unit, np.inf)
            for v, unit in zip(candidates, units, strict=True)
        ]
        if asked.every_network:
            yield from self.network_prices(asked, known, Budget(asked.seconds))
            return
        for one in known:
            mu = self.rescaled_multipliers(asked.multipliers, 1 / one.scale)
            yield one._replace(price=self.polar_bound(one.vector, mu))

    def _primal(self, asked: Question) -> tuple[float, np.ndarray]:
        """The objective of the parameters, repaired if outside, and their predictions.

        Violations up to eps times `terms` are not repaired: in a cell as thin as that,
        the way to its interior point may be long.
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
    """Refuses a bound over all networks: a gated network has the listed gates alone."""
    raise ValueError("want ReLU for a bound over all networks; got gated ReLU")


def lower_worst(norms: np.ndarray, lowered: Callable[[int, int], float]) -> float:
    """The largest of upper bounds [S, P], each time after a better bound of that block.

    Args:
      norms: bounds, changed in place.
      lowered: (s, i) -> a better bound of the block; called once for each block that
        comes to be the largest, until one does that has been asked.
    """
    solved = np.zeros(norms.shape, bool)
    while True:
        s, i = (int(k) for k in np.unravel_index(np.argmax(norms), norms.shape))
        if solved[s, i]:
            return float(norms[s, i])
        solved[s, i] = True
        norms[s, i] = np.fmin(norms[s, i], lowered(s, i))
