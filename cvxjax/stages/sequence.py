"""Programs in sequence, each of which is made of the solutions of those before.

Training layer by layer, or at growing resolutions, is no program: what a stage asks
depends on how the last one was answered. Each stage has a certificate of its own, for
its own program. Of the whole sequence nothing is certified.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cvxjax.certificates import certify
from cvxjax.interfaces import Program, Solver
from cvxjax.solution import Certificate, Solution, Status
from cvxjax.solve import solve


class Solved(NamedTuple):
    """A stage with its solution, and the certificate of this stage alone."""

    program: Program
    solution: Solution
    certificate: Certificate

    def variables(self) -> Any:
        """Flax variables of the stage's network."""
        at = self.solution.program_of(self.program)
        return at.recover(self.solution.params)


Stage = Callable[[Sequence[Solved]], Program]


def solve_stages(
    stages: Sequence[Stage],
    solver: Solver | None = None,
    *,
    tol: float | None = None,
    time_limit: float | None = None,
    report: Callable[[int, Solved], None] | None = None,
) -> list[Solved]:
    """Solves and certifies programs, each made of the stages solved before it.

    The list ends with the first stage that is stopped, by the time limit or a Ctrl-C,
    or that is not finite or infeasible. A stage that stalls is followed by the next.

    Args:
      stages: functions of the stages solved so far, which make the next program.
      solver: of every stage, as in `cvxjax.solve`.
      tol: relative duality gap of every stage, in place of the solver's.
      time_limit: seconds for all of them together.
      report: called with the stage's position and its result.

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


_LAST = (
    Status.TIME_LIMIT,
    Status.INTERRUPTED,
    Status.NONFINITE,
    Status.INFEASIBLE,
)
