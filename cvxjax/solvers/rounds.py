"""The driver of solvers that loop on the host: rounds, best bounds, history, status.

A subclass of `Rounds` holds the method's state, and `advance` is one round, which
offers points and dual vectors. The driver decides when to stop, and with which status.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.solution import Scope, Solution, Status
from cvxjax.solvers.host_bounds import HostBounds
from cvxjax.solvers.loop import attempt
from cvxjax.watch import Watch


class Rounds:
    """The best objective and lower bound so far, and the rounds that improve them.

    Args:
      program: that is solved, on the host.
      solver: whose options the rounds follow.
      watch: says when to stop, and is told the progress.
    """

    def __init__(self, program: Any, solver: Any, watch: Watch) -> None:
        self.program, self.solver, self.watch = program, solver, watch
        self.tol = float(solver.tolerance(program))
        with np.errstate(all="ignore"):  # a status says what is not finite
            self.judged = HostBounds(program)
            self.loss, self.beta, self.y = program.loss, self.judged.beta, self.judged.y
            zero = np.zeros_like(self.y)
            self.objective = float(self.loss.value(zero, self.y))
            self.bound = self.judged.value(zero)
        self.dual, self.multipliers = zero, None
        self.steps, self.finite = 0, bool(np.all(np.isfinite(program.X)))
        self.lines: list[tuple[int, float, float, float]] = []

    def advance(self) -> Status:
        """Makes one round; RUNNING, or the status to stop with."""
        raise NotImplementedError

    @property
    def gap(self) -> float:
        """The relative gap of the best objective to the best bound."""
        return self.judged.gap(self.objective, self.bound)

    @property
    def told(self) -> tuple[int, float, float, float]:
        """What the watch is told: the last line of the history."""
        return self.lines[-1]

    def verdict(self) -> Status:
        """CONVERGED, INCONSISTENT or RUNNING."""
        return self.judged.verdict(self.objective, self.bound, self.dual, self.tol)

    def offer_dual(
        self, v: np.ndarray, highest: float, multipliers: Any = None
    ) -> float:
        """The lower bound of the best feasible multiple of v, kept if it is the best.

        Args:
          v: of y's shape.
          highest: an upper bound of the prices of v, rounding included.
          multipliers: of the cones, by which `highest` is a bound; scaled with v.
        """
        value, scale = self.judged.scaled(v, highest)
        if value > self.bound:
            self.bound, self.dual = value, scale * v
            if multipliers is not None:
                self.multipliers = self.program.rescaled_multipliers(multipliers, scale)
        return value

    def end_line(self) -> None:
        """Adds a line to the history."""
        self.lines.append((self.steps, self.objective, self.bound, self.gap))

    def _is_finite(self) -> bool:
        """Whether the iterate and the objective are; no loss is a constraint here."""
        return self.finite and bool(np.isfinite(self.objective))

    def drive(self, most: int, patience: float = np.inf) -> Status:
        """Rounds until the gap is at most the tolerance, or a reason to stop.

        It makes one round even if the time is over: before that, most methods have not
        evaluated the point they start from.

        Args:
          most: rounds.
          patience: rounds in a row that may fail to lower the gap by 1 %.
        """
        best, since, status = np.inf, 0, Status.RUNNING
        while status is Status.RUNNING:
            self.end_line()
            self.watch.tell(*self.told)
            gap = self.told[-1]
            best, since = (gap, 0) if gap < 0.99 * best else (best, since + 1)
            reasons = (
                self.verdict(),
                Status.RUNNING if self._is_finite() else Status.NONFINITE,
                self.watch.outcome if len(self.lines) > 1 else status,
                Status.MAX_ITERATIONS if len(self.lines) > most else status,
                Status.STALLED if since >= patience else status,
            )
            status = next((s for s in reasons if s is not Status.RUNNING), status)
            if status is Status.RUNNING:
                found = attempt(self.advance)
                status = Status.STALLED if found is None else found
        return status

    def solution(
        self,
        status: Status,
        params: Any,
        *,
        multipliers: Any = None,
        scope: Scope | None = None,
        patterns: Any = None,
    ) -> Solution:
        """The solution with these parameters, whose objective is the best one.

        Args:
          status: of `drive`.
          params: of the program's shape.
          multipliers: of the cones, in the program's units.
          scope: of the bound, where it is not the program's.
          patterns: of the parameters, where they are not the program's.
        """
        if self.lines[-1][0] == self.steps:
            self.lines.pop()  # what followed may have changed it
        self.end_line()
        if status in (Status.STALLED, Status.MAX_ITERATIONS):
            found = self.verdict()  # a last bound may have met the tolerance
            status = status if found is Status.RUNNING else found
        dtype = self.program.X.dtype
        if multipliers is not None:
            multipliers = jnp.asarray(multipliers, dtype)
        return Solution.of(
            self.program,
            jax.tree.map(lambda x: jnp.asarray(x, dtype), params),
            jnp.asarray(self.dual, dtype),
            multipliers=multipliers,
            status=status,
            lines=self.lines,
            scope=scope,
            patterns=patterns,
        )
