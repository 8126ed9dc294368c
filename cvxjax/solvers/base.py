"""The base classes of solvers, and their defaults."""

from __future__ import annotations

from typing import Any, ClassVar

import jax

from cvxjax.record import Record, static
from cvxjax.solution import Solution
from cvxjax.solvers import loop
from cvxjax.solvers.refusals import Takes
from cvxjax.solvers.starts import Start
from cvxjax.watch import Watch

Array = jax.Array


class SolverRecord(Record):
    """A solver: a frozen record with `run`. Those that loop on the host derive from it.

    `takes` says which programs the solver is made for (`refusals.refusal`). With
    `leaves_patterns` it may end on patterns other than the program's, which its
    solution then carries. With `wants_coordinates`, `solve` hands badly conditioned
    data over with orthonormal columns, in float64. `tols` are the default tolerances in
    float64 and in float32.
    """

    tol: Any = None
    tols: ClassVar[tuple[float, float]] = loop.TOLS
    takes: ClassVar[Takes]
    leaves_patterns: ClassVar[bool] = False
    wants_coordinates: ClassVar[bool] = False

    def limits(self, program: Any) -> str | None:
        """Why sizes or its own options refuse a program that `takes` lets pass."""
        return None

    def tolerance(self, program: Any) -> Any:
        """The relative duality gap to reach: `tol`, or else the default."""
        tol = self.tol
        return loop.default_tol(program.X.dtype, self.tols) if tol is None else tol

    def another(self) -> Any:
        """The solver with other options, for a second try where it stalled, or None."""
        return None

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        """The solution, on the host; as `interfaces.Solver.run`."""
        raise NotImplementedError

    def solved(
        self, program: Any, start: Any, watch: Watch
    ) -> tuple[Solution, Array | None]:
        """`run`, and the last dual vector if rounding may hide the bound it proves."""
        return self.run(program, start, watch), None


class SteppedSolver(SolverRecord):
    """A solver of pure `init`, `step` and `check`, which `solvers.loop` drives."""

    max_iters: int = static(default=20_000)
    check_every: int = static(default=50)
    lean: ClassVar[bool] = False  # compiled as by `compiled.jit_leanly`

    def adopt(self, program: Any, state: Any, start: Start) -> Any:
        """The first state, changed to use more of `start` than its parameters."""
        return state

    def run(self, program: Any, start: Any, watch: Watch) -> Solution:
        return loop.run_on_host(self, program, start, watch)
