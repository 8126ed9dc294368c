"""The highest price that ascents find, against exact prices and upper bounds."""

import numpy as np
import pytest
import scipy

import cvxjax as cj
from cvxjax.bounds.ascent import highest_found
from cvxjax.bounds.exact import best_neuron
from cvxjax.bounds.relaxed import neuron_bound


def draw(kind, d, n=80):
    rng = np.random.default_rng(d)
    X, v = rng.standard_normal((n, d)), rng.standard_normal(n)
    if kind == "a year, prices and zero rows":
        X[:, 0], X[:, 1] = 2000 + rng.integers(0, 30, n), 1e5 * np.exp(X[:, 1])
        X[::7] = 0
    return X, v


@pytest.mark.parametrize("kind", ["gaussian", "a year, prices and zero rows"])
def test_it_is_the_price_of_rank_three(kind):
    X, v = draw(kind, 3)
    exact = max(best_neuron(X, sign * v)[0] for sign in (1, -1))
    assert highest_found(X, v) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("kind", ["gaussian", "a year, prices and zero rows"])
def test_it_is_below_every_bound_and_the_same_at_every_call(kind):
    X, v = draw(kind, 6)
    found = highest_found(X, v)
    bound = max(neuron_bound(X, sign * v, steps=300) for sign in (1, -1))
    assert 0.8 * bound <= found <= bound
    assert highest_found(X, v) == found
    assert highest_found(1e-3 * X, 1e3 * v) == pytest.approx(found, rel=1e-9)


def test_no_rows_and_no_weights():
    assert highest_found(np.zeros((4, 3)), np.ones(4)) == 0
    assert highest_found(np.ones((4, 3)), np.zeros(4)) == 0


def test_beta_max_is_where_zero_becomes_optimal():
    X, y = draw("gaussian", 4, n=30)
    make = cj.programs.make_two_layer
    top = make(X, y, beta=1.0).beta_max()
    assert make(X, y, beta=1.0).beta_max() == top
    assert make(X, y, beta=1.0).price_at_zero() >= top
    below = cj.solve(make(X, y, beta=0.99 * top))
    above = cj.solve(make(X, y, beta=1.01 * top))
    assert np.any(below.params) and not np.any(above.params)


def test_several_outputs_against_local_searches():
    rng = np.random.default_rng(3)
    X, V = rng.standard_normal((50, 5)), rng.standard_normal((50, 3))

    def price(u):
        return np.linalg.norm(V.T @ np.maximum(X @ u, 0)) / np.linalg.norm(u)

    starts = rng.standard_normal((30, 5))
    ends = [scipy.optimize.minimize(lambda u: -price(u), start).x for start in starts]
    found = highest_found(X, V)
    assert found >= max(map(price, ends)) * (1 - 1e-9)
    assert found <= np.linalg.norm([highest_found(X, v) for v in V.T]) * (1 + 1e-9)
    assert highest_found(X, V[:, :1]) == pytest.approx(highest_found(X, V[:, 0]))
    assert highest_found(X, V) == found


def test_beta_max_of_several_outputs_bounds_the_price_from_below():
    rng = np.random.default_rng(4)
    X, Y = rng.standard_normal((60, 5)), rng.standard_normal((60, 2))
    program = cj.programs.make_vector_output(X, Y, beta=1.0)
    assert program.all_patterns
    top = program.beta_max()
    assert program.beta_max() == top
    assert 0.9 * program.price_at_zero() <= top <= program.price_at_zero()
