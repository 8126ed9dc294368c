"""Programs in sequence: each is built from the solutions of those before it.

Training layer by layer, or at growing resolutions, is not one convex program, because
what a stage minimises depends on the last one's solution. Each stage is certified for
its own program; the sequence as a whole has no certificate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cvxjax.certificates import certify
from cvxjax.interfaces import Program, Solver
from cvxjax.solution import Certificate, Solution, Status
from cvxjax.solving import solve


class Solved(NamedTuple):
    """A stage's program, its solution, and the certificate of this stage alone."""

    program: Program
    solution: Solution
    certificate: Certificate

    def variables(self) -> Any:
        """Flax variables of the stage's network."""
        at = self.solution.program_of(self.program)
        return at.recover(self.solution.params)


Stage = Callable[[Sequence[Solved]], Program]

_LAST = Status.TIME_LIMIT, Status.INTERRUPTED, Status.NONFINITE, Status.INFEASIBLE


def solve_stages(
    stages: Sequence[Stage],
    solver: Solver | None = None,
    *,
    tol: float | None = None,
    time_limit: float | None = None,
    report: Callable[[int, Solved], None] | None = None,
) -> list[Solved]:
    """Solves and certifies programs, each made of the stages solved before it.

    A stage that ends in TIME_LIMIT, INTERRUPTED, NONFINITE or INFEASIBLE is the last; a
    stage that stalls is followed by the next.

    Args:
      stages: functions, called in order with the tuple of stages solved so far; each
        returns the next program.
      solver: for every stage, as in `cvxjax.solve`.
      tol: relative duality gap of every stage, in place of the solver's.
      time_limit: seconds for all stages together.
      report: called after each stage with its position, from 0, and its result.

    Returns:
      The stages that were solved, in order; at least one.

    Raises:
      ValueError: as in `cvxjax.solve`, or if there are no stages.
      CertificateError: as in `cvxjax.certify`.
    """
    if not len(stages):
        raise ValueError("want stages, one at least; got none")
    began, solved = time.monotonic(), []
    for k, make in enumerate(stages):
        left = None
        if time_limit is not None:
            left = max(0.0, time_limit - (time.monotonic() - began))
        program = make(tuple(solved))
        solution = solve(program, solver, tol=tol, time_limit=left)
        solved.append(Solved(program, solution, certify(program, solution)))
        if report is not None:
            report(k, solved[-1])
        if int(solution.status) in _LAST:
            break
    return solved
