"""An active-set Newton method for gated networks, whose program is a group lasso.

    minimise  L(sum_i D_i X b_i, y) + beta sum_i ||b_i||,   b_i = v_i - w_i

for smooth L. Where no block is zero the objective is smooth; its Hessian there is

    F^T L'' F + beta / ||b_i|| (I - u_i u_i^T) on the diagonal,   u_i = b_i / ||b_i||.

Newton steps move the non-zero blocks, by conjugate gradients; a block that would turn
round becomes zero. Sweeps of block coordinate descent over the quadratic model let
blocks in, and take small ones out, which Newton's model describes badly. Only gates of
a working set take part, chosen by their prices ||X^T D_i v|| at v = -L'; all gates are
priced when the working set is solved well enough.

Source: Schmidt, Graphical Model Structure Learning with l1-Regularization (2010),
chapter 2, for active-set Newton methods; Yuan & Lin (2006) for the descent by blocks;
Massias, Gramfort & Salmon, Celer (2018), for working sets.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.forms.contracts import Patterned
from cvxjax.record import static
from cvxjax.solution import Solution, Status
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.blocks.gate_products import ChosenGates, gate_prices
from cvxjax.solvers.refusals import Takes
from cvxjax.solvers.rounds import Rounds
from cvxjax.solvers.starts import as_start
from cvxjax.watch import Watch

Array = jax.Array

_LEAST = 64  # gates of a working set beside the active ones; more if more are active
_STEPS = 12  # Newton steps of a round, at most
_ENOUGH = 0.5  # of the tolerance: the working set's gap at which all are priced
_RIPE = 0.1  # of the gap at the last pricing: likewise
_PATIENCE = 8  # rounds without progress
_ROUGH = 0.4  # what conjugate gradients leave of a step while blocks come and go
_FINE = 1e-3  # the least that they leave of it: they are in single precision
_CONJUGATE = 60  # of their iterations, at most
_SHORTEST = 1 / 32  # of a step, before it is given up
_ROUNDING = 1e-14  # of the objective
_SINGLE = 1e-5  # what single precision may miss of a curvature
_DAMPING = 1e-8  # of the preconditioner, relative to the largest eigenvalue of X^T X


class ActiveSetNewton(SolverRecord):
    """Rounds of Newton steps over the active gates, and of pricing all gates.

    Work grows with the gates that are active. NumPy alone: little compiles.

    Args:
      tol: relative duality gap; default 1e-8 in float64, 1e-4 in float32.
      max_iters: rounds, static.
    """

    max_iters: int = static(default=100)
    takes: ClassVar[Takes] = Takes(
        form=Patterned, cones=False, smooth=True, norms=("group",)
    )

    def limits(self, program: Any) -> str | None:
        return None if program.features is None else "its blocks have no gates"

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        """Rounds, on the host."""
        rounds, start = _NewtonRounds(program, self, watch), as_start(start)
        rounds.begin(None if start is None else np.asarray(start.params, np.float64))
        return rounds.finish(rounds.drive(self.max_iters, _PATIENCE))


class _NewtonRounds(Rounds):
    """The working set of gates, its blocks, predictions and prices."""

    def __init__(self, program: Any, solver: ActiveSetNewton, watch: Watch) -> None:
        super().__init__(program, solver, watch)
        self.X = np.asarray(program.X, np.float64)
        self.masks = np.asarray(program.masks)
        self.signs = np.broadcast_to(program.signs, program.shape[:2])
        values, self.turn = np.linalg.eigh(self.X.T @ self.X)
        self.values = np.maximum(values, 0) + _DAMPING * values[-1]
        self.params = np.zeros((len(self.masks), self.X.shape[1]))
        self.settled = False  # whether the last Newton step was a whole one

    def begin(self, params: np.ndarray | None) -> None:
        """Starts from parameters [S, P, d], if they are better than zero."""
        z = np.zeros_like(self.y)
        if params is not None:
            given = np.sum(self.signs[..., None] * params, axis=0)
            (used,) = np.nonzero(np.any(given != 0, axis=1))
            gates = ChosenGates(self.X, self.masks[used])
            fit = gates.forward(given[used], np.arange(len(used)))
            value = self._value(fit, given)
            if value < self.objective:
                self.params, self.objective, z = given, value, fit
        self.z, self.value = z, self.objective
        with np.errstate(all="ignore"):  # a status says what is not finite
            self._price(-self.loss.gradient(z, self.y))

    def _value(self, z: np.ndarray, blocks: np.ndarray) -> float:
        penalty = self.beta * np.sum(np.linalg.norm(blocks, axis=1))
        return float(self.loss.value(z, self.y)) + float(penalty)

    def _price(self, v: np.ndarray) -> None:
        """Prices all gates, and chooses those of the working set anew."""
        prices, highest = gate_prices(self.X, self.masks, v, self.judged)
        self.offer_dual(v, highest)
        active = np.any(self.params != 0, axis=1)
        prices = np.where(active | np.all(self.signs == 0, axis=0), -1, prices)
        room = max(_LEAST, int(active.sum()))
        others = np.argsort(-prices)[:room]
        active[others[prices[others] >= 0]] = True
        (self.chosen,) = np.nonzero(active)
        self.gates = ChosenGates(self.X, self.masks[self.chosen])
        self.blocks = self.params[self.chosen]
        self._accept(self.blocks, self.z, self.value)
        self.bends = np.zeros(len(self.chosen))

    def _accept(self, blocks: np.ndarray, z: np.ndarray, value: float) -> None:
        """Moves to these blocks, and to the quadratic model there."""
        self.blocks, self.z, self.value = blocks, z, value
        self.v = -self.loss.gradient(z, self.y)
        self.pulled = self.gates.adjoint(self.v)
        self.prices = np.linalg.norm(self.pulled, axis=1)
        self.curvature = np.ones_like(z)
        if not self.loss.quadratic:
            self.curvature = np.asarray(_curvature(self.loss, z, self.y))

    def _try(self, blocks: np.ndarray) -> tuple[np.ndarray, float]:
        """Predictions and objective of blocks of the working set."""
        (used,) = np.nonzero(np.any(blocks != 0, axis=1))
        z = self.gates.forward(blocks, used)
        return z, self._value(z, blocks[used])

    def advance(self) -> Status:
        """Solves over the working set, and prices all gates."""
        ripe = max(_ENOUGH * self.tol, _RIPE * self.gap)
        for _ in range(_STEPS):
            self.watch.repeat()
            before = self.value
            entering = self._entering()
            if len(entering) or not self.settled:
                self._sweep(entering)
            self._newton_step()
            self.steps += 1
            stuck = not self.value < before
            if self.watch.over or stuck or self._near() <= ripe:
                break
        self.finite = bool(np.isfinite(self.value) and np.all(np.isfinite(self.v)))
        if self.finite:  # then the value has not risen, but by rounding
            self.objective = min(self.objective, self.value)
            self.params = np.zeros_like(self.params)
            self.params[self.chosen] = self.blocks
            self._price(self.v)
        return Status.RUNNING

    def _zero(self) -> np.ndarray:
        return ~np.any(self.blocks != 0, axis=1)

    def _entering(self) -> np.ndarray:
        """Blocks that are zero, and at a minimum are not."""
        return np.flatnonzero((self.prices > self.beta) & self._zero())

    def _near(self) -> float:
        """The gap if only the working set mattered."""
        scale = min(1.0, self.beta / max(self.prices.max(initial=0), self.beta))
        return self.judged.gap(self.value, self.judged.value(scale * self.v))

    def _sweep(self, entering: np.ndarray) -> None:
        """Descends over entering and active blocks in turn, in the quadratic model."""
        blocks, shares = self.blocks.copy(), self.gates.shares(self.curvature)
        mean = self.curvature.sum() / len(self.curvature)
        self.bends = np.maximum(self.bends, mean * shares * self.values[-1])
        model = self.gates.model(self.v, self.curvature)
        order = np.concatenate([entering, np.flatnonzero(~self._zero())])
        for k in order[np.argsort(-self.prices[order])]:
            pull = model.pull(k)
            while self.bends[k] > 0:
                x = blocks[k] + pull / self.bends[k]
                size, threshold = np.sqrt(x @ x), self.beta / self.bends[k]
                kept = max(1 - threshold / size, 0) if size > 0 else 0
                move = kept * x - blocks[k]
                length = float(np.sqrt(move @ move))
                if length == 0:
                    break
                bend, change = model.bend(k, move / length)
                if bend <= self.bends[k] * (1 + _SINGLE):
                    model.move(length, change)
                    blocks[k] += move
                    break
                self.bends[k] = 1.1 * bend
        share = 1.0
        while share > _SHORTEST:
            between = self.blocks + share * (blocks - self.blocks)
            z, value = self._try(between)
            if value < self.value:
                self._accept(between, z, value)
                break
            share = share / 4

    def _newton_step(self) -> None:
        """One Newton step of the active blocks; those that turn round become zero."""
        (active,) = np.nonzero(~self._zero())
        if not len(active):
            return
        b = self.blocks[active]
        sizes = np.linalg.norm(b, axis=1)[:, None]
        u = b / sizes
        slope = self.beta * u - self.pulled[active]
        direction = self._direction(active, u, self.beta / sizes, -slope)
        length = 1.0
        while length > _SHORTEST:
            new = b + length * direction
            turned = np.sum(new * b, axis=1) <= 0
            new[turned] = 0
            blocks = np.zeros_like(self.blocks)
            blocks[active] = new
            z, value = self._try(blocks)
            slack = 1e-4 * np.sum(slope * (new - b)) + _ROUNDING * abs(self.value)
            if value <= self.value + slack:
                self._accept(blocks, z, value)
                self.settled = length == 1 and not turned.any()
                return
            length = length / 2
        self.settled = False

    def _direction(
        self, active: np.ndarray, u: np.ndarray, bend: np.ndarray, right: np.ndarray
    ) -> np.ndarray:
        """Newton's direction [k, d], by preconditioned conjugate gradients.

        In the preconditioner, every gate lets its share of X^T X pass.

        Args:
          active: [k].
          u: [k, d], blocks of length one.
          bend: [k, 1], beta over their lengths.
          right: [k, d], minus the slope.
        """
        curved = self.gates.curved(active, self.curvature)
        shares = self.gates.shares(self.curvature)[active]
        mean = self.curvature.sum() / len(self.curvature)
        diagonal = (mean * shares)[:, None] * self.values + bend
        turned = u @ self.turn
        radial = turned / diagonal
        kept = 1 - bend * np.sum(turned * radial, axis=1, keepdims=True)
        lift = bend / np.maximum(kept, _DAMPING)

        def precondition(x: np.ndarray) -> np.ndarray:
            x = x @ self.turn
            along = lift * np.sum(radial * x, axis=1, keepdims=True)
            return (x / diagonal + along * radial) @ self.turn.T

        left, x = right, np.zeros_like(right)
        p = q = precondition(left)
        now = first = np.sum(left * q)
        share = _ROUGH
        if self.settled and not len(self._entering()):
            share = np.clip(np.sqrt(0.1 * self.tol / self.gap), _FINE, 0.1)
        for _ in range(_CONJUGATE):
            if not now > share**2 * first:
                break
            image = curved(p) + bend * (p - u * np.sum(u * p, axis=1, keepdims=True))
            length = now / np.sum(p * image)
            x, left = x + length * p, left - length * image
            q = precondition(left)
            last, now = now, np.sum(left * q)
            p = q + (now / last) * p
        return x

    def finish(self, status: Status) -> Solution:
        """The solution, with every block in the first part that can hold it."""
        params = np.zeros((*self.signs.shape, self.X.shape[1]))
        params[0] = self.signs[0][:, None] * self.params
        return self.solution(status, params)


@jax.jit
def _curvature(loss: Any, z: Array, y: Array) -> Array:
    """The diagonal of L'' in z, [n]."""
    return jax.jvp(lambda z: loss.gradient(z, y), (z,), (jnp.ones_like(z),))[1]
