"""Softmax cross entropy against optimality conditions, CVXPY and finite differences."""

from __future__ import annotations

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cvxjax.interfaces import Loss, SeparableLoss
from cvxjax.terms import losses
from cvxjax.terms.losses.softmax import one_hot

SOFTMAX = losses.softmax()


def draw(n=7, c=3, scale=2.0, seed=0):
    """Z [n, c] and one-hot Y."""
    rng = np.random.default_rng(seed)
    return scale * rng.standard_normal((n, c)), np.eye(c)[rng.integers(c, size=n)]


def precise(x, y, step):
    """The proximal point by Newton's method in extended precision."""
    x, y = (a.astype(np.longdouble) for a in (x, y))
    z = x.copy()
    eye = np.eye(x.shape[1], dtype=np.longdouble)
    for row in range(len(x)):
        for _ in range(200):
            p = np.exp(z[row] - z[row].max())
            p = p / p.sum()
            others = np.where(y[row] == 1, 0, p)
            force = z[row] - x[row] + step * (others - y[row] * others.sum())
            hessian = eye + step * (np.diag(p) - np.outer(p, p))
            move = np.linalg.solve(hessian.astype(float), force.astype(float))
            z[row] = z[row] - np.clip(move, -1, 1)
    return z.astype(float)


def test_protocol():
    assert isinstance(SOFTMAX, Loss) and not isinstance(SOFTMAX, SeparableLoss)
    assert not SOFTMAX.separable and SOFTMAX.constraint is None
    assert jax.tree.leaves(SOFTMAX) == []


def test_value_gradient_and_smoothness():
    z, y = draw()
    want = np.sum(np.log(np.exp(z).sum(axis=1)) - np.sum(y * z, axis=1))
    assert SOFTMAX.value(z, y) == pytest.approx(want, rel=1e-14)
    assert SOFTMAX.terms(z, y).shape == (7,)
    slope = jax.grad(SOFTMAX.value)(jnp.asarray(z), jnp.asarray(y))
    np.testing.assert_allclose(SOFTMAX.gradient(z, y), slope, atol=1e-14)
    even, odd = np.zeros((1, 2)), np.array([[1e-6, -1e-6]])
    turn = SOFTMAX.gradient(odd, np.eye(2)[:1]) - SOFTMAX.gradient(even, np.eye(2)[:1])
    steepest = np.linalg.norm(turn) / np.linalg.norm(odd)
    assert steepest == pytest.approx(SOFTMAX.smoothness, rel=1e-6)


def test_a_certain_class_keeps_its_digits():
    slope = SOFTMAX.gradient(np.array([[50.0, 0.0, 1.0]]), np.eye(3)[:1])
    np.testing.assert_allclose(slope[0, 0], -np.exp(-50) * (1 + np.e), rtol=1e-12)


def test_two_classes_are_logistic():
    z, y = draw(c=2)
    signs, margin = y[:, 0] - y[:, 1], z[:, 0] - z[:, 1]
    assert SOFTMAX.value(z, y) == pytest.approx(losses.logistic().value(margin, signs))


def test_conjugate_is_the_supremum():
    z, y = draw()
    u = 0.7 * SOFTMAX.gradient(z, y)
    variable = cp.Variable(z.shape)
    value = cp.sum(cp.log_sum_exp(variable, axis=1)) - cp.sum(
        cp.multiply(y + u, variable)
    )
    problem = cp.Problem(cp.Minimize(value), [cp.abs(variable) <= 50])
    assert SOFTMAX.conjugate(u, y) == pytest.approx(
        -problem.solve("CLARABEL"), abs=1e-6
    )
    full = SOFTMAX.gradient(z, y)
    young = SOFTMAX.value(z, y) + SOFTMAX.conjugate(full, y)
    assert young == pytest.approx(np.sum(full * z), abs=1e-13)
    assert SOFTMAX.conjugate(0 * y, y) == 0
    assert SOFTMAX.conjugate(0.1 + 0 * y, y) == np.inf
    assert SOFTMAX.conjugate(1.01 * (np.roll(y, 1, axis=1) - y), y) == np.inf


def test_clipping_projects_to_the_simplex():
    u, y = draw(n=5)
    clipped = SOFTMAX.clip_dual(u, y)
    p = cp.Variable(u.shape, nonneg=True)
    problem = cp.Problem(
        cp.Minimize(cp.sum_squares(p - y - u)), [cp.sum(p, axis=1) == 1]
    )
    problem.solve("CLARABEL")
    np.testing.assert_allclose(clipped + y, p.value, atol=1e-7)
    assert np.isfinite(SOFTMAX.conjugate(clipped, y))
    np.testing.assert_allclose(SOFTMAX.clip_dual(clipped, y), clipped, atol=1e-15)


@pytest.mark.parametrize("step", [1e-8, 1e-2, 1.0, 1e3, 1e8])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_prox_to_rounding(step, dtype):
    for scale in (1e-2, 1.0, 1e2):
        x, y = (a.astype(dtype) for a in draw(n=6, scale=scale))
        z = SOFTMAX.prox(x, y, dtype(step))
        assert z.dtype == dtype
        size = np.max(np.abs(x) + np.abs(z), axis=1, keepdims=True)
        miss = np.abs(z - precise(x, y, float(dtype(step)))) / size
        assert np.max(miss) <= 16 * np.finfo(dtype).eps


def test_numpy_and_jax_agree_under_jit_and_vmap():
    z, y = draw(n=8)
    step = np.array([1e-3, 0.2, 1.0, 5.0, 50.0, 1e3, 1e6, 1.0])[:, None]
    u = SOFTMAX.gradient(z, y)
    calls = [
        (SOFTMAX.value, (z, y)),
        (SOFTMAX.gradient, (z, y)),
        (SOFTMAX.conjugate, (u, y)),
        (SOFTMAX.clip_dual, (z, y)),
        (SOFTMAX.prox, (z, y, step)),
    ]
    for method, given in calls:
        want = method(*given)
        assert isinstance(want, np.ndarray | np.generic)
        got = jax.jit(method)(*map(jnp.asarray, given))
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)
    rows = jax.jit(jax.vmap(lambda z, y, s: SOFTMAX.prox(z[None], y[None], s)))
    got = rows(z, y, step[:, 0])[:, 0]
    np.testing.assert_allclose(got, SOFTMAX.prox(z, y, step), rtol=1e-12, atol=1e-13)


def test_weights():
    z, y = draw(n=4)
    counts = np.array([2, 1, 3, 1])
    loss = losses.weighted(SOFTMAX, counts)
    again = SOFTMAX.value(np.repeat(z, counts, axis=0), np.repeat(y, counts, axis=0))
    assert loss.value(z, y) == pytest.approx(again, rel=1e-14)
    moved = loss.prox(z, y, 0.7)
    u = (z - moved) / 0.7
    young = loss.value(moved, y) + loss.conjugate(loss.clip_dual(u, y), y)
    assert young == pytest.approx(np.sum(u * moved), abs=1e-12)
    some = loss.take(np.array([2, 0]))
    picked = some.value(z[[2, 0]], y[[2, 0]])
    assert picked == pytest.approx(float(counts[[2, 0]] @ SOFTMAX.terms(z, y)[[2, 0]]))


def test_labels():
    SOFTMAX.check_labels(np.eye(3, dtype=int)[[0, 2]])
    for bad in (np.ones((2, 2)), np.zeros((2, 2)), np.eye(2) / 2):
        with pytest.raises(ValueError, match="one-hot labels .* 2 of 2 rows"):
            SOFTMAX.check_labels(bad)
    with pytest.raises(ValueError, match=r"got float64 \[3\]"):
        SOFTMAX.check_labels(np.ones(3))
    with pytest.raises(ValueError, match=r"several outputs \[n, c\]; got \[3\]"):
        SOFTMAX.value(np.ones(3), np.ones(3))
    np.testing.assert_array_equal(one_hot([2, 0, 1]), np.eye(3)[[2, 0, 1]])
    for bad in ([0.5, 1], [-1, 1], [0, 0, 0], [0, 900, 1], ["a", "b"], [[0], [1]]):
        with pytest.raises(ValueError, match="want classes"):
            one_hot(bad)
