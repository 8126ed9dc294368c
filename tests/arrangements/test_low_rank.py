"""Truncated data: their patterns, and the optimum's bounds against CVXPY."""

import cvxpy as cp
import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import cvxjax as cj
from cvxjax.arrangements import enumerate_patterns, local_lipschitz, low_rank
from tests import references


def draw(n, d, seed, decay=1.0):
    """X [n, d] whose k-th column is about decay^k long, and y [n]."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)) * decay ** np.arange(d), rng.standard_normal(n)


def half_squares(y):
    return lambda z: cp.sum_squares(z - y) / 2


def distance(y):
    return lambda z: cp.norm(z - y)


def as_set(masks):
    return {tuple(mask) for mask in np.asarray(masks).tolist()}


def optimum(X, masks, beta, loss):
    """Optimal value, predictions [n] and weights [2, P, d]."""
    signs = 2.0 * np.asarray(masks).T - 1
    v, w = (cp.Variable((X.shape[1], signs.shape[1])) for _ in range(2))
    z = cp.sum(cp.multiply((signs + 1) / 2, X @ (v - w)), axis=1)
    penalty = cp.sum(cp.norm(v, axis=0)) + cp.sum(cp.norm(w, axis=0))
    cones = [cp.multiply(signs, X @ u) >= 0 for u in (v, w)]
    value = references.clarabel(
        cp.Problem(cp.Minimize(loss(z) + beta * penalty), cones)
    )
    return value, z.value, np.array([v.value.T, w.value.T])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_truncation_is_the_nearest_and_its_error_the_next_singular_value(rank, dtype):
    X = draw(9, 4, 0)[0].astype(dtype)
    low = low_rank(X, rank)
    U, s, Vt = np.linalg.svd(X.astype(float))
    expected = (U[:, :rank] * s[:rank]) @ Vt[:rank]
    eps = float(np.finfo(dtype).eps)
    assert low.data.dtype == dtype and low.rank == rank
    assert_allclose(low.data, expected, atol=8 * eps * s[0])
    assert low.error == pytest.approx(s[rank], rel=64 * eps)
    assert_allclose(low.basis.T @ low.basis, np.eye(rank), atol=8 * eps)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_patterns_are_those_of_the_truncation(rank):
    X = draw(9, 4, 1)[0]
    low = low_rank(X, rank)
    U, s, Vt = np.linalg.svd(X)
    coordinates = (U[:, :rank] * s[:rank]).round(12)
    assert low.patterns.scope is cj.Scope.EXHAUSTIVE
    assert as_set(low.patterns.masks) == as_set(enumerate_patterns(coordinates).masks)
    gates = np.asarray(low.patterns.gates)
    assert_array_equal(gates @ np.asarray(low.data).T >= 0, low.patterns.masks)
    assert_allclose(np.linalg.norm(gates, axis=1), 1)
    assert_allclose(low.project(gates), gates, atol=1e-14)


def test_a_row_orthogonal_to_what_is_kept_becomes_zero():
    X = np.diag([3.0, 2.0, 1.0]) @ np.linalg.qr(draw(3, 3, 2)[0])[0]
    low = low_rank(X, 2)
    assert_array_equal(low.data[2], 0)
    assert len(low.patterns.masks) == 4
    assert np.all(low.patterns.masks[:, 2])


@pytest.mark.parametrize("rank", [2, 3, 7])
def test_nothing_is_lost_from_the_rank_of_the_data_on(rank):
    X = draw(7, 2, 0)[0] @ draw(2, 3, 1)[0]
    low = low_rank(X, rank)
    assert low.rank == 2 and low.error == 0
    assert_array_equal(low.data, X)
    assert as_set(low.patterns.masks) == as_set(enumerate_patterns(X).masks)
    assert low.factor(3.0, beta=0.1) == 1


def test_more_patterns_than_the_limit_are_left_to_sampling():
    X = draw(9, 4, 0)[0]
    low = low_rank(X, 3, limit=73)
    assert low.patterns is None
    assert len(low_rank(X, 3, limit=74).patterns.masks) == 74
    sampled = cj.arrangements.sample_patterns(jax.random.key(0), low.data, num=20)
    cj.programs.make_two_layer(low.data, np.ones(9), sampled, beta=1.0)


@pytest.mark.parametrize("beta", [0.05, 0.2])
@pytest.mark.parametrize("seed", [0, 1])
def test_bound_of_a_lipschitz_loss(seed, beta):
    X, y = draw(7, 3, seed)
    low = low_rank(X, 2)
    best = optimum(X, enumerate_patterns(X).masks, beta, distance(y))[0]
    data = np.asarray(low.data)
    value = optimum(data, low.patterns.masks, beta, distance(y))[0]
    assert best <= value * (1 + 1e-7)
    assert value <= low.factor(1.0, beta=beta) * best
    assert low.factor(1.0, beta=beta) == pytest.approx(
        1 + np.linalg.norm(X - data, 2) / beta
    )


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("decay", [1.0, 0.1])
def test_bound_of_the_squared_loss(rank, decay):
    for seed in range(3):
        X, y = draw(7, 3, seed, decay)
        low, beta = low_rank(X, rank), 0.1
        best = optimum(X, enumerate_patterns(X).masks, beta, half_squares(y))[0]
        data = np.asarray(low.data)
        value, z, _ = optimum(data, low.patterns.masks, beta, half_squares(y))
        residual = local_lipschitz(z - y)
        assert best <= value * (1 + 1e-7)
        assert value <= low.factor(residual, beta=beta) * best * (1 + 1e-7)
        assert residual <= np.sqrt(2 * value) <= np.linalg.norm(y)


def test_bound_of_the_logistic_loss():
    X, y = draw(7, 3, 0, 0.3)
    y, beta, low = np.sign(y), 0.1, low_rank(X, 2)

    def loss(z):
        return cp.sum(cp.logistic(-cp.multiply(y, z)))

    best = optimum(X, enumerate_patterns(X).masks, beta, loss)[0]
    value, z, _ = optimum(np.asarray(low.data), low.patterns.masks, beta, loss)
    gradient = -y / (1 + np.exp(y * z))
    assert best <= value * (1 + 1e-7)
    assert value <= low.factor(np.linalg.norm(gradient), beta=beta) * best * (1 + 1e-7)


def test_the_bound_is_attained_to_a_tenth():
    # Only the second axis, which is cut off, tells anything of the labels.
    X, y, beta = np.array([[10.0, 0.0], [0.0, 1.0]]), np.array([0.0, 1.0]), 0.1
    low = low_rank(X, 1)
    best = optimum(X, enumerate_patterns(X).masks, beta, distance(y))[0]
    value = optimum(np.asarray(low.data), low.patterns.masks, beta, distance(y))[0]
    assert best == pytest.approx(beta) and value == pytest.approx(1)
    assert low.factor(1.0, beta=beta) * best == pytest.approx(1.1)


def test_weights_of_the_truncation_cost_the_same_on_the_data():
    X, y = draw(8, 4, 0, 0.4)
    low, beta = low_rank(X, 2), 0.1
    data, basis = np.asarray(low.data), np.asarray(low.basis)
    value, _, w = optimum(data, low.patterns.masks, beta, half_squares(y))
    outside = np.random.default_rng(1).standard_normal(4)
    outside -= basis @ (basis.T @ outside)
    near = low.project(w + outside)
    assert_allclose(near, low.project(w), atol=1e-10)
    blocks = np.concatenate(np.asarray(near))
    a = np.repeat([1.0, -1.0], len(blocks) // 2)
    cost = np.sum((references.relu_network(blocks, a, X) - y) ** 2) / 2
    cost += beta * np.sum(np.linalg.norm(blocks, axis=1))
    assert cost == pytest.approx(value, rel=1e-7)


def test_local_lipschitz_holds_away_from_the_optimum():
    X, y = draw(7, 3, 0)
    low, beta = low_rank(X, 2), 0.1
    data, masks = np.asarray(low.data), low.patterns.masks
    value, z, w = optimum(data, masks, beta, half_squares(y))
    for scale in (0.0, 0.9, 1.5):
        penalty = np.sum(np.linalg.norm(scale * w, axis=-1))
        cost = np.sum((scale * z - y) ** 2) / 2 + beta * penalty
        found = local_lipschitz(scale * z - y, excess=cost - value)
        assert found >= np.linalg.norm(z - y) * (1 - 1e-6)


@pytest.mark.parametrize("rank", [0, -1, 1.5, True, "two"])
def test_refuses_bad_ranks(rank):
    with pytest.raises(ValueError, match="want rank, an integer >= 1; got"):
        low_rank(np.ones((2, 2)), rank)


@pytest.mark.parametrize("X", [[[np.nan]], [1.0], np.zeros((0, 1)), [["a"]]])
def test_refuses_bad_data(X):
    with pytest.raises(ValueError, match="want X"):
        low_rank(X, 1)


def test_refuses_arguments_out_of_range():
    low = low_rank(np.ones((2, 2)), 1)
    for lipschitz in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="want a finite lipschitz >= 0; got"):
            low.factor(lipschitz, beta=1.0)
    for beta in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="want a finite beta > 0; got"):
            low.factor(1.0, beta=beta)
    with pytest.raises(ValueError, match="want a finite gradient"):
        local_lipschitz([[1.0]])
    with pytest.raises(ValueError, match="want a finite excess >= 0; got -1"):
        local_lipschitz([1.0], excess=-1.0)
    with pytest.raises(ValueError, match="want a finite smoothness > 0; got 0"):
        local_lipschitz([1.0], smoothness=0.0)


def test_zero_data():
    low = low_rank(np.zeros((3, 2)), 1)
    assert low.error == 0 and len(low.patterns.masks) == 1
