"""An independent judge: bounds on the optimum, recomputed on the host in float64.

A program's judge finds the bounds (`judges.judge`); here it is decided which networks
they are to cover, and whether they contradict each other.

Nothing here, nor in the judges, imports JAX or a solver. What they share with solvers
is the loss, read through NumPy, the data that `program.judge()` copies, and the terms
for rounding of `cvxjax.algebra.rounding`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cvxjax.algebra.rounding import explained
from cvxjax.judges.judge import Question
from cvxjax.verdicts import (
    Certificate,
    CertificateError,
    Scope,
    gap_floor,
    relative_gap,
)

if TYPE_CHECKING:
    from cvxjax.interfaces import Judge, Program
    from cvxjax.solution import Solution

_TOL = {"float64": 1e-8, "float32": 1e-4}  # the default tolerances of solvers
_SECONDS = 10.0  # for a bound over all networks, by default
_CONSTRAINT = 1e-9  # relative miss that z = y or y z >= 1 allows


def certify(
    program: Program,
    solution: Solution,
    *,
    scope: Scope | None = None,
    tol: float | None = None,
    time_limit: float | None = None,
) -> Certificate:
    """Bounds the optimum from both sides, without code of the solver.

    The primal value is the objective of the solution's parameters, moved into the cones
    where rounding left them outside; inf where that fails. The dual value is the better
    of two bounds, by the solver's dual vector and by minus the loss's gradient at the
    predictions. Each vector is scaled until it is dual feasible (a rigorous bound of
    its price is at most beta), and what rounding may have added is subtracted.

    Args:
      program: the program that was solved.
      solution: of a solver, converged or not, or of `Solution.of`.
      scope: which networks the lower bound is to cover: SAMPLED, the listed patterns;
        EXHAUSTIVE, every network, exactly, which takes rank X <= 3 or a program of
        every pattern; GLOBAL_BOUND, every network, by branch and bound for small rank
        and by a relaxation for any, which seeks a dual vector of its own. Default: for
        a program over all patterns GLOBAL_BOUND; else the solution's scope where it can
        be verified, or SAMPLED.
      tol: the gap up to which the printed certificate calls the objective optimal;
        default 1e-8, or 1e-4 for a program in float32.
      time_limit: seconds >= 0 for the search for a GLOBAL_BOUND, which holds whenever
        the search stops; default 10. More seconds may give a better bound.

    Returns:
      Certificate; `gap` is (primal - dual) / max(|primal|, 1e-4 L(0, y)), with |primal|
      alone where L(0, y) is infinite; `cone_violation`, max(-A w, 0) / max|A w|, is of
      the parameters before they were moved. Where a GLOBAL_BOUND is exact, the scope is
      EXHAUSTIVE.

    Raises:
      ValueError: if the program has no bound of this scope, the solution's shapes are
        not those of the program, or the time limit is negative.
      CertificateError: if the lower bound lies above the objective by more than
        rounding explains. One of them is wrong then: an error in cvxjax.
    """
    _check_call(program, solution, time_limit)
    at = solution.program_of(program)
    listed = program.verified_scope() if at is program else Scope.SAMPLED
    y = np.asarray(program.y, np.float64)
    params, vector, multipliers = _arrays(at, solution)
    judge, loss, beta = at.judge(), program.loss, float(program.beta)
    if scope is None and program.all_patterns:
        scope = Scope.GLOBAL_BOUND
    covered = _scope(judge, listed, solution.scope, scope)
    # Free neurons are not moved: they count as inside their cells up to the rounding of
    # their own dtype, and everywhere if the bound is over all networks.
    eps = float(np.finfo(np.float64).eps)
    if judge.free_width:
        eps = float(np.finfo(solution.dtype).eps)
        eps = eps if covered is listed else np.inf
    primal, dual, vector, violation = judge.bounds(
        Question(
            loss=loss,
            y=y,
            beta=beta,
            params=params,
            dual=vector,
            multipliers=multipliers,
            every_network=covered is not listed,
            eps=eps,
            seconds=_SECONDS if time_limit is None else float(time_limit),
        )
    )
    gap = relative_gap(primal, dual, float(gap_floor(loss, y)))
    if np.isfinite(gap) and gap < 0:
        allowed = explained(
            primal,
            dual,
            vector,
            loss=loss,
            y=y,
            beta=beta,
            reach=judge.reach,
            terms=judge.terms,
            tolerance=0.0 if loss.constraint is None else _CONSTRAINT,
            unit=min(eps, 1.0) / 2,
        )
        if dual - primal > allowed:
            raise CertificateError(
                f"the lower bound {dual:.17g} lies above the objective {primal:.17g}, "
                f"by more than the {allowed:.1e} of rounding: one of them is wrong, an "
                "error in cvxjax"
            )
    if tol is None:
        tol = _TOL.get(str(solution.dtype), _TOL["float32"])
    return Certificate(
        primal=primal,
        dual=dual,
        gap=gap,
        cone_violation=violation,
        scope=covered,
        tol=float(tol),
    )


def _check_call(program: Any, solution: Any, time_limit: Any) -> None:
    """Raises ValueError for other arguments than those that `certify` wants."""
    for name, given, method in (
        ("a program of cvxjax.programs, then its solution", program, "judge"),
        ("a Solution, as of cvxjax.solve or Solution.of", solution, "program_of"),
    ):
        if not callable(getattr(given, method, None)):
            raise ValueError(f"want {name}; got {type(given).__name__}")
    try:
        _ = np.asarray(program.y), np.asarray(solution.dual)
    except TypeError:
        raise ValueError(
            "want values; got tracers of jit, vmap or grad: certify runs outside"
        ) from None
    seconds = np.asarray(0.0 if time_limit is None else time_limit)
    if seconds.dtype.kind not in "iuf" or seconds.shape != () or not seconds >= 0:
        raise ValueError(f"want time_limit, seconds >= 0; got {time_limit!r}")


def _arrays(program: Any, solution: Solution) -> tuple[Any, Any, Any]:
    """Parameters, dual vector and multipliers in float64, or ValueError."""
    params = program.checked(solution.params, dtype=np.float64)
    dual = np.asarray(solution.dual, np.float64)
    if dual.shape != program.y.shape:
        raise ValueError(
            f"want dual {list(program.y.shape)}; got {list(dual.shape)}: is the "
            "solution one of other data?"
        )
    if solution.multipliers is None:
        return params, dual, None
    multipliers = np.asarray(solution.multipliers, np.float64)
    wanted = program.multipliers_shape
    if wanted is not None and multipliers.shape != wanted:
        raise ValueError(
            f"want multipliers {list(wanted)}; got {list(multipliers.shape)}"
        )
    return params, dual, multipliers


def _scope(judge: Judge, listed: Scope, claimed: Scope, wanted: Scope | None) -> Scope:
    """The scope of the lower bound.

    Args:
      listed: EXHAUSTIVE if every pattern is listed, as has been verified.
      claimed: the solution's.
      wanted: the user's.
    """
    if wanted is None:
        if listed is Scope.EXHAUSTIVE or claimed is not Scope.EXHAUSTIVE:
            return listed
        try:
            return Scope.EXHAUSTIVE if judge.covers_every_neuron() else listed
        except ValueError:  # there is no bound over other networks
            return listed
    if not isinstance(wanted, Scope):
        raise ValueError(f"want scope, a cvxjax.Scope; got {wanted!r}")
    if wanted is Scope.SAMPLED or wanted is Scope.EXHAUSTIVE is listed:
        return listed
    if judge.covers_every_neuron() or listed is Scope.EXHAUSTIVE:
        return Scope.EXHAUSTIVE
    if wanted is Scope.EXHAUSTIVE:
        raise ValueError("want every pattern, or X of rank at most 3; got neither")
    return Scope.GLOBAL_BOUND
