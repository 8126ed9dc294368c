"""What a solver hands back: its status, its solution, and the judge's certificate."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from cvxjax.record import Record, static


class Status(enum.IntEnum):
    """Why a solver stopped. A traced integer inside `jit`, a member on the host."""

    RUNNING = 0
    CONVERGED = 1
    MAX_ITERATIONS = 2
    STALLED = 3
    NONFINITE = 4
    INFEASIBLE = 5
    TIME_LIMIT = 6
    INTERRUPTED = 7
    SEARCHED = 8
    INCONSISTENT = 9

    @property
    def message(self) -> str:
        return _MESSAGES[self]


_MESSAGES = {
    Status.RUNNING: "the solver has not finished",
    Status.CONVERGED: "the relative duality gap is at most tol",
    Status.MAX_ITERATIONS: "max_iters steps were taken before the gap reached tol",
    Status.STALLED: "the gap stopped improving: the precision's floor is reached",
    Status.NONFINITE: "a NaN or an infinity appeared",
    Status.INFEASIBLE: "no parameters satisfy the constraints",
    Status.TIME_LIMIT: "time_limit passed before the gap reached tol",
    Status.INTERRUPTED: "an interruption came before the gap reached tol",
    Status.SEARCHED: "no search finds a better point; nothing proves that none exists",
    Status.INCONSISTENT: "the lower bound lies above the objective: an error in cvxjax",
}


class Scope(enum.Enum):
    """Which networks a bound speaks of."""

    SAMPLED = "sampled"
    EXHAUSTIVE = "exhaustive"
    GLOBAL_BOUND = "global bound"

    @property
    def message(self) -> str:
        return _SCOPES[self]


_SCOPES = {
    Scope.SAMPLED: "optimal among networks with the given activation patterns",
    Scope.EXHAUSTIVE: "optimal among all networks: every activation pattern is covered",
    Scope.GLOBAL_BOUND: "a rigorous bound over all networks, without enumeration",
}


def relative_gap(primal: float, dual: float) -> float:
    """(primal - dual) / max(1, |primal|); inf where either bound is missing."""
    if not (math.isfinite(primal) and math.isfinite(dual)):
        return math.inf
    return (primal - dual) / max(1.0, abs(primal))


class History(Record):
    """One entry per check; entries after the last check are NaN (iteration: -1)."""

    iteration: jax.Array  # [checks], int32
    objective: jax.Array  # [checks], best feasible objective so far
    dual_bound: jax.Array  # [checks], best rigorous lower bound so far
    gap: jax.Array  # [checks], (objective - dual_bound) / max(1, |objective|)

    @classmethod
    def of_lines(
        cls, lines: Sequence[tuple[int, float, float, float]], dtype: Any
    ) -> History:
        """Of (iteration, objective, dual bound, gap) at each check, one at least."""
        iterations, *columns = zip(*lines, strict=True)
        objective, dual_bound, gap = (jnp.asarray(x, dtype) for x in columns)
        return cls(
            iteration=jnp.asarray(iterations, jnp.int32),
            objective=objective,
            dual_bound=dual_bound,
            gap=gap,
        )


class SolverError(RuntimeError):
    """Raised by `Solution.check` when the solver did not converge."""


class Solution(Record):
    """A feasible point, a dual vector, and what the solver says of both.

    `objective`, `dual_bound` and `gap` are the solver's own; `cvxjax.certify`
    recomputes them apart from it.
    """

    params: Any  # feasible parameters, e.g. [2, P, d]
    dual: jax.Array  # [n], approximates minus the loss's gradient at the optimum
    multipliers: Any  # of the cones, >= 0, e.g. [2, P, n]; None without cones
    status: Any  # Status (traced int32 inside jit)
    objective: jax.Array  # []
    dual_bound: jax.Array  # []
    gap: jax.Array  # [], relative
    iterations: jax.Array  # [], int32
    history: History
    scope: Scope = static()
    patterns: Any = None  # of params, where the solver chose them; None: the program's

    def check(self) -> Solution:
        """Returns itself, or raises `SolverError` with the reason.

        Raises:
          SolverError: unless the status is CONVERGED.
        """
        status = Status(int(self.status))
        if status is not Status.CONVERGED:
            raise SolverError(
                f"{status.name}: {status.message} (relative gap {float(self.gap):.2e}"
                f" after {int(self.iterations)} iterations)"
            )
        return self


class Certificate(Record):
    """Bounds computed on the host in float64: dual <= optimum <= primal."""

    primal: float
    dual: float
    gap: float  # (primal - dual) / max(1, |primal|)
    cone_violation: float  # of the solution's params as they came, relative
    scope: Scope = static()

    def __str__(self) -> str:
        return (
            f"objective {self.primal:.8g}, lower bound {self.dual:.8g}, relative gap "
            f"{self.gap:.1e} ({self.scope.value}: {self.scope.message}); "
            f"cone violation {self.cone_violation:.1e}"
        )
