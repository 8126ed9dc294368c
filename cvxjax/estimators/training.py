"""Networks for standardised samples, by the convex program, for one or several betas.

One output has its intercept in the program (`losses.with_intercept`), but for the
squared loss, whose labels the caller centres. Several outputs of the softmax loss have
theirs by turns: networks for given constants, then the best constants for the network.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

import cvxjax as cj
from cvxjax.estimators.layers import Layers
from cvxjax.verdicts import gap_floor, relative_gap

_GATES = 1_000  # of a gated network
_CERTIFYING = 0.1  # of the time: for the bound over all networks
_BOUND_SECONDS = (1.0, 10.0)  # its least and most
_TURNS = 5  # between networks and constants, at most
_WORTH = 0.1  # of the tolerance, which a turn must gain


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained."""

    X: np.ndarray  # [n, d], as it enters the network; in the basis if there is one
    y: np.ndarray  # [n], or [n, c]
    loss: Any  # without an intercept
    reference: Any  # the loss with which beta_max is found, likewise
    intercept: bool  # whether the program finds one
    basis: np.ndarray | None = None  # [features, d], of the span of the samples
    weight: float = 1.0  # of the loss; beta is divided by it
    gated: bool = False
    patterns: int | str | None = None  # how many are sampled, or "all", listed
    solver: Any = None  # None: one that fits
    seed: int = 0
    tol: float = 1e-3
    max_neurons: int | None = None
    report: Any = None  # where the solver stands, as `cvxjax.solve` takes it
    verbose: bool = False  # prints it, if there is no report


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A network, and what is known of it."""

    program: Any  # what was solved, with arrays of NumPy
    solution: Any
    layers: Layers
    constants: np.ndarray  # [c], added to its outputs
    beta: float  # weight decay
    beta_max: float  # the least one for which zero is optimal
    certificate: cj.Certificate | None
    status: cj.Status
    iterations: int


def train_path(
    task: Task,
    betas: Sequence[float],
    *,
    relative: bool = True,
    certify: bool = True,
    time_limit: float | None = None,
) -> Iterator[Trained]:
    """A network for each beta in turn, started from the last one.

    Args:
      task: what is trained.
      betas: > 0, descending; of the least one for which zero is optimal if `relative`,
        else as in the objective loss + beta/2 ||weights||^2.
      relative: see `betas`.
      certify: whether to bound the optimum independently.
      time_limit: seconds for all of them together. When it has passed, and after a
        Ctrl-C, there are no more networks but the one at hand.
    """
    deadline = None if time_limit is None else time.monotonic() + time_limit
    program = program_of(task, task.loss)
    same = task.reference is task.loss
    known = program if same else program_of(task, task.reference)
    highest = float(known.beta_max())
    start, constants = None, None
    for k, beta in enumerate(betas):
        if relative:  # where zero always is optimal, any beta will do
            beta = beta * highest if highest > 0 else 1.0
        else:
            beta = beta / task.weight
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if k > 0 and left == 0.0:
            return
        at = program.replace(beta=jnp.asarray(beta, program.X.dtype))
        if task.y.ndim == 2 and task.intercept:
            at, solution, constants = _by_turns(task, at, start, constants, left)
        else:
            solution = _solve(task, at, start, left)
        start = solution
        seconds = _BOUND_SECONDS[1] if time_limit is None else _CERTIFYING * time_limit
        seconds = float(np.clip(seconds, *_BOUND_SECONDS)) if certify else 0.0
        found = _trained(task, at, solution, highest, constants, seconds)
        yield found
        if found.status is cj.Status.INTERRUPTED:
            return


def program_of(
    task: Task, loss: Any, *, patterns: Any = None, constants: Any = None
) -> Any:
    """The program with beta 1: over all patterns, these ones, or those of the task.

    Args:
      task: what is trained.
      loss: the task's loss, or its reference.
      patterns: `arrangements.Patterns`.
      constants: [c], added to several outputs; default the best ones for zeros.
    """
    if patterns is None:
        patterns = _patterns(task)
    make: Any = cj.programs.make_two_layer
    if task.y.ndim == 2:
        make = cj.programs.make_vector_output
        if task.intercept:
            if constants is None:
                constants = _constants(loss, 0 * task.y, task.y)
            loss = cj.losses.offset(loss, constants)
    elif task.intercept:
        loss = cj.losses.with_intercept(loss)
    return make(task.X, task.y, patterns, beta=1.0, loss=loss, gated=task.gated)


def _patterns(task: Task) -> Any:
    """The patterns that the task asks for; None: the solver finds some of all."""
    count = task.patterns
    if count == "all":
        return cj.arrangements.enumerate_patterns(task.X)
    if not task.gated and count is None:
        return None
    key, num = jax.random.key(task.seed), _GATES if count is None else int(count)
    return cj.arrangements.sample_patterns(key, task.X, num=num)


def _solve(task: Task, program: Any, start: Any, time_limit: float | None) -> Any:
    """The solution for one beta."""
    solver = task.solver
    if solver is None and program.all_patterns:
        solver = cj.solvers.BurerMonteiro(seed=task.seed)
        if task.y.ndim == 1:  # the certificate has a bound of its own
            solver = cj.solvers.ColumnGeneration(seed=task.seed, bound_seconds=0.0)
    report = task.report or (_printed if task.verbose else None)
    return cj.solve(
        program,
        solver,
        start=start,
        tol=task.tol,
        time_limit=time_limit,
        report=report,
    )


def _printed(iteration: int, objective: float, bound: float, gap: float) -> None:
    print(
        f"step {iteration}: objective {objective:.8g}, lower bound {bound:.8g}, "
        f"gap {gap:.1e}",
        flush=True,
    )


def _by_turns(
    task: Task, program: Any, start: Any, constants: Any, time_limit: float | None
) -> tuple[Any, Any, np.ndarray]:
    """The program with its constants, its solution, and the constants [c]."""
    deadline = np.inf if time_limit is None else time.monotonic() + time_limit
    if constants is None:
        constants = np.asarray(program.loss.offset, float)
    before, found = np.inf, None
    for _ in range(_TURNS):
        left = None if time_limit is None else max(0.0, deadline - time.monotonic())
        if found is not None and left == 0.0:
            break
        at = program.replace(loss=cj.losses.offset(task.loss, constants))
        solution = _solve(task, at, start, left)
        value = float(solution.objective)
        if found is None or value < before:
            found = at, solution, constants
        if not value < before * (1 - _WORTH * task.tol):
            break
        before, start = value, solution
        fit = at.judge().predict(np.asarray(solution.params, np.float64))
        constants = _constants(task.loss, fit, task.y)
    assert found is not None
    return found


def _constants(loss: Any, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The best constants [c] to add to outputs z [n, c], their sum zero."""

    def value(c: np.ndarray) -> tuple[float, np.ndarray]:
        return float(loss.value(z + c, y)), np.sum(loss.gradient(z + c, y), axis=0)

    found = scipy.optimize.minimize(value, np.zeros(y.shape[1]), jac=True)
    return found.x - np.mean(found.x)


def _trained(
    task: Task,
    program: Any,
    solution: Any,
    highest: float,
    constants: np.ndarray | None,
    seconds: float,
) -> Trained:
    """The recovered network, with a certificate if there are seconds for it."""
    at = solution.program_of(program)
    variables = at.recover(solution.params)
    layers = Layers.of(variables)
    certificate, status = None, cj.Status(int(solution.status))
    if seconds > 0:
        tol = task.tol
        try:
            certificate = cj.certify(program, solution, tol=tol, time_limit=seconds)
        except KeyboardInterrupt:  # the network is kept, with the bound that is quick
            status = cj.Status.INTERRUPTED
            certificate = cj.certify(program, solution, tol=tol, time_limit=0.0)
    most = task.max_neurons
    if most is not None and layers.width > most:
        layers = layers.narrowed(most, task.X, program)
        if certificate is not None:
            value = layers.objective(task.X, program)
            certificate = _moved(certificate, value, program)
    added = np.zeros(layers.second.shape[1]) if constants is None else constants
    if constants is None and task.intercept:
        fit = layers.outputs(task.X)[:, 0]
        added = added + float(program.loss.intercept(fit, task.y))
    return Trained(
        program=jax.tree.map(np.asarray, program),
        solution=jax.tree.map(np.asarray, solution),
        layers=layers.lifted(task.basis),
        constants=added,
        beta=float(program.beta) * task.weight,
        beta_max=highest * task.weight,
        certificate=None if certificate is None else certificate.times(task.weight),
        status=status,
        iterations=int(solution.iterations),
    )


def _moved(certificate: cj.Certificate, value: float, program: Any) -> cj.Certificate:
    """The certificate of a network of another objective, by the same lower bound."""
    floor = float(gap_floor(program.loss, np.asarray(program.y)))
    gap = relative_gap(value, certificate.dual, floor)
    return dataclasses.replace(certificate, primal=value, gap=gap)
