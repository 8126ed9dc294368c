"""The best point and lower bound that a solver has found, and its status by them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from cvxjax import verdicts
from cvxjax.algebra import rounding, trees
from cvxjax.record import Record
from cvxjax.solution import History, Solution, Status
from cvxjax.solvers.host_bounds import explained
from cvxjax.solvers.rays import first_status, out_of_reach

Array = jax.Array

_PATIENCE = 50  # checks without progress, near the precision's floor
_FLOOR = 1e5  # that floor, in machine epsilons


def relative_gap(objective: Array, dual_bound: Array, floor: Array) -> Array:
    """`verdicts.relative_gap` of arrays: inf while a bound is missing."""
    known = jnp.isfinite(objective) & jnp.isfinite(dual_bound)
    excess = jnp.where(known, objective, 1) - jnp.where(known, dual_bound, 0)
    size = jnp.maximum(jnp.abs(jnp.where(known, objective, 1)), floor)
    gap = excess / jnp.where(size > 0, size, 1)
    gap = jnp.where((size > 0) | (excess == 0), gap, jnp.sign(excess) * jnp.inf)
    return jnp.where(known, gap, jnp.inf)


def polar_gauge(program: Any, v: Array, multipliers: Array | None) -> Array:
    """max_b R*(q_b + A_b^T mu), an upper bound for any mu >= 0; q = F^T v.

    It includes the judges' term for rounding, that of float64 in any precision: what
    float32 itself rounds is for the certificate to find.

    Args:
      v: [n], or [n, c].
      multipliers: [S, P, m], >= 0, in units of the cones' unit rows.
    """
    return jnp.max(block_gauges(program, v, multipliers))


def block_gauges(program: Any, v: Array, multipliers: Array | None) -> Array:
    """The bounds of all blocks, of which `polar_gauge` is the largest, [S, P]."""
    terms, weight = program.terms, rounding.pulled(v, program.reach, jnp)
    blocks, dual_norms = program.adjoint(v), program.regulariser.dual_norms
    gauges = dual_norms(blocks) + rounding.gauge_rounding(terms, weight)
    if multipliers is None:
        return gauges
    moved = dual_norms(blocks + program.cones.adjoint(multipliers))
    walls = jnp.broadcast_to(program.walls, multipliers.shape)
    weight = weight + jnp.sum(walls * multipliers, axis=-1)
    return jnp.minimum(gauges, moved + rounding.gauge_rounding(terms, weight))


class Progress(Record):
    """The best feasible point and the best lower bound so far, status and history."""

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
        """Keeps the better point and the better bounds, and sets the status.

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
        for ray in rays:  # of which there is none where a point is feasible
            infeasible |= jax.lax.cond(
                jnp.isfinite(new.objective),
                lambda: False,
                lambda ray=ray: out_of_reach(program, *ray),
            )
        return new._judge(solver, program, finite_of, infeasible)

    def offer(self, program: Any, v: Array, multipliers: Array | None) -> Progress:
        """Keeps v, scaled to feasibility, if its bound is better; as in `update`.

        If its price is zero, any multiple is feasible, and v itself is taken: at the
        optimum, minus the gradient is the best one.
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

    def _judge(
        self, solver: Any, program: Any, iterate: Any, infeasible: Array
    ) -> Progress:
        """Sets the status, and writes the check's entry of the history."""
        gap = self.gap
        done = self.iteration >= solver.max_iters
        check = jnp.maximum(-(-self.iteration // solver.check_every) - 1, 0)
        gained = gap < 0.99 * self.mark
        last_gain = jnp.where(gained, check, self.last_gain)
        floor = gap < _FLOOR * jnp.finfo(gap.dtype).eps
        stalled = floor & (check - last_gain >= _PATIENCE)
        status = jnp.asarray(Status.RUNNING, jnp.int32)
        bounds = self.objective, self.dual_bound
        explained_by = explained(program, *bounds, self.dual, gap.dtype, jnp)
        for condition, outcome in (
            (done, Status.MAX_ITERATIONS),
            (stalled, Status.STALLED),
            (infeasible, Status.INFEASIBLE),
            (~trees.all_finite(iterate), Status.NONFINITE),
            (gap <= self.tol, Status.CONVERGED),
            (bounds[0] - bounds[1] < -explained_by, Status.INCONSISTENT),
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
