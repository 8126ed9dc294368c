"""The one driver of every solver: steps, checks, best bounds, history, status."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cvxjax import verdicts
from cvxjax.algebra import rounding, trees
from cvxjax.algebra.compiled import jit_leanly
from cvxjax.record import Record
from cvxjax.solution import History, Solution, Status
from cvxjax.solvers.pace import Pace
from cvxjax.solvers.rays import first_status, out_of_reach
from cvxjax.solvers.starts import as_start
from cvxjax.terms.losses import FEASIBILITY
from cvxjax.watch import Watch

Array = jax.Array

TOLS = 1e-8, 1e-4  # default tolerances, in float64 and in float32
_PATIENCE = 50  # checks without progress, near the precision's floor
_FLOOR = 1e5  # that floor, in machine epsilons
_MOST = 2**31 - 1  # iterations


def default_tol(dtype: Any, tols: tuple[float, float] = TOLS) -> float:
    """The default tolerance of this precision, of those in float64 and in float32."""
    return tols[0] if jnp.finfo(dtype).bits == 64 else tols[1]


def relative_gap(objective: Array, dual_bound: Array, floor: Array) -> Array:
    """`verdicts.relative_gap` of arrays: inf while a bound is missing."""
    known = jnp.isfinite(objective) & jnp.isfinite(dual_bound)
    excess = jnp.where(known, objective, 1) - jnp.where(known, dual_bound, 0)
    size = jnp.maximum(jnp.abs(jnp.where(known, objective, 1)), floor)
    gap = excess / jnp.where(size > 0, size, 1)
    gap = jnp.where((size > 0) | (excess == 0), gap, jnp.sign(excess) * jnp.inf)
    return jnp.where(known, gap, jnp.inf)


def attempt(step: Callable[..., Any], *arguments: Any) -> Any:
    """The step's result, or None where LAPACK fails: the solver then has STALLED.

    For solvers with loops of their own on the host. LAPACK's LinAlgError is a
    ValueError, by which users would be told that their input is wrong.
    """
    try:
        return step(*arguments)
    except np.linalg.LinAlgError:
        return None


def polar_gauge(program: Any, v: Array, multipliers: Array | None) -> Array:
    """max_b R*(q_b + A_b^T mu), an upper bound for any mu >= 0; q = F^T v.

    With the judges' term for rounding, of float64 whatever the program's precision:
    what float32 itself rounds is for the certificate to find.

    Args:
      v: [n], or [n, c].
      multipliers: [S, P, m], >= 0, in units of the cones' unit rows.
    """
    return jnp.max(block_gauges(program, v, multipliers))


def block_gauges(program: Any, v: Array, multipliers: Array | None) -> Array:
    """The bounds of `polar_gauge` one by one, [S, P]."""
    terms, weight = program.terms, rounding.pulled(v, program.reach, jnp)
    blocks, dual_norms = program.adjoint(v), program.regulariser.dual_norms
    gauges = dual_norms(blocks) + rounding.gauge_rounding(terms, weight)
    if multipliers is None:
        return gauges
    moved = dual_norms(blocks + program.cones.adjoint(multipliers))
    walls = jnp.broadcast_to(program.walls, multipliers.shape)
    weight = weight + jnp.sum(walls * multipliers, axis=-1)
    return jnp.minimum(gauges, moved + rounding.gauge_rounding(terms, weight))


@jax.jit
def price_range(program: Any) -> tuple[Array, Array]:
    """Bounds from above and below of max_b max {v^T F_b u : R(u) <= 1, A_b u >= 0}.

    v is minus the loss's gradient at zero, so that they are bounds of the beta from
    which on zero is optimal. The lower one is attained at the cells' interior points;
    without cones it is exact. Both with the judges' term for rounding.
    """
    v = -program.loss.gradient(jnp.zeros_like(program.y), program.y)
    highest = polar_gauge(program, v, None)
    if program.cones is None:
        return highest, highest
    blocks, regulariser = program.adjoint(v), program.regulariser
    inner = program.cones.interior[None]
    reached = jnp.sum(blocks * inner, axis=-1) / regulariser.norms(inner)
    return highest, jnp.max(reached)


class Progress(Record):
    """What a solver has to show so far: the best point and the best bound."""

    params: Any
    dual: Array  # [n] or [n, c], scaled to be feasible
    multipliers: Array | None
    objective: Array  # []
    dual_bound: Array  # []
    status: Array  # [], int32, of Status
    iteration: Array  # [], int32
    last_gain: Array  # [], int32, the check at which the gap last improved by 1 %
    mark: Array  # [], the gap at that check
    closing: Array  # [], bool: this check is the last, whatever it finds
    tol: Array  # []
    floor: Array  # [], 1e-4 L(0, y): what a gap is relative to at the least
    history: History

    @classmethod
    def start(cls, solver: Any, program: Any, w: Any) -> Progress:
        dtype, y = program.X.dtype, program.y
        checks = -(-solver.max_iters // solver.check_every)
        nothing = jnp.full(checks, jnp.nan, dtype)
        shape = program.multipliers_shape
        multipliers = None if shape is None else jnp.zeros(shape, dtype)
        return cls(
            params=jax.tree.map(jnp.zeros_like, w),
            dual=jnp.zeros_like(y),
            multipliers=multipliers,
            # Not objective(zero): jaxlib 0.10.2 reads outside a constant's memory where
            # it fuses its product with the loss, and the value may be NaN.
            objective=jnp.asarray(program.loss.value(jnp.zeros_like(y), y), dtype),
            dual_bound=-jnp.asarray(program.loss.conjugate(jnp.zeros_like(y), y)),
            status=first_status(program),
            iteration=jnp.asarray(0, jnp.int32),
            last_gain=jnp.asarray(0, jnp.int32),
            mark=jnp.asarray(jnp.inf, dtype),
            closing=jnp.asarray(False),
            tol=jnp.asarray(solver.tolerance(program), dtype),
            floor=jnp.asarray(verdicts.gap_floor(program.loss, y, jnp), dtype),
            history=History(
                iteration=jnp.full(checks, -1, jnp.int32),
                objective=nothing,
                dual_bound=nothing,
                gap=nothing,
            ),
        )

    @property
    def gap(self) -> Array:
        return self.gap_of(self.objective)

    def gap_of(self, objective: Array) -> Array:
        """The relative gap of another objective to the best bound so far."""
        return relative_gap(objective, self.dual_bound, self.floor)

    def update(
        self,
        solver: Any,
        program: Any,
        point: Any,
        candidates: Sequence[Array],
        multipliers: Array | None,
        *,
        finite_of: Any,
        rays: Sequence[tuple[Array, Array | None]] = (),
    ) -> Progress:
        """Keeps the better of old and new on both sides, and judges.

        Args:
          point: a feasible point.
          candidates: dual vectors [n], scaled here to feasibility.
          multipliers: of the cones, [S, P, m], unit rows.
          finite_of: the iterate, looked at for NaN and infinity.
          rays: dual vectors and multipliers that may prove it infeasible.
        """
        new = self
        objective = program.objective(point)
        better = objective < self.objective
        new = new.replace(
            params=trees.choose(better, point, self.params),
            objective=jnp.where(better, objective, self.objective),
        )
        for v in candidates:
            new = new.offer(program, v, multipliers)
        infeasible = jnp.asarray(False)
        for ray in rays:
            infeasible |= out_of_reach(program, *ray)
        return new._judge(solver, program, finite_of, infeasible)

    def offer(self, program: Any, v: Array, multipliers: Array | None) -> Progress:
        """Keeps v, scaled to feasibility, if its bound is better; as in `update`.

        Without a price, where any multiple is feasible, v itself: minus the gradient at
        the optimum is the best one.
        """
        loss, y = program.loss, program.y
        bound = polar_gauge(program, v, multipliers)
        known, priced = jnp.isfinite(bound), bound > 0
        limit = jnp.where(priced, program.beta / jnp.where(priced, bound, 1), 1)
        limit = jnp.where(known, limit, 0)  # of a price that is NaN nothing is known
        best = self
        for t in (jnp.minimum(1, limit), limit):
            value = -loss.conjugate(-t * v, y)
            value = value - rounding.dual_rounding(t * v, y, value, jnp)
            better = value > best.dual_bound
            keep = partial(jnp.where, better)
            best = best.replace(
                dual=keep(t * v, best.dual),
                dual_bound=keep(value, best.dual_bound),
                multipliers=None
                if multipliers is None
                else keep(t * multipliers, best.multipliers),
            )
        return best

    def _contradictory(self, program: Any) -> Array:
        """Whether the bound lies above the objective, by more than rounding."""
        loss, dtype = program.loss, self.objective.dtype
        explained = rounding.explained(
            self.objective,
            self.dual_bound,
            self.dual,
            loss=loss,
            y=program.y,
            beta=program.beta,
            reach=program.reach,
            terms=program.terms,
            tolerance=0.0 if loss.constraint is None else FEASIBILITY.get(dtype, 1e-4),
            unit=float(jnp.finfo(dtype).eps) / 2,
            xp=jnp,
        )
        return self.objective - self.dual_bound < -explained

    def _judge(
        self, solver: Any, program: Any, iterate: Any, infeasible: Array
    ) -> Progress:
        gap = self.gap
        done = self.iteration >= solver.max_iters
        check = jnp.maximum(-(-self.iteration // solver.check_every) - 1, 0)
        gained = gap < 0.99 * self.mark
        last_gain = jnp.where(gained, check, self.last_gain)
        floor = gap < _FLOOR * jnp.finfo(gap.dtype).eps
        stalled = floor & (check - last_gain >= _PATIENCE)
        status = jnp.asarray(Status.RUNNING, jnp.int32)
        for condition, outcome in (
            (done, Status.MAX_ITERATIONS),
            (stalled, Status.STALLED),
            (infeasible, Status.INFEASIBLE),
            (~trees.all_finite(iterate), Status.NONFINITE),
            (gap <= self.tol, Status.CONVERGED),
            (self._contradictory(program), Status.INCONSISTENT),
        ):
            status = jnp.where(condition, jnp.asarray(outcome, jnp.int32), status)
        last = self.history
        history = History(
            iteration=last.iteration.at[check].set(self.iteration),
            objective=last.objective.at[check].set(self.objective),
            dual_bound=last.dual_bound.at[check].set(self.dual_bound),
            gap=last.gap.at[check].set(gap),
        )
        return self.replace(
            status=status,
            history=history,
            last_gain=last_gain,
            mark=jnp.where(gained, gap, self.mark),
        )

    def solution(self, program: Any) -> Solution:
        multipliers = self.multipliers
        if multipliers is not None:
            multipliers = program.cones.unscaled(multipliers)
        return Solution(
            params=self.params,
            dual=self.dual,
            multipliers=multipliers,
            status=self.status,
            objective=self.objective,
            dual_bound=self.dual_bound,
            gap=self.gap,
            iterations=self.iteration,
            history=self.history,
            scope=program.scope,
        )


def advance(
    solver: Any,
    program: Any,
    state: Any,
    until: ArrayLike,
    closing: ArrayLike = False,
) -> Any:
    """Steps until the status is final or `until` iterations are done.

    It checks after every `check_every` steps, after the last one, and, if `closing`,
    also where it ends. Where it stops in between changes no iterate.
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

    Pure: may be jitted, and vmapped over programs.
    """
    state = first_state(solver, program, start)
    state = advance(solver, program, state, solver.max_iters)
    return state.progress.solution(program)


@jax.jit
def judged(solver: Any, program: Any, solution: Solution) -> Solution:
    """A solution's bounds and status by another form of the program it is of.

    Its status stays, unless the gap is at most the solver's tolerance or contradicts.

    Args:
      program: whose parameters, dual vectors and multipliers the solution's are.
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
    """`run`, compiled, coming back to the host a few times a second.

    Its history has no padding.

    Args:
      watch: says when to stop, and is told where it stands. Stopping takes one more
        step and a check.
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
