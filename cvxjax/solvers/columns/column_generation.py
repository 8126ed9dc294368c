"""Column generation: the solver itself finds the activation patterns that matter.

It solves the program over few patterns and prices single neurons with the dual vector,

    N(v) = max over ||u|| <= 1 of |v^T f(u)|,   f(u)_s = sum_k (x_sk^T u)_+

over the rows x_sk of sample s: the sample itself if layers are fully connected, its K
patches if filters are pooled. Patterns of neurons with prices above beta are added,
until N(v) <= beta up to the tolerance. If prices are exact (rank <= 3, or every pattern
listed), that proves a global optimum over networks; else it says that the search finds
no better neuron.

Source: Bach, Breaking the Curse of Dimensionality with Convex Neural Networks (2017),
for one neuron at a time; working sets of patterns and their prices are ours.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from cvxjax.interfaces import NeuronProgram
from cvxjax.record import static
from cvxjax.solution import Scope, Solution, Status
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.blocks.admm import Admm
from cvxjax.solvers.blocks.interior_point import InteriorPoint
from cvxjax.solvers.blocks.semismooth_newton import SemismoothNewton
from cvxjax.solvers.columns.oracle import Oracle, Price
from cvxjax.solvers.columns.pattern_pool import PatternPool
from cvxjax.solvers.refusals import Takes, first_fitting, refusal
from cvxjax.solvers.rounds import Rounds
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
        rounds = _PricingRounds(program, self, watch, as_start(start))
        return rounds.finish(rounds.drive(self.max_iters))


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


class _PricingRounds(Rounds):
    """Restricted programs and prices in turn.

    `bound` holds for all networks and takes proven prices; `near` is the bound if no
    neuron had a higher price than those found, which decides when to stop if no price
    can be proven.
    """

    def __init__(
        self, program: Any, solver: ColumnGeneration, watch: Watch, start: Any
    ) -> None:
        super().__init__(program, solver, watch)
        self.inner = solver.inner
        if self.inner is None:
            self.inner = first_fitting(program, SemismoothNewton(), Admm())
        self.oracle = Oracle(
            np.asarray(program.rows),
            np.asarray(program.masks),
            complete=program.verified_scope() is Scope.EXHAUSTIVE,
            starts=solver.starts,
            seed=solver.seed,
            watch=watch,
        )
        self.pool = PatternPool(program, start)
        self.aim, self.zero = max(self.tol / 4, _FIRST_AIM), self.bound
        self.vector, self.near = self.dual, self.bound
        self.inner_converged, self.neurons = False, []

    @property
    def told(self) -> tuple[int, float, float, float]:
        """The gap to all networks if that can be proven, else to the neurons found."""
        bound = self.bound if self.oracle.exact else self.near
        return self.steps, self.objective, bound, self.judged.gap(self.objective, bound)

    def verdict(self) -> Status:
        """CONVERGED by `near` where nothing can be proven; else as of all rounds."""
        if not self.told[-1] <= self.tol:
            return Status.RUNNING
        verdict = super().verdict()
        return Status.CONVERGED if verdict is Status.RUNNING else verdict

    def advance(self) -> Status:
        """Solves over more patterns, or more closely, and prices the dual vector."""
        if self.steps and not self._go_on():
            return Status.STALLED
        restricted, first = self.pool.restrict(self.program)
        aim = jnp.asarray(self.aim, self.program.X.dtype)
        inner = self.inner.replace(tol=aim)
        solution = _solve(inner, restricted, first, self.watch.of_part())
        self.finite = bool(np.isfinite(solution.objective))
        if not self.finite:
            return Status.NONFINITE
        self.pool.take(restricted, solution)
        self.objective = self.pool.objective
        self.vector = np.asarray(solution.dual, np.float64)
        self.inner_converged = int(solution.status) == Status.CONVERGED
        self.steps += 1
        try:
            price = self._price(self.vector)
        except Stopped:
            return self.watch.outcome
        self.neurons = price.neurons
        if self.oracle.exact and price.proven:
            self.offer_dual(self.vector, price.value)
        return Status.RUNNING

    def _go_on(self) -> bool:
        """Adds the neurons found, or asks for a smaller gap; False if neither helps."""
        if self.pool.grow(self.oracle.rows, self.neurons):
            best = max(self.bound, self.near)
            share = _SHARE * self.judged.gap(self.objective, best)
            self.aim = max(self.tol / 4, min(self.aim, share))
            return True
        closer = self.aim > self.tol / 4 and self.inner_converged
        self.aim = max(self.tol / 4, self.aim / 10)
        return closer

    def _price(self, v: np.ndarray) -> Price:
        """The price of v; if it would end the rounds, computed again, and proven."""
        rows = np.repeat(v, len(self.program.rows) // len(v))
        floor, points = self.beta * (1 + self.tol / 10), self.pool.points()
        price = self.oracle.price(rows, floor, points)
        self.near = self.judged.scaled(v, price.value)[0]
        if self.judged.gap(self.objective, max(self.bound, self.near)) <= self.tol:
            price = self.oracle.price(rows, floor, points, prove=True)
            self.near = self.judged.scaled(v, price.value)[0]
        return price

    def finish(self, status: Status) -> Solution:
        """The best point over the patterns it needs, and the bound that holds there."""
        program, params = self.pool.result(self.program)
        if not np.isfinite(self.pool.objective):  # no round, and a start of any value
            params = jnp.zeros_like(params)
        stopped = status in (Status.TIME_LIMIT, Status.INTERRUPTED)
        exact = self.oracle.exact and (not stopped or self.bound > self.zero)
        if not exact:
            price = program.judge().polar_bound(self.vector, None)
            self.bound, scale = self.judged.scaled(self.vector, price)
            self.dual = scale * self.vector
        return self.solution(
            status,
            params,
            scope=Scope.EXHAUSTIVE if exact else self.program.scope,
            patterns=None if program is self.program else program.patterns,
        )
