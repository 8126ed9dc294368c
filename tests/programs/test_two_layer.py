"""The two-layer theorem on data: convex optimum, network, and local search agree."""

import functools
import itertools

import hypothesis
import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax import recovery
from tests import instances
from tests.references import (
    half_squares,
    relu_network,
    relu_search,
    two_layer_optimum,
    two_layer_violation,
)


def make(X, y, beta, **options):
    patterns = cj.arrangements.enumerate_patterns(X)
    return cj.programs.make_two_layer(X, y, patterns, beta=beta, **options)


SOLVER = cj.solvers.Admm(tol=1e-8)


def network_of(program, params):
    """u [m, d], a [m] of the recovered network."""
    return recovery.two_layer_neurons(program.recover(params))


def objective_of(u, a, X, y, beta):
    """1/2 ||f(X) - y||^2 + beta/2 (||u||^2 + ||a||^2), in NumPy."""
    return 0.5 * np.sum((relu_network(u, a, X) - y) ** 2) + beta * half_squares(u, a)


# Thirty problems of five shapes in general position: one compilation for each shape.
SHAPES = [(12, 2), (8, 2), (10, 3), (6, 3), (9, 1)]
BETAS = [1.0, 0.3, 0.1, 0.03, 0.01, 0.003]
SCALES = [1.0, 0.3, 3.0, 1.0, 1.0, 2.0]


@functools.cache
def random_problem(shape, index):
    X, y = instances.draw_data(*shape, seed=100 + index)
    return make(SCALES[index] * X, y, BETAS[index])


@functools.cache
def random_solution(shape, index):
    return cj.solve(random_problem(shape, index), SOLVER)


RANDOM = pytest.mark.parametrize(
    "shape, index",
    list(itertools.product(SHAPES, range(6))),
    ids=lambda value: str(value).replace(" ", ""),
)


@RANDOM
def test_random_problem_is_solved_to_certified_global_optimality(shape, index):
    program, solution = random_problem(shape, index), random_solution(shape, index)
    X, y = np.asarray(program.X), np.asarray(program.y)
    optimum = two_layer_optimum(program)
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 1e-6
    assert certificate.cone_violation <= 1e-12
    assert certificate.scope is cj.Scope.EXHAUSTIVE
    assert_allclose(certificate.primal, optimum, rtol=1e-6, atol=1e-8)
    assert certificate.dual <= optimum * (1 + 1e-8) + 1e-10

    u, a = network_of(program, solution.params)
    value = objective_of(u, a, X, y, BETAS[index])
    assert_allclose(value, certificate.primal, rtol=1e-8)
    fit = program.forward(solution.params)
    assert_allclose(relu_network(u, a, X), fit, atol=1e-10)
    u, a = recovery.prune(*recovery.merge(u, a, X), X)
    assert len(a) <= len(y)
    assert_allclose(objective_of(u, a, X, y, BETAS[index]), value, rtol=1e-6)


ADAM = optax.adam(2e-2)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_training_run_of_100_gets_below_the_certificate(shape):
    """And the best comes close, so that the bound says something."""
    best = []
    for index in range(len(BETAS)):
        program = random_problem(shape, index)
        certificate = cj.certify(program, random_solution(shape, index))
        result = cj.networks.train(
            jax.random.key(index),
            cj.networks.TwoLayer(16),
            (program.X, program.y),
            ADAM,
            steps=1500,
            num_seeds=100,
            weight_decay=BETAS[index],
            record_every=500,
        )
        lowest = float(np.min(np.asarray(result.objective)))
        assert lowest >= certificate.dual * (1 - 1e-12)
        best.append(lowest / certificate.primal)
    assert min(best) <= 1.01


def test_local_search_finds_the_convex_optimum():
    """Adam on the network itself, in NumPy: the theorem without this library.

    The slides' form ||.||^2 + beta (||W1||^2 + ||W2||^2) is twice ours at one beta.
    """
    X, y = instances.draw_data(8, 2, seed=5)
    beta = 0.1
    program = make(X, y, beta)
    optimum = two_layer_optimum(program)
    found = relu_search(X, y, beta, width=8, starts=60)
    assert_allclose(found[0], optimum, rtol=1e-6)
    assert np.all(found >= optimum * (1 - 1e-8))
    u, a = network_of(program, cj.solve(program, SOLVER).params)
    slides = np.sum((relu_network(u, a, X) - y) ** 2) + beta * np.sum(u**2)
    slides += beta * np.sum(a**2)
    assert_allclose(slides, 2 * found[0], rtol=1e-6)


def test_weights_of_squared_errors_are_rows_scaled_by_their_roots():
    X, y = instances.draw_data(8, 2)
    weights = np.geomspace(0.1, 10, 8)
    roots = np.sqrt(weights)
    patterns = cj.arrangements.enumerate_patterns(X)
    loss = cj.losses.weighted(cj.losses.squared(), weights)
    weighted = cj.programs.make_two_layer(X, y, patterns, beta=0.1, loss=loss)
    scaled = cj.programs.make_two_layer(
        roots[:, None] * X, roots * y, patterns, beta=0.1
    )
    solver = cj.solvers.SemismoothNewton(tol=1e-9)
    one, other = (cj.solve(p, solver).check() for p in (weighted, scaled))
    assert_allclose(one.objective, other.objective, rtol=1e-8)
    assert_allclose(weighted.beta_max(), scaled.beta_max(), rtol=1e-9)
    assert cj.certify(weighted, one).gap <= 1e-8


# The talk's own example.
DECK_X = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]])
DECK_Y = np.array([-0.259, 1.056, -2.251])


def test_the_talks_example_has_four_patterns():
    masks = np.asarray(cj.arrangements.enumerate_patterns(DECK_X).masks)
    want = {(1, 1, 1), (1, 1, 0), (0, 0, 1), (0, 0, 0)}
    assert {tuple(row) for row in masks.astype(int).tolist()} == want


def test_the_talks_printed_constraints_are_too_few():
    """Only D_i X u >= 0: the value 0.43925 is that of no constraints at all, and no
    network attains it; the optimum is 0.48755. y is rounded in the source."""
    relu, gated = make(DECK_X, DECK_Y, 0.05), make(DECK_X, DECK_Y, 0.05, gated=True)
    values = []
    for program, want in ((relu, 0.48755), (gated, 0.43925)):
        solution = cj.solve(program).check()
        assert_allclose(solution.objective, two_layer_optimum(program), rtol=1e-6)
        assert abs(float(solution.objective) - want) <= 1e-3
        values.append(float(solution.objective))
    found = relu_search(DECK_X, DECK_Y, 0.05, width=8, starts=10)
    assert_allclose(found[0], values[0], rtol=1e-6)
    assert values[1] < 0.95 * values[0]


TOY_X = np.column_stack([np.arange(-2.0, 3.0), np.ones(5)])
TOY_Y = np.array([1.0, -1.0, 1.0, 1.0, -1.0])


@pytest.mark.parametrize(
    "beta, want", [(1e-2, 0.100074), (1e-3, 0.010117), (1e-4, 0.001013)]
)
def test_five_points_on_a_line(beta, want):
    """Published optima of the five-point toy, to their printed digits."""
    program = make(TOY_X, TOY_Y, beta)
    assert program.shape == (2, 10, 2)
    solution = cj.solve(program).check()
    assert abs(float(solution.objective) - want) <= 5.1e-7
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 1e-6
    assert_allclose(certificate.primal, two_layer_optimum(program), rtol=1e-5)


def test_gated_is_a_lower_bound_and_its_network_is_gated():
    relu, gated = (
        instances.program_of(n)
        for n in ("two_layer/squared", "two_layer/gated/squared")
    )
    assert instances.optimum_of("two_layer/gated/squared") < instances.optimum_of(
        "two_layer/squared"
    )
    params = instances.solution_of("two_layer/gated/squared", "Admm").params
    variables = gated.recover(params)
    u, a = recovery.two_layer_neurons(variables)
    X, masks = np.asarray(gated.X), np.asarray(gated.masks)
    fit = np.where(masks, a[:, None] * (u @ X.T), 0).sum(axis=0)
    assert_allclose(fit, gated.forward(params), atol=1e-12)
    fresh = np.random.default_rng(0).standard_normal((20, 2))
    active = fresh @ np.asarray(gated.gates).T >= 0
    want = np.sum(active * (fresh @ (a[:, None] * u).T), axis=1)
    assert_allclose(gated.network().apply(variables, fresh), want, atol=1e-12)
    assert relu.network() == cj.networks.TwoLayer(None)


def test_gated_recovery_of_two_signs_can_only_gain():
    gated = instances.program_of("two_layer/gated/squared")
    w = np.random.default_rng(1).standard_normal(gated.shape)
    u, a = network_of(gated, w)
    assert len(a) == gated.shape[1]
    assert_allclose(half_squares(u, a), np.sum(np.linalg.norm(w[0] - w[1], axis=-1)))
    assert half_squares(u, a) < float(gated.penalty(jnp.asarray(w)))


def test_both_signs_of_one_pattern_are_two_relu_neurons():
    program = instances.program_of("two_layer/squared")
    interior = np.asarray(program.cones.interior)
    w = np.stack([interior, 2 * interior])
    u, a = network_of(program, w)
    assert len(a) == 2 * program.shape[1]
    X = np.asarray(program.X)
    assert_allclose(relu_network(u, a, X), program.forward(jnp.asarray(w)), atol=1e-12)


def test_recover_refuses_other_shapes():
    program = instances.program_of("two_layer/squared")
    with pytest.raises(ValueError, match=r"want params \[2, 16, 2\]; got \[2, 3, 3\]"):
        program.recover(np.zeros((2, 3, 3)))
    gated = instances.program_of("two_layer/gated/squared")
    with pytest.raises(ValueError, match=r"want params \[2, 16, 2\]; got \[2, 3, 2\]"):
        gated.recover(np.zeros((2, 3, 2)))


def test_integers_are_cast_and_nothing_else_changes():
    X = np.array([[1, 2], [3, -1], [-2, 1], [0, 1], [2, 2], [1, -1], [4, 1], [-1, -3]])
    y = np.arange(8)
    whole, real = make(X, y, 1), make(X * 1.0, y * 1.0, 1.0)
    assert whole.X.dtype == whole.y.dtype == np.float64
    want = cj.solve(real, SOLVER).check()
    assert_allclose(cj.solve(whole, SOLVER).objective, want.objective, rtol=1e-12)


def test_equal_rows_are_active_together():
    """Four equal rows and one more: two lines through zero, hence four patterns."""
    X = np.ones((5, 6))
    X[0, 0] = 0
    masks = np.asarray(make(X, np.arange(5), 0.1).masks)
    assert np.all(masks[:, 1:] == masks[:, 1:2])
    assert len(masks) == 4


# Integer data with duplicate, parallel and zero rows; few shapes, so that few compile.
INTEGER_SHAPES = [(8, 2), (6, 3), (5, 1), (1, 3), (3, 6)]


@st.composite
def integer_problems(draw):
    n, d = draw(st.sampled_from(INTEGER_SHAPES))
    X = draw(hnp.arrays(np.int64, (n, d), elements=st.integers(-2, 2)))
    y = draw(hnp.arrays(np.int64, n, elements=st.integers(-3, 3)))
    return X, y, draw(st.sampled_from([0.01, 0.1, 1.0]))


@hypothesis.settings(max_examples=12, deadline=None, derandomize=True)
@hypothesis.given(integer_problems())
@hypothesis.example((np.array([[1], [1], [0], [-2], [2]]), np.arange(5), 0.1))
@hypothesis.example((np.zeros((6, 3), int), np.arange(6), 0.1))
@hypothesis.example((np.ones((6, 3), int), np.arange(6), 0.1))
@hypothesis.example((np.ones((3, 6), int), np.zeros(3, int), 0.1))
def test_integer_data(problem):
    X, y, beta = problem
    patterns = instances.repeated(X)
    program = cj.programs.make_two_layer(X, y, patterns, beta=beta)
    solution = cj.solve(program, cj.solvers.Admm(tol=1e-7)).check()
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 1e-6
    assert two_layer_violation(program, solution.params) <= 1e-12
    assert certificate.primal >= certificate.dual - 1e-12
    u, a = network_of(program, solution.params)
    value = objective_of(u, a, X, y, beta)
    assert_allclose(value, float(solution.objective), rtol=1e-8, atol=1e-12)
    optimum = two_layer_optimum(program)
    assert abs(value - optimum) <= 1e-6 * max(1, optimum)
