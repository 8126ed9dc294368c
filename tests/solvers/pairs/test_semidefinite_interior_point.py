"""Gaps by the NumPy judge on easy and hard data, statuses and refusals."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from tests import instances

Status = cj.Status
# The gap holds what rounding may hide, up to 1e-10 at the smallest beta here.
SOLVER = cj.solvers.SemidefiniteInteriorPoint(tol=2e-10)
PROGRAMS = ("polynomial", "quantized")


def make(kind, n=8, d=3, seed=0, beta=0.1, decay=1.0, **options):
    """Gaussian data; beta relative to the one from which zero is optimal."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.logspace(0, np.log10(decay), d)
    build = getattr(cj.programs, f"make_{kind}")
    program = build(X, rng.standard_normal(n), beta=1.0, **options)
    return program.replace(beta=beta * program.beta_max())


CASES = {
    "one draw": {},
    "another": {"seed": 1},
    "a third": {"seed": 2},
    "small beta": {"beta": 1e-6},
    "small beta, another": {"beta": 1e-6, "seed": 1},
    "near beta_max": {"beta": 0.999},
    "ill-conditioned": {"decay": 1e-6},
    "ill-conditioned, near beta_max": {"decay": 1e-6, "beta": 0.9},
    "badly scaled": {"decay": 1e6, "seed": 3},
}


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("case", CASES)
def test_gap(case, kind):
    program = make(kind, **CASES[case])
    solution = cj.solve(program, SOLVER).check()
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 2e-10
    assert certificate.cone_violation <= 1e-12
    assert_allclose(certificate.primal, solution.objective, rtol=1e-10)
    assert int(solution.iterations) < 25


@pytest.mark.parametrize("n, d", [(4, 6), (300, 3)])
def test_gap_of_few_and_of_many_samples(n, d):
    for beta in (1e-6, 0.1):
        program = make("polynomial", n, d, beta=beta)
        solution = cj.solve(program, SOLVER).check()
        assert cj.certify(program, solution).gap <= 2e-10
        assert int(solution.iterations) < 25


def test_statuses():
    program = make("polynomial")
    short = cj.solve(program, SOLVER.replace(max_iters=2))
    assert short.status == Status.MAX_ITERATIONS and int(short.iterations) == 2
    certificate = cj.certify(program, short)
    assert certificate.dual <= float(cj.solve(program, SOLVER).objective)
    lost = cj.solve(program.replace(y=program.y.at[0].set(jnp.nan)), SOLVER)
    assert lost.status == Status.NONFINITE
    with pytest.raises(cj.SolverError, match="NONFINITE"):
        lost.check()
    fine = cj.solve(program, SOLVER.replace(tol=1e-30))
    assert fine.status != Status.CONVERGED and float(fine.gap) <= 1e-10


def test_the_start_does_not_matter():
    program = make("polynomial")
    want = cj.solve(program, SOLVER)
    start = -np.ones(program.shape)
    got = cj.solve(program, SOLVER, start=start)
    assert_allclose(got.objective, want.objective, rtol=1e-10)


@pytest.mark.parametrize("loss", ["huber", "hinge"])
def test_losses_that_are_refused(loss):
    X, y = np.eye(4), np.array([1.0, -1, 1, -1])
    program = cj.programs.make_polynomial(
        X, y, beta=0.1, loss=getattr(cj.losses, loss)()
    )
    with pytest.raises(
        ValueError,
        match=f"its loss is {loss} .SemidefiniteInteriorPoint takes squared, log",
    ):
        cj.solve(program, SOLVER)


def test_weights_of_samples():
    program = instances.polynomial("weighted logistic")
    solution = cj.solve(program, SOLVER).check()
    want = instances.REFERENCES["polynomial"].optimum(program)
    assert_allclose(solution.objective, want, rtol=1e-7)
    assert cj.certify(program, solution).gap <= 1e-7


def test_refusals():
    X, y = np.eye(4, dtype=np.float32), np.ones(4, np.float32)
    with pytest.raises(ValueError, match="the data are float32"):
        cj.solve(cj.programs.make_polynomial(X, y, beta=0.1), SOLVER)
    X, y = np.eye(4), np.ones(4)
    other = cj.programs.make_two_layer(
        X[:, :2], y, cj.arrangements.enumerate_patterns(X[:, :2]), beta=0.1
    )
    with pytest.raises(ValueError, match="not pairs of PSD matrices"):
        cj.solve(other, SOLVER)
    large = cj.programs.make_polynomial(np.ones((2, 80)), y[:2], beta=0.1)
    with pytest.raises(ValueError, match="pairs of 3321 numbers are more than 3000"):
        cj.solve(large, SOLVER)
