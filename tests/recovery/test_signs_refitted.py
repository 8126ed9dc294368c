"""Merging of equal neurons, and the refit against CVXPY."""

import cvxpy as cp
import jax
import numpy as np
import pytest

from cvxjax.recovery.signs_refitted import merge_signs, refit
from cvxjax.terms import losses

LOSSES = {
    "squared": losses.squared(),
    "logistic": losses.logistic(),
    "huber": losses.huber(0.7),
    "squared_hinge": losses.squared_hinge(),
}


def draw(n=40, d=5, m=30, seed=0):
    rng = np.random.default_rng(seed)
    u, v = rng.choice([-1, 1], size=(2, m, d)).astype(np.int8)
    X = rng.normal(size=(n, d))
    return u, v, np.full(m, 0.3), X, rng.normal(size=n)


def features(u, v, X):
    return (X @ np.asarray(u).T) * (X @ np.asarray(v).T)


def objective(loss, u, v, alpha, X, y, beta):
    return loss.value(features(u, v, X) @ alpha, y) + beta * np.sum(np.abs(alpha))


def reference(name, Phi, y, beta):
    alpha = cp.Variable(Phi.shape[1])
    z = Phi @ alpha
    fit = {
        "squared": lambda: cp.sum_squares(z - y) / 2,
        "logistic": lambda: cp.sum(cp.logistic(-cp.multiply(y, z))),
        "huber": lambda: cp.sum(cp.huber(z - y, 0.7)) / 2,
        "squared_hinge": lambda: cp.sum_squares(cp.pos(1 - cp.multiply(y, z))) / 2,
    }[name]()
    problem = cp.Problem(cp.Minimize(fit + beta * cp.norm1(alpha)))
    accurate = {f"tol_{kind}": 1e-11 for kind in ("gap_abs", "gap_rel", "feas")}
    return problem.solve(solver=cp.CLARABEL, **accurate)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("m", [12, 60])  # 15 products of two features
@pytest.mark.parametrize("beta", [0.05, 5.0])
def test_refit_reaches_the_optimum(name, m, beta):
    u, v, alpha, X, y = draw(m=m)
    loss = LOSSES[name]
    y = y if name in ("squared", "huber") else np.sign(y)
    got = refit(u, v, alpha, X, y, beta=beta, loss=loss)
    want = reference(name, features(u, v, X), y, beta)
    np.testing.assert_allclose(got.objective, want, rtol=1e-6)
    own = objective(loss, got.u, got.v, got.alpha, X, y, beta)
    np.testing.assert_allclose(got.objective, own, rtol=1e-12)
    assert -1e-12 < got.gap < 1e-8
    assert np.all(got.alpha != 0)
    assert len(got.alpha) <= m


@pytest.mark.parametrize("max_iters", [0, 1, 3])
def test_refit_never_rises_and_says_when_it_has_not_arrived(max_iters):
    u, v, alpha, X, y = draw(m=60)
    got = refit(u, v, alpha, X, y, beta=1e-3, max_iters=max_iters)
    assert got.objective <= objective(losses.squared(), u, v, alpha, X, y, 1e-3)
    again = refit(got.u, got.v, got.alpha, X, y, beta=1e-3, max_iters=max_iters)
    assert again.objective <= got.objective * (1 + 1e-12)


def test_a_large_penalty_leaves_no_neurons():
    u, v, alpha, X, y = draw()
    got = refit(u, v, alpha, X, y, beta=1e4)
    assert got.u.shape == got.v.shape == (0, 5)
    np.testing.assert_allclose(got.objective, y @ y / 2, rtol=1e-12)
    assert got.gap < 1e-8


@pytest.mark.parametrize("name", ["squared", "logistic"])
def test_from_no_weights_and_no_neurons(name):
    u, v, alpha, X, y = draw()
    loss, y = LOSSES[name], np.sign(y)
    from_zero = refit(u, v, 0 * alpha, X, y, beta=0.5, loss=loss)
    from_some = refit(u, v, alpha, X, y, beta=0.5, loss=loss)
    np.testing.assert_allclose(from_zero.objective, from_some.objective, rtol=1e-7)
    nothing = refit(u[:0], v[:0], alpha[:0], X, y, beta=0.5, loss=loss)
    np.testing.assert_allclose(nothing.objective, loss.value(0 * y, y), rtol=1e-12)


def test_merging_keeps_the_function_and_shrinks_the_penalty():
    u, v, _, X, _ = draw(m=200, d=3)
    alpha = np.random.default_rng(1).normal(size=200)
    got = merge_signs(u, v, alpha)
    z = features(u, v, X) @ alpha
    np.testing.assert_allclose(features(*got[:2], X) @ got[2], z, atol=1e-11)
    assert len(got[2]) == 10  # 4 up to sign, and pairs of these
    assert np.sum(np.abs(got[2])) < np.sum(np.abs(alpha))


def test_merging_of_each_form():
    u = np.array([[1, 1, -1], [1, -1, 1], [-1, -1, 1], [-1, -1, 1]], np.int8)
    v = np.array([[1, -1, 1], [1, 1, -1], [-1, 1, -1], [1, -1, 1]], np.int8)
    left, right, alpha = merge_signs(u, v, np.array([1.0, 2.0, 4.0, 8.0]))
    np.testing.assert_array_equal(left, [[1, 1, -1]])
    np.testing.assert_array_equal(right, [[1, -1, 1]])
    np.testing.assert_allclose(alpha, [1 + 2 + 4 - 8])


def test_what_is_refused():
    u, v, alpha, X, y = draw()
    with pytest.raises(ValueError, match="want a smooth loss; got hinge"):
        refit(u, v, alpha, X, np.sign(y), beta=1.0, loss=losses.hinge())
    with pytest.raises(ValueError, match="beta > 0"):
        refit(u, v, alpha, X, y, beta=0.0)
    with pytest.raises(ValueError, match=r"want X \[n, d\]"):
        refit(u, v, alpha[:-1], X, y, beta=1.0)
    with pytest.raises(ValueError, match="NaN"):
        refit(u, v, alpha * np.nan, X, y, beta=1.0)
    with pytest.raises(ValueError, match="labels"):
        refit(u, v, alpha, X, y, beta=1.0, loss=losses.logistic())


def test_refit_is_float64_where_jax_is_not():
    u, v, alpha, X, y = draw(m=60)
    want = refit(u, v, alpha, X, y, beta=0.5)
    with jax.enable_x64(False):
        got = refit(u, v, alpha, X, y, beta=0.5)
    np.testing.assert_allclose(got.objective, want.objective, rtol=1e-9)
    assert got.gap < 1e-8
