"""What must hold of every program, solver and certificate, whatever the data.

A gap is (primal - dual) / U with U = max(|primal|, 1e-4 L(0, y)), |primal| alone where
L(0, y) is infinite. Computed here from the certificate's two numbers.

* A solver that says CONVERGED has a certified gap of at most 1.1 tol + 1e3 eps, with
  the eps of the data's precision, finite parameters and that objective.
* No dual bound exceeds a primal value of the same program by more than 1e-9 U: not
  that of another solver, of the recovered network where the bound covers all networks,
  or of CVXPY's parameters moved into the cones.
* The recovered network predicts as the program does, to max(tol, 1e3 eps) in units of
  the largest label or prediction, and its objective is not above the program's by more.
  Where its first layer may lose more by rounding, up to that: the status speaks of sums
  in Flax's order and of stored statistics, not of these.
* A returned point violates no constraint by more than 1e3 eps of the data's precision.
* INFEASIBLE is said where no solver and no least-squares fit finds a feasible point.
* A solver that is slow returns at its time limit.
* Nothing raises but ValueError itself, with a message that says what is wanted.
"""

from __future__ import annotations

import dataclasses
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import cvxjax as cj
from cvxjax.solution import Scope
from cvxjax.solvers.choice import default_solver
from tests import instances
from tests.fuzz import draw, forward, reference
from tests.fuzz.cases import Case

_SLACK = 1e-9  # of a bound, in units U
_EPS = 1e3  # machine epsilons that rounding may add
_SECONDS = 15  # of the clock, after which a solver is to return what it has
_FAILED = {cj.Status.NONFINITE, cj.Status.INFEASIBLE}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One oracle that did not hold."""

    kind: str
    solver: str
    detail: str


@dataclasses.dataclass
class Outcome:
    """Of one case: every solver's status, and what did not hold."""

    case: Case
    statuses: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    seconds: float = 0.0  # of the processor, compilation included

    def add(self, kind: str, solver: str, detail: str) -> None:
        self.findings.append(Finding(kind, solver, detail))


class TooSlowError(Exception):
    """A case ran past its limit."""


def _ring(*_: Any) -> None:
    raise TooSlowError


def examine(case: Case, *, limit: float, with_reference: bool) -> Outcome:
    """Runs the case through every oracle, within `limit` seconds of the processor.

    Not of the wall clock: other work on the machine is no fault of the case.
    """
    outcome, start = Outcome(case), time.process_time()
    signal.signal(signal.SIGPROF, _ring)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _examine(outcome, with_reference)
    except TooSlowError:
        outcome.add("slow", "", f"more than {limit:.0f} s of the processor")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    outcome.seconds = time.process_time() - start
    return outcome


def _attempt(outcome: Outcome, solver: str, what: str, call: Callable[[], Any]) -> Any:
    """The result, or None and a note of what was raised."""
    try:
        return call()
    except TooSlowError:
        raise
    except Exception as error:
        line = f"{what}: {type(error).__name__}: {error}".splitlines()[0][:300]
        clear = type(error) is ValueError and "want" in str(error)
        if type(error).__name__ == "CertificateError":
            outcome.add("inconsistent", solver, line)
        elif clear:
            outcome.statuses.append((solver or "-", f"refused by {what}"))
            outcome.add("refused", solver, line)
        else:
            last = traceback.extract_tb(error.__traceback__)[-1]
            outcome.add("exception", solver, f"{line} ({last.filename}:{last.lineno})")
        return None


def _examine(outcome: Outcome, with_reference: bool) -> None:
    case = outcome.case
    if not case.complete:
        case = _attempt(outcome, "", "make", lambda: draw.complete(case))
        if case is None:
            return
        outcome.case = case
    program = _attempt(outcome, "", "make", lambda: draw.build(case))
    if program is None:
        return
    bounds = Bounds(program)
    infeasible = []
    for name in case.solvers:
        label = "default" if name is None else name
        solver = (
            default_solver(program)
            if name is None
            else type(instances.SOLVERS[name].solver)()
        )
        solution = _attempt(
            outcome,
            label,
            "solve",
            lambda s=solver: cj.solve(program, s, time_limit=_SECONDS),
        )
        if solution is None:
            continue
        status = cj.Status(int(solution.status))
        outcome.statuses.append((label, status.name))
        if status.name == "INCONSISTENT":
            outcome.add("inconsistent", label, "the solver's own status")
        if status is cj.Status.INFEASIBLE:
            infeasible.append(label)
        certificate = _attempt(
            outcome, label, "certify", lambda s=solution: cj.certify(program, s)
        )
        if certificate is None:
            continue
        tol = float(solver.tolerance(program))
        _of_solver(outcome, label, program, solution, certificate, bounds, tol)
        if status not in _FAILED:
            _of_network(outcome, label, program, solution, bounds, tol)
            if name is None:
                _wider(outcome, program, solution, bounds)
    if infeasible:
        _of_infeasible(outcome, infeasible, program, bounds)
    if with_reference:
        _attempt(outcome, "", "reference", lambda: reference.add(program, bounds))
    for line in bounds.contradictions():
        outcome.add("contradiction", line.split(" ")[0], line)


class Bounds:
    """Primal and dual values, of the listed patterns and of all networks."""

    def __init__(self, program: Any) -> None:
        y = np.asarray(program.y, np.float64)
        self.at_zero = float(program.loss.value(np.zeros_like(y), y))
        self.eps = float(np.finfo(program.X.dtype).eps)
        self._values: dict[tuple[bool, bool], list[tuple[float, str]]] = {
            (wide, dual): [] for wide in (False, True) for dual in (False, True)
        }

    def offer(
        self,
        label: str,
        *,
        primal: float = np.inf,
        dual: float = -np.inf,
        listed: bool = True,
        wide: bool = False,
    ) -> None:
        """Values that are bounds of the listed optimum, of that of all networks."""
        for number, is_dual in ((primal, False), (dual, True)):
            for is_wide, asked in ((False, listed), (True, wide)):
                if asked and np.isfinite(number):
                    self._values[is_wide, is_dual].append((float(number), label))

    @property
    def feasible(self) -> list[tuple[float, str]]:
        return self._values[False, False]

    def unit(self, primal: float) -> float:
        if not np.isfinite(self.at_zero):
            return abs(primal)
        return max(abs(primal), 1e-4 * self.at_zero)

    def gap(self, primal: float, dual: float) -> float:
        if not (np.isfinite(primal) and np.isfinite(dual)):
            return np.inf
        unit = self.unit(primal)
        return (primal - dual) / unit if unit > 0 else float(np.sign(primal - dual))

    def contradictions(self) -> list[str]:
        lines = []
        for wide in (False, True):
            primal, dual = self._values[wide, False], self._values[wide, True]
            if not primal or not dual:
                continue
            (lowest, whose), (highest, by) = min(primal), max(dual)
            gap = self.gap(lowest, highest)
            if gap < -_SLACK:
                networks = " of all networks" if wide else ""
                lines.append(
                    f"{by} bounds{networks} by {highest:.10g}, {whose} attains "
                    f"{lowest:.10g} (gap {gap:.1e})"
                )
        return lines


def _of_solver(
    outcome: Outcome,
    label: str,
    program: Any,
    solution: Any,
    certificate: Any,
    bounds: Bounds,
    tol: float,
) -> None:
    # Where the solver chose patterns, its bounds are of those, unless they are of all.
    every = certificate.scope is not Scope.SAMPLED
    same = solution.patterns is None or program.scope is not Scope.SAMPLED
    bounds.offer(label, primal=certificate.primal, listed=same, wide=every)
    # Other points may miss a constraint by its tolerance, at the price of the dual.
    miss, y = 0.0, np.asarray(program.y, np.float64)
    if program.loss.constraint is not None:
        v = np.asarray(solution.dual, np.float64)
        miss = 1e-9 * float(np.max(np.abs(y))) * float(np.sum(np.abs(v)))
    bounds.offer(
        label,
        dual=certificate.dual - miss,
        listed=solution.patterns is None or every,
        wide=every,
    )
    gap = bounds.gap(certificate.primal, certificate.dual)
    status = cj.Status(int(solution.status))
    arrays = [solution.params, solution.dual, solution.objective, solution.dual_bound]
    finite = all(np.all(np.isfinite(np.asarray(a))) for a in arrays)
    if status is cj.Status.CONVERGED:
        if not finite:
            outcome.add("NaN", label, "CONVERGED with parameters or bounds not finite")
        elif gap > (allowed := 1.1 * tol + _EPS * bounds.eps):
            outcome.add(
                "gap in units" if certificate.gap <= allowed else "false CONVERGED",
                label,
                f"certified gap {gap:.2e}, tol {tol:.0e}: primal "
                f"{certificate.primal:.10g}, dual {certificate.dual:.10g}, its own "
                f"{float(solution.objective):.10g}, {float(solution.dual_bound):.10g}",
            )
        elif abs(float(solution.objective) - certificate.primal) > max(
            tol, _EPS * bounds.eps
        ) * bounds.unit(certificate.primal):
            outcome.add(
                "other objective",
                label,
                f"says {float(solution.objective):.10g}, certified "
                f"{certificate.primal:.10g}",
            )
    allowed = _EPS * bounds.eps
    if status not in _FAILED and not certificate.cone_violation <= allowed:
        outcome.add(
            "infeasible point",
            label,
            f"{status.name}, violation {certificate.cone_violation:.1e}",
        )


def _of_network(
    outcome: Outcome,
    label: str,
    program: Any,
    solution: Any,
    bounds: Bounds,
    tol: float,
) -> None:
    """The recovered network predicts as the program, at the same objective."""
    if type(program).__name__ == "QuantizedProgram":
        return  # a relaxation, whose networks are drawn
    at, chosen = program, solution.patterns
    if chosen is not None:
        at = program.with_patterns(chosen.masks, chosen.gates)
    variables = _attempt(outcome, label, "recover", lambda: at.recover(solution.params))
    if variables is None:
        return
    y = np.asarray(program.y, np.float64)
    want = at.judge().predict(np.asarray(solution.params, np.float64))
    z = forward.outputs_of(at, variables).astype(np.float64)
    size = max(float(np.max(np.abs(y))), float(np.max(np.abs(want))))
    miss = _difference(z, want, size)
    strict = allowed = max(tol, _EPS * bounds.eps)
    if at.blur < np.inf:
        allowed = max(allowed, at.blur)
    converged = int(solution.status) == cj.Status.CONVERGED
    if not miss <= allowed or outcome.case.applies_flax:
        flax = np.asarray(at.network().apply(variables, at.inputs), np.float64)
        miss = max(miss, _difference(flax, want, size))
    if not miss <= allowed:
        if converged:
            outcome.add("other network", label, f"predictions differ by {miss:.1e}")
        return
    if miss > strict:
        return  # a network of data that rounding has moved
    value = float(program.loss.value(z, y))
    objective = value + float(program.beta) * forward.penalty_of(at, variables)
    gated = type(at.network()).__name__.startswith("Gated")
    every = program.scope is not Scope.SAMPLED
    name = f"the network of {label}"
    if "batch_stats" in variables:  # rounded, and those of no data
        objective += bounds.eps * bounds.unit(objective)
    bounds.offer(name, primal=objective, listed=every or gated, wide=not gated)
    claimed = float(solution.objective)
    if not converged or program.loss.constraint is not None:
        return
    if objective - claimed > allowed * bounds.unit(claimed):
        outcome.add(
            "other network",
            label,
            f"its objective is {objective:.10g}, the program's {claimed:.10g}",
        )


def _difference(z: np.ndarray, want: np.ndarray, size: float) -> float:
    miss = float(np.max(np.abs(z - want)))
    return miss / size if size > 0 else miss


def _wider(outcome: Outcome, program: Any, solution: Any, bounds: Bounds) -> None:
    """A bound over all networks, which none of those found may undercut."""
    if type(program).__name__ != "TwoLayerProgram" or program.cones is None:
        return
    certificate = _attempt(
        outcome,
        "",
        "certify(scope=GLOBAL_BOUND)",
        lambda: cj.certify(program, solution, scope=Scope.GLOBAL_BOUND),
    )
    if certificate is not None:
        bounds.offer(
            "certify(scope=GLOBAL_BOUND)",
            dual=certificate.dual,
            listed=False,
            wide=True,
        )


def _of_infeasible(
    outcome: Outcome, labels: list[str], program: Any, bounds: Bounds
) -> None:
    """Another solver's point, or a least-squares fit, that is feasible after all."""
    known = list(bounds.feasible)
    if not known:
        found = reference.witness(program)
        known = [] if found is None else [(found, "a least-squares fit")]
    for label in labels if known else []:
        value, by = known[0]
        outcome.add("false INFEASIBLE", label, f"{by} attains {value:.6g}")
