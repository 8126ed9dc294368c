"""Neurons with several outputs, their full correction, and the best so far.

    minimise  1/2 ||sum_j phi_j v_j^T - Y||_F^2 + beta sum_j ||v_j||,
              phi_j = (X u_j)_+,  ||u_j|| = 1,

over neurons that stay in the cells they are in: first all v_j by block coordinate
descent, then both factors of every neuron on the span of its cell's face. Frank-Wolfe
corrects its rounds with it, and the copositive relaxation what it recovers.

Source: Jaggi, Revisiting Frank-Wolfe (2013), for full corrections.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize

from cvxjax.solution import History, Solution, Status

_SWEEPS = 100  # of block coordinate descent
_FACES = 30  # rows that neurons meet in one correction
_FLAT = 1e-10  # of the rows' sizes: rows that are zero on a face
_SAME = 1e-6  # 1 - cosine of neurons that are joined


class Neurons:
    """u [m, d] of unit length and v [m, c], in listed cells; empty at first."""

    def __init__(self, program: Any) -> None:
        self.X = np.asarray(program.X, np.float64)
        self.Y = np.asarray(program.y, np.float64)
        self.masks, self.beta = np.asarray(program.masks), float(program.beta)
        d, c = self.X.shape[1], self.Y.shape[1]
        self.u, self.v = np.zeros((0, d)), np.zeros((0, c))
        self.cells, self.spans = np.zeros(0, int), np.zeros((0, d, d))

    def place(self, u: np.ndarray, v: np.ndarray, cells: np.ndarray) -> None:
        """Becomes (u_j, v_j), of any lengths, those that are not zero.

        Args:
          u: [m, d].
          v: [m, c].
          cells: [m], indices of masks.
        """
        sizes = np.linalg.norm(u, axis=1)[:, None]
        self.cells, self.spans = cells, np.tile(np.eye(u.shape[1]), (len(u), 1, 1))
        self._take(u / np.where(sizes > 0, sizes, 1), v * sizes)

    def nearest_cells(self, u: np.ndarray) -> np.ndarray:
        """Indices of masks, [m], for u [m, d]."""
        short = np.where(self.masks, -1.0, 1.0)[None] * (u @ self.X.T)[:, None]
        return np.argmin(np.max(short, axis=2), axis=1)

    def add(self, u: np.ndarray, cells: np.ndarray, spans: np.ndarray) -> None:
        """Adds directions, with v_j = 0.

        Args:
          u: [m, d], unit.
          cells: [m], indices of masks.
          spans: [m, d, d], projections onto the spans of the faces that u lie inside.
        """
        self.u = np.vstack([self.u, u])
        self.v = np.vstack([self.v, np.zeros((len(u), self.Y.shape[1]))])
        self.cells = np.concatenate([self.cells, cells])
        self.spans = np.concatenate([self.spans, spans])

    def residual(self) -> np.ndarray:
        """Y - F, [n, c]."""
        return self.Y - np.maximum(self.X @ self.u.T, 0) @ self.v

    def value(self) -> float:
        """The objective."""
        return self._value(self.u, self.v)

    def correct(self) -> None:
        """Solves for all v, joins neurons that are nearly one, and moves the rest."""
        self.reweigh()
        for _ in range(_FACES):
            if not self._move():
                break

    def reweigh(self) -> None:
        """Solves for all v, and joins neurons that are nearly one."""
        features = np.maximum(self.X @ self.u.T, 0)
        self._take(self.u, _descend(features, self.Y, self.v, self.beta))
        self._join()

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


class Record:
    """The best neurons and the best bound of a solver, and its history."""

    def __init__(self, neurons: Neurons) -> None:
        self.X, self.Y, self.beta = neurons.X, neurons.Y, neurons.beta
        self.objective, self.bound = np.inf, -np.inf
        self.best, self.dual = (neurons.u, neurons.v), np.zeros_like(self.Y)
        self.multipliers: np.ndarray | None = None
        self.lines: list[tuple[int, float, float, float]] = []

    @property
    def gap(self) -> float:
        size = max(1.0, abs(self.objective))
        return float((self.objective - self.bound) / size)

    def offer_point(self, neurons: Neurons) -> None:
        """Keeps the neurons if their objective is the least so far."""
        value = neurons.value()
        if value < self.objective:
            self.objective, self.best = value, (neurons.u, neurons.v)

    def offer_residual(
        self, R: np.ndarray, highest: float, multipliers: np.ndarray | None = None
    ) -> None:
        """Keeps the best multiple t R if its bound is the greatest so far.

        Args:
          R: [n, c].
          highest: a bound of max ||R^T (X u)_+|| over the listed cells, ||u|| <= 1.
          multipliers: of R in that bound, [P, k, 3]; their weights grow with t^2.
        """
        limit = self.beta / highest if highest > 0 else np.inf
        square = np.sum(R**2)
        best = np.sum(R * self.Y) / (square if square > 0 else 1)
        t = float(np.clip(best, 0, limit))
        bound = t * np.sum(R * self.Y) - t * t * square / 2
        if bound > self.bound:
            self.bound, self.dual = float(bound), t * R
            if multipliers is not None:
                self.multipliers = multipliers * np.asarray([1, 1, t * t])

    def end_line(self) -> None:
        """Ends a line of the history."""
        self.lines.append((len(self.lines), self.objective, self.bound, self.gap))

    def finish(self, program: Any, status: Status) -> Solution:
        dtype = program.X.dtype
        _, m, width = program.shape
        u, v = _independent(self.X, *self.best)
        params = np.zeros((1, max(m, len(u)), width))
        roots = np.sqrt(np.linalg.norm(v, axis=1))[:, None]
        params[0, : len(u)] = np.hstack([u * roots, v / np.where(roots > 0, roots, 1)])
        multipliers = self.multipliers
        return Solution(
            params=jnp.asarray(params, dtype),
            dual=jnp.asarray(self.dual, dtype),
            multipliers=None
            if multipliers is None
            else jnp.asarray(multipliers, dtype),
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
