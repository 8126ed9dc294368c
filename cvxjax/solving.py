"""`solve` and `solve_path`: choose a solver or check the user's, and run it.

A program goes through several forms on its way: in units of order one, and where the
solver asks for it in float64 and in coordinates with orthonormal columns
(`solvers.standard_form`). Its solution comes back in the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cvxjax.algebra import trees
from cvxjax.algebra.arrays import is_number
from cvxjax.devices.runtime import forget_old_programs, share_cores
from cvxjax.devices.sharding import gather
from cvxjax.interfaces import Program, Solver
from cvxjax.returned import inside, narrowed, proved, resolved, returned
from cvxjax.solution import Solution, Status
from cvxjax.solvers import InteriorPoint, loop
from cvxjax.solvers.blocks.least_multipliers import with_least_multipliers
from cvxjax.solvers.choice import Facts, chosen, is_poor, is_small, second_choices
from cvxjax.solvers.options import check_options
from cvxjax.solvers.refusals import refusal
from cvxjax.solvers.standard_form import (
    StandardForm,
    padded_form,
    precise_form,
    standard_form,
)
from cvxjax.solvers.starts import check_start
from cvxjax.verdicts import gap_floor, relative_gap
from cvxjax.watch import Report, Watch

_NO_PROGRAMS = type(None), Solution, Solver, np.ndarray, jax.Array, str


def solve(
    program: Program,
    solver: Solver | None = None,
    *,
    start: Any = None,
    tol: float | None = None,
    time_limit: float | None = None,
    report: Report | None = None,
) -> Solution:
    """Minimises the program's objective to the solver's relative duality gap.

    When `time_limit` has passed, and after a Ctrl-C in the main thread, the best
    feasible point so far is returned with its certificate, status TIME_LIMIT or
    INTERRUPTED, within a second or one step of the solver; a second Ctrl-C raises
    KeyboardInterrupt. Compilation by XLA cannot be interrupted: the solve then stops
    after it. If the loss is a constraint, there may be no feasible point yet; the
    objective is then infinite. If the process has installed a handler of SIGINT of its
    own, Ctrl-C goes to that.

    Args:
      program: from `cvxjax.programs`.
      solver: from `cvxjax.solvers`; default, `solvers.choice.default_solver(program)`
        with its default tolerance. Where that one ends far from it on a small program,
        which badly scaled data can make it do, others are tried, and the best is kept.
      start: where to start: parameters, or the solution of a similar program, whose
        dual vector is used as well. Default zero. For solvers that find patterns
        themselves also a trained network: its Flax variables, or the kernels of its
        two layers, [d, m] and [m, c].
      tol: relative duality gap, in place of the solver's.
      time_limit: seconds, >= 0, from the call on, compilation included.
      report: called with iteration, objective, lower bound and relative gap: at once,
        for zero parameters; then at least once a second, or at every step if that takes
        longer. While a part of the problem is solved, the last line is repeated.

    Returns:
      Solution, whose parameters are feasible; `solution.check()` raises unless it
      converged.

    Raises:
      ValueError: if the solver cannot take this program, or an option is out of
        range.
    """
    _check_concrete(program, start)
    _check_limits(tol, time_limit)
    watch = Watch(report, time_limit, shared=_is_shared(program))
    with watch, share_cores():
        return _solve(program, solver, start, tol, watch)


def _solve(
    program: Any, solver: Any, start: Any, tol: float | None, watch: Watch
) -> Solution:
    """`solve`, with a watch that the caller has entered."""
    if solver is not None:
        _check_solver(solver, program)
    if not watch.shared:
        program = program.verified()
    form = StandardForm(given=program, program=program)
    if not watch.shared:
        form = standard_form(program)
        watch.measure_in(form.values)
        watch.tell(0, *_bounds_of_zero(form.program))
    zero = _zero_if_optimal(form.program)
    if zero is not None:
        check_start(start, program, solver)
        return form.outward(zero)
    given, (suited, solver) = solver, _suited(form, solver, watch)
    start = check_start(start, program, solver)
    solution = _solved(suited, solver, start, tol, watch)
    if given is None and not watch.shared:
        goal = float(solver.tolerance(program)) if tol is None else tol
        for other in second_choices(form.program, solver):
            if not is_poor(solution, goal) or watch.over:
                break
            suited, _ = _suited(form, other, watch)
            found = _solved(suited, other, start, goal, watch)
            proved_none = int(found.status) == Status.INFEASIBLE
            solution = found if proved_none or found.gap < solution.gap else solution
    return solution


def _solved(
    form: StandardForm, solver: Any, start: Any, tol: float | None, watch: Watch
) -> Solution:
    """The solver's solution, in the user's form.

    Args:
      form: suited to the solver.
      start: checked.
    """
    program = form.given
    if not watch.shared and not solver.leaves_patterns:
        form = padded_form(form)
    solver = solver if tol is None else solver.replace(tol=tol)
    if tol is None and form.wide and solver.tol is None:
        solver = solver.replace(tol=solver.tolerance(program))
    with form.precision():
        start = None if start is None else form.inward(start)
        found = loop.attempt(solver.solved, form.program, start, watch)
        solution, v = (_broken_down(form.program), None) if found is None else found
        if form.extra and np.any(np.asarray(solution.params)[:, -form.extra :]):
            cleared = solution.replace(params=form.without_extra(solution.params))
            solution = loop.judged(solver, form.program, cleared)
        if form.undistorted is not None:
            solution = form.plain(solution)
            point = inside(form.undistorted, solution.params)
            if point is not None:
                solution = solution.replace(params=jax.tree.map(jnp.asarray, point))
            solution = loop.judged(solver, form.undistorted, solution)
        if v is not None and not watch.shared:
            v = np.asarray(v)
            solution = _bounded_anew(form, solver, solution, v, watch)
    forget_old_programs()
    solution = form.outward(solution)
    if watch.shared:
        return solution
    own = float(solver.tolerance(program))
    if not program.free_width:
        solution = returned(program, solution, own)
    v = None if v is None else form.duals * v
    solution = narrowed(program, proved(program, solution, own, v), own)
    return resolved(program, solution, own)


def _bounded_anew(
    form: StandardForm, solver: Any, solution: Any, v: np.ndarray, watch: Watch
) -> Any:
    """The solution; if it did not converge, with a better bound from v where possible.

    The multipliers of v are found again, the least ones, which rounding spoils less.
    """
    if int(solution.status) not in (Status.STALLED, Status.MAX_ITERATIONS):
        return solution
    plain = form.program if form.undistorted is None else form.undistorted
    better = with_least_multipliers(plain, solution, v, watch)
    return solution if better is None else loop.judged(solver, plain, better)


def _suited(form: StandardForm, solver: Any, watch: Watch) -> tuple[StandardForm, Any]:
    """The solver, the default one if None is given, and the form that it is to solve.

    Small float32 programs, and solvers that want coordinates, get the float64 form.
    """
    program = form.program
    narrow = solver is None and program.X.dtype != jnp.float64 and is_small(program)
    if narrow and not watch.shared:
        better, precise = precise_form(form), InteriorPoint()
        if refusal(precise, better.program) is None:
            return better, precise
    distorted = None
    if solver is None:
        facts = Facts(program)
        solver, distorted = chosen(facts), facts.known_distortion
    if watch.shared or not solver.wants_coordinates:
        return form, solver
    return precise_form(form, distorted), solver


def solve_path(
    program: Program,
    betas: Sequence[float] | np.ndarray,
    solver: Solver | None = None,
    *,
    tol: float | None = None,
    time_limit: float | None = None,
    report: Callable[[float, Solution], None] | None = None,
) -> list[Solution]:
    """Solves the program for every beta in turn, each starting from the last solution.

    Warm starts help most where betas descend. Nothing is recompiled between them.

    When `time_limit` has passed, and after a Ctrl-C, the solve at hand ends as in
    `solve`, and its solution is the last of the list, which may then be shorter than
    `betas`.

    Args:
      program: from `cvxjax.programs`; its own beta is not used.
      betas: [k], > 0.
      solver: as in `solve`.
      tol: as in `solve`.
      time_limit: seconds for all of them together.
      report: called after each beta with it and its solution.

    Returns:
      A solution for each beta, in the order of `betas`.

    Raises:
      ValueError: as in `solve`, or if `betas` is empty or not positive.
    """
    _check_concrete(program)
    values = np.asarray(betas, float)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"want betas [k], k >= 1; got shape {values.shape}")
    if not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError(f"want finite betas > 0; got {values.tolist()}")
    _check_limits(tol, time_limit)
    solutions: list[Solution] = []
    start = None
    watch = Watch(None, time_limit, shared=_is_shared(program))
    with watch, share_cores():
        for beta in values:
            at = program.replace(beta=jnp.asarray(beta, program.X.dtype))
            solution = _solve(at, solver, start, tol, watch)
            if bool(trees.all_finite(solution.params)):
                start = solution
            if report is not None:
                report(float(beta), solution)
            solutions.append(solution)
            if watch.over:
                break
    return solutions


def _zero_if_optimal(program: Any) -> Solution | None:
    """The solution for beta >= beta_max, zero, found without iterations."""
    loss, y = program.loss, program.y
    if loss.constraint is not None:
        return None
    beta = float(program.beta)
    if program.all_patterns:
        if beta < program.price_reached(-loss.gradient(np.zeros_like(y), y)):
            return None
        highest = least = program.price_at_zero()
    elif program.free_width:
        highest = least = program.price_at_zero()
    else:
        highest, least = (float(x) for x in loop.price_range(program))
    if not (beta >= least and np.isfinite(highest)):
        return None
    if beta < highest and (
        program.all_patterns or beta < gather(program).price_at_zero()
    ):
        return None
    value = loss.value(jnp.zeros_like(y), y)
    dual = -loss.gradient(jnp.zeros_like(y), y)
    return _zero(program, Status.CONVERGED, value, value, dual)


def _zero(program: Any, status: Status, value: Any, bound: Any, dual: Any) -> Solution:
    """The solution of zero parameters: the loss's value there, and a lower bound."""
    gap = loop.relative_gap(value, bound, gap_floor(program.loss, program.y))
    last: Any = (0, value, bound, gap)
    return Solution.of(program, program.zeros(), dual, status=status, last=last)


def _bounds_of_zero(program: Any) -> tuple[float, float, float]:
    """Objective, lower bound and gap of zero parameters and of the dual vector zero."""
    y = np.asarray(program.y)
    with np.errstate(all="ignore"):  # solvers report what is not finite
        value = float(program.loss.value(np.zeros_like(y), y))
        bound = 0.0 - float(program.loss.conjugate(np.zeros_like(y), y))
        floor = float(gap_floor(program.loss, y))
    return value, bound, relative_gap(value, bound, floor)


def _is_shared(program: Any) -> bool:
    """Whether several processes hold parts of the program."""
    leaves = jax.tree.leaves(program)
    return not all(getattr(x, "is_fully_addressable", True) for x in leaves)


def _check_limits(tol: float | None, time_limit: float | None) -> None:
    if tol is not None and not (is_number(tol) and tol > 0):
        raise ValueError(f"want tol > 0; got {tol!r}")
    if time_limit is not None and not (is_number(time_limit) and time_limit >= 0):
        raise ValueError(f"want time_limit, seconds >= 0; got {time_limit!r}")


def _broken_down(program: Any) -> Solution:
    """The solution where LAPACK fails at once: zero, and the bound of v = 0."""
    zero, y, loss = jnp.zeros_like(program.y), program.y, program.loss
    bound = -loss.conjugate(zero, y)
    return _zero(program, Status.STALLED, loss.value(zero, y), bound, zero)


def _check_concrete(*given: Any) -> None:
    """Refuses programs and starts inside `jit`, `vmap` or `grad`, and no programs."""
    program = given[0]
    if isinstance(program, _NO_PROGRAMS):
        arrived = type(program).__name__
        raise ValueError(f"want a program of cvxjax.programs; got {arrived}")
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(given)):
        raise ValueError(
            "want a program with values; got tracers of jit, vmap or grad, where "
            "cvxjax.solvers.loop.run(solver, program) solves (the optimal value's "
            "gradient is that of program.objective at the solution's params)"
        )


def _check_options(solver: Any) -> None:
    if isinstance(solver, type):
        name = solver.__name__
        raise ValueError(
            f"want a solver of cvxjax.solvers; got the class {name} (want {name}())"
        )
    if not isinstance(solver, Solver):
        arrived = repr(solver) if isinstance(solver, str) else type(solver).__name__
        raise ValueError(f"want a solver of cvxjax.solvers; got {arrived}")
    check_options(solver)
    inner = getattr(solver, "inner", None)
    if inner is not None:
        _check_options(inner)


def _check_solver(solver: Any, program: Any) -> None:
    _check_options(solver)
    reason = refusal(solver, program)
    if reason is not None:
        name = type(solver).__name__
        raise ValueError(f"{name} cannot take this program: {reason}")
