"""The relaxation never lies below the best neuron, and is close to it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import cvxjax as cj
from cvxjax.bounds.duals import improve_dual
from cvxjax.bounds.movable import Movable
from cvxjax.bounds.relaxed import Relaxation, neuron_bound
from tests.bounds.test_exact import best_of_cells, draw


@pytest.mark.parametrize("seed", range(30))
def test_bound_of_small_problems(seed):
    X, v = draw(seed)
    want = best_of_cells(X, v)
    for steps in (1, 20):
        assert neuron_bound(X, v, steps=steps) >= want * (1 - 1e-13)
    size = np.abs(v) @ np.linalg.norm(X, axis=1)  # counts where nothing can be gained
    assert neuron_bound(X, v, steps=300) <= 1.35 * want + 0.02 * size


@pytest.mark.parametrize("n, d", [(12, 4), (8, 5), (6, 7)])
def test_bound_above_rank_three(n, d):
    rng = np.random.default_rng(n)
    ratios = []
    for _ in range(3):
        X, v = rng.standard_normal((n, d)), rng.standard_normal(n)
        ratios.append(neuron_bound(X, v, steps=300) / best_of_cells(X, v))
    assert min(ratios) >= 1 - 1e-13
    assert np.median(ratios) <= 1.1


def test_bound_is_above_any_neuron_of_a_large_problem():
    rng = np.random.default_rng(2)
    X, v = rng.standard_normal((300, 20)), rng.standard_normal(300)
    u = rng.standard_normal((2000, 20))
    for _ in range(30):
        u = (u @ X.T > 0) * v @ X
        u /= np.linalg.norm(u, axis=1, keepdims=True)
    best = np.max(np.maximum(u @ X.T, 0) @ v)
    assert best <= neuron_bound(X, v, steps=50)


def test_signs_that_cannot_gain():
    X = np.array([[1.0, 2.0], [0.0, 1.0]])
    assert neuron_bound(X, np.array([-1.0, -2.0])) == 0
    assert neuron_bound(X, np.zeros(2)) == 0
    assert neuron_bound(0 * X, np.ones(2)) == 0
    assert neuron_bound(X, np.array([1.0, np.nan])) == np.inf


def test_extreme_scales():
    X, v = np.random.default_rng(4).standard_normal((2, 8, 2))
    v = v[:, 0]
    want = best_of_cells(X, v)
    assert want <= neuron_bound(1e9 * X, 1e-4 * v, steps=200) / 1e5 <= 1.1 * want
    v = v * 10.0 ** np.arange(-12, 2 * len(v) - 12, 2)
    assert neuron_bound(X, v, steps=200) >= best_of_cells(X, v) * (1 - 1e-13)


def test_slopes_are_those_of_the_smoothed_bound():
    """Finite differences at a lambda that is optimal, so that it may stay put."""
    rng = np.random.default_rng(3)
    X, v = rng.standard_normal((9, 3)), rng.standard_normal(9)
    relaxation = Relaxation(X, v)
    relaxation.logits += 0.3 * rng.standard_normal(relaxation.logits.shape)
    relaxation.log_c += 0.3 * rng.standard_normal(relaxation.log_c.shape)
    tiny, h = 1e-9, 1e-6
    slopes = relaxation.bound(v, tiny)[1]
    for array, slope in (
        (relaxation.logits, slopes.logits),
        (relaxation.log_c, slopes.log_c),
        (v, slopes.v),
    ):
        for i in [(0,) * array.ndim, (-1,) * array.ndim]:
            values = []
            for step in (h, -2 * h):
                array[i] += step
                values.append(relaxation.bound(v, tiny)[0])
            array[i] += h
            assert_allclose(slope[i], (values[0] - values[1]) / (2 * h), atol=1e-5)


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
def test_a_turned_dual_vector_bounds_better(loss):
    """By the scaled dual value, with the same bound of the price for both."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((40, 5)), rng.standard_normal(40)
    y = y if loss == "squared" else np.sign(y)
    loss = getattr(cj.losses, loss)()
    v = -loss.gradient(0 * y, y) * (0.9 if loss.name == "hinge" else 1)
    beta = 0.5 * max(neuron_bound(X, s * v) for s in (1, -1))
    turned, least = improve_dual(X, y, v, loss=loss, beta=beta, steps=300)
    prices = [neuron_bound(X, s * turned, steps=300) for s in (1, -1)]
    assert_allclose(least, max(prices), rtol=0.02)
    assert_array_equal(turned, -loss.clip_dual(-turned, y))

    def value(v):
        price = max(neuron_bound(X, s * v, steps=300) for s in (1, -1))
        return -float(loss.conjugate(-min(1, beta / price) * v, y))

    assert value(turned) > value(v)


def test_equal_rows_are_one_for_a_dual_vector_that_moves():
    rng = np.random.default_rng(8)
    rows = np.round(100 * rng.standard_normal((20, 4)))
    X, v = np.concatenate([rows, rows, rows[:5]]), rng.standard_normal(45)
    v[20:40] = np.abs(v[20:40]) * np.sign(v[:20])  # the last five have other signs
    v[40:] = -v[:5]
    problem = Movable(X, v, v, loss=cj.losses.squared(), beta=1.0)
    assert len(problem.rows) == 25
    now = 1.5 * problem.start
    u = rng.standard_normal((4, 7))
    got = problem.on_rows(now) @ np.maximum(problem.rows @ u, 0) * problem.unit
    assert_allclose(got, 1.5 * v @ np.maximum(X @ u, 0))
    rise = rng.standard_normal(25)
    change = rng.standard_normal(45)
    moved = (problem.on_rows(now + 1e-3 * change) - problem.on_rows(now)) @ rise / 1e-3
    slope = problem.slope(now, 1.0, rise) - problem.slope(now, 1.0, 0 * rise)
    factor = -(v @ now) * problem.beta  # z is y at first
    assert_allclose(slope @ change, factor * moved, rtol=1e-6)
