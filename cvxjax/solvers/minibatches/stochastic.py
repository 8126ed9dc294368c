"""Minibatch gradients on convex programs over fixed gates, by Optax.

    minimise  L(F w, y) + beta R(w) + rho sum_b sum_j (-A_bj w_b)_+

by steps along gradients of `minibatch.GateModel`, which are of 1/n of this: without the
last term for gated programs, and with it, rho > 0, in place of the cones of ReLU ones.
Blocks become exactly zero by proximal steps.

Source: Polyak (1964) for momentum; Pilanci & Ergen (ICML 2020), section on SGD.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax

from cvxjax.algebra import linalg
from cvxjax.forms.contracts import Gated
from cvxjax.interfaces import Proximal
from cvxjax.record import Record, static
from cvxjax.solvers.base import SteppedSolver
from cvxjax.solvers.blocks.feasible import feasible_point
from cvxjax.solvers.minibatches.minibatch import GateModel
from cvxjax.solvers.progress import Progress
from cvxjax.solvers.refusals import Takes

Array = jax.Array


class MinibatchIterate(Record):
    """Weights, what the optimizer remembers, and the steps taken."""

    w: Array  # [S, P, c, d]
    optimizer: Any
    clock: Array  # [], int32


class StochasticState(Record):
    """The iterate, and this epoch's order of the rows."""

    iterate: MinibatchIterate
    order: Array  # [n], int32
    step_size: Array  # []
    repair: Any  # [S, P, m], multipliers of the projection into the cones
    multipliers: Any  # [S, P, m], of the projection of F^T v
    progress: Progress


class Stochastic(SteppedSolver):
    """SGD with momentum, or any Optax transformation, with proximal steps.

    The gradient followed is that of 1/n of the objective, estimated from batches that
    are drawn without replacement in each epoch; its last n mod batch_size rows sit out.
    At a constant rate iterates of small batches end near the optimum, not at it.

    Args:
      tol: relative duality gap; default 1e-8 in float64, 1e-4 in float32.
      max_iters: steps, static.
      check_every: steps between gap evaluations, which take all rows; static.
      batch_size: rows of a step, at most all; static.
      learning_rate: None: one over the largest curvature of all rows.
      schedule: factor of the learning rate at each step; None: 1. Static.
      momentum: static.
      optimizer: an Optax transformation with a rate of its own, in place of SGD with
        momentum; static. Its proximal steps take `learning_rate` for the distance that
        it goes along a unit gradient in the long run.
      proximal: else a subgradient of the norms joins the gradient; static.
      cone_weight: rho, with rows of X in A; exact where it exceeds every multiplier.
      products: as in `GateModel`, static.
      seed: of the order of rows, static.
      projection_steps: of a feasible point and of the bound's multipliers; ten times as
        many at the end, static.
    """

    batch_size: int = static(default=1_000)
    learning_rate: Any = None
    schedule: Callable[[Any], Any] | None = static(default=None)
    momentum: float = static(default=0.9)
    optimizer: Any = static(default=None)
    proximal: bool = static(default=True)
    cone_weight: Any = 1.0
    products: Any = static(default=None)
    seed: int = static(default=0)
    projection_steps: int = static(default=30)
    takes: ClassVar[Takes] = Takes(form=Gated, regulariser=Proximal, smooth=True)

    def limits(self, program: Any) -> str | None:
        if program.masks.shape[1] != len(program.y):
            return "its neurons see several rows of each sample"
        if self.optimizer is not None and self.proximal and self.learning_rate is None:
            return "proximal steps of an optimizer want the learning rate that it has"
        if not self.proximal and program.regulariser.norm != "group":
            return "its regulariser is no group norm (proximal steps take others)"
        return None

    def start(self, w: Array) -> MinibatchIterate:
        """The first iterate, from weights [S, P, c, d]."""
        memory = self._transformation().init(w)
        return MinibatchIterate(w=w, optimizer=memory, clock=jnp.asarray(0, jnp.int32))

    def move(
        self,
        model: GateModel,
        iterate: MinibatchIterate,
        x: Array,
        y: Array,
        step_size: Any,
    ) -> tuple[MinibatchIterate, Array]:
        """One step on rows x [b, d], y [b, c]; also L / b before it."""
        w = iterate.w
        slope, loss = model.slope(w, x, y)
        if not self.proximal:
            slope = slope + model.penalty_slope(w)
        optimizer = optax.with_extra_args_support(self._transformation())
        update: Any = optimizer.update(slope, iterate.optimizer, w, value=loss)
        change, memory = update
        length = jnp.asarray(step_size, w.dtype)
        if self.schedule is not None:
            length = length * self.schedule(iterate.clock).astype(w.dtype)
        if self.optimizer is None:
            change, length = -length * change, length / (1 - self.momentum)
        w = w + change
        if self.proximal:
            w = model.prox(w, length)
        return MinibatchIterate(w=w, optimizer=memory, clock=iterate.clock + 1), loss

    def _transformation(self) -> optax.GradientTransformation:
        return optax.trace(self.momentum) if self.optimizer is None else self.optimizer

    def init(self, program: Any, w: Array) -> StochasticState:
        rate = self.learning_rate
        rate = _inverse_curvature(program) if rate is None else rate
        zero = None
        if program.cones is not None:
            zero = jnp.zeros(w.shape[:2] + (program.cones.num_rows,), w.dtype)
        return StochasticState(
            iterate=self.start(_with_outputs(program, w)),
            order=jnp.arange(len(program.y), dtype=jnp.int32),
            step_size=jnp.asarray(rate, w.dtype),
            repair=zero,
            multipliers=zero,
            progress=Progress.start(self, program, w),
        )

    def step(self, program: Any, state: StochasticState) -> StochasticState:
        n, clock = len(program.y), state.iterate.clock
        b = min(self.batch_size, n)
        y = program.y if program.y.ndim == 2 else program.y[:, None]
        x, order, loss = program.X, state.order, program.loss
        if b < n:
            count = n // b
            key = jax.random.fold_in(jax.random.key(self.seed), clock // count)
            draw = lambda _: jax.random.permutation(key, n).astype(jnp.int32)  # noqa: E731
            order = jax.lax.cond(clock % count == 0, draw, lambda o: o, order)
            rows = jax.lax.dynamic_slice(order, ((clock % count) * b,), (b,))
            x, y, loss = x[rows], y[rows], loss.take(rows)
        model = self.model(program).replace(loss=loss)
        iterate, _ = self.move(model, state.iterate, x, y, state.step_size)
        return state.replace(iterate=iterate, order=order)

    def check(self, program: Any, state: StochasticState) -> StochasticState:
        w = state.iterate.w.reshape(program.shape)
        dual = -program.loss.gradient(program.forward(w), program.y)
        done = state.progress.iteration >= self.max_iters
        steps = jnp.where(done, 10, 1) * self.projection_steps
        point, repair = feasible_point(program, w, state.repair, steps=steps)
        multipliers = state.multipliers
        if multipliers is not None:
            prices = program.adjoint(dual)
            _, multipliers = program.cones.project(prices, multipliers, steps)
        progress = state.progress.update(
            self, program, point, [dual], multipliers, finite_of=w
        )
        return state.replace(progress=progress, repair=repair, multipliers=multipliers)

    def model(self, program: Any) -> GateModel:
        """The program as its batches see it."""
        cones = program.cones
        return GateModel(
            gates=program.gates if cones is None else cones.interior,
            beta=program.beta,
            loss=program.loss,
            regulariser=program.regulariser,
            cone_weight=None if cones is None else self.cone_weight,
            num_samples=len(program.y),
            products=self.products,
        )


def _with_outputs(program: Any, w: Array) -> Array:
    """[S, P, c, d]."""
    return w if program.y.ndim == 2 else w[:, :, None]


def _inverse_curvature(program: Any) -> Array:
    """1 / the largest curvature of L(F w, y) / n, or 5 % less."""
    square = lambda r: program.forward(program.adjoint(r))  # noqa: E731
    largest = linalg.eigenvalue_bound(square, program.y)
    curvature = program.loss.smoothness * largest / len(program.y)
    return 1 / jnp.where(curvature > 0, curvature, 1)
