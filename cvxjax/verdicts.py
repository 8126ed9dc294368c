"""What is said of a solution: its status, the scope of its bound, the relative gap.

Solvers and judges share these words. Nothing here imports JAX.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import Any

import numpy as np

_FLOOR = 1e-4  # times L(0, y): the least size that a gap is relative to


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
    IMPRECISE = 10

    @property
    def message(self) -> str:
        return _MESSAGES[self]


_MESSAGES = {
    Status.RUNNING: "the solver has not finished",
    Status.CONVERGED: "the relative duality gap is at most tol",
    Status.MAX_ITERATIONS: "max_iters steps were taken before the gap reached tol",
    Status.STALLED: "the gap stopped improving: the precision's floor is reached",
    Status.NONFINITE: "a NaN or an infinity appeared",
    Status.INFEASIBLE: "no parameters satisfy the constraints, up to rounding",
    Status.TIME_LIMIT: "time_limit passed before the gap reached tol",
    Status.INTERRUPTED: "an interruption came before the gap reached tol",
    Status.SEARCHED: "no search finds a better point; nothing proves that none exists",
    Status.IMPRECISE: "the gap is at most tol, but rounding moves the network further",
    Status.INCONSISTENT: "the lower bound lies above the objective: an error in cvxjax",
}


class Scope(enum.Enum):
    """Which networks a lower bound holds for."""

    SAMPLED = "sampled"
    EXHAUSTIVE = "exhaustive"
    GLOBAL_BOUND = "global bound"

    @property
    def networks(self) -> str:
        """The networks that a lower bound of this scope is over."""
        return _NETWORKS[self]

    @property
    def message(self) -> str:
        """What a lower bound of this scope is, whatever the gap."""
        return f"a bound over {self.networks}"

    def claim(self, gap: float, tol: float) -> str:
        """What to print of an objective with this relative gap.

        It is called optimal only if the gap is at most tol; below -tol the bounds
        contradict each other.
        """
        if gap < -tol:
            return f"in contradiction to its bound over {self.networks}"
        return f"optimal among {self.networks}" if gap <= tol else self.message


_NETWORKS = {
    Scope.SAMPLED: "networks with the given activation patterns",
    Scope.EXHAUSTIVE: "all networks: every activation pattern is covered",
    Scope.GLOBAL_BOUND: "all networks, without enumeration",
}


class CertificateError(RuntimeError):
    """Raised by `certify` where the bounds contradict each other, beyond rounding."""


def gap_floor(loss: Any, y: Any, xp: Any = np) -> Any:
    """The least size that `relative_gap` divides by: 1e-4 L(0, y), or 0 if infinite.

    Args:
      loss: of `cvxjax.losses`.
      y: labels, of the predictions' shape.
      xp: numpy or jax.numpy, whichever y is an array of.
    """
    value = _FLOOR * loss.value(0 * y, y)
    return xp.where(xp.isfinite(value), value, 0)


def relative_gap(primal: float, dual: float, floor: float) -> float:
    """(primal - dual) / max(|primal|, floor), which no unit of the labels changes.

    It is 0 if both bounds are 0, and inf if one of them is not finite.

    Args:
      floor: from `gap_floor`.
    """
    if not (math.isfinite(primal) and math.isfinite(dual)):
        return math.inf
    size = max(abs(primal), floor)
    if size == 0:
        return 0.0 if dual == 0 else math.copysign(math.inf, -dual)
    return (primal - dual) / size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
    """Bounds computed on the host in float64: dual <= optimum <= primal."""

    primal: float
    dual: float
    gap: float  # of `relative_gap`
    cone_violation: float  # of the solution's params as they came, relative
    scope: Scope
    tol: float  # the gap up to which the objective is called optimal

    def times(self, factor: float) -> Certificate:
        """The certificate of the objective times a factor > 0."""
        primal, dual = factor * self.primal, factor * self.dual
        return dataclasses.replace(self, primal=primal, dual=dual)

    def __str__(self) -> str:
        return (
            f"objective {self.primal:.8g}, lower bound {self.dual:.8g}, relative gap "
            f"{self.gap:.1e} ({self.scope.value}: "
            f"{self.scope.claim(self.gap, self.tol)}); "
            f"cone violation {self.cone_violation:.1e}"
        )
