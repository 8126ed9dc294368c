"""Accelerated proximal gradient for programs without cones and with a smooth loss.

Parameters may be any tree of arrays.

    minimise  L(F w, y) + beta R(w)

Source: Beck & Teboulle (2009); adaptive restart of O'Donoghue & Candes (2015).
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg
from cvxjax.forms.contracts import Linear
from cvxjax.interfaces import Proximal
from cvxjax.record import Record
from cvxjax.solvers.base import SteppedSolver
from cvxjax.solvers.progress import Progress
from cvxjax.solvers.refusals import Takes

Array = jax.Array


class FistaState(Record):
    """The iterate and the point that momentum reached."""

    w: Any
    ahead: Any
    momentum: Array  # [], t_k
    step_size: Array  # [], 1 / Lipschitz constant
    progress: Progress


class Fista(SteppedSolver):
    """FISTA with restarts; the step is 1 / (smoothness ||F||^2), or 5 % shorter.

    Args:
      tol: relative duality gap; default 1e-8 in float64, 1e-4 in float32.
      max_iters: static.
      check_every: steps between gap evaluations, static.
    """

    takes: ClassVar[Takes] = Takes(
        form=Linear, regulariser=Proximal, cones=False, smooth=True, coupled=True
    )

    def init(self, program: Any, w: Any) -> FistaState:
        square = lambda r: program.forward(program.adjoint(r))  # noqa: E731
        largest = linalg.eigenvalue_bound(square, program.y)
        curvature = program.loss.smoothness * largest
        return FistaState(
            w=w,
            ahead=w,
            momentum=jnp.asarray(1.0, program.X.dtype),
            step_size=1 / jnp.where(curvature > 0, curvature, 1),
            progress=Progress.start(self, program, w),
        )

    def step(self, program: Any, state: FistaState) -> FistaState:
        slope = program.loss.gradient(program.forward(state.ahead), program.y)
        step = lambda x, g: x - state.step_size * g  # noqa: E731
        forward = jax.tree.map(step, state.ahead, program.adjoint(slope))
        w = program.regulariser.prox(forward, state.step_size * program.beta)
        rises = jax.tree.map(
            lambda ahead, new, old: jnp.sum((ahead - new) * (new - old)),
            state.ahead,
            w,
            state.w,
        )
        uphill = jax.tree.reduce(jnp.add, rises) > 0
        t = jnp.where(uphill, 1, state.momentum)
        t_next = (1 + jnp.sqrt(1 + 4 * t * t)) / 2
        share = jnp.where(uphill, 0, (t - 1) / t_next)
        ahead = jax.tree.map(lambda new, old: new + share * (new - old), w, state.w)
        return state.replace(w=w, ahead=ahead, momentum=t_next)

    def check(self, program: Any, state: FistaState) -> FistaState:
        dual = -program.loss.gradient(program.forward(state.w), program.y)
        progress = state.progress.update(
            self, program, state.w, [dual], None, finite_of=state.w
        )
        return state.replace(progress=progress)
