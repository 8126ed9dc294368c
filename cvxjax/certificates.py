"""An independent judge: bounds on the optimum, recomputed on the host in float64.

For v with max {v^T F w : R(w) <= 1, A w >= 0} <= beta, weak duality gives

    -L*(-v) <= optimum <= L(F w, y) + beta R(w)   for every feasible w,

and scaling any v into that set makes it a rigorous lower bound. With the maximum over
all neurons in place of the listed patterns, it bounds every network.

Nothing here, nor in the judges, imports JAX or a solver. What they share with solvers
is the loss, read through NumPy, the data that `program.judge()` copies, and the terms
for rounding of `cvxjax.algebra.rounding`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cvxjax.algebra.rounding import dual_rounding, explained
from cvxjax.bounds.duals import improve_dual
from cvxjax.verdicts import (
    Certificate,
    CertificateError,
    Scope,
    gap_floor,
    relative_gap,
)

if TYPE_CHECKING:
    from cvxjax.interfaces import Judge, Loss, Program
    from cvxjax.solution import Solution

_LINE_SEARCH = 60  # golden sections
_DOUBLINGS = 1100  # of a dual vector without a price: beyond them numbers overflow
_TOL = {"float64": 1e-8, "float32": 1e-4}  # as solvers take by default
_CONSTRAINT = 1e-9  # by which a constraint of the loss may be missed, relative


def certify(
    program: Program,
    solution: Solution,
    *,
    scope: Scope | None = None,
    tol: float | None = None,
) -> Certificate:
    """Bounds the optimum from both sides, apart from the solver.

    The primal value belongs to the solution's parameters, moved into the cones where
    rounding left them outside; where that fails it is inf. The dual value is the better
    of the solver's dual vector and minus the loss's gradient at the predictions, each
    scaled until a rigorous bound of its polar gauge is at most beta, less what rounding
    may have added.

    Args:
      program: the program that was solved.
      solution: any point; it need not have converged.
      scope: which networks the lower bound is to cover: SAMPLED, the listed patterns;
        EXHAUSTIVE, every network, exactly, which takes rank X <= 3 or a program of
        every pattern; GLOBAL_BOUND, every network, by a relaxation for any rank that
        seeks a dual vector of its own (seconds). Default: that of the solution as far
        as this can be verified, else SAMPLED.
      tol: the gap up to which the certificate's words call the objective optimal;
        default 1e-8, or 1e-4 for a program in float32.

    Returns:
      Certificate; `gap` is (primal - dual) / max(|primal|, 1e-4 L(0, y)), with |primal|
      alone where L(0, y) is infinite; `cone_violation` is that of the parameters as
      they came, relative to their size. Its scope is EXHAUSTIVE instead of GLOBAL_BOUND
      where the bound is exact.

    Raises:
      ValueError: if the scope asked for cannot be had, or shapes of the solution are
        not those of the program.
      CertificateError: if the lower bound lies above the objective by more than
        rounding explains. One of them is wrong then: an error in cvxjax.
    """
    at: Any = program
    listed, chosen = program.verified_scope(), solution.patterns
    if chosen is not None:
        at, listed = at.with_patterns(chosen.masks, chosen.gates), Scope.SAMPLED
    y = np.asarray(program.y, np.float64)
    params, dual, multipliers = _arrays(at, solution)
    judge, loss, beta = at.judge(), program.loss, float(program.beta)
    covered = _scope(judge, listed, solution.scope, scope)
    violation = judge.violation(params)
    # Neurons stay where they are: they are inside to the precision they came in, and a
    # network of their own where the bound is over all networks.
    eps = float(np.finfo(np.float64).eps)
    if hasattr(at, "neurons"):
        eps = float(np.finfo(np.asarray(solution.params).dtype).eps)
        eps = eps if covered is listed else np.inf
    primal, predictions = _primal(judge, loss, params, y, beta, eps)
    candidates = [dual]
    if loss.smoothness is not None:
        candidates.append(-loss.gradient(predictions, y))
    candidates = [-loss.clip_dual(-v, y) for v in candidates if np.all(np.isfinite(v))]
    turns = covered is Scope.GLOBAL_BOUND and covered is not listed
    if turns and candidates and candidates[-1].any() and y.ndim == 1:
        rows = np.asarray(at.rows, np.float64)
        turned = improve_dual(rows, y, candidates[-1], loss=loss, beta=beta)
        candidates = [candidates[-1], -loss.clip_dual(-turned, y)]
    best, vector = dual_value(loss, 0 * y, y), 0 * y
    for v in filter(np.any, candidates):
        unit = 2.0 ** np.floor(np.log2(np.max(np.abs(v))))  # so that none underflows
        if covered is listed:
            bound = judge.polar_bound(v / unit, _scaled(at, multipliers, unit))
        else:
            bound = judge.network_bound(v / unit)
        value, t = scaled_dual(loss, v / unit, y, beta, bound, start=unit)
        if value > best:
            best, vector = value, t * (v / unit)
    gap = relative_gap(primal, best, float(gap_floor(loss, y)))
    if np.isfinite(gap) and gap < 0:
        unit = min(eps, 1.0) / 2
        _refuse_contradiction(judge, loss, primal, best, vector, y, beta, unit)
    if tol is None:
        tol = _TOL.get(str(np.asarray(solution.params).dtype), _TOL["float32"])
    return Certificate(
        primal=primal,
        dual=best,
        gap=gap,
        cone_violation=violation,
        scope=covered,
        tol=float(tol),
    )


def _arrays(program: Any, solution: Solution) -> tuple[Any, Any, Any]:
    """Parameters, dual vector and multipliers in float64, or ValueError."""
    params = np.asarray(solution.params, np.float64)
    dual = np.asarray(solution.dual, np.float64)
    wanted, free = tuple(program.shape), hasattr(program, "neurons")
    like = params.ndim == len(wanted) and all(
        a == b or (free and axis == 1)  # as many neurons as there are
        for axis, (a, b) in enumerate(zip(params.shape, wanted, strict=True))
    )
    if not like:
        raise ValueError(f"want params {list(wanted)}; got {list(params.shape)}")
    if dual.shape != program.y.shape:
        raise ValueError(
            f"want dual {list(program.y.shape)}; got {list(dual.shape)}: is the "
            "solution one of other data?"
        )
    if solution.multipliers is None:
        return params, dual, None
    multipliers = np.asarray(solution.multipliers, np.float64)
    if program.cones is not None and not free:
        sizes = [*wanted[:2], program.cones.num_rows]
        if list(multipliers.shape) != sizes:
            raise ValueError(f"want multipliers {sizes}; got {list(multipliers.shape)}")
    return params, dual, multipliers


def _scaled(program: Any, multipliers: Any, unit: float) -> Any:
    """Multipliers of v / unit; those of products of rows go with its square."""
    if multipliers is None or not hasattr(program, "neurons"):
        return None if multipliers is None else multipliers / unit
    return multipliers * [1, 1, 1 / unit**2] if multipliers.shape[-1] == 3 else None


def _primal(
    judge: Judge,
    loss: Loss,
    params: np.ndarray,
    y: np.ndarray,
    beta: float,
    eps: float,
) -> tuple[float, np.ndarray]:
    """The objective of the parameters, repaired if outside; inf if they stay; F w.

    Outside is a violation above eps times the operations that it takes. What is less
    is not repaired, which may take a long way in a cell that is as thin itself.
    """
    if loss.constraint == "equality" and np.all(np.isfinite(params)):
        params = judge.match(params, y)
    if judge.violation(params) > judge.terms * min(eps, float(np.finfo(float).eps)):
        params = judge.repair(params, keep_predictions=loss.constraint is not None)
    predictions = judge.predict(params)
    if loss.constraint == "margin" and np.min(y * predictions) > 0:
        scale = 1 / np.min(y * predictions)
        params, predictions = scale * params, scale * predictions
    value = float(loss.value(predictions, y)) + beta * judge.penalty(params)
    inside = judge.violation(params) <= judge.terms * eps
    return (value if inside else float("inf")), predictions


def _refuse_contradiction(
    judge: Judge,
    loss: Loss,
    primal: float,
    dual: float,
    v: np.ndarray,
    y: np.ndarray,
    beta: float,
    unit: float,
) -> None:
    allowed = explained(
        primal,
        dual,
        v,
        loss=loss,
        y=y,
        beta=beta,
        reach=judge.reach,
        terms=judge.terms,
        tolerance=0.0 if loss.constraint is None else _CONSTRAINT,
        unit=unit,
    )
    if dual - primal > allowed:
        raise CertificateError(
            f"the lower bound {dual:.17g} lies above the objective {primal:.17g}, by "
            f"more than the {allowed:.1e} of rounding: one of them is wrong, an error "
            "in cvxjax"
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


def dual_value(loss: Loss, v: np.ndarray, y: np.ndarray) -> float:
    """-L*(-v), less what rounding may have added."""
    value = -float(loss.conjugate(-v, y))
    return value - float(dual_rounding(v, y, value))


def scaled_dual(
    loss: Loss,
    v: np.ndarray,
    y: np.ndarray,
    beta: float,
    bound: float,
    start: float = 1.0,
) -> tuple[float, float]:
    """max_t -L*(-t v) over 0 <= t <= beta / bound, and t: a concave line search.

    Args:
      v: [n].
      bound: upper bound of v's polar gauge; 0: t is doubled while the value rises.
      start: a t that is tried, if it is allowed.
    """
    value = lambda t: dual_value(loss, t * v, y)  # noqa: E731
    if not np.isfinite(bound):
        return value(0.0), 0.0
    limit = beta / bound if bound > 0 else np.inf
    high = limit
    if not np.isfinite(limit):
        high = start
        for _ in range(_DOUBLINGS):
            if not value(2 * high) > value(high):
                break
            high = 2 * high
        high = 2 * high
    low, tried = 0.0, [min(start, limit), high]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(_LINE_SEARCH):
            a, b = low + 0.382 * (high - low), low + 0.618 * (high - low)
            if value(a) > value(b) or not np.isfinite(value(b)):
                high = b
            else:
                low = a
        found = [(value(t), t) for t in (0.0, *tried, low, high)]
    return max((x, t) for x, t in found if not np.isnan(x))
