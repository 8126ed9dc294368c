"""Primal-dual interior point for every loss of one output, with or without cones.

With a slack A w for each cone, heads t_b >= ||w_b|| and u = -r in the domain of the
loss's conjugate, a Newton step of the conditions in `blocks.central_path` solves one
system of `blocks.newton_system`. Iterates stay inside every cone, so both bounds hold
at every step.

The norm may be that of an ellipsoid, which keeps data well conditioned whatever their
columns are (`cvxjax.algebra.coordinates`).

Source: Mehrotra (1992), predictor and corrector; Gondzio (1996), centrality
corrections; Vandenberghe (2010), Nesterov-Todd scaling of second-order cones.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from cvxjax.forms.contracts import Vectors
from cvxjax.record import Record, static
from cvxjax.solution import Solution, Status
from cvxjax.solvers import loop
from cvxjax.solvers.base import SteppedSolver
from cvxjax.solvers.blocks import nesterov_todd as soc
from cvxjax.solvers.blocks import newton_system
from cvxjax.solvers.blocks.central_path import (
    Box,
    Orthants,
    Point,
    central_point,
    complementarity,
    count_of,
    is_inside,
    misses,
    moved,
    room,
    size_of_optimum,
)
from cvxjax.solvers.blocks.feasible import feasible_point, lifted
from cvxjax.solvers.blocks.nearby_point import nearby_point
from cvxjax.solvers.blocks.nesterov_todd import Scaling, norm
from cvxjax.solvers.progress import Progress
from cvxjax.solvers.refusals import Takes
from cvxjax.solvers.starts import Start, rescaled_dual
from cvxjax.terms.cones import Cones, SignCones
from cvxjax.watch import Watch

Array = jax.Array
Aim = tuple[soc.Pair, Orthants]  # of W^{-1} dx + W dz, scaled, and of s dmu + mu ds

_BOUNDARY = 0.99  # of the way that a step goes
_LONGER = 0.3  # by which a centrality correction wants the step longer
_GAIN = 0.01  # in length, for which another correction is tried
_ROUGH = 1e-3  # relative gap down to which solves with plain norms need no refinement
_LEAST = 1e-6  # relative gap that a start is taken to have
_APART = 3.0  # times its gap, where the ends of a dual vector would shorten the steps
_BAND = 10.0  # complementarity products within this factor of the target are central


class InteriorPointState(Record):
    """The iterate, strictly inside all cones."""

    point: Point
    stuck: Array  # [], bool: rounding leaves no step
    progress: Progress


class InteriorPoint(SteppedSolver):
    """Mehrotra's method with centrality corrections, in float64.

    Args:
      tol: relative duality gap; default 1e-8.
      max_iters: static.
      check_every: steps between gap evaluations, static.
      corrections: of centrality for each factorisation, at most; static.
      refinements: of each linear solve once the gap is below 1e-3, static.
      start: first complementarity, in units of L(0, y), or of the gap of a solution to
        start from, over the number of cones.
    """

    max_iters: int = static(default=200)
    check_every: int = static(default=1)
    corrections: int = static(default=3)
    refinements: int = static(default=1)
    start: Any = 1.0
    lean: ClassVar[bool] = True  # as `compiled.jit_leanly`: products take its time
    wants_coordinates: ClassVar[bool] = True
    takes: ClassVar[Takes] = Takes(
        form=Vectors, norms=("group", "ellipsoid"), float64=True
    )

    def init(self, program: Any, w: Array) -> InteriorPointState:
        """Starts near the central path of a small residual, whatever w is."""
        cones, box = _cones(program), Box.of(program)
        ends = sum(jnp.sum(x) for x in box.live())
        count = w.shape[0] * w.shape[1] * (cones.num_rows + 1) + ends
        first = self.start * size_of_optimum(program) / count
        point = central_point(program, cones, box, first)
        return InteriorPointState(
            point=point,
            stuck=jnp.asarray(False),
            progress=Progress.start(self, program, w),
        )

    def adopt(
        self, program: Any, state: InteriorPointState, start: Start
    ) -> InteriorPointState:
        """Starts near a similar program's solution, unless the cold start is closer."""
        if start.dual is None:
            return state
        cones, box, cold = _cones(program), Box.of(program), state.point
        mu = jnp.zeros_like(cold.dual.cone)
        if program.cones is not None and start.multipliers is not None:
            mu = cones.scaled(start.multipliers)
        w = lifted(cones, start.params)
        pulls = program.adjoint(start.dual) + cones.adjoint(mu)
        gauge = jnp.max(program.regulariser.dual_norms(pulls))
        r, mu = rescaled_dual(program, start.dual, mu, gauge)
        value, penalty = program.objective(w), program.regulariser.norms(w)
        # Rounding may miss a constraint, where the loss is infinite.
        penalty = program.beta * jnp.sum(penalty)
        size = jnp.where(jnp.isfinite(value), value, penalty)
        apart = jnp.maximum(size + program.loss.conjugate(-r, program.y), _LEAST * size)
        away = jnp.where(jnp.any(box.live()[0] | box.live()[1]), _APART, 1.0)
        level = self.start * away * apart / count_of(cold, box)
        near = nearby_point(program, cones, box, level, w, r, mu)
        ahead = [complementarity(point, program.beta) for point in (near, cold)]
        fit = is_inside(near, program.beta) & (level > 0) & (ahead[0] < ahead[1])
        point = jax.tree.map(lambda a, b: jnp.where(fit, a, b), near, cold)
        return state.replace(point=point)

    def solved(
        self, program: Any, start: Any, watch: Watch
    ) -> tuple[Solution, Array | None]:
        """With the last dual vector, since large multipliers may hide its bound."""
        last: list[InteriorPointState] = []
        solution = loop.run_on_host(self, program, start, watch, last.append)
        return solution, last[0].point.r

    def step(self, program: Any, state: InteriorPointState) -> InteriorPointState:
        """One factorisation: predictor, corrector, centrality corrections, move."""
        at, beta = state.point, program.beta
        cones, box = _cones(program), Box.of(program)
        newton = newton_system.factor(program, cones, at)
        scaled = newton.scaling.inverse((at.t, at.m))  # = W (beta, q)
        miss = misses(program, cones, at)
        high, low = box.live()
        live = Orthants(cone=jnp.ones((), bool), high=high, low=low)
        count = count_of(at, box)
        total = complementarity(at, beta)
        coarse = 0 if program.regulariser.norm == "group" else self.refinements
        rounds = jnp.where(state.progress.gap > _ROUGH, coarse, self.refinements)

        def toward(cone: soc.Pair, orthants: Orthants) -> Point:
            u = soc.divide(cone, scaled)
            args = program, cones, box, newton, at, u, orthants, miss, rounds
            return newton_system.solve(*args)

        def corrected(aim: Aim, move: Point, reach: Array, _: Array) -> Any:
            """The aim plus the second-order terms of the predictor, at its length."""
            length = jnp.minimum(reach, 1)
            left = complementarity(moved(at, move, length), beta) / total
            target = jnp.clip(left, 1e-6, 1) ** 3 * total / count
            bent = soc.product(
                newton.scaling.inverse((move.t, move.m)),
                newton.scaling.apply((jnp.zeros_like(at.t), move.q)),
            )
            head = aim[0][0] + target - length * bent[0]
            tail = aim[0][1] - length * bent[1]
            orthants = jax.tree.map(
                lambda aim, ds, dmu, live: (
                    aim + jnp.where(live, target - length * ds * dmu, 0)
                ),
                *(aim[1], move.slack, move.dual, live),
            )
            return ((head, tail), orthants), target

        def centred(aim: Aim, move: Point, reach: Array, target: Array) -> Any:
            """The aim plus a centrality correction, for a longer step."""
            goal = jnp.minimum(1.08 * jnp.minimum(reach, 1) + _LONGER, 1)
            ahead = moved(at, move, goal)
            change = _outliers(newton.scaling, ahead, live, beta, target)
            return jax.tree.map(jnp.add, aim, change), target

        def more(carry: Any) -> Array:
            solves, _, (_, _, reach), _, gained = carry
            wanting = (solves < 2 + self.corrections) & (reach < 1)
            return (solves < 2) | (gained & wanting)

        def solve(carry: Any) -> Any:
            solves, wanted, kept, target, _ = carry
            new = toward(*wanted)
            reach = room(at, beta, new)
            better = jnp.minimum(reach, 1) > jnp.minimum(kept[2], 1) + _GAIN
            better |= solves < 2
            keep = lambda a, b: jnp.where(better, a, b)  # noqa: E731
            kept = jax.tree.map(keep, (wanted, new, reach), kept)
            wanted, target = jax.lax.cond(
                solves == 0, corrected, centred, *kept, target
            )
            return solves + 1, wanted, kept, target, better

        # Predictor, corrector and corrections are the same code, compiled once.
        square = soc.product(scaled, scaled)
        products = jax.tree.map(lambda s, mu: -s * mu, at.slack, at.dual)
        aim = (-square[0], -square[1]), products
        nothing = aim, jax.tree.map(jnp.zeros_like, at), jnp.zeros_like(total)
        carry = jnp.asarray(0), aim, nothing, jnp.zeros_like(total), jnp.asarray(True)
        _, _, (_, move, length), _, _ = jax.lax.while_loop(more, solve, carry)
        length = jnp.minimum(_BOUNDARY * length, 1)
        new = moved(at, move, length)
        sound = is_inside(new, beta)
        point = jax.tree.map(lambda a, b: jnp.where(sound, a, b), new, at)
        return state.replace(point=point, stuck=~sound | (length < 1e-8))

    def check(self, program: Any, state: InteriorPointState) -> InteriorPointState:
        at, cones = state.point, _cones(program)
        # Slacks of a warm start are not A w at first.
        w = lifted(cones, at.w)
        slack, sizes = 1 - norm(at.q) / program.beta, norm(at.m)
        active = sizes > slack * jnp.max(sizes)
        sparse = jnp.where(active[..., None], w, 0)
        lower = program.objective(sparse) < program.objective(w)
        point = jnp.where(lower, sparse, w)
        multipliers = None if program.cones is None else at.dual.cone
        rays = []
        if program.loss.constraint is not None:
            rays = [(at.r, multipliers)]
            none = None if multipliers is None else jnp.zeros_like(multipliers)
            point, _ = feasible_point(program, w, none, steps=0)
        progress = state.progress.update(
            self, program, point, [at.r], multipliers, finite_of=at.w, rays=rays
        )
        stalled = state.stuck & (progress.status == Status.RUNNING)
        status = jnp.where(stalled, int(Status.STALLED), progress.status)
        return state.replace(progress=progress.replace(status=status))


def _cones(program: Any) -> Cones:
    """The program's cones, or cones without rows."""
    if program.cones is not None:
        return program.cones
    _, P, d = program.shape
    dtype = program.X.dtype
    return SignCones(
        rows=jnp.zeros((0, d), dtype),
        lengths=jnp.zeros(0, dtype),
        masks=jnp.zeros((P, 0), bool),
        interior=jnp.zeros((P, d), dtype),
    )


def _outliers(
    scaling: Scaling, ahead: Point, live: Orthants, beta: Array, target: Array
) -> Aim:
    """The change that brings the products at `ahead` into a band about the target."""

    def back(v: Array) -> Array:
        off = jnp.clip(v, target / _BAND, target * _BAND) - v
        return jnp.maximum(off, -target * _BAND)

    heads = jnp.broadcast_to(beta, ahead.t.shape)
    cone = soc.product(
        scaling.inverse((ahead.t, ahead.m)), scaling.apply((heads, ahead.q))
    )
    orthants = jax.tree.map(
        lambda s, mu, live: jnp.where(live, back(s * mu), 0),
        *(ahead.slack, ahead.dual, live),
    )
    return soc.map_eigenvalues(cone, back), orthants
