"""Accelerated proximal gradient for programs without cones and with a smooth loss.

    minimise  L(F w, y) + beta R(w)

Source: Beck & Teboulle (2009); adaptive restart of O'Donoghue & Candes (2015).
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg
from cvxjax.forms.contracts import Blocks
from cvxjax.record import Record, static
from cvxjax.solvers import loop
from cvxjax.solvers.base import SteppedSolver
from cvxjax.solvers.refusals import Takes

Array = jax.Array


class FistaState(Record):
    """The iterate and the point that momentum reached."""

    w: Array  # [2, P, d]
    ahead: Array  # [2, P, d]
    momentum: Array  # [], t_k
    step_size: Array  # [], 1 / Lipschitz constant
    progress: loop.Progress


class Fista(SteppedSolver):
    """FISTA with restarts; the step is 1 / (smoothness ||F||^2), or 5 % shorter.

    Args:
      tol: relative duality gap; default 1e-8 in float64, 1e-4 in float32.
      max_iters: static.
      check_every: steps between gap evaluations, static.
    """

    tol: Any = None
    max_iters: int = static(default=20_000)
    check_every: int = static(default=50)
    takes: ClassVar[Takes] = Takes(form=Blocks, cones=False, smooth=True)

    def init(self, program: Any, w: Array) -> FistaState:
        square = lambda r: program.forward(program.adjoint(r))  # noqa: E731
        largest = linalg.eigenvalue_bound(square, program.y)
        curvature = program.loss.smoothness * largest
        return FistaState(
            w=w,
            ahead=w,
            momentum=jnp.asarray(1.0, w.dtype),
            step_size=1 / jnp.where(curvature > 0, curvature, 1),
            progress=loop.Progress.start(self, program, w),
        )

    def step(self, program: Any, state: FistaState) -> FistaState:
        slope = program.loss.gradient(program.forward(state.ahead), program.y)
        forward = state.ahead - state.step_size * program.adjoint(slope)
        w = program.regulariser.prox(forward, state.step_size * program.beta)
        uphill = jnp.sum((state.ahead - w) * (w - state.w)) > 0
        t = jnp.where(uphill, 1, state.momentum)
        t_next = (1 + jnp.sqrt(1 + 4 * t * t)) / 2
        ahead = w + jnp.where(uphill, 0, (t - 1) / t_next) * (w - state.w)
        return state.replace(w=w, ahead=ahead, momentum=t_next)

    def check(self, program: Any, state: FistaState) -> FistaState:
        dual = -program.loss.gradient(program.forward(state.w), program.y)
        progress = state.progress.update(
            self, program, state.w, [dual], None, finite_of=state.w
        )
        return state.replace(progress=progress)
