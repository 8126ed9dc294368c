"""Fully corrective Frank-Wolfe over neurons, for networks with several outputs.

    minimise  L(sum_j phi_j v_j^T, Y) + beta sum_j ||v_j||,
              phi_j = (X u_j)_+,  ||u_j|| = 1,  u_j in listed cells,

over neurons of any number, L smooth. Each round finds every cell's best new neuron,

    maximise  ||R^T D_i X u||  over  ||u|| <= 1, (2 D_i - I) X u >= 0,  R = -L'(F),

exactly where X has rank three or less (`bounds.several_outputs`), else by projected
power iterations from several starts. Then all u_j and v_j are corrected at once, inside
their cells (`correction`), by an interior point whose barrier falls with the gap;
neurons that nearly agree are joined first. beta over the best maximum scales R to a
dual point, so each round has a bound; without exact maxima it is that of the gated
network, and the gap says how far.

The general solvers do not apply, since the gauge of this program has no proximal map in
closed form: only its linear maximisation is tractable.

Source: Jaggi, Revisiting Frank-Wolfe (2013); Sahiner et al. (ICLR 2021) for the
maximisation over cones.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.bounds.exact import is_exact
from cvxjax.bounds.several_outputs import cell_maxima, vector_bound
from cvxjax.forms import contracts
from cvxjax.interfaces import Regulariser
from cvxjax.record import static
from cvxjax.solution import Solution, Status
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.blocks.feasible import lifted
from cvxjax.solvers.neurons.correction import CellNeurons, correct, join_alike, walls
from cvxjax.solvers.neurons.rounds import NeuronRounds
from cvxjax.solvers.refusals import Takes
from cvxjax.solvers.starts import as_start
from cvxjax.watch import Watch

Array = jax.Array

_BATCH = 16  # neurons that a round adds at most
_BETTER = 1e-10  # relative gain over beta that a new neuron needs
_SAME = 1e-9  # 1 - cosine of new neurons of which one is enough
_OFF = np.geomspace(0.1, 1e-10, 10)[:, None]  # steps from a maximiser to the centre
_NEAR = 1e-6  # the same, of neurons to start from
_SHARE = 0.1  # of the gap, that the barrier may cost
_EXPLAINED = 5.0  # gaps below this many costs of the barrier are due to it
_FALL = 0.5  # of the barrier, in every round
_LEAST = 1e-14  # barrier, of the objective
_STEPS = 100  # of Newton in a round
_PATIENCE = 30  # rounds without a gain of 1 %
_PROJECTION_STEPS = 30


class FrankWolfe(SolverRecord):
    """Rounds of new neurons and full corrections, on the host.

    Args:
      tol: relative duality gap; default 1e-7 in float64, 1e-4 in float32.
      max_iters: rounds, static.
      starts: of the power iterations in every cell where maxima are not exact, static.
      power_steps: of each, static.
    """

    tols: ClassVar[tuple[float, float]] = 1e-7, 1e-4
    max_iters: int = static(default=500)
    starts: int = static(default=4)
    power_steps: int = static(default=30)
    takes: ClassVar[Takes] = Takes(
        form=contracts.Neurons, regulariser=Regulariser, smooth=True
    )

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        """Rounds, on the host."""
        rounds = FrankWolfeRounds(program, self, watch, start)
        return rounds.finish(rounds.drive(self.max_iters, _PATIENCE))


class FrankWolfeRounds(NeuronRounds):
    """The neurons, the prices of new ones, and the parameter mu of the barrier."""

    def __init__(
        self, program: Any, solver: FrankWolfe, watch: Watch, start: Any
    ) -> None:
        super().__init__(program, solver, watch)
        self.smoothness = float(program.loss.smoothness)
        self.masks = np.asarray(program.masks)
        self.interior = np.asarray(program.cones.interior, np.float64)
        self.exact = is_exact(self.X)
        self.rows = int(np.sum(np.any(self.X != 0, axis=1)))
        self.slack, self.mu = np.inf, np.inf
        self.neurons = self._enter(start)
        self.price()

    def _enter(self, start: Any) -> CellNeurons:
        """The neurons of parameters, moved into their nearest cells where outside."""
        d, c = self.X.shape[1], self.y.shape[1]
        start = as_start(start)
        given = np.zeros((0, d + c))
        if start is not None:
            given = np.asarray(start.params[0], float)
        live = np.any(given[:, :d] != 0, axis=1) & np.any(given[:, d:] != 0, axis=1)
        u, v = given[live, :d], given[live, d:]
        sides = np.where(self.masks, 1.0, -1.0)
        cells = np.asarray([np.argmax(np.min(sides * s, axis=1)) for s in u @ self.X.T])
        cells = cells.astype(int)
        A, centres = walls(self.X, self.masks[cells]), self.interior[cells]
        values, margins = (np.einsum("mkd,md->mk", A, x) for x in (u, centres))
        least = _NEAR * np.linalg.norm(u, axis=1, keepdims=True)
        wide = margins > 0
        short = np.where(wide, least - values / np.where(wide, margins, 1), 0)
        u = u + np.max(short, axis=1, initial=0)[:, None] * centres
        inside = np.all(np.einsum("mkd,md->mk", A, u) > 0, axis=1)
        return CellNeurons(u=u, v=v, z=np.zeros(values.shape), cells=cells).take(inside)

    def price(self) -> None:
        """Evaluates the point, and finds the best new neuron of every cell."""
        u, v = self.neurons.u, self.neurons.v
        self.residual = R = self.residual_of(u, v)
        self.finite = bool(np.all(np.isfinite(R)))
        if not self.finite:
            return
        value = self.offer_point(u, v)
        if self.exact:
            self.values, self.directions = cell_maxima(self.X, self.masks, R)
            highest = float(np.max(self.values))
        else:
            self.values, self.directions = self._search(R)
            highest = vector_bound(self.X, self.masks, R)
        self.offer_residual(R, highest)
        found = self.rounded(R, float(np.max(self.values)))
        self.slack = value - self.judged.scaled(R, found)[0]

    def _search(self, R: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Near maxima and their maximisers in every cell, by `_power`."""
        key = jax.random.fold_in(jax.random.key(0), self.steps)
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

    def advance(self) -> Status:
        """Joins neurons, adds others, lowers mu, corrects; STALLED if nothing changes.

        The barrier costs k mu for each neuron. While that explains the gap, no neuron
        is added: it would only disturb the path to mu = 0.
        """
        k, count = self.rows, len(self.neurons.cells)
        explained = count > 0 and self.slack <= _EXPLAINED * k * count * self.mu
        mu = min(_SHARE * self.slack / (k * count + 1), _FALL * self.mu)
        if explained:
            mu = min(mu, _SHARE * self.mu)
        mu = max(mu, _LEAST * max(self.objective, self.judged.floor))
        terms = {"loss": self.loss, "beta": self.beta}
        neurons = join_alike(self.X, self.y, self.neurons, most=k * mu, **terms)
        entrants = self._entrants(0 if explained else _BATCH)
        if len(entrants.cells) == 0 and (mu == self.mu or count == 0):
            return Status.STALLED
        self.mu, self.steps = mu, self.steps + 1
        self.neurons = correct(
            self.X,
            self.masks,
            self.y,
            neurons.and_also(entrants),
            mu=mu,
            max_steps=_STEPS,
            watch=self.watch,
            **terms,
        )
        self.price()
        return Status.RUNNING

    def _entrants(self, most: int) -> CellNeurons:
        """The neurons of prices above beta, moved off their walls, of small size."""
        cells = np.argsort(-self.values)[:most]
        cells = cells[self.values[cells] > self.beta * (1 + _BETTER)]
        tops = self.directions[cells]
        cells = cells[~np.any(np.tril(tops @ tops.T, -1) > 1 - _SAME, axis=1)]
        u = self.directions[cells][:, None] + _OFF * self.interior[cells][:, None]
        u /= np.linalg.norm(u, axis=2, keepdims=True)
        fits = np.maximum(u @ self.X.T, 0)  # [m, offsets, n]
        v = fits @ self.residual
        prices = np.linalg.norm(v, axis=2)
        reach = np.einsum("mkd,mod->mok", walls(self.X, self.masks[cells]), u)
        good = prices > (self.values[cells] + self.beta)[:, None] / 2
        good &= np.all(reach > 0, axis=2)
        chosen = np.flatnonzero(np.any(good, axis=1))
        at = (chosen, np.argmax(good[chosen], axis=1))
        gains = prices[at] - self.beta
        squares = self.smoothness * np.sum(fits[at] ** 2, axis=1)
        root = np.sqrt(gains / squares / max(len(chosen), 1))[:, None]
        u, v, cells = root * u[at], root * v[at] / prices[at][:, None], cells[chosen]
        return CellNeurons(u=u, v=v, z=np.zeros((len(u), self.rows)), cells=cells)


@partial(jax.jit, static_argnames=("starts", "steps"))
def _power(
    program: Any, R: Array, key: Array, *, starts: int, steps: int
) -> tuple[Array, Array]:
    """Near maxima [P] and unit maximisers [P, d] of ||R^T D_i X u|| over the cells.

    Iterates u <- the projection of M_i u onto the cell, scaled to unit length, along
    which values never fall; M_i = X^T D_i R R^T D_i X.
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
        return unit(lifted(cones, near))

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
