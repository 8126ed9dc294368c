"""Column generation against every pattern, by CVXPY, from a handful of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax import recovery
from cvxjax.solvers import ColumnGeneration
from cvxjax.solvers.columns.column_generation import _PricingRounds
from cvxjax.watch import Watch
from tests import instances
from tests.references import (
    half_squares,
    relu_network,
    two_layer_optimum,
    two_layer_violation,
)

Status = cj.Status


def planted(n, d, seed=0):
    """A network of three neurons, and noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, 3)), 0) @ rng.standard_normal(3)
    return X, y / y.std() + 0.1 * rng.standard_normal(n)


def make(X, y, num=5, **options):
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=num)
    return cj.programs.make_two_layer(X, y, patterns, beta=0.3, **options)


def optimum_of_all(X, y, **options):
    patterns = cj.arrangements.enumerate_patterns(X)
    options = {"beta": 0.3} | options
    return two_layer_optimum(cj.programs.make_two_layer(X, y, patterns, **options))


@functools.cache
def rank_three():
    X, y = planted(20, 3)
    program, lines = make(X, y), []
    report = lambda *line: lines.append(line)  # noqa: E731
    solution = cj.solve(program, ColumnGeneration(tol=1e-7), report=report)
    return program, solution, lines


def test_five_of_382_patterns_reach_the_optimum_of_all():
    program, solution, _ = rank_three()
    X, y = np.asarray(program.X), np.asarray(program.y)
    solution.check()
    optimum = optimum_of_all(X, y)
    certificate = cj.certify(program, solution)
    assert certificate.scope is solution.scope is cj.Scope.EXHAUSTIVE
    assert certificate.gap <= 1e-6
    assert abs(certificate.primal - optimum) <= 1e-6 * optimum
    assert certificate.dual <= optimum * (1 + 1e-8)
    assert float(solution.dual_bound) <= optimum * (1 + 1e-8)
    assert two_layer_optimum(program) > 1.05 * optimum
    assert len(solution.patterns.masks) <= len(y) + 5


def test_the_solution_is_of_its_own_patterns():
    program, solution, _ = rank_three()
    X, y = np.asarray(program.X), np.asarray(program.y)
    grown = program.with_patterns(solution.patterns.masks, solution.patterns.gates)
    assert np.array_equal(grown.masks, solution.patterns.masks)
    assert np.array_equal(grown.masks[:5], program.masks)
    assert grown.scope is cj.Scope.SAMPLED
    assert two_layer_violation(grown, solution.params) <= 1e-12
    assert_allclose(grown.objective(solution.params), solution.objective, rtol=1e-12)
    variables = program.recover(solution.params)
    u, a = recovery.two_layer_neurons(variables)
    value = 0.5 * np.sum((relu_network(u, a, X) - y) ** 2) + 0.3 * half_squares(u, a)
    assert_allclose(value, solution.objective, rtol=1e-10)
    z = program.network().apply(variables, X)
    assert_allclose(z, grown.forward(solution.params), atol=1e-12)


def test_rounds_are_reported_and_kept():
    _, solution, lines = rank_three()
    assert lines[0][0] == 0
    objectives = [line[1] for line in lines]
    assert np.all(np.diff(objectives) <= 0)  # those within a round among them
    lines = {line[0]: line for line in reversed(lines)}.values()
    lines = sorted(lines)
    iterations, objectives, bounds, gaps = map(np.asarray, zip(*lines, strict=True))
    history = solution.history
    assert iterations.tolist() == history.iteration.tolist()
    assert np.all(np.diff(objectives) <= 0)
    assert np.all(bounds <= objectives[-1])
    assert gaps[-1] <= 1e-7
    assert_allclose(objectives, history.objective, rtol=1e-14)
    assert_allclose(history.gap[-1], solution.gap, rtol=1e-6)


def test_a_search_proves_no_bound():
    program, _, _ = rank_three()
    rounds = _PricingRounds(program, ColumnGeneration(), Watch(), None)
    for exact in (False, True):
        rounds.oracle.low_rank = exact
        while rounds.advance() is cj.Status.RUNNING and rounds.told[-1] > 1e-3:
            assert rounds.steps < 50
        assert (rounds.bound > rounds.zero) == exact


def test_above_rank_three_the_search_finds_the_optimum():
    """d = 4, 186 patterns, none of them told; a relaxation bounds what it missed."""
    X, y = planted(9, 4)
    program = make(X, y)
    solution = cj.solve(program, ColumnGeneration(tol=1e-6))
    assert solution.status == cj.Status.SEARCHED
    assert float(solution.price) <= 1 + 1e-5
    assert int(solution.searches) >= 1024
    assert solution.scope is cj.Scope.SAMPLED
    with pytest.raises(cj.SolverError, match="SEARCHED"):
        solution.check()
    optimum = optimum_of_all(X, y)
    assert abs(float(solution.objective) - optimum) <= 1e-6 * optimum
    sampled = cj.certify(program, solution)
    assert sampled.scope is cj.Scope.SAMPLED
    assert sampled.gap <= 1e-6
    rigorous = cj.certify(program, solution, scope=cj.Scope.GLOBAL_BOUND)
    assert rigorous.scope is cj.Scope.GLOBAL_BOUND
    assert rigorous.dual <= optimum * (1 + 1e-8)
    assert rigorous.gap <= 0.05


def solved_hinge(patterns):
    X, y = instances.draw_data(8, 2)
    options = {"loss": cj.losses.hinge(), "beta": 0.1}
    program = cj.programs.make_two_layer(X, np.sign(y), patterns(X), **options)
    solution = cj.solve(program, ColumnGeneration(tol=1e-6)).check()
    return program, solution, optimum_of_all(X, np.sign(y), **options)


@pytest.mark.parametrize("patterns", [instances.sampled, instances.all_inactive])
def test_hinge_loss_from_patterns_of_little_use(patterns):
    program, solution, optimum = solved_hinge(patterns)
    certificate = cj.certify(program, solution)
    assert certificate.scope is cj.Scope.EXHAUSTIVE
    assert certificate.gap <= 2e-6
    assert abs(certificate.primal - optimum) <= 2e-6 * max(1, optimum)


def test_starts_from_parameters_and_never_ends_above_them():
    program, solution, _ = rank_three()
    first = cj.solve(program, ColumnGeneration(tol=1e-9, max_iters=1))
    assert first.status == cj.Status.MAX_ITERATIONS
    assert int(first.iterations) == 1
    again = cj.solve(program, ColumnGeneration(tol=1e-9, max_iters=2), start=first)
    assert int(again.iterations) == 2
    assert float(again.objective) <= float(first.objective)
    assert float(again.objective) >= float(solution.dual_bound)
    with pytest.raises(cj.SolverError, match="MAX_ITERATIONS"):
        again.check()


def test_refuses_gates_and_constraints():
    for name, reason in (
        ("two_layer/gated/squared", "the program is gated"),
        ("two_layer/interpolation", "the constraint of interpolation"),
    ):
        with pytest.raises(ValueError, match=f"ColumnGeneration cannot .*{reason}"):
            cj.solve(instances.program_of(name), ColumnGeneration())


def test_numbers_that_are_not_finite():
    program, _, _ = rank_three()
    program = program.replace(y=program.y.at[0].set(jnp.nan))
    solution = cj.solve(program, ColumnGeneration())
    assert solution.status == cj.Status.NONFINITE


def test_time_that_ends_within_the_last_proof_ends_the_solve(monkeypatch):
    X, y = planted(20, 3)
    program, watch = make(X, y), Watch()
    solver = ColumnGeneration(tol=1e-9, max_iters=1)
    rounds = _PricingRounds(program, solver, watch, None)
    rounds.drive(1)
    monkeypatch.setattr(watch, "_deadline", 0.0)
    solution = rounds.finish(Status.STALLED)
    assert solution.status == Status.TIME_LIMIT
    assert cj.certify(program, solution).gap < 1
