"""Working sets: solve over the few blocks that matter, price all the others.

The dual vector v of the restricted program is optimal for the whole one if no other
block b violates max {v^T F_b u : ||u|| <= 1, A_b u >= 0} <= beta. One product rules
most of them out, since projecting onto a cone shortens: ||F_b^T v|| <= beta. Only the
others need the projection, whose norm is the maximum. Violators join the set.

Source: Johnson & Guestrin, Blitz (ICML 2015), for working sets that certify.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.forms.contracts import Vectors
from cvxjax.record import static
from cvxjax.solution import History, Solution, Status
from cvxjax.solvers import loop
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.blocks.admm import Admm
from cvxjax.solvers.blocks.feasible import feasible_point
from cvxjax.solvers.blocks.interior_point import InteriorPoint
from cvxjax.solvers.host_bounds import HostBounds
from cvxjax.solvers.refusals import Takes, inner_refusal, refusal
from cvxjax.solvers.starts import as_start
from cvxjax.terms.regularisers import group_norms
from cvxjax.watch import Watch

Array = jax.Array

_LEAST = 64  # blocks of a restricted program
_SHARE = 0.7  # of the tolerance: that of the restricted programs
_PRICING_STEPS = 60, 300  # of all doubtful blocks, then of those that still are
_PRICING_GLANCE = 30  # steps between two looks at the norms


class WorkingSet(SolverRecord):
    """Rounds of solving over a working set of blocks and pricing all of them.

    A few steps of Admm, or the given start, name the first set. Sets are padded to
    few sizes, so that little compiles. Small programs go to the inner solver as they
    are.

    Args:
      tol: relative duality gap of the whole program; default 1e-8 in float64, 1e-4 in
        float32.
      max_iters: rounds, static.
      inner: solver of the restricted programs, whose tolerance is set here; default
        InteriorPoint where it fits, else Admm.
      scouting: steps of Admm that name the first set, static.
    """

    tol: Any = None
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
        dtype = program.X.dtype
        tol = float(loop.default_tol(dtype) if self.tol is None else self.tol)
        inner = _default_inner(program) if self.inner is None else self.inner
        if np.prod(program.shape[:2]) <= _LEAST:
            return inner.replace(tol=tol).run(program, start, watch)
        start = as_start(start)
        if start is None:
            scout, part = _scout(tol, self.scouting), watch.of_part()
            scouted = loop.run_on_host(scout, program, None, part)
            if watch.over:
                return scouted.replace(status=jnp.asarray(watch.outcome, jnp.int32))
            rounds = _WorkingRounds(program, watch, scouted.params, scouted.objective)
            rounds.take(scouted.multipliers)
            rounds.keep_bound(scouted)
        else:
            rounds = _WorkingRounds(program, watch, *_feasible(program, start.params))
            rounds.take(start.multipliers)
        working, aim = np.any(rounds.params != 0, axis=-1).ravel(), _SHARE * tol
        status = Status.RUNNING
        while status is Status.RUNNING:
            solution = loop.attempt(rounds.solve, inner.replace(tol=aim), working)
            if solution is None:
                status = Status.STALLED
                break
            bounds = rounds.price(solution, working, 1 + 0.1 * aim)
            watch.tell(len(rounds.lines), *rounds.lines[-1][1:])
            violators = (bounds > rounds.beta * (1 + 0.1 * aim)) & ~working
            verdict = rounds.verdict(tol)
            if verdict is not Status.RUNNING:
                status = verdict
            elif not np.isfinite(solution.objective):
                status = Status.NONFINITE
            elif watch.over:
                status = watch.outcome
            elif len(rounds.lines) >= self.max_iters:
                status = Status.MAX_ITERATIONS
            elif violators.any():
                working |= violators
            elif int(solution.status) == Status.CONVERGED:
                aim = aim / 10
            else:
                status = Status(int(solution.status))
        return rounds.finish(status)


def _scout(tol: float, steps: int) -> Admm:
    """Admm that names blocks: a few steps on all of them, where memory is what counts.

    A longer memory of its acceleration, or a better point at the end, names no better.
    """
    return Admm(
        tol=tol,
        max_iters=steps,
        check_every=steps,
        memory=2,
        projection_steps=2,
        lean=True,
    )


def _default_inner(program: Any) -> Any:
    """InteriorPoint where it fits, else Admm."""
    precise = InteriorPoint()
    return precise if refusal(precise, program) is None else Admm()


def padded(count: int) -> int:
    """The least size >= count among 64, 80, 96, 112, 128, 160, 192, 224, 256, ..."""
    size = _LEAST
    while 2 * size < count:
        size *= 2
    return next(s for s in range(size, 2 * size + 1, size // 4) if s >= count)


class _WorkingRounds:
    """The best point, the best bound, and the history of the rounds so far.

    Their arrays are NumPy's, whose indexing compiles nothing.
    """

    def __init__(self, program: Any, watch: Watch, point: Any, objective: Any) -> None:
        self.program, self.beta = program, float(program.beta)
        self.watch = watch
        self.y, self.bounds = np.asarray(program.y), HostBounds(program)
        self.size = program.shape[0] * program.shape[1]
        self.params, self.objective = np.asarray(point), float(objective)
        self.multipliers = self._nothing()
        self.best = 0 * self.y, self._nothing()
        self.bound = self.bounds.value(0 * self.y)
        self.lines: list[tuple[int, float, float, float]] = []
        self.iterations = 0

    @property
    def gap(self) -> float:
        return self.bounds.gap(self.objective, self.bound)

    def verdict(self, tol: float) -> Status:
        """CONVERGED, INCONSISTENT or RUNNING."""
        return self.bounds.verdict(self.objective, self.bound, self.best[0], tol)

    def _nothing(self) -> Any:
        """Multipliers [2 P, m], of zero; None without cones."""
        cones = self.program.cones
        return (
            None
            if cones is None
            else np.zeros((self.size, cones.num_rows), self.y.dtype)
        )

    def take(self, multipliers: Any) -> None:
        """Starts from a solution's multipliers."""
        if multipliers is not None:
            lengths = np.asarray(self.program.cones.lengths)
            scaled = np.asarray(multipliers) * lengths
            self.multipliers = scaled.reshape(self.size, -1)

    def keep_bound(self, solution: Solution) -> None:
        """Keeps the lower bound of a solution of this program, if it is better."""
        if float(solution.dual_bound) > self.bound:
            multipliers = None
            if self.multipliers is not None:
                scaled = np.asarray(solution.multipliers)
                scaled = scaled * np.asarray(self.program.cones.lengths)
                multipliers = scaled.reshape(self.size, -1)
            self.bound = float(solution.dual_bound)
            self.best = np.asarray(solution.dual), multipliers

    def _select(self, chosen: np.ndarray) -> tuple[Any, np.ndarray]:
        """The program of the chosen blocks, padded, and which these are."""
        (index,) = np.nonzero(chosen)
        blocks = np.zeros(padded(len(index)), int)
        blocks[: len(index)] = index
        live = np.arange(len(blocks)) < len(index)
        return _select(self.program, blocks, live), blocks

    def solve(self, inner: Any, working: np.ndarray) -> Solution:
        """Over the working set; keeps its point if it is better."""
        part, _ = self._select(working)
        solution = inner.run(part, None, self.watch.of_part())
        self.iterations += int(solution.iterations)
        count = int(working.sum())
        if float(solution.objective) < self.objective:
            flat = np.zeros((self.size, part.shape[-1]), self.params.dtype)
            flat[working] = np.asarray(solution.params)[0, :count]
            self.params = flat.reshape(self.program.shape)
            self.objective = float(solution.objective)
        if self.multipliers is not None:
            scaled = np.asarray(solution.multipliers) * np.asarray(part.cones.lengths)
            self.multipliers[working] = scaled[0, :count]
        return solution

    def price(
        self, solution: Solution, working: np.ndarray, margin: float
    ) -> np.ndarray:
        """Upper bounds [2 P] of every block's maximum; keeps a better lower bound.

        Those of other blocks than `working` need not fall below `margin` times beta.
        """
        program, v = self.program, np.asarray(solution.dual)
        bounds = np.array(_bounds(program, v, self._shaped(self.multipliers))).ravel()
        most = self.beta * margin
        for steps in _PRICING_STEPS:
            doubtful = (bounds > most) & ~working
            if self.multipliers is None or not doubtful.any() or self.watch.over:
                break
            part, blocks = self._select(doubtful)
            norms, better = _project(part, v, self.multipliers[blocks], most, steps)
            count = int(doubtful.sum())
            sums = np.sum(np.asarray(better, np.float64)[0, :count], axis=1)
            norms = np.asarray(norms)[0, :count] + self.bounds.rounding(v, sums)
            bounds[doubtful] = np.minimum(bounds[doubtful], norms)
            self.multipliers[doubtful] = np.asarray(better)[0, :count]
        value, scale = self.bounds.scaled(v, float(bounds.max()))
        if value > self.bound:
            scaled = None if self.multipliers is None else scale * self.multipliers
            self.bound, self.best = value, (scale * v, scaled)
        self.lines.append((self.iterations, self.objective, self.bound, self.gap))
        return bounds

    def _shaped(self, multipliers: Any) -> Any:
        """[2, P, n] of [2 P, n]; None without cones."""
        if multipliers is None:
            return None
        return multipliers.reshape(*self.program.shape[:2], -1)

    def finish(self, status: Status) -> Solution:
        program, dtype = self.program, self.params.dtype
        dual, multipliers = self.best
        if multipliers is not None:
            lengths = np.asarray(program.cones.lengths)
            multipliers = jnp.asarray(self._shaped(multipliers) / lengths)
        return Solution(
            params=jnp.asarray(self.params),
            dual=jnp.asarray(dual),
            multipliers=multipliers,
            status=jnp.asarray(status, jnp.int32),
            objective=jnp.asarray(self.objective, dtype),
            dual_bound=jnp.asarray(self.bound, dtype),
            gap=jnp.asarray(self.gap, dtype),
            iterations=jnp.asarray(self.iterations, jnp.int32),
            history=History.of_lines(self.lines, dtype),
            scope=program.scope,
        )


@jax.jit
def _feasible(program: Any, w: Array) -> tuple[Array, Array]:
    """A feasible point near w, and its objective."""
    zero = None
    if program.cones is not None:
        zero = jnp.zeros((*program.shape[:2], program.cones.num_rows), w.dtype)
    point, _ = feasible_point(program, w, zero, steps=_PRICING_GLANCE)
    return point, program.objective(point)


_select = jax.jit(lambda program, blocks, live: program.select(blocks, live))


_bounds = jax.jit(loop.block_gauges)


@jax.jit
def _project(part: Any, v: Array, multipliers: Array, most: Array, steps: Array) -> Any:
    """Norms [1, B] of F_b^T v moved towards the cones, and the multipliers.

    Steps until all norms are at most `most`, or there are too many steps.
    """
    blocks = part.adjoint(v)

    def more(carry: tuple[Array, Array, Array]) -> Array:
        norms, _, count = carry
        return jnp.any(norms > most) & (count < steps)

    def body(carry: tuple[Array, Array, Array]) -> Any:
        _, mu, count = carry
        moved, mu = part.cones.project(blocks, mu, _PRICING_GLANCE)
        return group_norms(moved), mu, count + _PRICING_GLANCE

    start = group_norms(blocks) + jnp.inf, multipliers[None], jnp.asarray(0)
    norms, mu, _ = jax.lax.while_loop(more, body, start)
    return norms, mu
