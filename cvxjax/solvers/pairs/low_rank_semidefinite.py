"""Factors of pairs of PSD matrices by L-BFGS, certified by the price of neurons.

    minimise  L(f) + beta R(Z+, Z-),  Z_s = P_s P_s^T,

over factors parametrised to meet the equations: columns (c, ||c||) for unit neurons,
free columns for traces, rows of [P+ P-] of one norm for a constant diagonal. That is
training by another name, and not convex; but the slope -v = L'(f) at any point gives a
rigorous bound, scaled until no neuron has a price above beta. A neuron with a price
above beta joins as a column, and the objective falls: the rounds end at a global
optimum.

No array of q^2 times the samples, nor of q^4, is needed, so that it solves programs,
such as images of hundreds of pixels, whose linear systems are too large for the other
solvers. A round costs as much as training few neurons, and one eigendecomposition of
order q.

Source: Burer & Monteiro (2003) for the factors; Bartan & Pilanci (2021) for the dual;
Liu & Nocedal (1989), L-BFGS.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.forms.contracts import Pairs
from cvxjax.record import static
from cvxjax.recovery.from_pairs import decompose
from cvxjax.solution import Solution, Status
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.lbfgs import descend
from cvxjax.solvers.progress import polar_gauge
from cvxjax.solvers.refusals import Takes
from cvxjax.solvers.rounds import Rounds
from cvxjax.solvers.starts import as_start
from cvxjax.watch import Watch

Array = jax.Array

_MEMORY = 30  # pairs of L-BFGS
_FIRST = 4  # columns of every matrix at the start
_DEAD = 1e-10  # of the largest column: it makes room for a new one
_NEW = 1e-3  # of the largest column: the size of a new one
_PATIENCE = 5  # rounds without a gap smaller by 1 %


class LowRankSemidefinite(SolverRecord):
    """Rounds of L-BFGS on the factors, each with new columns, on the host.

    For smooth losses, one float type, any order. Gaps below 1e-7 are beyond it where
    the data are ill-conditioned.

    Args:
      tol: relative duality gap; default 1e-5.
      max_iters: of L-BFGS in one round, static.
      rounds: at most, static.
      seed: of the first factors, static.
    """

    tols: ClassVar[tuple[float, float]] = 1e-5, 1e-5
    max_iters: int = static(default=2000)
    rounds: int = static(default=50)
    seed: int = static(default=0)
    takes: ClassVar[Takes] = Takes(form=Pairs, smooth=True)

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        """Rounds, on the host."""
        start = as_start(start)
        params = None if start is None else start.params
        rounds = _FactorDescents(program, self, watch, params)
        status = rounds.drive(self.rounds, _PATIENCE)
        return rounds.solution(status, rounds.params)


class _FactorDescents(Rounds):
    """Descents, each with more columns than the last, and the best feasible point."""

    def __init__(
        self, program: Any, solver: LowRankSemidefinite, watch: Watch, start: Any
    ) -> None:
        super().__init__(program, solver, watch)
        self.rng, self.params = np.random.default_rng(solver.seed), program.zeros()
        self.factors, self.pull = _first(program, start, self.rng), None

    def advance(self) -> Status:
        """A descent, with columns added for the neurons of the highest prices."""
        program = self.program
        if self.pull is not None:
            self.factors = _widen(program, self.factors, self.pull, self.rng)
        self.factors = descend(
            self, _objective, self.factors, memory=_MEMORY, ftol=1e-16, gtol=1e-12
        )
        given = jnp.asarray(self.factors, program.X.dtype)
        point, value, v, pull, highest = _judged(program, given)
        if float(value) < self.objective:
            self.params, self.objective = point, float(value)
        self.offer_dual(np.asarray(v), float(highest))
        self.pull = np.asarray(pull)
        return Status.RUNNING


def _first(program: Any, start: Any, rng: np.random.Generator) -> np.ndarray:
    """Columns [2, B, k, r] of the start's matrices, or small random ones."""
    B, q = program.shape[1:3]
    k = q - 1 if program.lifted else q
    if start is None or not np.any(np.asarray(start)):
        size = np.sqrt(np.sum(np.asarray(program.y, np.float64) ** 2))
        slope = _slope(program)
        steep = np.sqrt(np.sum(np.asarray(slope, np.float64) ** 2))
        scale = size / np.sqrt(steep) if steep > 0 else 1.0
        return scale * rng.standard_normal((2, B, k, _FIRST)) / np.sqrt(k)
    if program.lifted:
        u, alpha = decompose(start)
        return np.swapaxes(np.asarray(u * jnp.sqrt(alpha)[..., None]), 2, 3)
    values, vectors = np.linalg.eigh(np.asarray(start, np.float64))
    return vectors * np.sqrt(np.maximum(values, 0))[..., None, :]


def _expand(program: Any, V: Array) -> Array:
    """P_s [2, B, q, r], which meet the program's equations, of free V [2, B, k, r]."""
    if program.lifted:
        squares = jnp.sum(V * V, axis=2, keepdims=True)
        live = squares > 0  # the root of 0 has no derivative
        norms = jnp.where(live, jnp.sqrt(jnp.where(live, squares, 1)), 0)
        return jnp.concatenate([V, norms], axis=2)
    if not len(program.regulariser.ties(program.order)[0]):
        return V
    squares = jnp.sum(V * V, axis=(0, 3), keepdims=True)
    mean = jnp.mean(squares, axis=2, keepdims=True)
    return V * jnp.sqrt(mean / jnp.where(squares > 0, squares, 1))


@jax.jit
@partial(jax.value_and_grad, argnums=1)
def _objective(program: Any, V: Array) -> Array:
    """The objective of free columns V [2, B, k, r], and its gradient."""
    P = _expand(program, V)
    f = program.fit_factors(P)
    weights = np.diagonal(program.regulariser.cost(program.order))
    squares = jnp.sum(P * P, axis=(0, 1, 3))
    penalty = jnp.sum(squares * jnp.asarray(weights, P.dtype))
    return program.loss.value(f, program.y) + program.beta * penalty


@jax.jit
def _slope(program: Any) -> Array:
    """`pull` of minus the loss's gradient at zero."""
    return program.pull(-program.loss.gradient(0 * program.y, program.y))


@jax.jit
def _judged(program: Any, V: Array) -> tuple[Array, ...]:
    """A feasible point, its objective, a dual vector v, A* v [B, q, q], v's price."""
    P = _expand(program, V)
    point = program.regulariser.inside(linalg.dot(P, jnp.swapaxes(P, 2, 3)))
    v = -program.loss.gradient(program.fit_factors(P), program.y)
    highest = polar_gauge(program, v, None)
    return point, program.objective(point), v, program.adjoint(v)[0], highest


def _widen(
    program: Any, V: np.ndarray, pull: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """V with small columns along the neurons of the highest prices, over dead columns.

    If no single neuron attains a price, as with a constant diagonal, they are random.
    """
    sizes = np.linalg.norm(V, axis=2)  # [2, B, r]
    largest = max(float(np.max(sizes)), 1e-150)
    dead = np.all(sizes <= _DEAD * largest, axis=(0, 1))
    if not dead.any():
        V = np.pad(V, [(0, 0), (0, 0), (0, 0), (0, _FIRST)])
        dead = np.append(dead, np.ones(_FIRST, bool))
    (free,) = np.nonzero(dead)
    free = free[:_FIRST]
    V[..., free] = 0
    priced = program.lifted or not len(program.regulariser.ties(program.order)[0])
    for s, sign in enumerate((1, -1)):
        for b, S in enumerate(pull):
            if priced:
                columns = _best(sign * S, program.lifted, len(free))
            else:
                columns = rng.standard_normal((V.shape[2], len(free)))
                columns /= np.linalg.norm(columns, axis=0)
            V[s, b, :, free[: columns.shape[1]]] = _NEW * largest * columns.T
    return V


def _best(S: np.ndarray, lifted: bool, count: int) -> np.ndarray:
    """Unit columns with the largest prices, [k, at most count]."""
    if not lifted:
        return np.linalg.eigh(S)[1][:, ::-1][:, :count]
    values, vectors = np.linalg.eigh(S[:-1, :-1])
    g = vectors.T @ S[:-1, -1]
    low, high = values[-1] + abs(g[-1]), values[-1] + np.linalg.norm(g)
    for _ in range(60):
        nu = (low + high) / 2
        steep = np.linalg.norm(g / np.maximum(nu - values, 1e-300)) > 1
        low, high = (nu, high) if steep else (low, nu)
    u = vectors @ (g / np.maximum(high - values, 1e-300))
    u += np.sqrt(max(1 - u @ u, 0)) * vectors[:, -1]
    return (u / np.linalg.norm(u))[:, None]
