"""Both solvers of pairs: gaps by the NumPy judge, agreement, statuses, refusals."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from tests import instances

Status = cj.Status
SPLITTING = cj.solvers.Semidefinite()
# The gap holds what rounding may hide, up to 1e-10 at the smallest beta here.
PRECISE = cj.solvers.SemidefiniteInteriorPoint(tol=2e-10)
PROGRAMS = ("polynomial", "quantized")
both = pytest.mark.parametrize(
    "solver, gap", [(SPLITTING, 2e-8), (PRECISE, 2e-10)], ids=["splitting", "precise"]
)


def make(kind, n=8, d=3, seed=0, beta=0.1, decay=1.0, dtype=float):
    """Gaussian data; beta relative to the one from which zero is optimal."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.logspace(0, np.log10(decay), d)
    X, y = X.astype(dtype), rng.standard_normal(n).astype(dtype)
    build = getattr(cj.programs, f"make_{kind}")
    program = build(X, y, beta=1.0)
    return program.replace(beta=jnp.asarray(beta * program.beta_max(), dtype))


CASES = {
    "one draw": {},
    "another": {"seed": 1},
    "a third": {"seed": 2},
    "small beta": {"beta": 1e-3},
    "near beta_max": {"beta": 0.999},
    "ill-conditioned": {"decay": 1e-2},
}
HARD = {
    "small beta": {"beta": 1e-6},
    "small beta, another": {"beta": 1e-6, "seed": 1},
    "ill-conditioned": {"decay": 1e-6},
    "ill-conditioned, near beta_max": {"decay": 1e-6, "beta": 0.9},
    "badly scaled": {"decay": 1e6, "seed": 3},
}


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("case", CASES)
def test_gap_and_agreement(case, kind):
    program = make(kind, **CASES[case])
    solution = cj.solve(program, SPLITTING).check()
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 2e-8
    assert certificate.cone_violation <= 1e-12
    want = cj.solve(program, PRECISE).check()
    assert_allclose(solution.objective, want.objective, rtol=2e-8, atol=2e-8)
    fit = program.forward(solution.params)
    assert_allclose(fit, program.forward(want.params), atol=1e-3)  # strongly convex


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("case", CASES | HARD)
def test_gap_of_the_interior_point(case, kind):
    program = make(kind, **(CASES | HARD)[case])
    solution = cj.solve(program, PRECISE).check()
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 2e-10
    assert certificate.cone_violation <= 1e-12
    assert_allclose(certificate.primal, solution.objective, rtol=1e-10)
    assert int(solution.iterations) < 25


@both
@pytest.mark.parametrize("n, d", [(4, 6), (300, 3)])
def test_gap_of_few_and_of_many_samples(n, d, solver, gap):
    for beta in (1e-6, 0.1):
        program = make("polynomial", n, d, beta=beta)
        solution = cj.solve(program, solver).check()
        assert cj.certify(program, solution).gap <= gap
        assert solver is SPLITTING or int(solution.iterations) < 25


@pytest.mark.parametrize("kind", PROGRAMS)
def test_single_precision(kind):
    program = make(kind, dtype=np.float32)
    solution = cj.solve(program, SPLITTING).check()
    assert solution.params.dtype == np.float32
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 3e-4
    want = cj.solve(make(kind), PRECISE)
    assert_allclose(certificate.primal, want.objective, rtol=3e-4)


@pytest.mark.parametrize(
    "kind, options",
    [
        ("polynomial", {"beta": 1e-6}),
        ("polynomial", {"decay": 1e-6, "beta": 0.5}),
        ("quantized", {"decay": 1e-6, "beta": 0.5}),
    ],
)
def test_what_takes_long_is_bounded(kind, options):
    """A condition of 1e6 is 1e12 in the features: the last digits come slowly."""
    program = make(kind, **options)
    solution = cj.solve(program, SPLITTING)
    want = float(cj.solve(program, PRECISE).check().objective)
    certificate = cj.certify(program, solution)
    assert certificate.primal - certificate.dual <= 1e-6  # of labels of order one
    assert certificate.dual <= want * (1 + 1e-9) and want <= certificate.primal + 1e-9


@both
def test_statuses(solver, gap):
    program = make("polynomial")
    short = cj.solve(program, solver.replace(max_iters=2))
    assert short.status == Status.MAX_ITERATIONS and int(short.iterations) == 2
    best = float(cj.solve(program, PRECISE).objective)
    certificate = cj.certify(program, short)
    assert certificate.dual <= best <= certificate.primal
    assert certificate.cone_violation <= 1e-12
    lost = cj.solve(program.replace(y=program.y.at[0].set(jnp.nan)), solver)
    with pytest.raises(cj.SolverError, match="NONFINITE"):
        lost.check()
    fine = cj.solve(program, solver.replace(tol=1e-30))
    assert float(fine.gap) <= (1e-12 if solver is SPLITTING else 1e-10)
    assert fine.status == Status.STALLED or (fine.status, fine.gap) == (
        Status.CONVERGED,
        0,
    )


def test_the_start_does_not_matter():
    program = make("polynomial")
    want = cj.solve(program, PRECISE)
    got = cj.solve(program, PRECISE, start=-np.ones(program.shape))
    assert_allclose(got.objective, want.objective, rtol=1e-10)


@pytest.mark.parametrize("loss", ["huber", "hinge"])
def test_losses_that_are_refused(loss):
    y = np.array([1.0, -1, 1, -1])
    program = cj.programs.make_polynomial(np.eye(4), y, beta=0.1, loss=loss)
    takes = f"its loss is {loss} .SemidefiniteInteriorPoint takes squared, log"
    with pytest.raises(ValueError, match=takes):
        cj.solve(program, PRECISE)


def test_weights_of_samples():
    program = instances.polynomial("weighted logistic")
    solution = cj.solve(program, PRECISE).check()
    want = instances.REFERENCES["polynomial"].optimum(program)
    assert_allclose(solution.objective, want, rtol=1e-7)
    assert cj.certify(program, solution).gap <= 1e-7


@pytest.mark.parametrize(
    "solver, d, numbers",
    [(SPLITTING, 110, "6216 .* 6000"), (PRECISE, 80, "3321 .* 3000")],
)
def test_refusals(solver, d, numbers):
    X, y = np.eye(4), np.ones(4)
    other = cj.programs.make_two_layer(
        X[:, :2], y, cj.arrangements.enumerate_patterns(X[:, :2]), beta=0.1
    )
    with pytest.raises(ValueError, match="not pairs of PSD matrices"):
        cj.solve(other, solver)
    large = cj.programs.make_polynomial(np.ones((2, d)), y[:2], beta=0.1)
    with pytest.raises(ValueError, match=f"pairs of {numbers}"):
        cj.solve(large, solver)


def test_float32_is_refused_by_the_interior_point():
    X, y = np.eye(4, dtype=np.float32), np.ones(4, np.float32)
    with pytest.raises(ValueError, match="the data are float32"):
        cj.solve(cj.programs.make_polynomial(X, y, beta=0.1), PRECISE)
