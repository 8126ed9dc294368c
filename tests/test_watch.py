"""Stopping in time: limits, Ctrl-C and reports, of every solver."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers import Admm, SemismoothNewton
from cvxjax.watch import Stopped, Watch
from tests import instances

ROOT = Path(__file__).parents[1]
RELU = "two_layer/squared"
TAKEN = {
    "ActiveSetNewton": "two_layer/gated/squared",
    "Admm": RELU,
    "InteriorPoint": RELU,
    "WorkingSet": RELU,
    "ColumnGeneration": RELU,
    "SemismoothNewton": RELU,
    "Stochastic": "two_layer/gated/squared",
    "Fista": "two_layer/gated/squared",
    "FrankWolfe": "vector_output/relu",
    "CopositiveRelaxation": "vector_output/relu",
    "BurerMonteiro": "vector_output/relu",
    "Semidefinite": "polynomial/squared",
    "SemidefiniteInteriorPoint": "polynomial/squared",
    "LowRankSemidefinite": "polynomial/squared",
}


def test_every_solver_is_here():
    assert set(TAKEN) == set(instances.SOLVERS) == set(cj.solvers.__all__)


def stopped_at_once(program, solver):
    """Checks that nothing but a feasible point and its bound came of no time."""
    lines = []
    solution = cj.solve(
        program, solver, time_limit=0, report=lambda *line: lines.append(line)
    )
    assert solution.status == cj.Status.TIME_LIMIT
    y = np.asarray(program.y)
    of_zero = float(program.loss.value(0 * y, y))
    assert lines[0] == (0, of_zero, 0.0, pytest.approx(1))
    assert float(solution.objective) <= of_zero * (1 + 1e-12)
    assert float(solution.dual_bound) >= 0 and 0 < float(solution.gap) <= 1
    history = solution.history
    assert len(history.gap) >= 1 and np.all(np.asarray(history.iteration) >= 0)
    certificate = cj.certify(program, solution)
    assert certificate.cone_violation <= 1e-12
    assert certificate.primal <= of_zero * (1 + 1e-12)
    assert -1e-9 <= certificate.gap <= 1
    with pytest.raises(cj.SolverError, match="TIME_LIMIT: time_limit passed"):
        solution.check()
    return solution


@pytest.mark.parametrize("solver", TAKEN)
def test_no_time_leaves_a_certified_point(solver):
    program = instances.program_of(TAKEN[solver])
    stopped_at_once(program, instances.SOLVERS[solver].solver)


def test_no_time_for_the_second_stage():
    program = instances.program_of("two_layer/logistic")
    stopped_at_once(program, SemismoothNewton(inner=Admm(tol=1e-3)))


def test_a_limit_that_is_not_met_changes_nothing():
    want = instances.solution_of(RELU, "Admm")
    program, solver = instances.program_of(RELU), instances.SOLVERS["Admm"].solver
    got = cj.solve(program, solver, time_limit=600)
    assert got.status == cj.Status.CONVERGED
    assert got.iterations == want.iterations
    assert_allclose(got.params, want.params, rtol=0, atol=0)


@pytest.mark.parametrize("limit", [-1.0, np.nan])
def test_bad_limits(limit):
    program = instances.program_of(RELU)
    for call in (cj.solve, lambda *a, **k: cj.solve_path(a[0], [1.0], **k)):
        with pytest.raises(ValueError, match="want time_limit, seconds >= 0; got"):
            call(program, time_limit=limit)
        with pytest.raises(ValueError, match="want tol > 0; got"):
            call(program, tol=limit)


def test_tol_of_the_call_comes_before_the_solvers():
    program = instances.program_of(RELU)
    rough = cj.solve(program, Admm(tol=1e-9), tol=1e-2).check()
    assert 1e-9 < rough.gap <= 1e-2
    assert 0 <= cj.solve(program, tol=1e-3).check().gap <= 1e-3
    (path,) = cj.solve_path(program, [0.1], Admm(tol=1e-9), tol=1e-2)
    assert path.gap == rough.gap


def test_a_path_without_time_is_its_first_solution():
    program, lines = instances.program_of(RELU), []
    path = cj.solve_path(
        program, [0.1, 0.05], Admm(), time_limit=0, report=lambda *x: lines.append(x)
    )
    assert [int(x.status) for x in path] == [cj.Status.TIME_LIMIT] and len(lines) == 1


def test_slow_steps_are_reported_and_stopped(monkeypatch):
    """As they come, though a check is due after fifty only."""
    program, lines = instances.program_of("two_layer/gated/squared"), []
    solver = instances.SOLVERS["Fista"].solver.replace(tol=1e-30)
    cj.solve(program, solver, time_limit=0)
    slow = lambda *line: (lines.append(line), time.sleep(0.1))  # noqa: E731
    start = time.monotonic()
    monkeypatch.setattr("cvxjax.solvers.pace._seconds", {})  # no step is known yet
    clock = iter(range(10**6))
    monkeypatch.setattr("cvxjax.solvers.loop.time.perf_counter", lambda: next(clock))
    solution = cj.solve(program, solver, time_limit=0.5, report=slow)
    assert time.monotonic() - start < 2
    assert solution.status == cj.Status.TIME_LIMIT
    iterations = [line[0] for line in lines]
    assert iterations[:4] == [0, 1, 2, 3] and iterations[-1] < solver.check_every
    assert 0 < solution.gap < lines[1][3]  # a last check


SCRIPT = """
import os, signal, sys, threading, time
import jax
jax.config.update("jax_enable_x64", True)
import cvxjax as cj
from tests import instances

name, solver = sys.argv[1:]
program = instances.program_of(name)
solver = getattr(cj.solvers, solver)(tol=1e-300, max_iters=10**7)
endless = "check_every" if hasattr(solver, "check_every") else "starts"
solver = solver.replace(**{endless: 10**6})
sent, lines = [], []

def send():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

def report(*line):
    lines.append(line)
    time.sleep(0.01)
    if len(lines) == 4:
        threading.Timer(0.1, send).start()

solution = cj.solve(program, solver, report=report)
assert time.monotonic() - sent[0] < 2
assert solution.status == cj.Status.INTERRUPTED, solution
certificate = cj.certify(program, solution)
assert -1e-9 < certificate.gap < 0.5, certificate
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
first = []
path = cj.solve_path(
    program, [0.1, 0.09], time_limit=60,
    report=lambda *x: os.kill(os.getpid(), signal.SIGINT),
)
assert len(path) == 1, path
"""


@pytest.mark.parametrize("solver", ["Semidefinite", "BurerMonteiro"])
def test_an_interrupt_from_a_terminal(solver):
    """One whose steps are compiled, one with a loop of its own."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, TAKEN[solver], solver],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def test_the_second_interrupt_is_pythons():
    with Watch() as watch:
        assert not watch.over
        watch.ask()
        interrupt()
        assert watch.outcome is cj.Status.INTERRUPTED
        with pytest.raises(Stopped):
            watch.of_part().ask()
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_handlers_and_threads_are_left_alone():
    got = []
    handler = lambda *_: got.append(1)  # noqa: E731
    signal.signal(signal.SIGINT, handler)
    try:
        with Watch() as watch:
            interrupt()
            assert got == [1] and not watch.over
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def enter():
        with Watch():
            got.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert got[-1] is signal.default_int_handler


def test_what_it_was_told_is_repeated_once_a_second(monkeypatch):
    lines, now = [], [0.0]
    monkeypatch.setattr("cvxjax.watch.time.monotonic", lambda: now[0])
    watch = Watch(lambda *line: lines.append(line), 10.0)
    part = watch.of_part()
    watch.repeat()
    watch.measure_in(4.0)
    watch.tell(0, 2.0, 1.0, 0.5)
    part.tell(7, 1.0, 1.0, 0.0)  # of its part alone
    assert lines == [(0, 8.0, 4.0, 0.5)]
    now[0] = 1.0
    part.tell(8, 1.0, 1.0, 0.0)
    assert lines == [(0, 8.0, 4.0, 0.5)] * 2
    assert part.seconds_left() == 9 and not part.over
    now[0] = 10.0
    assert part.outcome is watch.outcome is cj.Status.TIME_LIMIT
