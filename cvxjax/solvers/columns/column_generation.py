"""Column generation: the solver finds the activation patterns that matter itself.

Solves the program over few patterns, prices single neurons with the dual vector v,

    N(v) = max over ||u|| <= 1 of |v^T f(u)|,   f(u)_s = sum_k (x_sk^T u)_+

over the rows x_sk of sample s, the one sample itself where layers are fully connected
and its K patches where filters are pooled. It adds the patterns of neurons above beta,
until N(v) <= beta up to the tolerance. Where the price is exact (rank <= 3, or every
pattern listed) that proves a global optimum over networks; else the search finds no
neuron that improves.

Source: Bach, Breaking the Curse of Dimensionality with Convex Neural Networks (2017),
for one neuron at a time; working sets of patterns and their prices are ours.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from cvxjax.interfaces import NeuronProgram
from cvxjax.record import static
from cvxjax.solution import History, Scope, Solution, Status
from cvxjax.solvers import loop
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.blocks.admm import Admm
from cvxjax.solvers.blocks.interior_point import InteriorPoint
from cvxjax.solvers.blocks.semismooth_newton import SemismoothNewton
from cvxjax.solvers.columns.oracle import Oracle, Price
from cvxjax.solvers.columns.pattern_pool import PatternPool
from cvxjax.solvers.host_bounds import HostBounds
from cvxjax.solvers.refusals import Takes, refusal
from cvxjax.solvers.starts import as_start
from cvxjax.watch import Stopped, Watch

_FIRST_AIM = 1e-3  # relative gap of the first restricted program
_SHARE = 0.1  # of the gap: the next restricted program's


class ColumnGeneration(SolverRecord):
    """Solves over few patterns and adds those that a pricing of neurons finds.

    The program's patterns are only where it starts. The solution carries the patterns
    it ends with, those given and the new ones in use; `patterns` stays None if no new
    one is. Its scope is EXHAUSTIVE where pricing is exact: `dual_bound` then holds for
    every network. Else it is SAMPLED, for the returned patterns, and
    `certify(program, solution, scope=Scope.GLOBAL_BOUND)` bounds all networks. What
    `report` shows before the end is the gap to the neurons found so far.

    Args:
      tol: relative duality gap; default 1e-8 in float64, 1e-4 in float32.
      max_iters: rounds, static.
      inner: solver of the restricted programs, whose tolerance is set here; default
        SemismoothNewton where it fits, which starts warm, else Admm. Where it does not
        converge, InteriorPoint or Admm of a smaller penalty takes a second try.
      starts: points from which each search climbs, static.
      seed: of the starts, static.
    """

    tol: Any = None
    max_iters: int = static(default=100)
    inner: Any = None
    starts: int = static(default=512)
    seed: int = static(default=0)
    leaves_patterns: ClassVar[bool] = True  # of the program, for better ones
    takes: ClassVar[Takes] = Takes(form=NeuronProgram, cones=True, constraints=False)

    def limits(self, program: Any) -> str | None:
        return None if self.inner is None else refusal(self.inner, program)

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        """Rounds of solving and pricing, on the host."""
        tol = loop.default_tol(program.X.dtype) if self.tol is None else self.tol
        tol, beta = float(tol), float(program.beta)
        inner = _default_inner(program) if self.inner is None else self.inner
        repeats = len(program.rows) // len(program.y)
        oracle = Oracle(
            np.asarray(program.rows),
            np.asarray(program.masks),
            complete=program.verified_scope() is Scope.EXHAUSTIVE,
            starts=self.starts,
            seed=self.seed,
            watch=watch,
        )
        pool, rounds = PatternPool(program, as_start(start)), _PricingRounds(program)
        aim, status = max(tol / 4, _FIRST_AIM), Status.RUNNING
        while status is Status.RUNNING:
            restricted, first = pool.restrict(program)
            inner = inner.replace(tol=jnp.asarray(aim, program.X.dtype))
            part = watch.of_part()
            solution = loop.attempt(_solve, inner, restricted, first, part)
            if solution is None:
                status = Status.STALLED
                break
            if not np.isfinite(solution.objective):
                status = Status.NONFINITE
                break
            pool.take(restricted, solution)
            v = np.asarray(solution.dual, np.float64)
            floor = beta * (1 + tol / 10)
            of_rows = np.repeat(v, repeats)
            try:
                price = oracle.price(of_rows, floor, pool.points())
                near = rounds.gap_at(v, pool.objective, price.value)
                if near <= tol:  # the price once more: proven, or from other starts
                    price = oracle.price(of_rows, floor, pool.points(), prove=True)
            except Stopped:
                rounds.stop(v, pool.objective)
                status = watch.outcome
                break
            gap = rounds.add(v, pool.objective, price, oracle.exact)
            watch.tell(rounds.count, *rounds.last)
            if gap <= tol:
                status = rounds.verdict(pool.objective, tol)
            elif rounds.count == self.max_iters:
                status = Status.MAX_ITERATIONS
            elif pool.grow(oracle.rows, price.neurons):
                aim = max(tol / 4, min(aim, _SHARE * near))
            elif aim > tol / 4 and int(solution.status) == Status.CONVERGED:
                aim = max(tol / 4, aim / 10)
            else:
                status = Status.STALLED
        stopped = status in (Status.TIME_LIMIT, Status.INTERRUPTED)
        proven = oracle.exact and (not stopped or rounds.bound > rounds.zero)
        return rounds.finish(pool, status, proven)


def _default_inner(program: Any) -> Any:
    """SemismoothNewton where it fits, else Admm."""
    newton = SemismoothNewton()
    return newton if refusal(newton, program) is None else Admm()


def _solve(inner: Any, program: Any, first: Any, watch: Watch) -> Solution:
    """The inner solver's solution, or that of a second try where it is better."""
    solution = inner.run(program, first, watch)
    other = inner.another()
    other = InteriorPoint(tol=inner.tol) if other is None else other
    done = watch.over or int(solution.status) == Status.CONVERGED
    if done or refusal(other, program) is not None:
        return solution
    second = other.run(program, None, watch)
    return min(solution, second, key=lambda s: float(s.gap))


class _PricingRounds:
    """Bounds and history of the rounds so far."""

    def __init__(self, program: Any) -> None:
        self.program = program
        self.y = np.asarray(program.y, np.float64)
        self.judged = HostBounds(program)
        self.zero = self.judged.value(0 * self.y)
        self.bound, self.dual = self.zero, 0 * self.y
        self.vector, self.last = self.dual, (np.inf, self.zero, np.inf)
        self.lines: list[tuple[float, float, float]] = []

    @property
    def count(self) -> int:
        return len(self.lines)

    def scaled(self, v: np.ndarray, price: float) -> tuple[float, np.ndarray]:
        """The best of the dual values of t v with t price <= beta, and that t v."""
        value, t = self.judged.scaled(v, price)
        return value, t * v

    def verdict(self, objective: float, tol: float) -> Status:
        """CONVERGED, or INCONSISTENT if a proven bound lies above the objective."""
        verdict = self.judged.verdict(objective, self.bound, self.dual, tol)
        return Status.CONVERGED if verdict is Status.RUNNING else verdict

    def gap_at(self, v: np.ndarray, objective: float, price: float) -> float:
        return self.judged.gap(objective, max(self.bound, self.scaled(v, price)[0]))

    def add(self, v: np.ndarray, objective: float, price: Price, exact: bool) -> float:
        """The gap to all networks if that can be proven, else to the neurons found."""
        value, dual = self.scaled(v, price.value)
        self.vector = v
        if price.proven and exact and value > self.bound:
            self.bound, self.dual = value, dual
        gap = self.judged.gap(objective, self.bound if exact else value)
        proven = self.judged.gap(objective, self.bound)
        self.lines.append((objective, self.bound, proven))
        self.last = objective, self.bound if exact else value, gap
        return gap

    def stop(self, v: np.ndarray, objective: float) -> None:
        """Ends the history with a point whose price is not known."""
        self.vector = v
        self.lines.append(
            (objective, self.bound, self.judged.gap(objective, self.bound))
        )

    def finish(self, pool: PatternPool, status: Status, exact: bool) -> Solution:
        """The best point over the patterns it needs, and the bound that holds there."""
        program, params = pool.result(self.program)
        bound, dual = self.bound, self.dual
        if not exact:
            price = program.judge().polar_bound(self.vector, None)
            bound, dual = self.scaled(self.vector, price)
        if self.lines:
            objective = self.lines[-1][0]
            self.lines[-1] = objective, bound, self.judged.gap(objective, bound)
        dtype = self.program.X.dtype
        columns = np.reshape(self.lines, (-1, 3)).T
        objectives, bounds, gaps = (jnp.asarray(column, dtype) for column in columns)
        scope = Scope.EXHAUSTIVE if exact else program.scope
        return Solution(
            params=params,
            dual=jnp.asarray(dual, dtype),
            multipliers=None,
            status=jnp.asarray(status, jnp.int32),
            objective=jnp.asarray(pool.objective, dtype),
            dual_bound=jnp.asarray(bound, dtype),
            gap=jnp.asarray(self.judged.gap(pool.objective, bound), dtype),
            iterations=jnp.asarray(self.count, jnp.int32),
            history=History(
                iteration=jnp.arange(1, self.count + 1, dtype=jnp.int32),
                objective=objectives,
                dual_bound=bounds,
                gap=gaps,
            ),
            scope=scope,
            patterns=None if program is self.program else program.patterns,
        )
