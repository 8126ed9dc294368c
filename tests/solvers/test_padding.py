"""Programs of nearly as many patterns share compiled code, and nothing else changes."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.algebra.compiled import few_sizes
from cvxjax.solvers.padding import padded

S = cj.solvers
COUNTS = 69, 71  # both are padded to 72


def program_of(count, loss="squared", gated=False):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 5))
    y = np.sign(X[:, 0] * X[:, 1])
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=count)
    options = {"beta": 0.2, "loss": loss, "gated": gated}
    return cj.programs.make_two_layer(X, y, patterns, **options)


def test_sizes_are_few_and_little_larger():
    sizes = np.array([few_sizes(k) for k in range(1, 3000)])
    assert np.all(sizes[:64] == np.arange(1, 65))
    assert np.all(sizes >= np.arange(1, 3000))
    assert np.all(sizes <= 17 / 16 * np.arange(1, 3000))
    assert len(set(sizes[64:])) < 100
    assert few_sizes(498) == few_sizes(499) == 512
    assert few_sizes(200) == 200


@pytest.mark.parametrize("gated", [False, True])
def test_further_patterns_have_no_effect(gated):
    program = program_of(69, gated=gated)
    larger, extra = padded(program)
    assert extra == 3
    assert larger.shape == (2, 72, 5)
    assert larger.scope is program.scope
    rng = np.random.default_rng(1)
    w, v = rng.standard_normal(larger.shape), rng.standard_normal(30)
    assert_allclose(larger.forward(w), program.forward(w[:, :69]), atol=1e-12)
    assert not np.any(larger.adjoint(v)[:, 69:])
    assert_allclose(larger.adjoint(v)[:, :69], program.adjoint(v), atol=1e-12)
    few = larger.select(np.array([0, 70, 72 + 68]), np.ones(3, bool))
    assert few.signs.tolist() == [[1, 0, -1]]


@pytest.mark.parametrize(
    "solver, gated",
    [
        (S.InteriorPoint(), False),
        (S.Stochastic(max_iters=50), False),
        (S.Admm(tol=1e-5), False),
        (S.SemismoothNewton(), False),
        (S.WorkingSet(), False),
        (S.ActiveSetNewton(), True),
    ],
    ids=lambda x: type(x).__name__,
)
def test_solutions_are_those_of_the_given_program(solver, gated):
    loss = "logistic"
    program = program_of(69, loss, gated)
    solution = cj.solve(program, solver)
    assert solution.params.shape == program.shape
    value = float(program.objective(solution.params))
    assert_allclose(float(solution.objective), value, rtol=1e-8)
    certificate = cj.certify(program, solution)
    tol = float(solver.tolerance(program))
    converged = solution.status == cj.Status.CONVERGED
    assert converged == (not isinstance(solver, S.Stochastic))
    assert not converged or certificate.gap <= 1.01 * tol
    if converged:
        again = cj.solve(program, solver, start=solution).check()
        assert int(again.iterations) < max(2, int(solution.iterations))


def test_the_second_number_of_patterns_compiles_nothing():
    first, second = (program_of(count) for count in COUNTS)
    cj.solve(first, S.InteriorPoint())
    compiled = []
    listen = lambda event, *_, **__: compiled.append(event)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        cj.solve(second, S.InteriorPoint()).check()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    # What is left moves arrays to the device.
    assert sum("backend_compile" in event for event in compiled) <= 3
