"""ADMM with an exact least-squares step: every loss, with or without cones.

Splits v = w (the norm), s = A w (cones) and, unless the loss is quadratic, z = F w:

    minimise  L(z, y) + beta R(v)   subject to  s >= 0,
              w = v,  A w = s,  F w = z.

Sign cones share one Gram matrix, so the w-step solves
(c F^T F + I + gamma A^T A) w = b with one d x d inverse (other cones have one each)
and, by Woodbury, one n x n eigendecomposition that serves every penalty rho = 1 / c;
for many samples, with conjugate gradients instead.

Source: Boyd et al., ADMM (2011), sections 3.4.1 and 3.4.3 for the penalty and the
relaxation; Bai, Gautam & Sojoudi (2023) for the splitting.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg
from cvxjax.algebra.linalg import ShiftedEigh
from cvxjax.forms.contracts import Blocks
from cvxjax.interfaces import Proximal
from cvxjax.record import Record, static
from cvxjax.solvers.blocks.feasible import feasible_point
from cvxjax.solvers.blocks.matrix_free import MatrixFree
from cvxjax.solvers.progress import Progress, polar_gauge
from cvxjax.solvers.refusals import Takes
from cvxjax.solvers.splitting import (
    Acceleration,
    Splitting,
    balance_factor,
    balancing_is_due,
    over,
)
from cvxjax.solvers.starts import Start, rescaled_dual

Array = jax.Array

_HEAVIEST = 10.0  # gamma; above it the rows' own norm drowns what couples blocks
_LEAST = 1000.0  # machine epsilons of the kernel: a penalty below is lost in the solve


class AdmmState(Record):
    """The iterate; `u_*` are scaled duals of the three splittings.

    In each entry s or u_s is zero, so that only their sum is kept.
    """

    w: Array  # [S, P, d], or [S, P, c, d] with c outputs
    v: Array  # as w
    u_v: Array  # as w
    slack: Any  # [S, P, m], s + u_s; None without cones
    z: Any  # as y; None if the loss is quadratic
    u_z: Any  # as y; None if the loss is quadratic
    rho: Array  # [], penalty of w = v; gamma rho is that of A w = s
    rho_z: Array  # [], penalty of F w = z
    inverse: Array  # [d, d] or [P, d, d], (I + gamma A^T A)^{-1}
    kernel: ShiftedEigh | MatrixFree  # of F (I x inverse) F^T
    repair: Any  # [S, P, m], multipliers of the projection into the cones
    acceleration: Acceleration | None
    progress: Progress

    @property
    def s(self) -> Any:
        return None if self.slack is None else jnp.maximum(self.slack, 0)

    @property
    def u_s(self) -> Any:
        return None if self.slack is None else jnp.minimum(self.slack, 0)


class Admm(Splitting):
    """Over-relaxed ADMM with balanced penalties; stops on the duality gap.

    Args:
      tol: relative duality gap; default 1e-8 in float64, 1e-4 in float32.
      max_iters: static.
      check_every: steps between gap evaluations, static. A feasible point, which
        costs more, is only made where the gap may be met, at the end, and now and then.
      rho: first penalty, in units of beta over a typical block norm. For a good point
        soon, without a bound: 10, with relaxation 1.85 and few iterations.
      cone_weight: gamma in units of d / m: what A w = s weighs against w = v; gamma is
        10 at most, which few rows would exceed.
      relaxation: in [1, 2).
      memory: of Anderson acceleration, static; 0: none.
      cycle: steps between two accelerations, static.
      projection_steps: of a feasible point; ten times as many at the end, static.
      dense_samples: up to which there may be matrices [n, n], static.
      lean: compiled as by `compiled.jit_leanly`, for few steps; static.
    """

    cone_weight: Any = 150.0
    projection_steps: int = static(default=30)
    dense_samples: int = static(default=5_000)
    lean: bool = static(default=False)
    takes: ClassVar[Takes] = Takes(form=Blocks, coupled=True, regulariser=Proximal)

    def another(self) -> Admm:
        """With a smaller penalty to begin with."""
        return self.replace(rho=0.2 * self.rho)

    def limits(self, program: Any) -> str | None:
        n = len(program.y)
        if program.loss.constraint == "equality" and n > self.dense_samples:
            return (
                f"to fit {n} labels exactly takes a matrix [n, n] (dense_samples is "
                f"{self.dense_samples})"
            )
        return None

    def init(self, program: Any, w: Array) -> AdmmState:
        cones, loss = program.cones, program.loss
        eye = jnp.eye(w.shape[-1], dtype=w.dtype)
        inverse, zero_s = eye, None
        if cones is not None:
            gram = self._gamma(program) * cones.gram()
            inverse = jnp.linalg.inv(jnp.broadcast_to(eye, gram.shape) + gram)
            zero_s = jnp.zeros(w.shape[:2] + (cones.num_rows,), w.dtype)
        if len(program.y) > self.dense_samples:
            kernel = MatrixFree.factor(program, inverse)
        else:
            ones = jnp.ones(w.shape[:2], w.dtype)
            kernel = ShiftedEigh.factor(program.response(ones, inverse))
        z = None if loss.quadratic else program.forward(w)
        rho = jnp.asarray(self.rho, w.dtype) * self._unit(program, kernel)
        rho = jnp.maximum(rho, _least(kernel))
        state = AdmmState(
            w=w,
            v=w,
            u_v=jnp.zeros_like(w),
            slack=None if cones is None else jnp.maximum(cones.apply(w), 0),
            z=z,
            u_z=None if z is None else jnp.zeros_like(z),
            rho=rho,
            rho_z=jnp.asarray(1.0, w.dtype),
            inverse=inverse,
            kernel=kernel,
            repair=zero_s,
            acceleration=None,
            progress=Progress.start(self, program, w),
        )
        return self._restarted(program, state)

    def adopt(self, program: Any, state: AdmmState, start: Start) -> AdmmState:
        """Takes the dual of a solution near by, scaled to be feasible at this beta."""
        if start.dual is None:
            return state
        cones, mu = program.cones, None
        if cones is not None:
            mu = jnp.zeros_like(state.slack)
            if start.multipliers is not None:
                mu = cones.scaled(start.multipliers)
        gauge = polar_gauge(program, start.dual, mu)
        v, mu = rescaled_dual(program, start.dual, mu, gauge)
        pull = program.adjoint(v)
        if cones is not None and mu is not None:
            pull = pull + cones.adjoint(mu)
            weight = self._gamma(program) * state.rho
            state = state.replace(slack=state.s - mu / weight)
        state = state.replace(u_v=pull / state.rho)
        if state.z is not None:
            state = state.replace(u_z=-v / state.rho_z)
        return self._restarted(program, state)

    def _gamma(self, program: Any) -> Array:
        """What A w = s weighs against w = v; 1 without cones."""
        dtype, cones = program.X.dtype, program.cones
        if cones is None:
            return jnp.ones((), dtype)
        unit = program.shape[-1] / cones.num_rows
        return jnp.minimum(jnp.asarray(self.cone_weight, dtype) * unit, _HEAVIEST)

    def _unit(self, program: Any, kernel: ShiftedEigh | MatrixFree) -> Array:
        """The unit of the first penalty: beta over the size of blocks that fit y."""
        size = jnp.sqrt(jnp.sum(program.y**2))
        gain = jnp.sqrt(jnp.max(kernel.values))
        unit = program.beta * gain / jnp.where(size > 0, size, 1)
        return jnp.where(unit > 0, unit, 1)

    def _scales(self, program: Any, state: AdmmState) -> tuple[Array, Array]:
        """Of s and of z, in ADMM's metric."""
        return jnp.sqrt(self._gamma(program)), jnp.sqrt(state.rho_z / state.rho)

    def _pack(self, program: Any, state: AdmmState) -> Array:
        """v + u_v, s + u_s and z + u_z, which determine the state, in ADMM's metric."""
        cone, fit = self._scales(program, state)
        parts = [(state.v + state.u_v).ravel()]
        if state.slack is not None:
            parts.append(cone * state.slack.ravel())
        if state.z is not None:
            parts.append(fit * (state.z + state.u_z).ravel())
        return jnp.concatenate(parts)

    def _unpack(self, program: Any, state: AdmmState, point: Array) -> AdmmState:
        cone, fit = self._scales(program, state)
        size, slack, z = state.w.size, None, None
        if state.slack is not None:
            part = point[size : size + state.slack.size]
            size, slack = (
                size + state.slack.size,
                part.reshape(state.slack.shape) / cone,
            )
        if state.z is not None:
            z = point[size:].reshape(state.z.shape) / fit
        v = point[: state.w.size].reshape(state.w.shape)
        return self._split(program, state, v, slack, z)

    def _split(
        self, program: Any, state: AdmmState, v: Array, slack: Any, z: Any
    ) -> AdmmState:
        """The state with these sums of v, s, z and their duals, by proximal maps."""
        near = program.regulariser.prox(v, program.beta / state.rho)
        state = state.replace(v=near, u_v=v - near, slack=slack)
        if z is None:
            return state
        near = program.loss.prox(z, program.y, 1 / state.rho_z)
        return state.replace(z=near, u_z=z - near)

    def _plain_step(self, program: Any, state: AdmmState) -> AdmmState:
        """One over-relaxed step of ADMM."""
        cones, a = program.cones, self.relaxation
        quadratic = program.loss.quadratic
        ratio = (1 if quadratic else state.rho_z) / state.rho
        target = program.y if quadratic else state.z - state.u_z
        b = ratio * program.adjoint(target) + state.v - state.u_v
        if cones is not None:
            sides = cones.adjoint(jnp.abs(state.slack))  # s - u_s
            b = b + self._gamma(program) * sides
        b = linalg.dot_blocks(b, state.inverse)
        kernel = state.kernel
        if isinstance(kernel, MatrixFree):
            w, kernel = kernel.step(program, state.inverse, 1 / ratio, b)
        else:
            fit = kernel.solve(1 / ratio, program.forward(b))
            w = b - linalg.dot_blocks(program.adjoint(fit), state.inverse)

        state, old = state.replace(w=w, kernel=kernel), state
        slack, z = None, None
        if cones is not None:
            slack = a * cones.apply(w) + (1 - a) * old.s + old.u_s
        if not quadratic:
            z = a * program.forward(w) + (1 - a) * old.z + old.u_z
        v = a * w + (1 - a) * old.v + old.u_v
        return self._split(program, state, v, slack, z)

    def check(self, program: Any, state: AdmmState) -> AdmmState:
        loss = program.loss
        fit = program.forward(state.w)
        multipliers = self._multipliers(program, state, state.u_s)
        candidates = []
        if loss.smoothness is not None:
            candidates.append(-loss.gradient(fit, program.y))
        if not loss.quadratic:
            candidates.append(-state.rho_z * state.u_z)
        progress, done = state.progress, state.progress.iteration >= self.max_iters
        for v in candidates:
            progress = progress.offer(program, v, multipliers)
        due = balancing_is_due(progress.iteration // self.check_every)
        shown = due | done | progress.closing
        steps = jnp.where(done, 10, 1) * self.projection_steps
        make = lambda: feasible_point(program, state.v, state.repair, steps=steps)  # noqa: E731
        if loss.constraint is None:
            hope = progress.gap_of(program.objective(state.v))
            point, repair = jax.lax.cond(
                shown | (hope <= progress.tol),
                make,
                lambda: (progress.params, state.repair),
            )
        else:  # only feasible points have an objective
            point, repair = make()
        progress = progress.update(
            self,
            program,
            point,
            [],
            multipliers,
            finite_of=state.w,
            rays=[] if loss.constraint is None else self._rays(program, state),
        )
        state = state.replace(progress=progress, repair=repair)
        return self._balanced_if(due, program, state)

    def _multipliers(self, program: Any, state: AdmmState, u_s: Any) -> Any:
        """Of the cones, [S, P, m], from their scaled duals; None without cones."""
        if u_s is None:
            return None
        return jnp.maximum(-state.rho * self._gamma(program) * u_s, 0)

    def _rays(self, program: Any, state: AdmmState) -> list[tuple[Array, Any]]:
        """The duals, and their change in one step, which tends to a ray if infeasible.

        Source: Banjac, Goulart, Stellato & Boyd (2019) on infeasibility in ADMM.
        """
        after = self._plain_step(program, state)
        moved = None if state.u_s is None else after.u_s - state.u_s
        return [
            (-state.rho_z * u_z, self._multipliers(program, state, u_s))
            for u_z, u_s in ((state.u_z, state.u_s), (after.u_z - state.u_z, moved))
        ]

    def _balance(self, program: Any, state: AdmmState) -> AdmmState:
        """Multiplies each penalty by the root of its relative residuals' ratio."""
        gamma, after = self._gamma(program), self._plain_step(program, state)

        def norm(block: Array, cone: Any) -> Array:
            extra = 0 if cone is None else gamma * jnp.sum(cone**2)
            return jnp.sqrt(jnp.sum(block**2) + extra)

        cone_w = None if program.cones is None else program.cones.apply(after.w)
        minus = lambda a, b: None if a is None else a - b  # noqa: E731
        primal = over(
            norm(after.w - after.v, minus(cone_w, after.s)),
            jnp.maximum(norm(after.w, cone_w), norm(after.v, after.s)),
        )
        dual = over(
            norm(after.v - state.v, minus(after.s, state.s)),
            norm(after.u_v, after.u_s),
        )
        least = (1 if state.z is None else state.rho_z) * _least(state.kernel)
        factor = balance_factor(primal, dual)
        factor = jnp.maximum(factor, jnp.minimum(least / state.rho, 1))
        state = state.replace(
            rho=state.rho * factor,
            u_v=state.u_v / factor,
            slack=None if state.slack is None else state.s + state.u_s / factor,
        )
        if state.z is None:
            return state
        fit = program.forward(after.w)
        size = lambda x: jnp.sqrt(jnp.sum(x**2))  # noqa: E731
        primal = over(size(fit - after.z), jnp.maximum(size(fit), size(after.z)))
        dual = over(size(after.z - state.z), size(after.u_z))
        most = over(state.rho, _least(state.kernel))
        factor = balance_factor(primal, dual)
        factor = jnp.minimum(factor, jnp.maximum(most / state.rho_z, 1))
        return state.replace(rho_z=state.rho_z * factor, u_z=state.u_z / factor)


def _least(kernel: ShiftedEigh | MatrixFree) -> Array:
    """The least rho / rho_z that rounding does not lose in (rho / rho_z I + K)^{-1}."""
    values = kernel.values
    return _LEAST * jnp.finfo(values.dtype).eps * jnp.max(values, initial=0)
