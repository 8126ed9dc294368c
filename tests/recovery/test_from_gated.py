"""Cone decompositions against CVXPY, and the networks they make against NumPy."""

import cvxpy as cp
import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import cvxjax as cj
from cvxjax.recovery import from_gated as decomposition
from tests import references


def draw_cone(n, d, seed):
    """Unit rows of one cell of Gaussian data [n, d], a point inside, and a vector."""
    rng = np.random.default_rng(seed)
    X, g, u = (rng.standard_normal(shape) for shape in ((n, d), d, d))
    A = np.sign(X @ g)[:, None] * X
    return A / np.linalg.norm(A, axis=1)[:, None], g / np.linalg.norm(g), u


def shortest(A, u):
    """min ||v|| + ||w|| over v - w = u in the cone, by CVXPY."""
    w = cp.Variable(len(u))
    length = cp.norm(w) + cp.norm(w + u)
    return references.clarabel(
        cp.Problem(cp.Minimize(length), [A @ w >= 0, A @ (w + u) >= 0])
    )


def gated_program(n, d, *, seed=0, beta=0.1, loss="squared", num=None):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    patterns = (
        cj.arrangements.enumerate_patterns(X)
        if num is None
        else cj.arrangements.sample_patterns(jax.random.key(seed), X, num=num)
    )
    made = getattr(cj.losses, loss)()
    y = np.sign(y) if loss == "logistic" else y
    return cj.programs.make_two_layer(X, y, patterns, beta=beta, loss=made, gated=True)


@pytest.fixture(scope="module")
def solved():
    """All patterns of [6, 2], the optimal gated network, and its ReLU form."""
    program = gated_program(6, 2)
    params = cj.solve(program, cj.solvers.Fista(tol=1e-10)).check().params
    return program, params, decomposition.to_relu(program, params)


@pytest.mark.parametrize("n, d", [(6, 2), (12, 4), (30, 3), (3, 3), (2, 5), (1, 3)])
def test_pairs_are_the_shortest(n, d):
    for seed in range(4):
        A, inside, u = draw_cone(n, d, seed)
        v, w, bound = decomposition.decompose(A, u, inside)
        length = np.linalg.norm(v) + np.linalg.norm(w)
        assert length == pytest.approx(shortest(A, u), rel=1e-9)
        assert bound <= length * (1 + 1e-14)
        assert bound == pytest.approx(length, rel=1e-12)
        assert_allclose(v - w, u, atol=1e-14 * length)
        assert min(np.min(A @ v), np.min(A @ w)) >= -1e-14 * length


def test_pairs_stay_within_the_bound_of_independent_rows():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        A, inside, u = draw_cone(4, 6, seed)
        v, w, _ = decomposition.decompose(A, u, inside)
        length = np.linalg.norm(v) + np.linalg.norm(w)
        closed = np.linalg.pinv(A) @ np.maximum(-A @ u, 0)
        assert length <= np.linalg.norm(closed) + np.linalg.norm(closed + u) + 1e-12
        assert length <= (1 + 2 * np.linalg.cond(A)) * np.linalg.norm(u)
        scale = rng.uniform(0.1, 10)
        again = decomposition.decompose(A, scale * u, inside)
        assert_allclose(again[0], scale * v, atol=1e-11 * scale * length)


def test_a_vector_of_the_cone_stays_whole():
    A, inside, _ = draw_cone(6, 3, 0)
    for sign in (1, -1):
        v, w, bound = decomposition.decompose(A, sign * inside, inside)
        assert_array_equal((v, w)[sign < 0], inside)
        assert_array_equal((w, v)[sign < 0], 0)
        assert bound == pytest.approx(1)


@pytest.mark.parametrize("width", [1e-2, 1e-5, 1e-8])
def test_narrow_cones_have_long_pairs(width):
    # {|x_2| <= width x_1}: by symmetry (0, 1) = v - w with v, w = (1/width, +-1) / 2.
    A = np.array([[width, 1], [width, -1]]) / np.hypot(width, 1)
    v, w, bound = decomposition.decompose(A, np.array([0.0, 1]), np.array([1.0, 0]))
    assert_allclose([v, w], [[0.5 / width, 0.5], [0.5 / width, -0.5]], rtol=1e-7)
    length = np.hypot(1 / width, 1)
    assert length * (1 - 1e-7) <= bound <= length * (1 + 1e-14)


@pytest.mark.parametrize("failure", [RuntimeError, FloatingPointError])
def test_where_rounding_ends_it_the_pair_is_feasible_and_the_bound_holds(
    monkeypatch, failure
):
    def fails(*_):
        raise failure

    monkeypatch.setattr("scipy.optimize.nnls", fails)
    A, inside, u = draw_cone(6, 3, 1)
    v, w, bound = decomposition.decompose(A, u, inside)
    assert_allclose(v - w, u, atol=1e-14)
    assert min(np.min(A @ v), np.min(A @ w)) >= -1e-14
    assert bound <= shortest(A, u)


def test_network_objective_and_order(solved):
    gated, params, relu = solved
    X, y = np.asarray(gated.X), np.asarray(gated.y)
    u, a = cj.recovery.two_layer_neurons(relu.program.recover(relu.params))
    fit = references.relu_network(u, a, X)
    assert_allclose(fit, gated.forward(params), atol=1e-12 * np.abs(relu.params).max())
    value = np.sum((fit - y) ** 2) / 2 + 0.1 * references.half_squares(u, a)
    assert value == pytest.approx(relu.objective, rel=1e-10)
    assert references.two_layer_violation(relu.program, relu.params) <= 1e-15
    assert references.two_layer_optimum(gated) == pytest.approx(relu.gated, rel=1e-8)
    optimum = references.two_layer_optimum(relu.program)
    assert relu.gated < optimum < relu.objective
    assert relu.ratio == relu.objective / relu.gated > 1


def test_no_decomposition_of_the_network_has_a_lower_objective(solved):
    gated, params, relu = solved
    whole = np.asarray(params[0] - params[1])
    X, masks = np.asarray(gated.X), np.asarray(gated.masks)
    least = sum(
        shortest((2.0 * mask - 1)[:, None] * X, u)
        for mask, u in zip(masks, whole, strict=True)
        if np.any(u)
    )
    fit = np.asarray(gated.forward(params)) - np.asarray(gated.y)
    assert relu.objective == pytest.approx(fit @ fit / 2 + 0.1 * least, rel=1e-9)
    assert relu.bound == pytest.approx(relu.objective, rel=1e-10)
    assert relu.bound <= relu.objective * (1 + 1e-14)


@pytest.mark.parametrize("n, d, num", [(20, 3, 40), (4, 6, 10)])
def test_predictions_stay(n, d, num):
    program = gated_program(n, d, num=num)
    params = np.random.default_rng(1).standard_normal(program.shape)
    params[:, 3] = 0
    params[1, 4] = params[0, 4]
    relu = decomposition.to_relu(program, params)
    size = np.max(np.abs(relu.params))
    assert_allclose(
        relu.program.forward(relu.params), program.forward(params), atol=1e-12 * size
    )
    assert references.two_layer_violation(relu.program, relu.params) <= 1e-14
    assert_array_equal(relu.params[:, 3:5], 0)
    assert relu.program.scope is cj.Scope.SAMPLED
    assert relu.bound <= relu.objective * (1 + 1e-14)


def test_other_losses_and_float32():
    program = gated_program(8, 2, loss="logistic")
    params = cj.solve(program).check().params
    relu = decomposition.to_relu(program, params)
    exact = float(program.objective(params))
    assert relu.gated <= exact * (1 + 1e-12)
    assert relu.gated <= references.two_layer_optimum(relu.program) <= relu.objective

    small = jax.tree.map(
        lambda x: x.astype(np.float32) if x.dtype == np.float64 else x, program
    )
    found = decomposition.to_relu(small, np.asarray(params, np.float32))
    assert found.params.dtype == np.float32
    assert found.objective == pytest.approx(relu.objective, rel=1e-3)
    assert references.two_layer_violation(found.program, found.params) <= 1e-6


def test_zero_rows_repeated_rows_and_duplicate_patterns():
    X = np.random.default_rng(0).standard_normal((6, 2))
    X[0], X[1] = 0, X[2]
    patterns = cj.arrangements.enumerate_patterns(X)
    index = np.r_[0, 0, np.arange(len(patterns.masks))]
    patterns = patterns.replace(
        masks=patterns.masks[index], gates=patterns.gates[index]
    )
    program = cj.programs.make_two_layer(X, X[:, 0], patterns, beta=0.1, gated=True)
    params = np.random.default_rng(1).standard_normal(program.shape)
    relu = decomposition.to_relu(program, params)
    assert_allclose(
        relu.program.forward(relu.params), program.forward(params), atol=1e-10
    )
    assert references.two_layer_violation(relu.program, relu.params) <= 1e-14


def test_refuses_what_it_cannot_decompose():
    program = gated_program(6, 2)
    params = np.zeros(program.shape)
    with pytest.raises(
        ValueError, match="want a gated program, .*; got one with cones"
    ):
        relu = decomposition.to_relu(program, params).program
        decomposition.to_relu(relu, params)
    with pytest.raises(ValueError, match=r"want params \[2, 12, 2\]; got \[2, 2\]"):
        decomposition.to_relu(program, params[:, 0])
    with pytest.raises(ValueError, match="want finite params; got NaN"):
        decomposition.to_relu(program, params + np.nan)


def test_gates_on_hyperplanes_are_refused_where_a_neuron_uses_them():
    X = np.array([[1.0, 0], [-1, 0], [0, 1]])
    patterns = cj.arrangements.from_gates(X, [[0.0, 1], [1, 1]])
    program = cj.programs.make_two_layer(X, np.ones(3), patterns, beta=0.1, gated=True)
    params = np.zeros(program.shape)
    params[0, 1] = 1
    relu = decomposition.to_relu(program, params)
    assert relu.params.shape == (2, 1, 2)
    params[0, 0] = 1
    with pytest.raises(
        ValueError, match="want gates off the hyperplanes.*; got 1 neur"
    ):
        decomposition.to_relu(program, params)
