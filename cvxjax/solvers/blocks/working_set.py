"""Working sets: solve over the few blocks that matter, price all the others.

The dual vector v of the restricted program is optimal for the whole one if no other
block b violates max {v^T F_b u : ||u|| <= 1, A_b u >= 0} <= beta. One product rules
most of them out, since projecting onto a cone shortens: ||F_b^T v|| <= beta. Only the
others need the projection, whose norm is the maximum. Blocks above beta join the set.

Source: Johnson & Guestrin, Blitz (ICML 2015), for working sets that certify.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.forms.contracts import Vectors
from cvxjax.record import static
from cvxjax.solution import Solution, Status
from cvxjax.solvers import loop
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.blocks.admm import Admm
from cvxjax.solvers.blocks.feasible import feasible_point
from cvxjax.solvers.blocks.interior_point import InteriorPoint
from cvxjax.solvers.blocks.selection import SMALLEST, approached, selected
from cvxjax.solvers.progress import block_gauges
from cvxjax.solvers.refusals import Takes, first_fitting, inner_refusal
from cvxjax.solvers.rounds import Rounds
from cvxjax.solvers.starts import as_start
from cvxjax.watch import Watch

Array = jax.Array

_SHARE = 0.7  # of the tolerance: that of the restricted programs
_PRICING_STEPS = 60, 300  # of all doubtful blocks, then of those that still are
_PRICING_GLANCE = 30  # steps between two looks at the norms


class WorkingSet(SolverRecord):
    """Rounds of solving over a working set of blocks and pricing all of them.

    A few steps of Admm, or the given start, select the first set. Sets are padded to
    few sizes, so that little compiles. Programs of few blocks are left to the inner
    solver.

    Args:
      tol: relative duality gap of the whole program; default 1e-8 in float64, 1e-4 in
        float32.
      max_iters: rounds, static.
      inner: solver of the restricted programs, whose tolerance is set here; default
        InteriorPoint where it fits, else Admm.
      scouting: steps of Admm that select the first set, static.
    """

    max_iters: int = static(default=30)
    inner: Any = None
    scouting: int = static(default=150)
    takes: ClassVar[Takes] = Takes(form=Vectors, norms=("group",), constraints=False)

    def limits(self, program: Any) -> str | None:
        if self.inner is not None and type(self.inner) is type(self):
            return "its inner solver is a WorkingSet itself"
        return inner_refusal(self.inner, program)

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        """Rounds, on the host."""
        tol, inner = float(self.tolerance(program)), self.inner
        if inner is None:
            inner = first_fitting(program, InteriorPoint(), Admm())
        if np.prod(program.shape[:2]) <= SMALLEST:
            return inner.replace(tol=tol).run(program, start, watch)
        solver = self.replace(inner=inner)
        start = as_start(start)
        if start is None:
            scout, part = _scout(tol, self.scouting), watch.of_part()
            scouted = loop.run_on_host(scout, program, None, part)
            if watch.over:
                return scouted.replace(status=jnp.asarray(watch.outcome, jnp.int32))
            near = scouted.params, scouted.objective
            rounds = _WorkingRounds(program, solver, watch, *near)
            rounds.take(scouted.multipliers)
            rounds.keep_bound(scouted)
        else:
            near = _feasible(program, start.params)
            rounds = _WorkingRounds(program, solver, watch, *near)
            rounds.take(start.multipliers)
        return rounds.finish(rounds.drive(self.max_iters))


def _scout(tol: float, steps: int) -> Admm:
    """Admm to select blocks, by a few steps on all of them, in little memory.

    More memory of its acceleration, or a better point at the end, selects no better.
    """
    return Admm(
        tol=tol,
        max_iters=steps,
        check_every=steps,
        memory=2,
        projection_steps=2,
        lean=True,
    )


class _WorkingRounds(Rounds):
    """The working set, every block's multipliers, and the best point so far.

    Arrays are NumPy's, whose indexing compiles nothing.
    """

    def __init__(
        self,
        program: Any,
        solver: WorkingSet,
        watch: Watch,
        point: Any,
        objective: Any,
    ) -> None:
        super().__init__(program, solver, watch)
        self.aim = _SHARE * self.tol
        self.size = program.shape[0] * program.shape[1]
        self.params, self.objective = np.asarray(point), float(objective)
        self.known, self.multipliers = self._nothing(), self._nothing()
        self.working = np.any(self.params != 0, axis=-1).ravel()
        self.violators, self.inner_status = np.zeros(self.size, bool), Status.RUNNING

    def advance(self) -> Status:
        """Solves over a larger set, or more closely, and prices all blocks."""
        if self.violators.any():
            self.working |= self.violators
        elif self.inner_status is Status.CONVERGED:
            self.aim = self.aim / 10
        elif self.inner_status is not Status.RUNNING:
            return self.inner_status
        solution = self._solve()
        most = self.beta * (1 + 0.1 * self.aim)
        self.violators = self._price(np.asarray(solution.dual), most) > most
        self.violators &= ~self.working
        self.inner_status = Status(int(solution.status))
        self.finite = bool(np.isfinite(solution.objective))
        return Status.RUNNING

    def _nothing(self) -> Any:
        """Multipliers [2 P, m] of unit rows, of zero; None without cones."""
        cones = self.program.cones
        if cones is None:
            return None
        return np.zeros((self.size, cones.num_rows), self.program.X.dtype)

    def take(self, multipliers: Any) -> None:
        """Takes a solution's multipliers to start from."""
        if multipliers is not None:
            lengths = np.asarray(self.program.cones.lengths)
            scaled = np.asarray(multipliers) * lengths
            self.known = scaled.reshape(self.size, -1)

    def keep_bound(self, solution: Solution) -> None:
        """Keeps the lower bound of the solution whose multipliers were taken."""
        if float(solution.dual_bound) > self.bound:
            self.bound, self.dual = float(solution.dual_bound), solution.dual
            self.multipliers = None if self.known is None else self.known.copy()

    def _solve(self) -> Solution:
        """Solves over the working set, and keeps the point if it is better."""
        part, _ = selected(self.program, np.flatnonzero(self.working))
        inner = self.solver.inner.replace(tol=self.aim)
        solution = inner.run(part, None, self.watch.of_part())
        self.steps += int(solution.iterations)
        count = int(self.working.sum())
        if float(solution.objective) < self.objective:
            flat = np.zeros((self.size, part.shape[-1]), self.params.dtype)
            flat[self.working] = np.asarray(solution.params)[0, :count]
            self.params = flat.reshape(self.program.shape)
            self.objective = float(solution.objective)
        if self.known is not None:
            scaled = np.asarray(solution.multipliers) * np.asarray(part.cones.lengths)
            self.known[self.working] = scaled[0, :count]
        return solution

    def _price(self, v: np.ndarray, most: float) -> np.ndarray:
        """Upper bounds [2 P] of every block's maximum; keeps a better lower bound.

        Outside the working set they are refined only while above `most`.
        """
        known = self._shaped(self.known)
        bounds = np.array(_bounds(self.program, v, known)).ravel()
        for steps in _PRICING_STEPS:
            doubtful = (bounds > most) & ~self.working
            if self.known is None or not doubtful.any() or self.watch.over:
                break
            glance = _PRICING_GLANCE, steps
            given = np.flatnonzero(doubtful), self.known[doubtful]
            norms, better = approached(
                self.program, self.judged, v, *given, most, glance
            )
            bounds[doubtful] = np.minimum(bounds[doubtful], norms)
            self.known[doubtful] = better
        self.offer_dual(v, float(bounds.max()), self.known)
        return bounds

    def _shaped(self, multipliers: Any) -> Any:
        """[2, P, n] of [2 P, n]; None without cones."""
        if multipliers is None:
            return None
        return multipliers.reshape(*self.program.shape[:2], -1)

    def finish(self, status: Status) -> Solution:
        """The solution, with multipliers in the program's units."""
        multipliers = self._shaped(self.multipliers)
        if multipliers is not None:
            multipliers = multipliers / np.asarray(self.program.cones.lengths)
        return self.solution(status, self.params, multipliers=multipliers)


@jax.jit
def _feasible(program: Any, w: Array) -> tuple[Array, Array]:
    """A feasible point near w, and its objective."""
    zero = None
    if program.cones is not None:
        zero = jnp.zeros((*program.shape[:2], program.cones.num_rows), w.dtype)
    point, _ = feasible_point(program, w, zero, steps=_PRICING_GLANCE)
    return point, program.objective(point)


_bounds = jax.jit(block_gauges)
