"""An independent judge: bounds on the optimum, recomputed on the host in float64.

For v with max {v^T F w : R(w) <= 1, A w >= 0} <= beta, weak duality gives

    -L*(-v) <= optimum <= L(F w, y) + beta R(w)   for every feasible w,

and scaling any v into that set makes it a rigorous lower bound.
"""

from __future__ import annotations

import numpy as np

from cvxjax.interfaces import Loss, Program
from cvxjax.solution import Certificate, Solution

_LINE_SEARCH = 60  # golden sections
_UNBOUNDED = 1e6  # scale of a dual vector with polar gauge 0


def certify(program: Program, solution: Solution) -> Certificate:
    """Bounds the optimum from both sides, apart from the solver.

    The primal value belongs to the solution's parameters, moved into the cones where
    rounding left them outside; the dual value is the better of the solver's dual
    vector and minus the loss's gradient at the predictions, each scaled until a
    rigorous bound of its polar gauge is at most beta.

    Args:
      program: the program that was solved.
      solution: any point; it need not have converged.

    Returns:
      Certificate; `gap` is (primal - dual) / max(1, |primal|), `cone_violation` that
      of the parameters as they came, relative to their size.
    """
    judge, loss, beta = program.judge(), program.loss, float(program.beta)
    y = np.asarray(program.y, np.float64)
    params = np.asarray(solution.params, np.float64)
    violation = judge.violation(params)
    if loss.constraint == "equality" and np.all(np.isfinite(params)):
        params = judge.match(params, y)
    params = judge.repair(params, keep_predictions=loss.constraint is not None)
    predictions = judge.predict(params)
    if loss.constraint == "margin" and np.min(y * predictions) > 0:
        scale = 1 / np.min(y * predictions)
        params, predictions = scale * params, scale * predictions
    primal = float(loss.value(predictions, y)) + beta * judge.penalty(params)

    multipliers = solution.multipliers
    if multipliers is not None:
        multipliers = np.asarray(multipliers, np.float64)
    candidates = [np.asarray(solution.dual, np.float64)]
    if loss.smoothness is not None:
        candidates.append(-loss.gradient(predictions, y))
    dual = -np.inf
    for v in candidates:
        if np.all(np.isfinite(v)) and np.any(v):
            v = -loss.clip_dual(-v, y)
            bound = judge.polar_bound(v, multipliers)
            dual = max(dual, scaled_dual(loss, v, y, beta, bound))
    zero = -float(loss.conjugate(0 * y, y))
    dual = max(dual, zero)
    return Certificate(
        primal=primal,
        dual=dual,
        gap=relative_gap(primal, dual),
        cone_violation=violation,
        scope=program.scope,
    )


def scaled_dual(
    loss: Loss, v: np.ndarray, y: np.ndarray, beta: float, bound: float
) -> float:
    """max_t -L*(-t v) over 0 <= t <= beta / bound: a concave line search.

    Args:
      v: [n].
      bound: upper bound of v's polar gauge, > 0.
    """
    value = lambda t: -float(loss.conjugate(-t * v, y))  # noqa: E731
    if not np.isfinite(bound):
        return value(0.0)
    limit = beta / bound if bound > 0 else _UNBOUNDED
    low, high = 0.0, limit
    for _ in range(_LINE_SEARCH):
        a, b = low + 0.382 * (high - low), low + 0.618 * (high - low)
        if value(a) > value(b) or not np.isfinite(value(b)):
            high = b
        else:
            low = a
    return max(value(t) for t in (min(1.0, limit), limit, low, high))


def relative_gap(primal: float, dual: float) -> float:
    """(primal - dual) / max(1, |primal|); inf where either bound is missing."""
    if not (np.isfinite(primal) and np.isfinite(dual)):
        return float("inf")
    return (primal - dual) / max(1.0, abs(primal))
