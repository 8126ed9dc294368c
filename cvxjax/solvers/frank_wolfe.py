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
from scipy.optimize import minimize

from cvxjax import linalg
from cvxjax.pricing.vector import cell_maxima, is_exact, vector_bound
from cvxjax.solution import History, Solution, Status
from cvxjax.solvers import loop

Array = jax.Array
Report = Callable[[int, float, float, float], None]

_TOLERANCE = 1e-6  # the least that is asked for by default
_BATCH = 16  # neurons that a round adds at most
_SWEEPS = 100  # of block coordinate descent
_FACES = 30  # rows that neurons meet in one round
_FLAT = 1e-10  # of the rows' sizes: rows that are zero on a face
_SAME = 1e-6  # 1 - cosine of neurons that are joined
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
            gap = rounds.gap
            if report is not None:
                report(*rounds.lines[-1])
            mark, since = (gap, 0) if gap < 0.99 * mark else (mark, since + 1)
            if not rounds.finite:
                status = Status.NONFINITE
            elif gap <= tol:
                status = Status.CONVERGED
            elif len(rounds.lines) > self.max_iters:
                status = Status.MAX_ITERATIONS
            elif since >= _PATIENCE or not rounds.grow():
                status = Status.STALLED
            else:
                rounds.correct()
        return rounds.finish(status)


class _Rounds:
    """The neurons so far, and the best point and bound."""

    def __init__(self, program: Any, solver: FrankWolfe, start: Any) -> None:
        self.program, self.solver = program, solver
        self.X = np.asarray(program.X, np.float64)
        self.Y = np.asarray(program.y, np.float64)
        self.masks, self.beta = np.asarray(program.masks), float(program.beta)
        self.exact = is_exact(self.X)
        d, c = self.X.shape[1], self.Y.shape[1]
        self.u, self.v = np.zeros((0, d)), np.zeros((0, c))
        self.cells, self.spans = np.zeros(0, int), np.zeros((0, d, d))
        if start is not None:
            given = np.asarray(start, np.float64)[0]
            sizes = np.linalg.norm(given[:, :d], axis=1)
            given, sizes = given[sizes > 0], sizes[sizes > 0]
            u = given[:, :d] / sizes[:, None]
            short = np.where(self.masks, -1.0, 1.0)[None] * (u @ self.X.T)[:, None]
            self.cells = np.argmin(np.max(short, axis=2), axis=1)
            self.spans = np.tile(np.eye(d), (len(u), 1, 1))
            self._take(u, given[:, d:] * sizes[:, None])
        self.objective, self.bound = np.inf, -np.inf
        self.best, self.dual = (self.u, self.v), np.zeros_like(self.Y)
        self.lines: list[tuple[int, float, float, float]] = []
        self.finite = True

    @property
    def gap(self) -> float:
        size = max(1.0, abs(self.objective))
        return float((self.objective - self.bound) / size)

    def price(self) -> None:
        """Judges the point, and finds the best new neuron of every cell."""
        fit = np.maximum(self.X @ self.u.T, 0) @ self.v
        R = self.Y - fit
        self.finite = bool(np.all(np.isfinite(R)))
        if self.finite:
            value = np.sum(R**2) / 2 + self.beta * np.sum(
                np.linalg.norm(self.v, axis=1)
            )
            if value < self.objective:
                self.objective, self.best = float(value), (self.u, self.v)
            if self.exact:
                found = cell_maxima(self.X, self.masks, R)
                self.values, self.directions, self.faces = found
                highest = float(np.max(self.values))
            else:
                self.values, self.directions = self._search(R)
                eye = np.eye(self.X.shape[1])
                self.faces = np.broadcast_to(eye, (len(self.masks), *eye.shape))
                highest = vector_bound(self.X, self.masks, R)
            limit = self.beta / highest if highest > 0 else np.inf
            square = np.sum(R**2)
            best = np.sum(R * self.Y) / (square if square > 0 else 1)
            t = float(np.clip(best, 0, limit))
            bound = t * np.sum(R * self.Y) - t * t * square / 2
            if bound > self.bound:
                self.bound, self.dual = float(bound), t * R
        self.lines.append((len(self.lines), self.objective, self.bound, self.gap))

    def _search(self, R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        key = jax.random.fold_in(jax.random.key(0), len(self.lines))
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
        order = order[self.values[order] > self.beta]
        if not len(order):
            return False
        self.u = np.vstack([self.u, self.directions[order]])
        self.v = np.vstack([self.v, np.zeros((len(order), self.Y.shape[1]))])
        self.cells = np.concatenate([self.cells, order])
        self.spans = np.concatenate([self.spans, self.faces[order]])
        return True

    def correct(self) -> None:
        """Solves for all v, joins neurons that are nearly one, and moves the rest."""
        features = np.maximum(self.X @ self.u.T, 0)
        self._take(self.u, _descend(features, self.Y, self.v, self.beta))
        self._join()
        for _ in range(_FACES):
            if not self._move():
                break

    def _move(self) -> bool:
        """Slides to a local minimum, or until a neuron meets a row of its cell.

        That neuron's face then is where the row is zero. True if there is more to do.
        """
        before, d = self._value(self.u, self.v), self.X.shape[1]
        roots = np.sqrt(np.linalg.norm(self.v, axis=1))[:, None]
        w = np.hstack([self.u * roots, self.v / roots])
        blocks = np.where(self.masks[self.cells][..., None], self.X, 0)
        moved = _slide(blocks, self.spans, self.Y, w, self.beta)
        sides = np.where(self.masks[self.cells], 1.0, -1.0)
        here, there = (sides * (x[:, :d] @ self.X.T) for x in (w, moved))
        reach = np.linalg.norm(self.spans @ self.X.T, axis=1)  # [m, n]
        falls = (there < 0) & (there < here) & (reach > _FLAT * np.max(reach))
        room = np.where(falls, np.maximum(here, 0) / (here - there + ~falls), np.inf)
        length = min(1.0, float(np.min(room, initial=1)))
        x = w + length * (moved - w)
        if length < 1:
            for j, s in zip(*np.nonzero(room <= length + 1e-12), strict=True):
                row = self.spans[j] @ self.X[s]
                if np.trace(self.spans[j]) < 1.5:  # a ray is left through zero only
                    x[j] = 0
                elif np.linalg.norm(row) > _FLAT * np.max(reach):
                    self.spans[j] -= np.outer(row, row) / (row @ row)
                    x[j, :d] = self.spans[j] @ x[j, :d]
        sizes = np.linalg.norm(x[:, :d], axis=1)
        u = x[:, :d] / np.where(sizes > 0, sizes, 1)[:, None]
        v = x[:, d:] * sizes[:, None]
        if not self._value(u, v) < before + 1e-12 * abs(before):
            return False
        self._take(u, v)
        return length < 1

    def _value(self, u: np.ndarray, v: np.ndarray) -> float:
        miss = np.maximum(self.X @ u.T, 0) @ v - self.Y
        return float(
            np.sum(miss**2) / 2 + self.beta * np.sum(np.linalg.norm(v, axis=1))
        )

    def _take(self, u: np.ndarray, v: np.ndarray) -> None:
        """These neurons, without those that are zero."""
        live = np.any(v != 0, axis=1) & np.any(u != 0, axis=1)
        self.u, self.v = u[live], v[live]
        self.cells, self.spans = self.cells[live], self.spans[live]

    def _join(self) -> None:
        """Adds up neurons of one face whose directions nearly agree."""
        u, v = self.u.copy(), self.v.copy()
        for j in range(len(u)):
            for k in range(j):
                same = self.cells[j] == self.cells[k] and np.any(v[k] != 0)
                same = same and np.allclose(self.spans[j], self.spans[k])
                if same and u[j] @ u[k] > 1 - _SAME:
                    product = np.outer(u[j], v[j]) + np.outer(u[k], v[k])
                    left, values, right = np.linalg.svd(product)
                    turn = np.sign(left[:, 0] @ u[j])
                    u[j], v[j] = turn * left[:, 0], turn * values[0] * right[0]
                    v[k] = 0
        self._take(u, v)

    def finish(self, status: Status) -> Solution:
        program, dtype = self.program, self.program.X.dtype
        _, m, width = program.shape
        u, v = _independent(self.X, *self.best)
        params = np.zeros((1, max(m, len(u)), width))
        roots = np.sqrt(np.linalg.norm(v, axis=1))[:, None]
        params[0, : len(u)] = np.hstack([u * roots, v / np.where(roots > 0, roots, 1)])
        return Solution(
            params=jnp.asarray(params, dtype),
            dual=jnp.asarray(self.dual, dtype),
            multipliers=None,
            status=jnp.asarray(status, jnp.int32),
            objective=jnp.asarray(self.objective, dtype),
            dual_bound=jnp.asarray(self.bound, dtype),
            gap=jnp.asarray(self.gap, dtype),
            iterations=jnp.asarray(len(self.lines) - 1, jnp.int32),
            history=History.of_lines(self.lines, dtype),
            scope=program.scope,
        )


def _descend(
    features: np.ndarray, Y: np.ndarray, v: np.ndarray, beta: float
) -> np.ndarray:
    """Block coordinate descent on 1/2 ||features v - Y||^2 + beta sum_j ||v_j||."""
    gram, pull = features.T @ features, features.T @ Y
    v = v.copy()
    for _ in range(_SWEEPS):
        for j in range(len(v)):
            if gram[j, j] > 0:
                rest = pull[j] - gram[j] @ v + gram[j, j] * v[j]
                size = np.linalg.norm(rest)
                shrink = max(1 - beta / size, 0) if size > 0 else 0
                v[j] = shrink * rest / gram[j, j]
    return v


def _slide(
    features: np.ndarray, spans: np.ndarray, Y: np.ndarray, w: np.ndarray, beta: float
) -> np.ndarray:
    """A local minimum in both factors, by BFGS from w = (t, v), [m, d + c].

    1/2 ||sum_j F_j N_j t_j v_j^T - Y||^2 + beta/2 sum_j (||t_j||^2 + ||v_j||^2), where
    N_j N_j^T = spans_j projects onto the span of the neuron's face.

    Args:
      features: [m, n, d], F_j = D_j X.
      spans: [m, d, d].
    """
    d = features.shape[2]

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        t, v = x.reshape(w.shape)[:, :d], x.reshape(w.shape)[:, d:]
        fits = np.einsum("mnd,md->nm", features, t)
        miss = fits @ v - Y
        back = np.einsum("mnd,nm->md", features, miss @ v.T) + beta * t
        back = np.einsum("mde,me->md", spans, back)
        total = np.sum(miss**2) / 2 + beta * np.sum(x**2) / 2
        return total, np.hstack([back, fits.T @ miss + beta * v]).ravel()

    options = {"gtol": 1e-13, "maxiter": 500}
    found = minimize(value, w.ravel(), jac=True, method="BFGS", options=options)
    return found.x.reshape(w.shape)


def _independent(
    X: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same fit by at most n c neurons, sum ||v_j|| not larger.

    While sum_j c_j phi_j v_j^T = 0 for some c, scales neurons by 1 - c_j / c_max as
    `recovery.prune` does.
    """
    while len(u):
        fits = np.maximum(X @ u.T, 0).T[:, :, None] * v[:, None]  # [m, n, c]
        flat = fits.reshape(len(u), -1).T
        if len(u) <= flat.shape[0]:
            break
        sizes = np.linalg.norm(flat, axis=0)
        c = np.linalg.svd(flat / sizes)[2][-1] / sizes
        if c @ np.linalg.norm(v, axis=1) < 0:
            c = -c
        factors = 1 - c / c.max()
        factors[np.argmax(c)] = 0
        keep = factors > 0
        u, v = u[keep], v[keep] * factors[keep, None]
    return u, v


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
