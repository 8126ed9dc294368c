"""Agreement with the interior point, gaps by the NumPy judge, statuses, refusals."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj

Status = cj.Status
SOLVER = cj.solvers.Semidefinite()
PRECISE = cj.solvers.SemidefiniteInteriorPoint(tol=2e-10)
PROGRAMS = ("polynomial", "quantized")


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


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("case", CASES)
def test_gap_and_agreement(case, kind):
    program = make(kind, **CASES[case])
    solution = cj.solve(program, SOLVER).check()
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 2e-8
    assert certificate.cone_violation <= 1e-12
    want = cj.solve(program, PRECISE).check()
    assert_allclose(solution.objective, want.objective, rtol=2e-8, atol=2e-8)
    fit = program.forward(solution.params)
    assert_allclose(fit, program.forward(want.params), atol=1e-3)  # strongly convex


@pytest.mark.parametrize("n, d", [(4, 6), (300, 3)])
def test_gap_of_few_and_of_many_samples(n, d):
    for beta in (1e-6, 0.1):
        program = make("polynomial", n, d, beta=beta)
        solution = cj.solve(program, SOLVER).check()
        assert cj.certify(program, solution).gap <= 2e-8


@pytest.mark.parametrize("kind", PROGRAMS)
def test_single_precision(kind):
    program = make(kind, dtype=np.float32)
    solution = cj.solve(program, SOLVER).check()
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
    solution = cj.solve(program, SOLVER)
    want = float(cj.solve(program, PRECISE).check().objective)
    certificate = cj.certify(program, solution)
    assert certificate.primal - certificate.dual <= 1e-6  # of labels of order one
    assert certificate.dual <= want * (1 + 1e-9) and want <= certificate.primal + 1e-9


def test_statuses():
    program = make("polynomial")
    short = cj.solve(program, SOLVER.replace(max_iters=2))
    assert short.status == Status.MAX_ITERATIONS and int(short.iterations) == 2
    best = float(cj.solve(program, PRECISE).objective)
    certificate = cj.certify(program, short)
    assert certificate.dual <= best <= certificate.primal
    assert certificate.cone_violation <= 1e-12
    lost = cj.solve(program.replace(y=program.y.at[0].set(jnp.nan)), SOLVER)
    assert lost.status == Status.NONFINITE
    fine = cj.solve(program, SOLVER.replace(tol=1e-30))
    assert fine.status in (Status.STALLED, Status.CONVERGED)  # of a gap of 0
    assert float(fine.gap) <= 1e-12


def test_refusals():
    X, y = np.eye(4), np.ones(4)
    other = cj.programs.make_two_layer(
        X[:, :2], y, cj.arrangements.enumerate_patterns(X[:, :2]), beta=0.1
    )
    with pytest.raises(ValueError, match="not pairs of PSD matrices"):
        cj.solve(other, SOLVER)
    large = cj.programs.make_polynomial(np.ones((2, 110)), y[:2], beta=0.1)
    with pytest.raises(ValueError, match="pairs of 6216 numbers are more than 6000"):
        cj.solve(large, SOLVER)
