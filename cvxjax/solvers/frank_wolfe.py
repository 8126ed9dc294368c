"""Fully corrective Frank-Wolfe over neurons, for networks with several outputs.

    minimise  1/2 ||sum_j phi_j v_j^T - Y||_F^2 + beta sum_j ||v_j||,
              phi_j = (X u_j)_+,  ||u_j|| = 1,  u_j in listed cells,

over neurons of any number. Each round finds the best new neuron of every cell,

    maximise  ||R^T D_i X u||  over  ||u|| <= 1, (2 D_i - I) X u >= 0,  R = Y - F,

exactly where X has rank three or less (`pricing.vector`), else by projected power
iterations from several starts. Then all v_j are solved for anew by block coordinate
descent, neurons that nearly agree are joined, and all are moved on their faces to a
local minimum, which the next round's maxima judge. beta over the best maximum scales R
to a dual point, so each round has a bound; without exact maxima it is that of the gated
network, and the gap says how far.

It is not one of the house's general solvers because the gauge of this program has no
proximal map in closed form: only its linear maximisation is tractable.

Source: Jaggi, Revisiting Frank-Wolfe (2013); Sahiner et al. (ICLR 2021) for the
maximisation over cones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from cvxjax import linalg
from cvxjax.pricing.vector import cell_maxima, is_exact, vector_bound
from cvxjax.solution import Solution, Status
from cvxjax.solvers import loop
from cvxjax.solvers.neurons import Neurons, Record

Array = jax.Array
Report = Callable[[int, float, float, float], None]

_TOLERANCE = 1e-6  # the least that is asked for by default
_BATCH = 16  # neurons that a round adds at most
_PATIENCE = 30  # rounds without a gain of 1 %
_PROJECTION_STEPS = 30


class FrankWolfe(struct.PyTreeNode, kw_only=True):
    """Rounds of new neurons and full corrections, on the host.

    Args:
      tol: relative duality gap; default 1e-6 in float64, 1e-4 in float32.
      max_iters: rounds, static.
      starts: of the power iterations in every cell where maxima are not exact, static.
      power_steps: of each, static.
    """

    tol: Any = None
    max_iters: int = struct.field(pytree_node=False, default=500)
    starts: int = struct.field(pytree_node=False, default=4)
    power_steps: int = struct.field(pytree_node=False, default=30)

    def refuse(self, program: Any) -> str | None:
        if not hasattr(program, "neurons"):
            return "its parameters are not neurons (FrankWolfe takes vector outputs)"
        return None

    def run(self, program: Any, start: Any, report: Report | None) -> Solution:
        """Rounds, on the host."""
        dtype = program.X.dtype
        usual = max(loop.default_tol(dtype), _TOLERANCE)
        tol = float(usual if self.tol is None else self.tol)
        rounds = _Rounds(program, self, start)
        status, mark, since = Status.RUNNING, np.inf, 0
        while status is Status.RUNNING:
            rounds.price()
            gap = rounds.record.gap
            if report is not None:
                report(*rounds.record.lines[-1])
            mark, since = (gap, 0) if gap < 0.99 * mark else (mark, since + 1)
            if not rounds.finite:
                status = Status.NONFINITE
            elif gap <= tol:
                status = Status.CONVERGED
            elif len(rounds.record.lines) > self.max_iters:
                status = Status.MAX_ITERATIONS
            elif since >= _PATIENCE or not rounds.grow():
                status = Status.STALLED
            else:
                rounds.neurons.correct()
        return rounds.record.finish(program, status)


class _Rounds:
    """The neurons so far, and the best point and bound."""

    def __init__(self, program: Any, solver: FrankWolfe, start: Any) -> None:
        self.program, self.solver = program, solver
        self.neurons = Neurons(program)
        self.record = Record(self.neurons)
        self.exact = is_exact(self.neurons.X)
        self.finite = True
        if start is not None:
            u, v = (np.asarray(x, np.float64) for x in program.neurons(start))
            self.neurons.place(u, v, self.neurons.nearest_cells(u))

    def price(self) -> None:
        """Judges the point, and finds the best new neuron of every cell."""
        X, masks, R = self.neurons.X, self.neurons.masks, self.neurons.residual()
        self.finite = bool(np.all(np.isfinite(R)))
        if self.finite:
            self.record.offer_point(self.neurons)
            if self.exact:
                found = cell_maxima(X, masks, R)
                self.values, self.directions, self.faces = found
                highest = float(np.max(self.values))
            else:
                self.values, self.directions = self._search(R)
                eye = np.eye(X.shape[1])
                self.faces = np.broadcast_to(eye, (len(masks), *eye.shape))
                highest = vector_bound(X, masks, R)
            self.record.offer_residual(R, highest)
        self.record.end_line()

    def _search(self, R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = jax.random.fold_in(jax.random.key(0), len(self.record.lines))
        dtype = self.program.X.dtype
        found = _power(
            self.program,
            jnp.asarray(R, dtype),
            key,
            starts=self.solver.starts,
            steps=self.solver.power_steps,
        )
        values, directions = (np.asarray(x, np.float64) for x in found)
        return values, directions

    def grow(self) -> bool:
        """Adds the best neurons found; False if no cell has a better one than beta."""
        order = np.argsort(-self.values)[:_BATCH]
        order = order[self.values[order] > self.neurons.beta]
        if not len(order):
            return False
        self.neurons.add(self.directions[order], order, self.faces[order])
        return True


@partial(jax.jit, static_argnames=("starts", "steps"))
def _power(
    program: Any, R: Array, key: Array, *, starts: int, steps: int
) -> tuple[Array, Array]:
    """Near maxima [P] and unit maximisers [P, d] of ||R^T D_i X u|| over the cells.

    u <- the projection of M_i u onto the cell, to unit length, which never falls.
    """
    X, cones = program.X, program.cones
    P, d = program.masks.shape[0], X.shape[1]

    def unit(u: Array) -> Array:
        size = jnp.sqrt(jnp.sum(u**2, axis=-1, keepdims=True))
        return u / jnp.where(size > 0, size, 1)

    def image(u: Array) -> Array:
        z = jnp.where(program.masks[None], linalg.dot(u, X.T), 0)
        return linalg.dot(z, R)

    def inside(u: Array) -> Array:
        zero = jnp.zeros((*u.shape[:2], cones.num_rows), u.dtype)
        near, _ = cones.project(u, zero, _PROJECTION_STEPS)
        near = near + cones.lift(near)[..., None] * cones.interior[None]
        return unit(near)

    def ascend(_: int, u: Array) -> Array:
        back = jnp.where(program.masks[None], linalg.dot(image(u), R.T), 0)
        slope = linalg.dot(back, X)
        return inside(unit(slope))

    noise = jax.random.normal(key, (starts, P, d), X.dtype)
    start = inside(noise.at[0].set(cones.interior))
    u = jax.lax.fori_loop(0, steps, ascend, start)
    every = jnp.concatenate([start, u])
    values = jnp.sqrt(jnp.sum(image(every) ** 2, axis=-1))  # [2 starts, P]
    best = jnp.argmax(values, axis=0)
    at = jnp.arange(P)
    return values[best, at], every[best, at]
