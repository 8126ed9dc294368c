"""A dual vector whose bound over all networks is better than the solver's own.

    maximise  -L*(-v)   subject to  bound(v) <= beta and bound(-v) <= beta

over v with the signs of a given one, where `bound` is that of `relaxed`, an upper bound
of the price. A solver's vector is feasible for the prices themselves. To make it
feasible for their upper bounds by scaling costs more dual value than by changing its
direction a little. The relaxation that is improved on the way bounds its price as well.
With time left, `division` cuts the ball into cones, whose bounds are lower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cvxjax.bounds.budget import Budget
from cvxjax.bounds.division import Division, Movable
from cvxjax.bounds.relaxed import (
    STEPS,
    Adam,
    Relaxation,
    countdown,
    neuron_bound,
    smoothing_at,
)

if TYPE_CHECKING:
    from cvxjax.interfaces import Loss

_FIXED = 0.3  # share of the steps in which only the bound is improved, not v
_RATE = 0.02  # of log |v|


class Turned(NamedTuple):
    """A dual vector and the relaxation's bound of its price."""

    vector: np.ndarray  # [n]
    price: float


def improve_dual(
    X: np.ndarray,
    y: np.ndarray,
    v: np.ndarray,
    *,
    loss: Loss,
    beta: float,
    steps: int = STEPS,
    budget: Budget | None = None,
    division: Budget | None = None,
) -> Turned:
    """Changes |v_i| by Adam, so that the scaled dual value rises.

    Args:
      X: [n K, d], K rows of each sample one after another, which share its v_i.
      y: [n], labels.
      v: [n], in the loss's dual domain, not zero.
      loss: L.
      beta: > 0.
      steps: of Adam.
      budget: when to stop earlier; one step is made in any case.
      division: when to stop dividing the ball; None: it is not divided.

    Returns:
      The best vector found, scaled so that it is feasible and in the loss's domain.
    """
    problem = Movable(X, y, v, loss=loss, beta=beta)
    if problem.empty:
        return Turned(0 * v, 0.0)
    sides = [Relaxation(problem.rows, s * problem.weights) for s in (1.0, -1.0)]
    for side in sides:
        side.cast(np.float32)  # which is enough to improve them
    adam, shift = Adam(), np.zeros(len(problem.start))
    best, found, kept = -np.inf, v, [side.parameters for side in sides]
    for left in countdown(steps, budget):
        now = np.exp(shift) * problem.start
        on_rows = problem.on_rows(now)
        values, slopes = zip(
            *(
                side.bound(sign * on_rows, smoothing_at(left))
                for side, sign in zip(sides, (1.0, -1.0), strict=True)
            ),
            strict=True,
        )
        price = max(values)
        scaled, value = problem.scaled(now, price)
        if value > best:
            best, found = value, scaled
            kept = [side.parameters for side in sides]
        for name, side, slope in zip("+-", sides, slopes, strict=True):
            side.improve(adam, name, slope, left)
        problem.follow(scaled)
        if left <= 1 - _FIXED:
            width = price * (0.02 * left + 0.001)
            share = 1 / (1 + np.exp(np.clip((values[1] - values[0]) / width, -50, 50)))
            rise = share * slopes[0].v - (1 - share) * slopes[1].v
            slope = problem.slope(now, price, rise)
            shift += adam.move("v", -slope * now, _RATE * (left + 0.01))
    if not problem.keeps_signs(found):  # the loss has moved it
        v = problem.on_rows(found[problem.keep])
        bounds = [neuron_bound(problem.rows, s * v, budget=budget) for s in (1, -1)]
        return Turned(found, problem.unit * max(bounds) + problem.extra(found))
    v, bounds = problem.on_rows(found[problem.keep]), []
    for sign, side, known in zip((1.0, -1.0), sides, kept, strict=True):
        side.parameters = known
        side.cast(np.float64)
        bounds.append(side.bound(sign * v, smoothing_at(0))[0])
    price = max(bounds)
    if division is not None and division.left > 0:
        found, price = Division(problem, sides, found, bounds).run(division)
    return Turned(found, problem.unit * price + problem.extra(found))
