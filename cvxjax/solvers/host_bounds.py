"""The lower bounds that dual vectors prove, for solvers that loop on the host.

Rounding is accounted for as in `progress` and in the judges, so that certificates
confirm a solver's status CONVERGED.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cvxjax import verdicts
from cvxjax.algebra import rounding
from cvxjax.bounds.multiples import dual_value, scaled_dual
from cvxjax.terms.losses import FEASIBILITY
from cvxjax.verdicts import Status


class HostBounds:
    """Gaps, prices with their rounding, and dual values of one program, in float64."""

    def __init__(self, program: Any) -> None:
        self.loss, self.terms = program.loss, program.terms
        self.y = np.asarray(program.y, np.float64)
        self.beta = float(program.beta)
        self.reach = np.asarray(program.reach, np.float64)
        self.floor = float(verdicts.gap_floor(self.loss, self.y))
        self.dtype = np.dtype(program.X.dtype)

    def gap(self, objective: float, bound: float) -> float:
        """The relative gap."""
        return verdicts.relative_gap(objective, bound, self.floor)

    def rounding(self, v: np.ndarray, multipliers: Any = 0.0) -> Any:
        """What rounding may hide of a price of v: to be added to it.

        Args:
          v: [n], or [n, c].
          multipliers: the sum of the multipliers of unit rows in the bound of a price.
        """
        weight = rounding.pulled(np.asarray(v, np.float64), self.reach)
        return rounding.gauge_rounding(self.terms, weight + multipliers)

    def value(self, v: np.ndarray) -> float:
        """-L*(-v), less what rounding may have added."""
        return dual_value(self.loss, np.asarray(v, np.float64), self.y)

    def scaled(self, v: np.ndarray, highest: float) -> tuple[float, float]:
        """The best lower bound of a multiple of v, and that multiple.

        Args:
          highest: of the prices of v, rounding included.
        """
        v = np.asarray(v, np.float64)
        return scaled_dual(self.loss, v, self.y, self.beta, highest)

    def verdict(self, objective: float, bound: float, v: np.ndarray, tol: float) -> Any:
        """CONVERGED, INCONSISTENT or RUNNING, by the bound of v alone."""
        gap = self.gap(objective, bound)
        if not np.isfinite(gap) or gap > tol:
            return Status.RUNNING
        v = np.asarray(v, np.float64)
        wrong = bound - objective > explained(self, objective, bound, v, self.dtype)
        return Status.INCONSISTENT if wrong else Status.CONVERGED


def explained(
    program: Any, objective: Any, bound: Any, v: Any, dtype: np.dtype, xp: Any = np
) -> Any:
    """By how much rounding may lift a lower bound above the objective.

    Args:
      program: or `HostBounds`, for its loss, y, beta, reach and terms.
      objective: [], of a feasible point.
      bound: [], of v.
      v: a dual vector, as y.
      dtype: of the arithmetic that the objective is of.
      xp: numpy or jax.numpy, as v is.
    """
    loss = program.loss
    return rounding.explained(
        objective,
        bound,
        v,
        loss=loss,
        y=program.y,
        beta=program.beta,
        reach=program.reach,
        terms=program.terms,
        tolerance=0.0 if loss.constraint is None else FEASIBILITY.get(dtype, 1e-4),
        unit=float(np.finfo(dtype).eps) / 2,
        xp=xp,
    )
