"""What `solve` does to a solver's answer: feasible parameters, an honest status.

A solver works in other units, coordinates or precision than the user. Its parameters
are inside the cones there; translated back, rounding may put them outside of a thin
cell, where their objective is no upper bound. They are then moved towards the cell's
interior point, as the certificate does, and if that does not help, zero parameters
are returned, which are feasible.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import trees
from cvxjax.algebra.rounding import gauge_rounding, pulled
from cvxjax.certificates import certify
from cvxjax.solution import Solution, Status
from cvxjax.verdicts import CertificateError, Scope, gap_floor, relative_gap


def inside(program: Any, params: Any) -> Any:
    """Parameters inside the cones up to rounding, as NumPy arrays.

    Args:
      program: the program of these parameters.
      params: of the program's shape, finite or not.

    Returns:
      `params` themselves where they are inside or not finite; else moved ones; zero
      where those are outside too, or None if the loss is a constraint, which zero
      parameters would not meet.
    """
    if program.cones is None or not trees.all_finite(params):
        return trees.on_host(params)
    given = np.asarray(params)
    judge, constrained = program.judge(), program.loss.constraint is not None
    allowed = judge.terms * float(np.finfo(given.dtype).eps)
    if judge.violation(given.astype(np.float64)) <= allowed:
        return given
    moved = judge.repair(given.astype(np.float64), keep_predictions=constrained)
    moved = moved.astype(given.dtype)
    if judge.violation(moved.astype(np.float64)) <= allowed:
        return moved
    return None if constrained else np.zeros_like(given)


def returned(program: Any, solution: Solution, tol: float) -> Solution:
    """The solution with parameters inside the cones, and their objective and status.

    The objective of float32 parameters is summed again in float64, because rounding may
    be large beside an objective that is a small part of the loss at zero. That is not
    done for losses that are constraints, which float64 would hold to a tighter
    tolerance. Cells may be as thin as float32's rounding; so the status is CONVERGED
    only if parameters that are inside in float64, as `certify` makes them, have an
    objective as good.

    Args:
      program: the user's.
      solution: in the user's units.
      tol: the gap at which a solution counts as CONVERGED.
    """
    at, given = solution.program_of(program), trees.on_host(solution.params)
    point = inside(at, given)
    same = functools.partial(np.array_equal, equal_nan=True)
    kept = point is not None and jax.tree.all(jax.tree.map(same, point, given))
    value, loss, y = np.inf, program.loss, np.asarray(program.y, np.float64)
    settled = solution.dtype == np.float64 or loss.constraint is not None
    if kept and (settled or not trees.all_finite(given)):
        return solution
    certain = np.inf
    if point is not None:
        judge, wide = at.judge(), trees.on_host(point, np.float64)
        value = certain = _objective(program, judge, wide)
        if not settled:
            moved = judge.repair(wide, keep_predictions=False)
            certain = max(value, _objective(program, judge, moved))
            if judge.violation(moved) > judge.terms * float(np.finfo(np.float64).eps):
                certain = np.inf
        at_zero = float(loss.value(np.zeros_like(y), y))
        if not kept and at_zero < value:
            point, value, certain = at.zeros(), at_zero, at_zero
        solution = solution.replace(params=jax.tree.map(jnp.asarray, point))
    bound = float(solution.dual_bound)
    floor = float(gap_floor(loss, y))
    gap = relative_gap(value, bound, floor)
    dtype, status = solution.objective.dtype, solution.status
    known = relative_gap(certain, bound, floor) <= tol
    if int(status) == Status.CONVERGED and not known:
        status = jnp.asarray(Status.STALLED, jnp.int32)
    return solution.replace(
        status=status,
        objective=jnp.asarray(value, dtype),
        gap=jnp.asarray(gap, dtype),
    )


def proved(
    program: Any, solution: Solution, tol: float, last: np.ndarray | None = None
) -> Solution:
    """The solution with the certificate's lower bound, where rounding spoiled its own.

    Solvers add to every price the most that rounding can have taken from it. Where that
    is a large part of beta, the bound of even the best dual vector stays above the
    tolerance. The certificate sums such prices exactly, and may prove that the solution
    has converged. It covers what the solution's bound covers: the listed patterns, or
    every network where that is exact; bounds over all networks of larger rank stay.

    Args:
      program: the user's, with one output.
      solution: in the user's units.
      tol: the gap at which a solution counts as CONVERGED.
      last: the solver's last dual vector [n], which may have the better bound.
    """
    if int(solution.status) not in (Status.STALLED, Status.MAX_ITERATIONS):
        return solution
    y, v = np.asarray(program.y, np.float64), np.asarray(solution.dual, np.float64)
    if y.ndim != 1 or not np.all(np.isfinite(v)):
        return solution
    scope = _scope_to_certify(program, solution)
    if scope is Scope.GLOBAL_BOUND:
        return solution
    judge = program.judge()
    hidden = gauge_rounding(judge.terms, pulled(v, judge.reach))
    if not hidden > tol / 10 * float(program.beta):
        return solution
    tried = [solution]
    if last is not None:
        tried.append(solution.replace(dual=jnp.asarray(last, solution.dual.dtype)))
    try:
        found = [certify(program, s, scope=scope, tol=tol) for s in tried]
    except CertificateError:
        return solution.replace(status=jnp.asarray(Status.INCONSISTENT, jnp.int32))
    best = max(range(len(found)), key=lambda k: found[k].dual)
    certificate, solution = found[best], tried[best]
    bound = max(certificate.dual, float(solution.dual_bound))
    floor = float(gap_floor(program.loss, y))
    gap = relative_gap(float(solution.objective), bound, floor)
    certain = relative_gap(max(certificate.primal, certificate.dual), bound, floor)
    status, dtype = solution.status, solution.gap.dtype
    if max(gap, certain) <= tol:
        status = jnp.asarray(Status.CONVERGED, jnp.int32)
    return solution.replace(
        status=status,
        dual_bound=jnp.asarray(bound, dtype),
        gap=jnp.asarray(gap, dtype),
    )


def narrowed(program: Any, solution: Solution, tol: float) -> Solution:
    """The solution, STALLED if rounding its dual vector to float32 loosens its bound.

    Solvers of float32 programs may compute in float64. Where the rounding of their dual
    vector is large beside beta, only the certificate tells what it still bounds. And if
    the loss is a constraint, only the certificate tells what a network costs that
    meets it: a network that does so up to rounding may cost less. It is IMPRECISE then.

    Args:
      program: the user's.
      solution: in the user's units and precision.
      tol: the gap at which a solution counts as CONVERGED.
    """
    if solution.dtype == np.float64 or int(solution.status) != Status.CONVERGED:
        return solution
    v, judge = np.asarray(solution.dual, np.float64), program.judge()
    moved = float(np.finfo(solution.dtype).eps) / 2 * pulled(v, judge.reach)
    constrained = program.loss.constraint is not None
    if not (constrained or moved > tol * float(program.beta)):
        return solution
    scope = _scope_to_certify(program, solution)
    try:
        certificate = certify(program, solution, scope=scope, tol=tol)
    except CertificateError:
        return solution.replace(status=jnp.asarray(Status.INCONSISTENT, jnp.int32))
    bound = certificate.dual
    y = np.asarray(program.y, np.float64)
    gap = relative_gap(
        float(solution.objective), bound, float(gap_floor(program.loss, y))
    )
    if gap <= tol:
        if constrained and not certificate.gap <= tol:
            return solution.replace(status=jnp.asarray(Status.IMPRECISE, jnp.int32))
        return solution
    return solution.replace(
        status=jnp.asarray(Status.STALLED, jnp.int32),
        dual_bound=jnp.asarray(bound, solution.gap.dtype),
        gap=jnp.asarray(gap, solution.gap.dtype),
    )


def _scope_to_certify(program: Any, solution: Solution) -> Scope:
    """What the solution's bound covers; SAMPLED, the listed patterns, if only these."""
    listed = solution.scope in (Scope.SAMPLED, program.scope)
    return Scope.SAMPLED if listed else solution.scope


def _objective(program: Any, judge: Any, params: Any) -> float:
    """L(F w, y) + beta R(w), in float64."""
    y = np.asarray(program.y, np.float64)
    value = float(program.loss.value(judge.predict(params), y))
    return value + float(program.beta) * judge.penalty(params)


def resolved(program: Any, solution: Solution, tol: float) -> Solution:
    """The solution, IMPRECISE if its network's predictions are off by more than `tol`.

    The recovered network computes in the user's precision: products in its first layer
    may nearly cancel, and rounding may put a sample on the other side of a gate. Sums
    that cancel are computed in extended precision, where NumPy has it, to see by how
    much rounding moves them in float64, whatever the order of their terms.

    Args:
      program: the user's.
      solution: in the user's units.
      tol: the gap at which a solution counts as CONVERGED.
    """
    if int(solution.status) != Status.CONVERGED:
        return solution
    at = solution.program_of(program)
    judge, params = at.judge(), trees.on_host(solution.params, np.float64)
    size = np.max(np.abs(np.asarray(program.y)))
    eps = float(np.finfo(solution.dtype).eps)
    lost = eps * np.max(judge.reach) * judge.penalty(params)  # of sums that cancel
    if not (program.blur > tol or lost > tol * size):
        return solution
    want = judge.predict(params)
    size = max(np.max(np.abs(want)), size)
    imprecise = solution.replace(status=jnp.asarray(Status.IMPRECISE, jnp.int32))
    if lost > tol * size:
        longer = jax.tree.map(lambda x: x.astype(np.longdouble), params)
        moved = np.asarray(judge.predict(longer), np.float64) - want
        if np.max(np.abs(moved)) > tol * size:
            return imprecise
    network = at.network().apply(at.recover(solution.params), at.inputs)
    if np.max(np.abs(np.asarray(network, np.float64) - want)) <= tol * size:
        return solution
    return imprecise
