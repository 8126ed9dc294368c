"""Semismooth Newton in the predictions, over a working set of blocks and their faces.

    minimise  L(F w, y) + p(w),   p(w) = beta sum_b ||w_b|| where A_b w_b >= 0,

for smooth L. Each round is a step of the proximal point method, from w to

    argmin_u  L(F u, y) + p(u) + ||u - w||^2 / (2 sigma),

whose predictions z = F u solve n equations,

    z = F prox(w - sigma F^T L'(z)),   prox_b(x) = shrink(project_b(x), sigma beta).

Only blocks that stay non-zero count, and each is projected onto a face of its cone, on
which prox is smooth. The system of a Newton step is thus no larger than the dimensions
of these faces together. Once blocks and faces are those of the optimum, a round takes a
few steps; the projections themselves find the faces.

Source: Li, Sun & Toh, A Highly Efficient Semismooth Newton Augmented Lagrangian Method
for Lasso (2018); here in the predictions z, since the dual vector -L'(z) then stays in
the domain of L*. Massias, Gramfort & Salmon, Celer (2018), for working sets that grow.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from cvxjax.forms.contracts import Patterned
from cvxjax.record import static
from cvxjax.solution import Solution, Status
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.blocks.faces import make_blocks
from cvxjax.solvers.blocks.prices import Prices
from cvxjax.solvers.refusals import Takes, inner_refusal
from cvxjax.solvers.rounds import Rounds
from cvxjax.solvers.starts import Start, as_start
from cvxjax.watch import Watch

Array = jax.Array

_FIRST = 0.1  # sigma, in units of the largest block over beta
_NEAR = 30.0  # the same from a solution of a program near by
_LARGEST = 1e6  # sigma, in the same units: beyond it rounding eats what prox leaves
_GROWTH = 5.0  # of sigma after an easy round; it shrinks as much after a full one
_EASY = 10  # Newton steps
_NEWTON_STEPS = 40  # of a round, at most
_SHARE = 0.5  # of a round's move: what its equations may miss
_ENOUGH = 0.7  # of the tolerance: the working set's gap at which all are priced
_RIPE = 0.2  # of the gap at the last pricing: likewise
_PATIENCE = 20  # rounds without progress
_ROUNDING = 1e-13  # of the merit, a sum of terms that cancel
_SHORTEST = 1e-8  # of a Newton step, before the search gives up


class SemismoothNewton(SolverRecord):
    """Proximal point rounds of semismooth Newton steps, on the host, in float64.

    Work grows with the blocks that matter, so it is fastest where few are active.
    Where the optimum is unique and no multiplier of a tight row is zero, the gap falls
    by orders of magnitude in each of the last rounds: given a rough solution from
    another solver, as `SemismoothNewton(inner=Admm(tol=1e-4))`, it refines it to about
    ten digits. From zero, at a beta below about a hundredth of the one from which on
    zero is optimal, it takes long, and may stall where the loss has no curvature
    (Huber, squared hinge).

    Args:
      tol: relative duality gap; default 1e-8.
      max_iters: rounds, static.
      inner: solver that finds where to start, unless a start is given; default zero.
    """

    max_iters: int = static(default=200)
    inner: Any = None
    takes: ClassVar[Takes] = Takes(
        form=Patterned, smooth=True, constraints=False, float64=True
    )

    def limits(self, program: Any) -> str | None:
        return inner_refusal(self.inner, program)

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        """Rounds, on the host."""
        rounds, start = _ProximalRounds(program, self, watch), as_start(start)
        if start is None and self.inner is not None:
            rough = self.inner.run(program, None, watch)
            if watch.over:
                return rough.replace(status=jnp.asarray(watch.outcome, jnp.int32))
            rounds.adopt(rough)
        else:
            rounds.begin(start or Start(params=np.zeros(program.shape)))
        near = start is not None and start.dual is not None
        unit = rounds.unit()
        rounds.sigma = (_NEAR if near else _FIRST) * unit
        rounds.longest = _LARGEST * unit
        return rounds.finish(rounds.drive(self.max_iters, _PATIENCE))


class _Move(NamedTuple):
    """u = prox(w + sigma F^T v), its non-zero blocks alone, and quantities of it."""

    blocks: np.ndarray  # [k]
    points: np.ndarray  # [k, d], projected, before they shrink
    u: np.ndarray  # [k, d]
    fit: np.ndarray  # [n], F u
    shift: float  # ||u - w||
    merit: float  # minus the round's dual function at v, which the steps minimise


class _ProximalRounds(Rounds):
    """The proximal centre w, the predictions z, the prices, and the best point."""

    sigma: float
    longest: float  # sigma

    def __init__(self, program: Any, solver: SemismoothNewton, watch: Watch) -> None:
        super().__init__(program, solver, watch)
        self.blocks = make_blocks(program)
        self.prices = Prices(program, self.blocks, self.judged, self.tol)
        self.w = np.zeros((len(self.blocks.signs), program.shape[-1]))
        self.z, self.params = np.zeros_like(self.y), self.w

    def adopt(self, solution: Solution) -> None:
        """Starts from a solution; the result will be no worse."""
        self.steps = int(solution.iterations)
        self._take(solution.params, solution.multipliers)
        self._begin(np.asarray(solution.dual))

    def _take(self, params: Any, multipliers: Any) -> None:
        """Takes parameters, and multipliers in the units of a solution, if any."""
        self.w = np.array(params).reshape(self.w.shape)
        if multipliers is not None:
            given = np.asarray(multipliers).reshape(len(self.w), -1)
            scaled = given * np.asarray(self.program.cones.lengths)
            self.prices.multipliers = scaled[:, self.blocks.live]

    def begin(self, start: Start) -> None:
        """Starts from any parameters, projected into the cones."""
        self._take(start.params, start.multipliers)
        for block in np.flatnonzero(np.any(self.w != 0, axis=1)):
            self.w[block], _ = self.blocks.project(int(block), self.w[block])
        self._begin(None)
        if start.dual is not None:
            self._scale(np.asarray(start.dual))

    def _scale(self, v: np.ndarray) -> None:
        """Moves the predictions along, as v is scaled to be feasible at this beta."""
        largest = self.prices.highest(v)
        scale = self.beta / largest if largest > 0 else 1.0
        u = [self.loss.clip_dual(-t * v, self.y) for t in (1.0, scale)]
        old, new = (np.asarray(self.loss.dual_slope(x, self.y)) for x in u)
        with np.errstate(invalid="ignore"):
            move = new - old
        self.z = self.z + np.where(np.isfinite(move), move, 0)
        self.prices.multipliers = scale * self.prices.multipliers

    def _begin(self, v: np.ndarray | None) -> None:
        """Prices v, or minus the gradient, so that promising blocks join."""
        self.z = self._keep()
        self.prices.working |= np.any(self.w != 0, axis=1)
        self._price(-self.loss.gradient(self.z, self.y) if v is None else v)

    def _price(self, v: np.ndarray) -> None:
        self.offer_dual(v, self.prices.offer(v), self.prices.multipliers)

    def unit(self) -> float:
        """The largest block over beta; from zero, of a least-squares fit's size."""
        largest = np.linalg.norm(self.w, axis=1).max()
        if largest == 0:
            largest = np.linalg.norm(self.y) / np.linalg.norm(self.blocks.X)
        return float(largest) / self.beta

    def advance(self) -> Status:
        """One round of Newton steps, and the next sigma."""
        taken = self._newton_steps(self.sigma)
        v = -self.loss.gradient(self.z, self.y)
        ripe = max(_ENOUGH * self.tol, _RIPE * self.gap)
        if self.judged.gap(self.objective, self.prices.near(v)) <= ripe:
            self._price(v)
        if taken <= _EASY:
            self.sigma = min(_GROWTH * self.sigma, self.longest)
        elif taken == _NEWTON_STEPS:
            self.sigma = self.sigma / _GROWTH
        self.finite = bool(np.all(np.isfinite(self.z)) and np.all(np.isfinite(self.w)))
        return Status.RUNNING

    def _newton_steps(self, sigma: float) -> int:
        """Newton steps in z, then the new centre w; returns how many steps."""
        at, taken = self._move(self.z, sigma), 0
        while taken < _NEWTON_STEPS and not self.watch.over:
            self.watch.repeat()
            miss = np.linalg.norm(self.z - at.fit)
            if not miss > _SHARE * at.shift / np.sqrt(sigma):
                break
            direction, slope = self._direction(at, sigma)
            length, new = 1.0, self._move(self.z + direction, sigma)
            while not self._falls(at, new, length * slope) and length > _SHORTEST:
                length = length / 2
                new = self._move(self.z + length * direction, sigma)
            self.z, at = self.z + length * direction, new
            taken += 1
            if -slope <= _ROUNDING * abs(at.merit):
                break
        self.steps += max(taken, 1)
        self.w = np.zeros_like(self.w)
        self.w[at.blocks] = at.u
        self._keep()
        return taken

    def _move(self, z: np.ndarray, sigma: float) -> _Move:
        """The proximal step from w whose dual vector is minus the gradient at z."""
        blocks, threshold = self.blocks, sigma * self.beta
        v = -self.loss.gradient(z, self.y)
        x = self.w + sigma * blocks.adjoint(v)
        long = np.linalg.norm(x, axis=1) > threshold
        (far,) = np.nonzero(self.prices.working & long)
        multipliers = self.prices.multipliers
        bent = x[far] + sigma * blocks.bend(far, multipliers[far])
        points = np.zeros_like(x)
        for block in far[np.linalg.norm(bent, axis=1) > threshold]:
            points[block], mu = blocks.project(int(block), x[block])
            multipliers[block] = mu / sigma
        sizes = np.linalg.norm(points, axis=1)
        (active,) = np.nonzero(sizes > threshold)
        u = np.zeros_like(x)
        u[active] = points[active] * (1 - threshold / sizes[active])[:, None]
        fit = blocks.predict(active, u[active])
        shift = np.linalg.norm(u - self.w)
        penalty = self.beta * np.sum(sizes[active] - threshold)
        dual = penalty - v @ fit + shift**2 / (2 * sigma)
        merit = -v @ z - float(self.loss.value(z, self.y)) - dual
        return _Move(active, points[active], u[active], fit, float(shift), merit)

    def _falls(self, at: _Move, new: _Move, slope: float) -> bool:
        return new.merit <= at.merit + 1e-4 * slope + _ROUNDING * abs(at.merit)

    def _direction(self, at: _Move, sigma: float) -> tuple[np.ndarray, float]:
        """Newton's step in z, and the merit's slope along it.

        With M = F N S N^T F^T over the active blocks and H = L'', the step solves
        (I + sigma M H) dz = F u - z, by Woodbury where the faces are small.
        """
        curvature = np.asarray(_curvature(self.loss, self.z, self.y))
        miss, root = self.z - at.fit, np.sqrt(curvature)
        step = -miss
        if len(at.blocks):
            sizes = np.linalg.norm(at.points, axis=1)
            shrink = np.sqrt(1 - sigma * self.beta / sizes)
            bases = []
            for block, point, size, s in zip(
                at.blocks, at.points, sizes, shrink, strict=True
            ):
                basis = self.blocks.faces[block].basis
                along = point / size
                bases.append(s * basis + (1 - s) * np.outer(along, along @ basis))
            features = self.blocks.features(at.blocks, bases)
            scaled = np.sqrt(sigma) * root[:, None] * features
            part = _ridge(scaled, root * miss)
            step = step + np.sqrt(sigma) * (features @ part)
        return step, float(np.sum(curvature * miss * step))

    def _keep(self) -> np.ndarray:
        """Takes the centre if it is the best point so far; returns its predictions."""
        (active,) = np.nonzero(np.any(self.w != 0, axis=1))
        z = self.blocks.predict(active, self.w[active])
        penalty = np.sum(np.linalg.norm(self.w[active], axis=1))
        value = float(self.loss.value(z, self.y)) + self.beta * float(penalty)
        if value < self.objective:
            self.params, self.objective = self.w, value
        return z

    def finish(self, status: Status) -> Solution:
        """The solution, with a multiplier of every row of the cones."""
        program, multipliers = self.program, None
        if program.cones is not None:
            full = np.zeros((*program.shape[:2], program.cones.num_rows))
            if self.multipliers is not None:
                flat = full.reshape(len(self.w), -1)
                flat[:, self.blocks.live] = self.multipliers
            multipliers = full / np.asarray(program.cones.lengths)
        params = self.params.reshape(program.shape)
        return self.solution(status, params, multipliers=multipliers)


def _ridge(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(I + A^T A)^{-1} A^T b, by the smaller system; by singular values if it fails."""
    try:
        if A.shape[1] <= A.shape[0]:
            return scipy.linalg.cho_solve(
                scipy.linalg.cho_factor(np.eye(A.shape[1]) + A.T @ A), A.T @ b
            )
        return A.T @ scipy.linalg.cho_solve(
            scipy.linalg.cho_factor(np.eye(A.shape[0]) + A @ A.T), b
        )
    except (
        scipy.linalg.LinAlgError
    ):  # where A is so large that rounding eats the identity
        left, values, right = np.linalg.svd(A, full_matrices=False)
        return right.T @ ((left.T @ b) * values / (1 + values**2))


@jax.jit
def _curvature(loss: Any, z: Array, y: Array) -> Array:
    """The diagonal of L'' in z, [n]."""
    return jax.jvp(lambda z: loss.gradient(z, y), (z,), (jnp.ones_like(z),))[1]
