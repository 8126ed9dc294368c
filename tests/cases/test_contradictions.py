"""Verdicts that contradict themselves, or claim what is not proved.

From an adversarial review and from fuzzed programs whose CONVERGED their own
certificate denied.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cvxjax as cj
from cvxjax.algebra.rounding import gamma, gauge_rounding, lengths, terms_of
from cvxjax.solvers import loop
from tests import instances


@pytest.fixture(scope="module")
def solved():
    program = instances.program_of("two_layer/squared")
    return program, instances.solution_of("two_layer/squared", "Admm")


@pytest.mark.parametrize("field", ["params", "dual", "multipliers"])
def test_shapes_of_another_program_are_refused(solved, field):
    """Parameters of twice the blocks gave a number."""
    program, solution = solved
    axis = 0 if field == "dual" else 1
    twice = jnp.concatenate([getattr(solution, field)] * 2, axis=axis)
    with pytest.raises(ValueError, match=rf"want {field} \[.*; got \["):
        cj.certify(program, solution.replace(**{field: twice}))


def test_a_bound_above_the_objective_raises(solved):
    """A judge whose price is too low: its bound lies above what is attained."""
    program, solution = solved

    class Wrong(type(program)):
        def judge(self):
            judge = super().judge()
            object.__setattr__(judge, "polar_bound", lambda v, mu: 1e-3)
            return judge

    wrong = Wrong(**vars(program))
    with pytest.raises(cj.CertificateError, match="lies above the objective"):
        cj.certify(wrong, solution)


def test_a_bound_above_the_objective_is_a_status():
    """The same in a solver: Progress judges, whoever offers."""
    program = instances.program_of("two_layer/gated/squared")
    solver = cj.solvers.Fista(max_iters=10, check_every=10)
    progress = loop.Progress.start(solver, program, jnp.zeros(program.shape))
    progress = progress.replace(dual_bound=2 * progress.objective)
    judged = progress._judge(solver, program, progress.params, jnp.asarray(False))
    assert judged.status == cj.Status.INCONSISTENT
    assert "error in cvxjax" in cj.Status.INCONSISTENT.message


def test_optimal_is_said_only_within_the_tolerance(solved):
    program, solution = solved
    good = cj.certify(program, solution, tol=1e-3)
    assert "optimal among all networks" in str(good)
    far = solution.replace(dual=0.5 * solution.dual, params=0.5 * solution.params)
    text = str(cj.certify(program, far))
    assert "a bound over all networks" in text and "optimal" not in text


def test_no_neuron_that_helps_makes_beta_max_zero():
    """Labels below zero, and gates where nothing is active: it was 2e-13."""
    X = np.abs(np.random.default_rng(0).standard_normal((8, 2)))
    X[:, 1] = X[:, 0]
    y = np.random.default_rng(1).standard_normal(8)
    y -= X[:, 0] * (X[:, 0] @ y) / (X[:, 0] @ X[:, 0])
    patterns = cj.arrangements.enumerate_patterns(X)
    program = cj.programs.make_two_layer(X, y, patterns, beta=1.0)
    assert program.beta_max() == 0
    assert 0 < program.price_at_zero() < 1e-12


def test_derivatives_at_zero_blocks_are_least_subgradients():
    """`jax.grad(program.objective)` was NaN at zero; there only the loss pulls."""
    for name in ("two_layer/squared", "two_layer/gated/logistic"):
        program = instances.program_of(name)
        zero = jnp.zeros(program.shape)
        pull = program.adjoint(program.loss.gradient(program.forward(zero), program.y))
        slope = jax.grad(program.objective)(zero)
        np.testing.assert_allclose(slope, pull, rtol=1e-12)


def test_small_samples_do_not_make_a_margin_infeasible():
    """X = [[1], [1e-9]]: w = 1e9 has both margins, but was called infeasible."""
    X, y = np.asarray([[1.0], [1e-9]]), np.ones(2)
    patterns = cj.arrangements.enumerate_patterns(X)
    program = cj.programs.make_two_layer(
        X, y, patterns, beta=1.0, loss=cj.losses.hard_margin()
    )
    solution = cj.solve(program, cj.solvers.Admm(max_iters=2000))
    assert solution.status != cj.Status.INFEASIBLE
    point = np.zeros(program.shape)
    point[0, np.all(np.asarray(program.masks), axis=1)] = 1e9
    certificate = cj.certify(program, solution.replace(params=jnp.asarray(point)))
    assert certificate.cone_violation == 0 and np.isfinite(certificate.primal)


@pytest.mark.parametrize("gap", [1e-3, -1e-3])
def test_words_follow_the_gap(gap):
    for scope in cj.Scope:
        words = scope.claim(gap, 1e-8)
        assert "optimal" not in words and scope.networks in words
        assert scope.claim(gap, 1e-2).startswith("optimal among")


def test_bounds_hold_where_the_penalty_is_near_rounding():
    """Solver and judge add the same term, so that they agree on every bound.

    Rows of very different size, and a beta near what rounding hides.
    """
    rng = np.random.default_rng(4)
    X = rng.standard_normal((12, 2)) * 10.0 ** rng.uniform(-3, 12, (12, 1))
    y = rng.standard_normal(12)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=8)
    for beta in (1e-3, 0.1, 10.0):
        program = cj.programs.make_two_layer(X, y, patterns, beta=beta, gated=True)
        v = jnp.asarray(y)
        solver = float(loop.polar_gauge(program, v, None))
        assert solver == pytest.approx(program.judge().polar_bound(y, None), rel=1e-13)
        solution = cj.solve(program, cj.solvers.Fista(max_iters=200))
        certificate = cj.certify(program, solution)
        assert certificate.gap <= float(solution.gap) + 1e-9
        if solution.status == cj.Status.CONVERGED:
            assert certificate.gap <= 1e-8 + 1e-12


def test_the_term_for_rounding_covers_what_float64_loses():
    """Against exact sums of the same numbers, in fractions, for cancelling rows."""
    from fractions import Fraction

    rng = np.random.default_rng(5)
    for n in (10, 400):
        X = rng.standard_normal((n, 2)) * 10.0 ** rng.integers(-8, 8, (n, 1))
        v = rng.standard_normal(n) * 10.0 ** rng.integers(-8, 8, n)
        X[-1] = -(v[:-1] @ X[:-1]) / v[-1]
        got = v @ X
        exact = [
            float(
                sum(Fraction(a) * Fraction(b) for a, b in zip(v, column, strict=True))
            )
            for column in X.T
        ]
        allowed = gauge_rounding(terms_of(n, 0, 2), np.abs(v) @ lengths(X))
        assert np.linalg.norm(got - exact) <= allowed
        assert allowed <= gamma(4 * n + 40) * np.abs(v) @ lengths(X)


@pytest.mark.parametrize(
    "X, y",
    [
        ([[1.0], [1.0]], [1.0, -1.0]),
        ([[1e3, 0.0], [1e3, 0.0], [0.3, 2e-3]], [1.0, -1.0, 1.0]),
        ([[1.0, 2.0], [2.0, 4.0], [0.0, 1.0]], [1.0, -1.0, 1.0]),
    ],
)
def test_margins_that_no_network_has_are_infeasible_by_default(X, y):
    """Rays appear early in the dual vectors of InteriorPoint, which ended STALLED."""
    program = cj.programs.make_two_layer(X, y, beta=0.1, loss="hard_margin")
    assert cj.solve(program).status == cj.Status.INFEASIBLE
    if len(X) == 2:
        return
    met = cj.programs.make_two_layer(X[1:], y[1:], beta=0.1, loss="hard_margin")
    assert cj.certify(met, cj.solve(met).check()).gap <= 1e-8
