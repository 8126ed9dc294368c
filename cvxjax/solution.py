"""The solution that a solver returns, and its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cvxjax.algebra.trees import dtype_of
from cvxjax.record import Record, static
from cvxjax.verdicts import Certificate, Scope, Status

__all__ = ["Certificate", "History", "Scope", "Solution", "SolverError", "Status"]


class History(Record):
    """What a solver knew at each of its checks, in order.

    A solver run inside `jit` has room for as many checks as there may be: entries after
    the last one are NaN, their iteration -1. `cvxjax.solve` leaves these out.
    """

    iteration: jax.Array  # [checks], int32
    objective: jax.Array  # [checks], best feasible objective so far
    dual_bound: jax.Array  # [checks], best rigorous lower bound so far
    gap: jax.Array  # [checks], relative, of `verdicts.relative_gap`

    @classmethod
    def of_lines(
        cls, lines: Sequence[tuple[int, float, float, float]], dtype: Any
    ) -> History:
        """The history of (iteration, objective, dual bound, gap) at each check."""
        iterations, *columns = np.reshape(np.asarray(lines, np.float64), (-1, 4)).T
        objective, dual_bound, gap = (jnp.asarray(x, dtype) for x in columns)
        return cls(
            iteration=jnp.asarray(iterations, jnp.int32),
            objective=objective,
            dual_bound=dual_bound,
            gap=gap,
        )

    def trimmed(self) -> History:
        """The history without entries after the last check; on the host."""
        count = int(np.sum(np.asarray(self.iteration) >= 0))
        # By NumPy, which compiles nothing for another length.
        return jax.tree.map(lambda x: jax.device_put(np.asarray(x)[:count]), self)


class SolverError(RuntimeError):
    """Raised by `Solution.check` when the solver did not converge."""


class Solution(Record):
    """A feasible point, a dual vector, and what the solver says of both.

    `objective`, `dual_bound` and `gap` are what the solver computed; `cvxjax.certify`
    recomputes them without its code. Where rounding alone kept the solver's bound from
    the tolerance, `dual_bound` and the status are by the certificate's bound.
    """

    params: Any  # feasible parameters, e.g. [2, P, d]
    dual: jax.Array  # [n], approximates minus the loss's gradient at the optimum
    multipliers: Any  # of the cones, >= 0, e.g. [2, P, n]; None without cones
    status: Any  # Status (traced int32 inside jit)
    objective: jax.Array  # []
    dual_bound: jax.Array  # []
    gap: jax.Array  # [], relative, of `verdicts.relative_gap`
    iterations: jax.Array  # [], int32
    history: History
    scope: Scope = static()
    patterns: Any = None  # those of params, if the solver chose them; else None
    price: Any = None  # [], the largest price found over beta, if it was searched for
    searches: Any = None  # [], int32, from how many points it was searched for

    @classmethod
    def of(
        cls,
        program: Any,
        params: Any,
        dual: Any,
        *,
        multipliers: Any = None,
        status: Status = Status.RUNNING,
        lines: Sequence[tuple[int, float, float, float]] = (),
        last: tuple[int, float, float, float] | None = None,
        scope: Scope | None = None,
        patterns: Any = None,
    ) -> Solution:
        """Makes a solution on the host; arrays are kept as given.

        Without `lines` and `last`, objective and bounds are NaN: it is a point for
        `certify`, such as a network that was trained by other means.

        Args:
          program: the problem that it is a solution of.
          params: of the program's shape.
          dual: of y's shape.
          multipliers: of the cones, >= 0; None if not known.
          status: why the solver stopped.
          lines: (iteration, objective, dual bound, gap) at each check.
          last: such a tuple for the solution itself; default the last of `lines`.
          scope: of the bound; default the program's.
          patterns: `arrangements.Patterns` of `params`, if not the program's.
        """
        nothing = (0, float("nan"), float("nan"), float("nan"))
        iteration, *numbers = last or (lines[-1] if len(lines) else nothing)
        dtype = program.X.dtype
        objective, dual_bound, gap = (jnp.asarray(x, dtype) for x in numbers)
        return cls(
            params=params,
            dual=dual,
            multipliers=multipliers,
            status=jnp.asarray(status, jnp.int32),
            objective=objective,
            dual_bound=dual_bound,
            gap=gap,
            iterations=jnp.asarray(iteration, jnp.int32),
            history=History.of_lines(lines, dtype),
            scope=program.scope if scope is None else scope,
            patterns=patterns,
        )

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the parameters."""
        return dtype_of(self.params)

    def program_of(self, program: Any) -> Any:
        """The program of the parameters: with the solver's patterns, if it chose them.

        Args:
          program: the one that was solved.
        """
        if self.patterns is None:
            return program
        return program.with_patterns(self.patterns.masks, self.patterns.gates)

    def __repr__(self) -> str:
        """Status, bounds and scope in a few lines, without the arrays."""
        if isinstance(self.status, Tracer) or np.ndim(self.status) > 0:
            return f"Solution of shape {getattr(self.params, 'shape', None)}, in JAX"
        status, scope = Status(int(self.status)), self.scope
        proven = "optimal among" if status is Status.CONVERGED else "a bound over"
        lines = (
            ("objective", f"{float(self.objective):.10g}"),
            ("lower bound", f"{float(self.dual_bound):.10g}"),
            ("relative gap", f"{float(self.gap):.1e}"),
            ("scope", f"{scope.value}: {proven} {scope.networks}"),
            ("iterations", f"{int(self.iterations):,}"),
        )
        first = f"Solution: {status.name}, {status.message}"
        return "\n".join([first, *(f"  {name:12} {text}" for name, text in lines)])

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
