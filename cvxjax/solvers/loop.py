"""The driver of stepwise solvers: compiled steps and checks, the clock, the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from cvxjax import verdicts
from cvxjax.algebra.compiled import jit_leanly
from cvxjax.solution import Scope, Solution, Status
from cvxjax.solvers.pace import Pace
from cvxjax.solvers.padding import padded
from cvxjax.solvers.progress import (
    Progress,
    polar_gauge,
    relative_gap,  # noqa: F401 (part of this module's interface)
)
from cvxjax.solvers.starts import as_start
from cvxjax.watch import Watch

Array = jax.Array

TOLS = 1e-8, 1e-4  # default tolerances, in float64 and in float32
_MOST = 2**31 - 1  # iterations


def default_tol(dtype: Any, tols: tuple[float, float] = TOLS) -> float:
    """The default tolerance of this precision, of those in float64 and in float32."""
    return tols[0] if jnp.finfo(dtype).bits == 64 else tols[1]


def attempt(step: Callable[..., Any], *arguments: Any) -> Any:
    """The step's result, or None if LAPACK fails: the solver's status is then STALLED.

    For loops on the host. LAPACK's LinAlgError is a ValueError, and would tell users
    that their input is wrong.
    """
    try:
        return step(*arguments)
    except np.linalg.LinAlgError:
        return None


def price_range(program: Any) -> tuple[Array, Array]:
    """Bounds from above and below of max_b max {v^T F_b u : R(u) <= 1, A_b u >= 0}.

    Here v is minus the loss's gradient at zero, so that these bound the least beta at
    which zero is optimal. The lower bound is attained at the cells' interior points,
    and is exact without cones. Both include what rounding may hide.
    """
    return _price_range(padded(program)[0])


@jax.jit
def _price_range(program: Any) -> tuple[Array, Array]:
    v = -program.loss.gradient(jnp.zeros_like(program.y), program.y)
    highest = polar_gauge(program, v, None)
    if program.cones is None:
        return highest, highest
    blocks, regulariser = program.adjoint(v), program.regulariser
    inner = program.cones.interior[None]
    reached = jnp.sum(blocks * inner, axis=-1) / regulariser.norms(inner)
    return highest, jnp.max(reached)


def advance(
    solver: Any,
    program: Any,
    state: Any,
    until: ArrayLike,
    closing: ArrayLike = False,
) -> Any:
    """Steps until the status is final or `until` iterations are done.

    It checks after every `check_every` steps, after the last one, and, if `closing`,
    also where it ends. Stopping in between changes no iterate.
    """

    def body(state: Any) -> Any:
        step = lambda _, s: solver.step(program, s)  # noqa: E731
        done = state.progress.iteration
        count = solver.check_every - done % solver.check_every
        count = jnp.minimum(count, jnp.minimum(until, solver.max_iters) - done)
        state = jax.lax.fori_loop(0, count, step, state)
        done = done + count
        state = state.replace(
            progress=state.progress.replace(
                iteration=done, closing=jnp.asarray(closing)
            )
        )
        if solver.check_every == 1:
            return solver.check(program, state)
        due = (done % solver.check_every == 0) | (done >= solver.max_iters) | closing
        check = lambda s: solver.check(program, s)  # noqa: E731
        return jax.lax.cond(due, check, lambda s: s, state)

    def running(state: Any) -> Array:
        progress = state.progress
        return (progress.status == Status.RUNNING) & (progress.iteration < until)

    return jax.lax.while_loop(running, body, state)


def first_state(solver: Any, program: Any, start: Any = None) -> Any:
    """The solver's first state: from zero, parameters, a `Start` or a solution."""
    start = as_start(start)
    if start is None:
        return solver.init(program, program.zeros())
    state = solver.init(program, start.params)
    return solver.adopt(program, state, start)


def run(solver: Any, program: Any, start: Any = None) -> Solution:
    """Solves from parameters, a `Start` or a solution (default zero).

    Pure: may be jitted, and vmapped over programs. The scope is SAMPLED where it cannot
    be verified, as within `jit`.
    """
    state = first_state(solver, program, start)
    state = advance(solver, program, state, solver.max_iters)
    traced = any(isinstance(x, Tracer) for x in jax.tree.leaves(program))
    scope = Scope.SAMPLED if traced else program.verified_scope()
    return state.progress.solution(program).replace(scope=scope)


@jax.jit
def judged(solver: Any, program: Any, solution: Solution) -> Solution:
    """A solution whose bounds and status are computed anew, for another program.

    The status stays, unless the gap meets the solver's tolerance, no longer does, or
    the bounds contradict each other.

    Args:
      program: an equivalent one, which the solution's arrays are now of.
    """
    multipliers = solution.multipliers
    if multipliers is not None:
        multipliers = program.cones.scaled(multipliers)
    progress = Progress.start(solver, program, solution.params).update(
        solver,
        program,
        solution.params,
        [solution.dual],
        multipliers,
        finite_of=solution.params,
    )
    known = (progress.status == Status.CONVERGED) | (
        progress.status == Status.INCONSISTENT
    )
    lost = solution.status == Status.CONVERGED
    otherwise = jnp.where(lost, int(Status.STALLED), solution.status)
    return progress.solution(program).replace(
        status=jnp.where(known, progress.status, otherwise).astype(jnp.int32),
        iterations=solution.iterations,
        history=solution.history,
    )


@jax.jit
def solution_of(program: Any, progress: Progress) -> Solution:
    """`progress.solution`, compiled."""
    return progress.solution(program)


@jax.jit
def _init(solver: Any, program: Any, start: Any) -> Any:
    # Copies: `_advance` takes its state's memory, which must not be an argument's.
    return jax.tree.map(jnp.copy, first_state(solver, program, start))


_advance = jax.jit(advance, donate_argnames="state")
_advance_leanly = jit_leanly(advance, donate_argnames="state")


def run_on_host(
    solver: Any,
    program: Any,
    start: Any = None,
    watch: Watch | None = None,
    ended: Callable[[Any], None] | None = None,
) -> Solution:
    """`run`, compiled, returning to the host a few times a second.

    The history has no padding.

    Args:
      watch: says when to stop, and is told the progress. Stopping takes one more step
        and a check.
      ended: called with the solver's last state.
    """
    watch = Watch() if watch is None else watch
    start = as_start(start)
    tol = jnp.asarray(solver.tolerance(program), program.X.dtype)
    solver = solver.replace(tol=tol)
    go_on = _advance_leanly if solver.lean else _advance
    state = _init(solver, program, start)
    pace, done, status, closing = Pace(solver, program), 0, Status.RUNNING, False
    while status is Status.RUNNING:
        outcome = watch.outcome
        closing = outcome is not Status.RUNNING
        began = time.perf_counter()
        steps = 1 if closing else watch.agreed(pace.steps(watch.seconds_left()))
        state = go_on(solver, program, state, min(done + steps, _MOST), closing)
        progress = state.progress
        status, before = Status(int(progress.status)), done
        done = int(progress.iteration)
        pace.took(done - before, time.perf_counter() - began)
        objective, bound = float(progress.objective), float(progress.dual_bound)
        gap = verdicts.relative_gap(objective, bound, float(progress.floor))
        watch.tell(done, objective, bound, gap)
        if closing and status is Status.RUNNING:
            status = outcome
    if ended is not None:
        ended(state)
    found = solution_of(program, progress)
    return found.replace(
        status=jnp.asarray(status, jnp.int32), history=found.history.trimmed()
    )
