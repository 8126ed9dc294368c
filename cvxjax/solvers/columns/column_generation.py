"""Column generation: the solver itself finds the neurons that matter.

    minimise  L(sum_j s_j c_j f(u_j), y) + beta sum_j c_j   over neurons ||u_j|| = 1,

with f(u)_s = sum_k (x_sk^T u)_+ over the rows x_sk of sample s: the sample itself if
layers are fully connected, its K patches if filters are pooled. That is the convex
problem over every activation pattern. A round finds the best sizes c_j of the neurons
at hand, and so a dual vector v with v^T s_j f(u_j) <= beta; joins neurons of one cell
into their sum, which costs no more; and adds local maxima of the price

    N(v) = max over ||u|| <= 1 of |v^T f(u)|

near each neuron, and others that a search finds. It starts from the neurons of a few
networks that are trained shortly. Where N(v) <= beta up to the tolerance, the neurons
are a global optimum over networks. That is proven if prices are exact (rank <= 3, or
every pattern listed), else the status says that a search found no better neuron.

Source: Bach, Breaking the Curse of Dimensionality with Convex Neural Networks (2017),
for one neuron at a time; Flinth, de Gournay & Weiss, On the Linear Convergence Rates of
Exchange and Continuous Methods for Total Variation Minimization (2021), for all local
maxima in one round; joining neurons of a cell, and prices in general, are ours.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np

from cvxjax.bounds.budget import Budget
from cvxjax.interfaces import NeuronProgram
from cvxjax.record import static
from cvxjax.solution import Scope, Solution, Status
from cvxjax.solvers.base import SolverRecord
from cvxjax.solvers.columns.joint_descent import descended
from cvxjax.solvers.columns.neurons import Neurons, Rows, as_blocks, of_blocks
from cvxjax.solvers.columns.oracle import AT_ONCE, Oracle
from cvxjax.solvers.columns.training import NETWORKS, most_neurons, trained
from cvxjax.solvers.columns.weights import best_sizes
from cvxjax.solvers.refusals import Takes
from cvxjax.solvers.rounds import Rounds
from cvxjax.solvers.starts import as_start
from cvxjax.watch import Stopped, Watch

_GATES = 50  # given patterns that it starts from, at most
_JOINT_RATE = 5e-3  # of the joint training of all neurons
_JOINT_STEPS = 200
_WORTH = 0.1  # of the tolerance, that a joint training must gain to be repeated
_AIM = 1e-4  # of the gap at the last prices, that the sizes may miss
_MOST = 1_000  # neurons of a round; at least four for each sample
_ROUGH_AIM = 1e-2  # the same for losses with kinks, whose dual vectors jump otherwise
_FINEST = 1e-12  # relative gap of the sizes
_SHARPEST = 1e-4  # factor of their gap where no price is above beta
_EVERY = 3  # rounds between searches, at most
_LOCAL = 8  # the same once prices near the neurons are low enough
_CHEAP = 1 << 18  # samples times neurons up to which such rounds take little time
_FINE = 1e-5  # of the tolerance: those prices need not be lower before a search
_DEAD_AT_KINKS = 1e-10  # the same for losses with kinks, which any change costs
_GAIN = 1e-9  # of beta: a price above it by less is no reason for a neuron
_DEAD = 1e-6  # of the largest size: neurons left out
_PATIENCE = 10  # searches that may fail to lower the gap by their prices by 1 %
_GAINED = 0.99


class ColumnGeneration(SolverRecord):
    """Finds the neurons of a network of any activation patterns, on the host.

    The program's patterns are only where it starts. The solution carries the patterns
    it ends with, those given and the new ones in use; `patterns` stays None if no new
    one is. Where prices are exact its scope is EXHAUSTIVE: `dual_bound` then holds for
    every network. Else it is SAMPLED, for the returned patterns, and
    `certify(program, solution, scope=Scope.GLOBAL_BOUND)` bounds all networks; the
    status is then SEARCHED where no search found a neuron that lowers the objective by
    more than the tolerance, and the solution says in `price` and `searches` what was
    found and how much was searched. What `report` shows before the end is the gap to
    the neurons found so far; better networks within a round are shown at once.

    Args:
      tol: relative duality gap; default 1e-4.
      max_iters: rounds, static.
      starts: points from which a search climbs, for each sign, static.
      seed: of the starts and the trainings, static.
      bound_seconds: for the bound over all networks at the end, static.
    """

    tols: ClassVar[tuple[float, float]] = 1e-4, 1e-4
    max_iters: int = static(default=1000)
    starts: int = static(default=512)
    seed: int = static(default=0)
    bound_seconds: float = static(default=2.0)
    leaves_patterns: ClassVar[bool] = True  # of the program, for better ones
    takes: ClassVar[Takes] = Takes(
        form=NeuronProgram, cones=True, constraints=False, coupled=True
    )

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        """Rounds of sizes and prices, on the host."""
        rounds = _PricingRounds(program, self, watch, as_start(start))
        return rounds.finish(rounds.drive(self.max_iters))


class _Searched(NamedTuple):
    """A dual vector, its largest price that a search found, and its bound by that."""

    vector: np.ndarray  # [n]
    price: float
    bound: float


class _PricingRounds(Rounds):
    """The neurons, and what is known of the price of their dual vector.

    `bound` holds for all networks and takes proven prices; that of `best_dual` is the
    best one by the prices that searches found, which decides when to stop if no price
    can be proven.
    """

    def __init__(
        self, program: Any, solver: ColumnGeneration, watch: Watch, start: Any
    ) -> None:
        super().__init__(program, solver, watch)
        self.rows = Rows.of(program)
        self.finite &= bool(np.all(np.isfinite(self.y)))
        self.oracle = Oracle(
            self.rows,
            np.asarray(program.masks),
            complete=program.verified_scope() is Scope.EXHAUSTIVE,
            starts=solver.starts,
            seed=solver.seed,
            watch=watch,
        )
        d = self.rows.unit.shape[1]
        nothing = Neurons(np.zeros((0, d)), np.zeros(0), np.zeros(0))
        self.neurons = self.pool = self.found = self.best = self.idle = nothing
        self.most = max(_MOST, 4 * len(self.y))
        self.given = nothing if start is None else of_blocks(start.params)
        self.zero, self.vector = self.bound, self.dual
        self.best_dual = _Searched(self.dual, np.inf, self.bound)
        self.trainings, self.searched_at, self.settled = 0, 0, False
        self.descends, self.latest = True, 0.1
        self.least_gap, self.fruitless, self.sharper = np.inf, 0, 1.0

    @property
    def told(self) -> tuple[int, float, float, float]:
        """The gap to all networks if that can be proven, else to the neurons found."""
        bound = self.bound if self.oracle.exact else self.best_dual.bound
        return self.steps, self.objective, bound, self.judged.gap(self.objective, bound)

    def verdict(self) -> Status:
        """By proven prices CONVERGED; by searched ones SEARCHED."""
        if self.oracle.exact:
            return super().verdict()
        return Status.SEARCHED if self.settled else Status.RUNNING

    def advance(self) -> Status:
        """Adds neurons, finds the sizes, joins those of one cell, and prices."""
        if self.steps == 0:
            self._begin()
        elif len(self.found.u) == 0:
            if self.sharper < _SHARPEST:
                return Status.STALLED
            self.sharper /= 10  # prices are as good as the sizes
        else:
            added = Neurons(self.found.u, self.found.signs, 0 * self.found.sizes)
            self.neurons = self.neurons.and_also(added)
        if self.fruitless >= _PATIENCE:
            return Status.STALLED
        self._resize()
        if self.descends and self.latest > self.tol and not self.watch.over:
            self._descend()
        self.steps += 1
        try:
            self._price()
        except Stopped:
            return self.watch.outcome
        return Status.RUNNING

    def _begin(self) -> None:
        """Takes the neurons of the start, or else those of trained networks."""
        gates = np.asarray(self.program.patterns.gates, np.float64)
        gates = gates[np.any(gates != 0, axis=1)][:_GATES]
        both = np.concatenate([gates, gates])
        listed = Neurons.of(both, np.repeat([1.0, -1.0], len(gates)))
        self.neurons = self.given.and_also(listed)
        if len(self.given.u) == 0 and not self.watch.over:
            self._train()
            self.neurons = self.neurons.and_also(self.pool)

    def _train(self) -> None:
        """Trains networks from elsewhere than before; their neurons are the pool."""
        count = most_neurons(self.rows)
        first = self.oracle.directions(count)
        second = self.oracle.rng.standard_normal(count) * np.sqrt(NETWORKS / count)
        seed = self.solver.seed + self.trainings
        self.pool = trained(
            self._summed(), self.rows, first, second, apart=True, seed=seed
        )
        self.trainings += 1

    def _summed(self) -> Any:
        """The program; an intercept stays what is best for the best neurons.

        So that its loss is a sum over samples, parts of which a training can take.
        """
        if not self.loss.coupled:
            return self.program
        fit = np.zeros_like(self.y)
        if len(self.best.u) > 0:
            fit = self.best.predictions(self.rows) @ self.best.sizes
        return self.program.replace(loss=self.loss.fixed(fit, self.y))

    def _descend(self) -> None:
        """Trains all neurons together, and keeps both them and what they were."""
        if len(self.rows.unit) > self.rows.samples:
            moved = descended(
                self.loss, self.y, self.beta, self.rows, self.neurons, self.watch
            )
        else:
            sizes = np.sqrt(self.neurons.sizes)
            moved = trained(
                self._summed(),
                self.rows,
                self.neurons.u * sizes[:, None],
                self.neurons.signs * sizes,
                rate=_JOINT_RATE,
                steps=_JOINT_STEPS,
            )
        before = self.objective
        self.neurons = self.neurons.and_also(moved)
        self._resize()
        self.descends = self.objective < before - _WORTH * self.tol * abs(before)

    def _resize(self) -> None:
        """The best sizes; neurons without any leave, and those of one cell join."""
        self.neurons = self.neurons.and_also(self.idle).distinct()
        self.neurons = self.neurons.take(np.arange(len(self.neurons.u)) < self.most)
        share = _AIM if self.loss.smoothness is not None else _ROUGH_AIM
        aim = max(_FINEST, self.sharper * share * min(self.latest, 10 * self.tol))
        size = max(self.objective, self.judged.floor)
        found = best_sizes(
            self.loss,
            self.y,
            self.neurons.predictions(self.rows),
            self.beta,
            tol=aim * size,
            near=self.vector if self.steps else None,
        )
        sized = self.neurons._replace(sizes=found.sizes)
        if self.loss.smoothness is None:  # the dual vector jumps where they are missing
            self.idle = sized._replace(sizes=0 * sized.sizes)
        dead = _DEAD if self.loss.smoothness is not None else _DEAD_AT_KINKS
        live = found.sizes > dead * np.max(found.sizes, initial=0)
        self.neurons = sized.take(live).joined(self.rows)
        self.vector = found.dual
        value = self._value(self.neurons)
        self.finite = bool(np.isfinite(value))
        if value < self.objective or self.steps == 0 and value <= self.objective:
            self.objective, self.best = value, self.neurons
            self.watch.tell(*self.told)

    def _value(self, neurons: Neurons) -> float:
        fit = neurons.predictions(self.rows) @ neurons.sizes
        return float(self.loss.value(fit, self.y)) + self.beta * float(
            np.sum(neurons.sizes)
        )

    def _price(self) -> None:
        """Prices the dual vector near the neurons, and where it is due everywhere."""
        own = self.oracle.improved(self.vector, self.neurons)
        self.found = own.take(own.sizes > np.inf)
        self.latest = self._gap(self._bound_by(self.vector, self._note(own)))
        cheap = len(self.neurons.u) * len(self.rows.unit) <= _CHEAP
        most = _LOCAL if self.latest <= self.tol and cheap else _EVERY
        soon = self.steps - self.searched_at < most
        if soon and self.latest > _FINE * self.tol and len(self.found.u) > 0:
            return
        self.searched_at = self.steps
        highest = max(self._note(own), self._search(self.vector, own))
        bound = self._bound_by(self.vector, highest)
        self.latest = self._gap(bound)
        if self._gap(self.best_dual.bound) < -self.tol:  # the search missed neurons
            self.best_dual = self.best_dual._replace(bound=-np.inf)
            self.least_gap = np.inf
        if bound > self.best_dual.bound:
            self.best_dual = _Searched(self.vector, highest, bound)
        self.fruitless += 1
        if self._gap(self.best_dual.bound) < _GAINED * self.least_gap:
            self.least_gap, self.fruitless = self._gap(self.best_dual.bound), 0
        if self._gap(self.best_dual.bound) <= self.tol:
            self._confirm(own)

    def _note(self, priced: Neurons) -> float:
        """Keeps neurons worth more than their weight decay; returns the top price."""
        above = priced.take(priced.sizes > self.beta * (1 + _GAIN))
        both = self.found.and_also(above)
        self.found = both.take(np.argsort(-both.sizes, kind="stable")).distinct()
        return float(np.max(priced.sizes, initial=0))

    def _search(self, v: np.ndarray, own: Neurons) -> float:
        """The largest price of v that a search finds, whose neurons are kept."""
        return self._note(self.oracle.search(v, self.beta, self.pool, own))

    def _bound_by(self, v: np.ndarray, highest: float) -> float:
        """The lower bound of v if no neuron is worth more."""
        highest = highest if self.oracle.exact else max(highest, self.beta)
        return self.judged.scaled(v, highest)[0]

    def _gap(self, bound: float) -> float:
        return self.judged.gap(self.objective, max(bound, self.bound))

    def _confirm(self, own: Neurons) -> None:
        """Proves the best dual vector where that can be, else searches it once more."""
        v, highest, _ = self.best_dual
        if self.oracle.exact:
            proof = self.oracle.proof(v, self.beta)
            self._note(proof.neurons)
            highest = proof.value
            self.offer_dual(v, highest)
        else:
            self._train()  # from elsewhere than before
            highest = max(highest, self._search(v, own))
        self.best_dual = _Searched(v, highest, self._bound_by(v, highest))
        self.settled = self._gap(self.best_dual.bound) <= self.tol

    def finish(self, status: Status) -> Solution:
        """The best point over the patterns it needs, and the bound that holds there."""
        program, params = as_blocks(self.program, self.rows, self.best)
        stopped = status in (Status.TIME_LIMIT, Status.INTERRUPTED)
        if self.oracle.exact and self.finite and not stopped:
            v = self.best_dual.vector
            try:
                self.offer_dual(v, self.oracle.proof(v, self.beta).value)
            except Stopped:
                status, stopped = self.watch.outcome, True
        exact = self.oracle.exact and (not stopped or self.bound > self.zero)
        scope = Scope.EXHAUSTIVE if exact else self.program.scope
        v, highest, _ = self.best_dual
        if not exact:
            v = self.vector if np.isinf(highest) else v
            price, scope = self._bounded(v, stopped)
            self.bound, scale = self.judged.scaled(v, price)
            self.dual = scale * v if scale else v
        solution = self.solution(
            status,
            params,
            scope=scope,
            patterns=None if program is self.program else program.patterns,
        )
        dtype = self.program.X.dtype
        return solution.replace(
            price=jnp.asarray(highest / self.beta, dtype),
            searches=jnp.asarray(self.oracle.searched, jnp.int32),
        )

    def _bounded(self, v: np.ndarray, stopped: bool) -> tuple[float, Scope]:
        """An upper bound of the prices of v, and what it covers."""
        if not self.program.all_patterns:
            return self.program.judge().polar_bound(v, None), self.program.scope
        if not np.any(v):
            return np.inf, Scope.GLOBAL_BOUND
        if stopped:
            return self.oracle.relaxed(v), Scope.GLOBAL_BOUND
        seconds = max(AT_ONCE, self.watch.seconds_left())
        budget = Budget(min(self.solver.bound_seconds, seconds))
        return self.program.judge().network_bound(v, budget), Scope.GLOBAL_BOUND
