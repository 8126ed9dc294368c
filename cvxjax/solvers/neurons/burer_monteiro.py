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
from cvxjax.record import static
from cvxjax.solution import Scope, Solution, Status
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.lbfgs import descend
from cvxjax.solvers.neurons.record import Ledger
from cvxjax.solvers.refusals import Takes
from cvxjax.solvers.starts import as_start
from cvxjax.watch import Watch

Array = jax.Array

_TOLERANCE = 1e-4
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

    tol: Any = None
    max_iters: int = static(default=3000)
    num_neurons: int | None = static(default=None)
    starts: int = static(default=5)
    seed: int = static(default=0)
    leaves_patterns: ClassVar[bool] = True  # of the program, for its neurons' own
    takes: ClassVar[Takes] = Takes(form=Neurons, smooth=True)

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        """Starts in turn, on the host."""
        tol = float(_TOLERANCE if self.tol is None else self.tol)
        ledger, found = Ledger(program), program
        _, most, width = program.shape
        m = min(most, _MOST) if self.num_neurons is None else self.num_neurons
        rng, d = np.random.default_rng(self.seed), program.X.shape[1]
        finite, steps, start = True, 0, as_start(start)
        for k in range(self.starts):
            first = rng.standard_normal((m, width)) / np.sqrt(width)
            if k == 0 and start is not None and np.any(np.asarray(start.params)):
                first = np.asarray(start.params[0], np.float64)
            w, taken = descend(
                partial(_objective, program),
                first,
                watch,
                dtype=program.X.dtype,
                max_iters=self.max_iters,
                memory=_MEMORY,
                ftol=1e-15,
                gtol=1e-10,
            )
            steps += taken
            finite = bool(np.all(np.isfinite(w)))
            if finite:
                sizes = np.linalg.norm(w, axis=1)
                w = w[sizes > _DEAD * np.max(sizes, initial=0)]
                best = ledger.objective
                if ledger.offer_point(w[:, :d], w[:, d:]) < best:
                    found = _with_own(program, w[:, :d])
                    if found is not program:
                        ledger.bound = ledger.least  # of other cells
                    R = ledger.residual(*ledger.best)
                    highest = vector_bound(ledger.X, np.asarray(found.masks), R)
                    ledger.offer_residual(R, highest)
            ledger.end_line(steps)
            watch.tell(*ledger.lines[-1])
            if not finite or ledger.gap <= tol or watch.over:
                break
        status = ledger.verdict(tol)
        if status is Status.RUNNING:
            status = watch.outcome if watch.over else Status.STALLED
        status = status if finite else Status.NONFINITE
        patterns = None if found is program else found.patterns
        return ledger.finish(program, status).replace(patterns=patterns)


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
    d = program.X.shape[1]
    fit = linalg.dot(jnp.maximum(linalg.dot(program.X, w[:, :d].T), 0), w[:, d:])
    return program.loss.value(fit, program.y) + program.beta / 2 * jnp.sum(w**2)
