"""Anderson's moves against least squares over all differences that count."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose

from cvxjax.solvers.blocks.anderson import Anderson, move_if

MEMORY, SIZE = 3, 6


def contraction(seed):
    """A linear map x -> A x + b with ||A|| = 0.9, and its fixed point."""
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((SIZE, SIZE)))[0]
    A = q @ np.diag(np.linspace(-0.9, 0.9, SIZE)) @ q.T
    b = rng.standard_normal(SIZE)
    return lambda x: A @ x + b, np.linalg.solve(np.eye(SIZE) - A, b)


def least_squares(points, images):
    """The next point from the last few points and images, without a ridge."""
    x, g = (np.asarray(last[-MEMORY - 1 :]) for last in (points, images))
    f = g - x
    weights = np.linalg.lstsq(np.diff(f, axis=0).T, f[-1])[0]
    return g[-1] - weights @ np.diff(g, axis=0)


def test_moves_are_least_squares():
    """Through more moves than the ring has rows."""
    apply, _ = contraction(0)
    x = np.zeros(SIZE)
    anderson = Anderson.start(jnp.asarray(x), MEMORY)
    points, images = [], []
    for _ in range(MEMORY + 3):
        points.append(x)
        images.append(apply(x))
        ahead, anderson = anderson.move(jnp.asarray(x), jnp.asarray(images[-1]))
        want = images[0] if len(points) == 1 else least_squares(points, images)
        assert_allclose(ahead, want, rtol=1e-5, atol=1e-7)
        x = np.asarray(ahead)


def test_a_failed_move_goes_back_and_forgets():
    """A NaN too; what the rings still hold has no weight in the moves after."""
    apply, fixed = contraction(1)
    x = jnp.zeros(SIZE)
    anderson = Anderson.start(x, MEMORY)
    for _ in range(2):
        last = jnp.asarray(apply(np.asarray(x)))
        x, anderson = anderson.move(x, last)
    for bad in (x + 1e6, x * jnp.nan):
        back, after = anderson.move(x, bad)
        assert_allclose(back, last)
        assert int(after.count) == 0 and np.isinf(after.size)
        x_new, points, images = back, [], []
        for _ in range(MEMORY):
            points.append(np.asarray(x_new))
            images.append(apply(points[-1]))
            x_new, after = after.move(x_new, jnp.asarray(images[-1]))
            want = images[0] if len(points) == 1 else least_squares(points, images)
            assert_allclose(x_new, want, rtol=1e-5, atol=1e-7)
    assert np.linalg.norm(x_new - fixed) < np.linalg.norm(last - fixed)


def test_moves_only_if_due():
    double = lambda state: jax.tree.map(lambda x: 2 * x, state)  # noqa: E731
    state = {"a": jnp.arange(3.0), "b": jnp.ones(())}
    for due in (True, False):
        after = jax.jit(lambda due, s: move_if(due, double, s))(jnp.asarray(due), state)
        want = double(state) if due else state
        jax.tree.map(assert_allclose, after, want)
