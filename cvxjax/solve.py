"""`solve` and `solve_path`: pick a solver, refuse an unfit pair by name, run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.interfaces import Program, Solver
from cvxjax.solution import Solution
from cvxjax.solvers import Admm, Fista, loop

Report = Callable[[int, float, float, float], None]


def solve(
    program: Program,
    solver: Solver | None = None,
    *,
    start: jax.Array | None = None,
    report: Report | None = None,
) -> Solution:
    """Minimises the program's objective to the solver's relative duality gap.

    Args:
      program: from `cvxjax.programs`.
      solver: from `cvxjax.solvers`; omitted, Fista for programs without cones and
        with a smooth loss, else Admm, at their default tolerances.
      start: parameters to start from, default zero.
      report: called now and then with iteration, objective, lower bound and gap.

    Returns:
      Solution, whose parameters are feasible; `solution.check()` raises unless it
      converged.

    Raises:
      ValueError: if the solver cannot take this program, or an option is out of
        range.
    """
    solver = default_solver(program) if solver is None else solver
    _check_solver(solver, program)
    if start is not None:
        start = jnp.asarray(start, program.X.dtype)
        if start.shape != program.shape:
            raise ValueError(
                f"want start {list(program.shape)}; got {list(start.shape)}"
            )
        if not bool(jnp.all(jnp.isfinite(start))):
            raise ValueError("want a finite start; got NaN or infinity")
    return loop.run_on_host(solver, program, start, report)


def solve_path(
    program: Program,
    betas: Sequence[float] | np.ndarray,
    solver: Solver | None = None,
    *,
    report: Callable[[float, Solution], None] | None = None,
) -> list[Solution]:
    """Solves the program for every beta, in the order given, each from the last.

    Descending betas start warm. Nothing recompiles between them.

    Args:
      program: its own beta is not used.
      betas: [k], > 0.
      solver: as in `solve`.
      report: called with beta and its solution.

    Raises:
      ValueError: as in `solve`, or if `betas` is empty or not positive.
    """
    values = np.asarray(betas, float)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"want betas [k], k >= 1; got shape {values.shape}")
    if not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError(f"want finite betas > 0; got {values.tolist()}")
    solutions: list[Solution] = []
    start = None
    for beta in values:
        at = program.replace(beta=jnp.asarray(beta, program.X.dtype))
        solution = solve(at, solver, start=start)
        if bool(jnp.all(jnp.isfinite(solution.params))):
            start = solution.params
        if report is not None:
            report(float(beta), solution)
        solutions.append(solution)
    return solutions


def default_solver(program: Program) -> Any:
    """Fista where it fits, else Admm."""
    fista = Fista()
    return fista if fista.refuse(program) is None else Admm()


def _check_solver(solver: Any, program: Any) -> None:
    name = type(solver).__name__
    if isinstance(solver, type):
        raise ValueError(
            f"want a solver of cvxjax.solvers; got the class {solver.__name__}"
        )
    if not isinstance(solver, Solver):
        raise ValueError(f"want a solver of cvxjax.solvers; got {name}")
    reason = solver.refuse(program)
    if reason is not None:
        raise ValueError(f"{name} cannot take this program: {reason}")
    for option in ("max_iters", "check_every"):
        value = getattr(solver, option)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"want {option}, an integer >= 1; got {value!r}")
    if solver.tol is not None and not float(solver.tol) > 0:
        raise ValueError(f"want tol > 0; got {solver.tol}")
