"""Both factors of every neuron by L-BFGS, and a global certificate of where it ends.

    minimise  L(sum_j (X u_j)_+ v_j^T, Y) + beta/2 sum_j (||u_j||^2 + ||v_j||^2)

is the training of a network with several outputs on a smooth loss L, the Burer-Monteiro
form of its convex program: no pattern is listed, so that it scales as training does. A
stationary point has ||u_j|| = ||v_j||, and minus the gradient of L there, R, scaled
until ||R^T (X u)_+|| <= beta for every u in the cells that count, bounds the optimum:
whether the point is a global optimum is decided by the price of neurons, not by how it
was found.

Source: Sahiner, Ergen, Ozturkler, Pauly, Mardani & Pilanci, Scaling Convex Neural
Networks with Burer-Monteiro Factorization (2022); Liu & Nocedal (1989), L-BFGS.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.bounds.several_outputs import vector_bound
from cvxjax.forms.contracts import Neurons
from cvxjax.interfaces import Regulariser
from cvxjax.record import static
from cvxjax.solution import Scope, Solution, Status
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.lbfgs import descend
from cvxjax.solvers.neurons.rounds import NeuronRounds
from cvxjax.solvers.refusals import Takes
from cvxjax.solvers.starts import as_start
from cvxjax.watch import Watch

Array = jax.Array

_MOST = 100  # neurons by default
_MEMORY = 20  # pairs of L-BFGS
_DEAD = 1e-6  # of the largest neuron: left out


class BurerMonteiro(SolverRecord):
    """L-BFGS from several starts, on the host, until one is certified.

    For several outputs with cones, at sizes where cells are too many to list: neurons
    go where they like. The solution carries their patterns beside the program's, which
    its certificate covers; `certify(program, solution, scope=Scope.GLOBAL_BOUND)` is
    over all networks. The bound is exact for data of rank three or less, else that of
    the gated network, which is loose: STALLED then says no more than that. Kinks of the
    ReLU may stop L-BFGS at gaps of 1e-4 to 1e-2; where cells can be listed, FrankWolfe
    goes on from its parameters.

    Args:
      tol: relative duality gap at which no other start is tried; default 1e-4.
      max_iters: of L-BFGS from each start, static.
      num_neurons: static; default the n c that suffice, at most 100.
      starts: at most, static; the first is that of `solve`, if it has one.
      seed: of the others, static.
    """

    tols: ClassVar[tuple[float, float]] = 1e-4, 1e-4
    max_iters: int = static(default=3000)
    num_neurons: int | None = static(default=None)
    starts: int = static(default=5)
    seed: int = static(default=0)
    leaves_patterns: ClassVar[bool] = True  # of the program, for its neurons' own
    takes: ClassVar[Takes] = Takes(form=Neurons, regulariser=Regulariser, smooth=True)

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        """Starts in turn, on the host."""
        rounds = _NeuronDescents(program, self, watch, as_start(start))
        status = rounds.drive(self.starts)
        if status is Status.MAX_ITERATIONS:
            status = Status.STALLED
        found = rounds.found
        if status is Status.CONVERGED and program.all_patterns:
            status = Status.SEARCHED  # its bound is over the found cells alone
        return rounds.finish(status, None if found is program else found.patterns)


class _NeuronDescents(NeuronRounds):
    """Descents from different starts, and the program over the best point's cells."""

    def __init__(
        self, program: Any, solver: BurerMonteiro, watch: Watch, start: Any
    ) -> None:
        super().__init__(program, solver, watch)
        self.start, self.found = start, program
        self.rng, self.least = np.random.default_rng(solver.seed), self.bound

    def _first(self) -> np.ndarray:
        """Neurons [m, d + c] to start from: those given at first, then random ones."""
        _, most, width = self.program.shape
        m, given = self.solver.num_neurons or min(most, _MOST), self.start
        drawn = self.rng.standard_normal((m, width)) / np.sqrt(width)
        self.start = None
        if given is not None and np.any(np.asarray(given.params)):
            return np.asarray(given.params[0], np.float64)
        return drawn

    def advance(self) -> Status:
        """A descent, and the bound by its point if that is the best."""
        first = self._first()
        w = descend(self, _objective, first, memory=_MEMORY, ftol=1e-15, gtol=1e-10)
        if not self.finite:
            return Status.NONFINITE
        sizes, d = np.linalg.norm(w, axis=1), self.X.shape[1]
        w = w[sizes > _DEAD * np.max(sizes, initial=0)]
        best = self.objective
        if self.offer_point(w[:, :d], w[:, d:]) < best:
            self.found = _with_own(self.program, w[:, :d])
            if self.found is not self.program:
                self.bound, self.dual = self.least, np.zeros_like(self.y)  # other cells
            R = self.residual_of(*self.best)
            highest = vector_bound(self.X, np.asarray(self.found.masks), R)
            self.offer_residual(R, highest)
        return Status.RUNNING


def _with_own(program: Any, u: np.ndarray) -> Any:
    """The program with the cells of u [m, d] beside its own, if they are not all."""
    if program.scope is Scope.EXHAUSTIVE:
        return program
    own = u @ np.asarray(program.X).T > 0
    masks = np.concatenate([np.asarray(program.masks), own])
    gates = np.concatenate([np.asarray(program.cones.interior), u])
    first = np.sort(np.unique(masks, axis=0, return_index=True)[1])
    return program.with_patterns(masks[first], gates[first])


@jax.jit
@partial(jax.value_and_grad, argnums=1)
def _objective(program: Any, w: Array) -> Array:
    """The training objective of neurons w [m, d + c], and its gradient."""
    d = program.X.shape[1]
    fit = linalg.dot(jnp.maximum(linalg.dot(program.X, w[:, :d].T), 0), w[:, d:])
    return program.loss.value(fit, program.y) + program.beta / 2 * jnp.sum(w**2)
