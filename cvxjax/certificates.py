"""An independent judge: bounds on the optimum, recomputed on the host in float64.

For v with max {v^T F w : R(w) <= 1, A w >= 0} <= beta, weak duality gives

    -L*(-v) <= optimum <= L(F w, y) + beta R(w)   for every feasible w,

and scaling any v into that set makes it a rigorous lower bound. With the maximum over
all neurons in place of the listed patterns, it bounds every network.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cvxjax.interfaces import Judge, Loss, Program
from cvxjax.pricing.duals import improve_dual
from cvxjax.solution import Certificate, Scope, Solution, relative_gap

_LINE_SEARCH = 60  # golden sections
_UNBOUNDED = 1e6  # scale of a dual vector with polar gauge 0


def certify(
    program: Program, solution: Solution, *, scope: Scope | None = None
) -> Certificate:
    """Bounds the optimum from both sides, apart from the solver.

    The primal value belongs to the solution's parameters, moved into the cones where
    rounding left them outside; the dual value is the better of the solver's dual
    vector and minus the loss's gradient at the predictions, each scaled until a
    rigorous bound of its polar gauge is at most beta.

    Args:
      program: the program that was solved.
      solution: any point; it need not have converged.
      scope: which networks the lower bound is to cover: SAMPLED, the listed patterns;
        EXHAUSTIVE, every network, exactly, which takes rank X <= 3 or a program of
        every pattern; GLOBAL_BOUND, every network, by a relaxation for any rank that
        seeks a dual vector of its own (seconds). Default: that of the solution as far
        as this can be verified, else SAMPLED.

    Returns:
      Certificate; `gap` is (primal - dual) / max(1, |primal|), `cone_violation` that
      of the parameters as they came, relative to their size. Its scope is EXHAUSTIVE
      instead of GLOBAL_BOUND where the bound is exact.

    Raises:
      ValueError: if the scope asked for cannot be had.
    """
    at: Any = program
    listed, chosen = program.scope, solution.patterns
    if chosen is not None:
        at, listed = at.with_patterns(chosen.masks, chosen.gates), Scope.SAMPLED
    judge, loss, beta = at.judge(), program.loss, float(program.beta)
    covered = _scope(judge, listed, solution.scope, scope)
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
    candidates = [
        -loss.clip_dual(-v, y) for v in candidates if np.all(np.isfinite(v)) and v.any()
    ]
    turns = covered is Scope.GLOBAL_BOUND and covered is not listed
    if turns and candidates and y.ndim == 1:
        rows = np.asarray(at.rows, np.float64)
        turned = improve_dual(rows, y, candidates[-1], loss=loss, beta=beta)
        candidates = [candidates[-1], -loss.clip_dual(-turned, y)]
    dual = -float(loss.conjugate(0 * y, y))
    for v in candidates:
        if covered is listed:
            bound = judge.polar_bound(v, multipliers)
        else:
            bound = judge.network_bound(v)
        dual = max(dual, scaled_dual(loss, v, y, beta, bound))
    return Certificate(
        primal=primal,
        dual=dual,
        gap=relative_gap(primal, dual),
        cone_violation=violation,
        scope=covered,
    )


def _scope(judge: Judge, listed: Scope, claimed: Scope, wanted: Scope | None) -> Scope:
    """The scope of the lower bound; `listed` is that of the listed patterns."""
    if wanted is None:
        if listed is Scope.EXHAUSTIVE or claimed is not Scope.EXHAUSTIVE:
            return listed
        return Scope.EXHAUSTIVE if judge.covers_every_neuron() else listed
    if not isinstance(wanted, Scope):
        raise ValueError(f"want scope, a cvxjax.Scope; got {wanted!r}")
    if wanted is Scope.SAMPLED or wanted is Scope.EXHAUSTIVE is listed:
        return listed
    if judge.covers_every_neuron() or listed is Scope.EXHAUSTIVE:
        return Scope.EXHAUSTIVE
    if wanted is Scope.EXHAUSTIVE:
        raise ValueError("want every pattern, or X of rank at most 3; got neither")
    return Scope.GLOBAL_BOUND


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
