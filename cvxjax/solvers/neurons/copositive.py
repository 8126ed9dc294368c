"""The copositive relaxation of networks with several outputs.

    minimise  1/2 tr Y^T (I + 2 sum_i D_i X U_i X^T D_i)^{-1} Y + beta^2 sum_i tr U_i

over U_i in conv {u u^T : K_i u >= 0}, K_i = (2 D_i - I) X, has the network's optimum:
U_i is the sum of u_j u_j^T / (2 beta) over the neurons in cell i, and the output layer
is eliminated. Here U_i is PSD with K_i U_i K_i^T >= 0 instead, which is the same for X
of rank two, and in any cell of as many facets as dimensions, up to four. Only facets of
the cells matter, since other rows are non-negative combinations of them.

The dual is a residual R and N_i >= 0 between facets, with

    X^T D_i R R^T D_i X + K_i^T N_i K_i <= beta^2 I   for every i, in the PSD order.

Scaled down, any R is there, so that every step has a rigorous bound. The network is
taken from U_i, for K_i U_i a >= 0 says that U_i a is in the cell for every facet a. Two
neurons are all of U_i where it has rank two, as always in two dimensions. The gap is
between that network and the bound, and so covers what the relaxation lost.

Source: Sahiner, Ergen, Pauly & Pilanci, Vector-output ReLU Neural Network Problems are
Copositive Programs (ICLR 2021).
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from cvxjax.algebra.row_space import rank_of
from cvxjax.bounds.several_outputs import relaxed_maxima
from cvxjax.forms.contracts import Neurons
from cvxjax.interfaces import Regulariser
from cvxjax.record import static
from cvxjax.solution import Solution, Status
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.neurons.doubly_nonnegative import (
    DoublyNonnegative,
    make_relaxation,
    newton_step,
)
from cvxjax.solvers.neurons.frank_wolfe import FrankWolfe, FrankWolfeRounds
from cvxjax.solvers.neurons.rounds import NeuronRounds
from cvxjax.solvers.refusals import Takes
from cvxjax.watch import Watch

_MAX_RANK = 6  # beyond which cells have too many facets
_MAX_ELEMENTS = 1 << 27  # of products of rows, or of the Newton system
_SETTLED = 0.1  # of the tolerance: the relaxation is solved
_INSIDE = 1e-9  # of the largest a^T u: neurons outside by less are inside
_DEAD = 1e-4  # of the largest neuron: left out at the end
_SWEEPS = 100  # of block coordinate descent
_ROUNDS = 30  # of Frank-Wolfe at the end


class CopositiveRelaxation(SolverRecord):
    """Interior-point steps for the relaxation, and a network from each, in float64.

    For X of rank one to six; exact for rank two, else the gap says how far. It starts
    in the interior of the cells, whatever parameters it is given.

    Args:
      tol: relative duality gap of the network; default 1e-7.
      max_iters: Newton steps, static.
    """

    tols: ClassVar[tuple[float, float]] = 1e-7, 1e-4
    max_iters: int = static(default=100)
    takes: ClassVar[Takes] = Takes(
        form=Neurons, regulariser=Regulariser, losses=("squared",), float64=True
    )

    def limits(self, program: Any) -> str | None:
        (n, _), (P, _) = program.X.shape, program.masks.shape
        r, c = rank_of(np.asarray(program.X)), program.y.shape[1]
        if r > _MAX_RANK:
            return f"X has rank {r}, more than {_MAX_RANK}: facets are too many"
        products = P * r * (r + 1) // 2 * (n * (n - 1) // 2 if r > 2 else 1)
        if max(products, P * r * (r + 1) // 2 * n * c, (n * c) ** 2) > _MAX_ELEMENTS:
            return f"n = {n}, c = {c} and {P} patterns of rank {r} are too many"
        return None

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        """Steps, on the host."""
        rounds = _RelaxedRounds(program, self, watch)
        return rounds.finish(rounds.drive(self.max_iters))


class _RelaxedRounds(NeuronRounds):
    """The relaxation's iterate, the best bound, and the best network of any iterate."""

    def __init__(
        self, program: Any, solver: CopositiveRelaxation, watch: Watch
    ) -> None:
        super().__init__(program, solver, watch)
        self.relaxation, self.point = make_relaxation(program)
        self.stuck = self.settled = False
        self._judge()

    def advance(self) -> Status:
        """A Newton step, and the network and bound of where it leads."""
        if self.settled or self.stuck:
            return Status.STALLED
        ahead = newton_step(self.relaxation, self.point)
        self.steps += 1
        sizes = [jnp.max(jnp.abs(x)) for x in (ahead.U, ahead.Z)]
        self.stuck = not bool(jnp.isfinite(sum(sizes)))
        self.point = self.point if self.stuck else ahead
        self._judge()
        return Status.RUNNING

    def _judge(self) -> None:
        """Offers the iterate's network and bound; at the end, improved networks."""
        value, R = self.relaxation.evaluate(self.point.U)
        self.finite = bool(jnp.isfinite(value))
        if not self.finite:
            return
        u, v = self._network()
        self.offer_point(u, v)
        weights = self.beta * np.asarray(self.point.N / self.relaxation.scales)
        ends = np.asarray(self.relaxation.ends)
        multipliers = np.concatenate([ends, weights[..., None]], axis=2)
        masks, R = np.asarray(self.program.masks), np.asarray(R)
        highest = float(np.max(relaxed_maxima(self.X, masks, R, multipliers)))
        self.offer_residual(R, highest, multipliers)
        self.settled = self.judged.gap(float(value), self.bound) <= _SETTLED * self.tol
        ending = self.settled or self.stuck or self.steps >= self.solver.max_iters
        if ending or self.gap <= self.tol:
            self._improve(u, v)

    def _network(self) -> tuple[np.ndarray, np.ndarray]:
        """u [m, d] and v [m, c] of the iterate."""
        u = _split(self.relaxation, np.asarray(self.point.U))
        features = np.maximum(self.X @ u.T, 0)
        ridge = features @ features.T + self.beta * np.eye(len(self.X))
        return u, features.T @ np.linalg.solve(ridge, self.y)

    def _improve(self, u: np.ndarray, v: np.ndarray) -> None:
        """Offers better networks from the larger neurons of one.

        First the best output weights; if that is not enough, rounds of Frank-Wolfe,
        which move all neurons in their cells and add others.
        """
        sizes = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
        live = sizes > _DEAD * np.max(sizes, initial=0)
        u = u[live] / np.linalg.norm(u[live], axis=1, keepdims=True)
        v = _reweighed(np.maximum(self.X @ u.T, 0), self.y, self.beta)
        self.offer_point(u, v)
        if self.gap <= self.tol:
            return
        start = np.hstack([u, v])[None]
        rounds = FrankWolfeRounds(self.program, FrankWolfe(), self.watch, start)
        for _ in range(_ROUNDS):
            self.offer_point(rounds.neurons.u, rounds.neurons.v)
            ended = self.watch.over or self.gap <= self.tol or not rounds.finite
            if ended or rounds.advance() is not Status.RUNNING:
                return


def _split(relaxation: DoublyNonnegative, U: np.ndarray) -> np.ndarray:
    """Two neurons a cell with sum u u^T near U_i, u [m, d].

    The first is U a / sqrt(a^T U a) for a facet a, the second the first principal part
    of what is left, if it is in the cell. Of all facets the one whose second neuron is
    deepest inside is taken: where U_i has rank two, as always in two dimensions, it is
    on the cell's boundary, and both are all of U_i.
    """
    facets, turns = np.asarray(relaxation.facets), np.asarray(relaxation.turns)
    every = np.arange(len(U))
    image = facets @ U  # [P, f, r], U a
    pivots = np.sum(image * facets, axis=2)
    first = image / np.sqrt(np.where(pivots > 0, pivots, 1))[..., None]
    left = U[:, None] - first[..., None] * first[..., None, :]
    values, vectors = np.linalg.eigh(left)
    second = vectors[..., -1] * np.sqrt(np.maximum(values[..., -1:], 0))
    reach = np.einsum("pfa,pga->pgf", facets, second)
    turned = np.where(np.sum(reach, axis=2) < 0, -1, 1)[..., None]
    second, reach = turned * second, turned * reach
    depth = np.min(reach, axis=2) / np.maximum(np.max(reach, axis=2), 1e-300)
    depth = np.where(pivots > 0, depth, -np.inf)
    best = np.argmax(depth, axis=1)
    inside = depth[every, best] >= -_INSIDE
    x = np.concatenate([first[every, best], second[every, best][inside]])
    cells = np.concatenate([every, every[inside]])
    return np.einsum("mda,ma->md", turns[cells], x)


def _reweighed(features: np.ndarray, Y: np.ndarray, beta: float) -> np.ndarray:
    """argmin_v 1/2 ||features v - Y||^2 + beta sum_j ||v_j||, by block descent."""
    gram, pull = features.T @ features, features.T @ Y
    v = np.zeros((len(gram), Y.shape[1]))
    for _ in range(_SWEEPS):
        for j in np.flatnonzero(np.diagonal(gram) > 0):
            rest = pull[j] - gram[j] @ v + gram[j, j] * v[j]
            size = np.linalg.norm(rest)
            v[j] = max(1 - beta / size, 0) * rest / gram[j, j] if size > 0 else 0
    return v
