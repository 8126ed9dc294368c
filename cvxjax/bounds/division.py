"""The ball cut into cones, each with a relaxation of its own, and v moved with them.

The cones with the largest bounds are halved, for both signs of v, and the parameters of
the halves improved. From time to time v is changed by Adam, so that the largest bounds
fall where they cost most dual value. What holds for v is the largest bound over all
cones, evaluated at that v; a change that does not pay is taken back. So the dual value
never falls.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from cvxjax.bounds.budget import Budget
from cvxjax.bounds.cones import ConeRelaxation, Cones, Slopes, stacked
from cvxjax.bounds.movable import Movable
from cvxjax.bounds.relaxed import Adam, Relaxation, countdown, smoothing_at

Array = np.ndarray

_BATCH = 16  # cones that are improved at once
_SPLIT_STEPS = 100  # of Adam, for new cones
_SPLIT_LEFT = 0.5  # where they enter the schedule of rates
_MOST = 1 << 25  # numbers that the parameters of all cones have together
_TURN_STEPS = 120  # of Adam, for v with all cones
_TURN_LEFT = 0.3
_TURN_RATE = 0.05  # of log |v|
_NEAR = 0.06  # cones whose bounds are this close to the largest follow v
_WIDTH = 0.004  # of the softmax that replaces the largest bound, relative
_FIRST = 0.25  # share of the time for the first cones
_DIVIDE = 1.0  # time for cones, in units of that for the last change of v


class Division:
    """Cones for v and -v, the best v that is known, and its price.

    Args:
      problem: whose vector is moved.
      sides: relaxations for v and -v on the whole ball, improved; one of them, at
        least, with v_i > 0.
      vector: [n], scaled.
      bounds: of `sides` at this vector.
    """

    def __init__(
        self,
        problem: Movable,
        sides: Sequence[Relaxation],
        vector: Array,
        bounds: Sequence[float],
    ) -> None:
        self.problem, self.vector = problem, vector
        self.sides = [
            _Side(ConeRelaxation(side), sign, bound)
            for side, sign, bound in zip(sides, (1.0, -1.0), bounds, strict=True)
            if len(side.gain) > 0  # else nothing is gained
        ]

    @property
    def price(self) -> float:
        """The largest bound of a cone at `vector`."""
        return max(float(np.max(side.values)) for side in self.sides)

    def run(self, budget: Budget) -> tuple[Array, float]:
        """The best vector and its price, when time is over."""
        problem = self.problem
        _, value = problem.scaled(self.vector[problem.keep], self.price)
        turn, last = budget.part(_FIRST).seconds, 0.0
        while budget.left > last and np.isfinite(value):
            self._divide(Budget(min(budget.left - last, _DIVIDE * turn)))
            start = budget.left
            last = self._turn(Budget(start - last))
            turn = start - budget.left
        return self.vector, self.price

    def _divide(self, budget: Budget) -> None:
        """Halves the cones with the largest bounds."""
        v = self.problem.on_rows(self.vector[self.problem.keep])
        while budget.left > 0:
            side = max(self.sides, key=lambda one: float(np.max(one.values)))
            if side.size > _MOST:
                return
            side.divide(side.sign * v, budget)

    def _turn(self, budget: Budget) -> float:
        """Moves v with the cones that are close to the largest bound.

        Returns:
          The seconds that bounds of all cones took at the end.
        """
        problem, top = self.problem, self.price
        start = self.vector[problem.keep]
        followed = [(one, side) for side in self.sides for one in side.near(top)]
        adam, shift = Adam(), np.zeros(len(start))
        problem.follow(self.vector)
        best, found = -np.inf, self.vector
        for step in countdown(_TURN_STEPS, budget):
            left, now = _TURN_LEFT * step, np.exp(shift) * start
            on_rows, price = problem.on_rows(now), 0.0
            parts: list[tuple[Array, Array]] = []
            for one, side in followed:
                values, slopes = one.step(side.sign * on_rows, left)
                price = max(price, float(np.max(values)))
                parts.append((values, side.sign * slopes.v))
            scaled, value = problem.scaled(now, price)
            if value > best:
                best, found = value, scaled
            problem.follow(scaled)
            weights = [np.exp((x - price) / (_WIDTH * price)) for x, _ in parts]
            total = sum(float(np.sum(w)) for w in weights)
            rise = sum(
                (w @ s / total for w, (_, s) in zip(weights, parts, strict=True)),
                np.zeros(len(on_rows)),
            )
            slope = problem.slope(now, price, rise)
            shift = shift + adam.move("v", -slope * now, _TURN_RATE * (left + 0.01))
        for one, side in followed:
            side.put_back(one)
        end = time.monotonic()
        self._accept(found)
        return time.monotonic() - end

    def _accept(self, vector: Array) -> None:
        """Takes a vector [n], if with all cones its dual value is higher."""
        problem, keep = self.problem, self.problem.keep
        _, old = problem.scaled(self.vector[keep], self.price)
        if problem.keeps_signs(vector):
            v = problem.on_rows(vector[keep])
            bounds = [side.evaluated(side.sign * v) for side in self.sides]
            price = max(float(np.max(one)) for one in bounds)
            if problem.scaled(vector[keep], price)[1] > old:
                self.vector = vector
                for side, values in zip(self.sides, bounds, strict=True):
                    side.values = values
                return
        v = problem.on_rows(self.vector[keep])
        for side in self.sides:  # their parameters have changed, for better or worse
            side.values = np.fmin(side.values, side.evaluated(side.sign * v))


class _Side:
    """The cones for one sign of v.

    Args:
      relaxation: with its parameters on the whole ball.
      sign: of v.
      bound: on the whole ball.
    """

    def __init__(self, relaxation: ConeRelaxation, sign: float, bound: float) -> None:
        self.relaxation, self.sign = relaxation, sign
        self.cones, self.values = [relaxation.root], np.array([bound])

    @property
    def size(self) -> int:
        """How many numbers the parameters are."""
        return sum(array.size for cone in self.cones for array in cone)

    def divide(self, v: Array, budget: Budget) -> None:
        """Halves some cones, whose halves are bounded by the cone's bound, or better.

        Args:
          v: of this side.
          budget: when to stop; one step is made in any case.
        """
        top = np.argsort(-self.values)[: _BATCH // 2]
        parents = stacked([self.cones[k] for k in top])
        bounds, _ = self.relaxation.bound(parents, v, smoothing_at(0))
        halves = self.relaxation.split(parents, bounds)
        adam = Adam()
        for step in countdown(_SPLIT_STEPS, budget):
            left = _SPLIT_LEFT * step
            _, slopes = self.relaxation.bound(halves, v, smoothing_at(left))
            halves = self.relaxation.improve(halves, adam, slopes, left)
        bounds, _ = self.relaxation.bound(halves.exact(), v, smoothing_at(0))
        least = np.fmin(np.tile(self.values[top], 2), bounds.values)
        others = np.setdiff1d(np.arange(len(self.values)), top)
        self.cones = [self.cones[k] for k in others] + _singles(halves)
        self.values = np.concatenate([self.values[others], least])

    def near(self, top: float) -> Iterator[_Followed]:
        """The cones with a bound close to `top`, in batches."""
        close = np.flatnonzero(self.values >= (1 - _NEAR) * top)
        for start in range(0, len(close), _BATCH):
            which = close[start : start + _BATCH]
            cones = stacked([self.cones[k] for k in which])
            yield _Followed(self.relaxation, which, cones)

    def put_back(self, one: _Followed) -> None:
        """Takes over the parameters of cones that have followed v."""
        for k, cone in zip(one.which, _singles(one.cones), strict=True):
            self.cones[k] = cone

    def evaluated(self, v: Array) -> Array:
        """The bounds of all cones for v of this side."""
        found = []
        for start in range(0, len(self.cones), _BATCH):
            cones = stacked(self.cones[start : start + _BATCH]).exact()
            found.append(self.relaxation.bound(cones, v, smoothing_at(0))[0].values)
        return np.concatenate(found)


class _Followed:
    """Some cones of a side, improved while v moves."""

    def __init__(self, relaxation: ConeRelaxation, which: Array, cones: Cones) -> None:
        self.relaxation, self.which, self.cones = relaxation, which, cones
        self.adam = Adam()

    def step(self, v: Array, left: float) -> tuple[Array, Slopes]:
        """Bounds for v and their slopes, before one step of the parameters."""
        bounds, slopes = self.relaxation.bound(self.cones, v, smoothing_at(left))
        self.cones = self.relaxation.improve(self.cones, self.adam, slopes, left)
        return bounds.values, slopes


def _singles(cones: Cones) -> list[Cones]:
    """Each cone by itself, without w_j that it does not have."""
    found = []
    for k in range(len(cones.logits)):
        one = cones.take(slice(k, k + 1))
        J = int(np.sum(np.any(one.walls[0] != 0, axis=1)))
        one = one._replace(
            walls=one.walls[:, :J],
            wall_logits=one.wall_logits[:, :J],
            log_m=one.log_m[:, :J],
        )
        found.append(Cones(*(array.copy() for array in one)))
    return found
