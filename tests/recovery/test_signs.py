"""Krivine's transform, the expectation of sampled signs, and what is refused."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cvxjax.recovery.signs import GROTHENDIECK, krivine_transform, sample_signs

GAMMA = np.log(1 + np.sqrt(2))


def draw_gram(d, rank, rho=1.7, seed=0):
    """A feasible Q [2d, 2d] of a rank, diagonal rho."""
    rows = np.random.default_rng(seed).normal(size=(2 * d, rank))
    rows /= np.linalg.norm(rows, axis=1)[:, None]
    return rho * rows @ rows.T


def block(Q):
    d = len(Q) // 2
    return Q[:d, d:]


def estimate(key, Q, m):
    u, v, alpha = (np.asarray(part, float) for part in sample_signs(key, Q, m))
    return (u * alpha[:, None]).T @ v


@pytest.mark.parametrize("d", [1, 2, 7, 20])
@pytest.mark.parametrize("rank", [1, 2, 40])
def test_the_transform_is_a_covariance(d, rank):
    Q = draw_gram(d, rank, seed=d)
    got = np.asarray(krivine_transform(Q))
    np.testing.assert_array_equal(np.diag(got), 1)
    assert np.linalg.eigvalsh(got)[0] > -1e-13
    np.testing.assert_allclose(block(got), np.sin(GAMMA * block(Q) / 1.7), atol=1e-13)
    for half in (slice(d), slice(d, None)):
        want = np.sinh(GAMMA * Q[half, half] / 1.7)
        np.testing.assert_allclose(got[half, half], want, atol=1e-13)


def test_its_signs_have_the_expectation_wanted():
    Q = draw_gram(9, 4)
    expected = 2 / np.pi * np.arcsin(block(np.asarray(krivine_transform(Q))))
    np.testing.assert_allclose(1.7 * GROTHENDIECK * expected, block(Q), atol=1e-13)
    assert abs(GROTHENDIECK - 1.7822) < 1e-4


@pytest.mark.parametrize("m", [100, 10_000, 400_000])
def test_the_error_falls_with_the_root_of_the_width(m):
    d, rho = 6, 1.7
    Q = draw_gram(d, 3, rho)
    Z = block(Q)
    want = (GROTHENDIECK**2 * rho**2 * d**2 - np.sum(Z**2)) / m
    count = 20 if m < 100_000 else 2
    squares = [
        np.sum((estimate(jax.random.key(i), Q, m) - Z) ** 2) for i in range(count)
    ]
    assert 0.6 * want < np.mean(squares) < 1.6 * want


def test_without_the_transform_the_estimate_is_biased():
    Q, m = draw_gram(6, 3), 400_000
    Z = block(Q)
    # Independent of the library: half-spaces of N(0, Q / rho).
    values, vectors = np.linalg.eigh(Q / 1.7)
    root = vectors * np.sqrt(np.maximum(values, 0))
    g = np.random.default_rng(0).normal(size=(m, 12)) @ root.T
    u, v = np.sign(g[:, :6]), np.sign(g[:, 6:])
    got = u.T @ v / m
    noise = 5 / np.sqrt(m)
    np.testing.assert_allclose(got, 2 / np.pi * np.arcsin(Z / 1.7), atol=noise)
    # No factor makes it Z: the best one leaves many times the noise.
    factor = np.vdot(got, Z) / np.vdot(got, got)
    assert np.max(np.abs(factor * got - Z)) > 10 * noise
    unbiased = estimate(jax.random.key(0), Q, m)
    np.testing.assert_allclose(unbiased, Z, atol=GROTHENDIECK * 1.7 * noise)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_drawn(key, dtype):
    Q = jnp.asarray(draw_gram(5, 3), dtype)
    u, v, alpha = sample_signs(key, Q, 50)
    chex.assert_shape([u, v], (50, 5))
    assert u.dtype == v.dtype == jnp.int8
    assert alpha.dtype == dtype
    chex.assert_trees_all_equal(jnp.abs(u), jnp.abs(v), jnp.ones((50, 5), jnp.int8))
    np.testing.assert_allclose(alpha, 1.7 * GROTHENDIECK / 50, rtol=1e-6)
    chex.assert_trees_all_equal((u, v, alpha), sample_signs(key, Q, 50))
    other = sample_signs(jax.random.key(1), Q, 50)[0]
    assert np.any(np.asarray(u != other))


def test_rank_one_draws_equal_signs(key):
    signs = np.array([1, -1, -1, 1, 1, -1])
    u, v, _ = sample_signs(key, np.outer(signs, signs), 1000)
    for side, want in ((u, signs[:3]), (v, signs[3:])):
        np.testing.assert_array_equal(np.abs(np.asarray(side) @ want), 3)


def test_zero_and_no_neurons(key):
    u, _, alpha = sample_signs(key, np.zeros((6, 6)), 4)
    chex.assert_shape(u, (4, 3))
    np.testing.assert_array_equal(alpha, np.zeros(4))
    np.testing.assert_array_equal(krivine_transform(np.zeros((6, 6))), np.eye(6))
    u, v, alpha = sample_signs(key, draw_gram(3, 2), 0)
    chex.assert_shape([u, v], (0, 3))
    chex.assert_shape(alpha, (0,))


def spoilt(change):
    Q = draw_gram(4, 3)
    change(Q)
    return Q


REFUSED = {
    "shape": (np.ones((3, 3)), r"want Q \[2d, 2d\]"),
    "vector": (np.ones(4), r"want Q \[2d, 2d\]"),
    "nan": (np.full((4, 4), np.nan), "NaN"),
    "negative": (-np.eye(4), "diagonal >= 0"),
    "unsymmetric": (spoilt(lambda Q: Q.__setitem__((0, 1), 9e-3)), "unsymmetric"),
    "diagonal": (draw_gram(4, 3) + np.diag([1e-4] + 7 * [0]), "diagonal that varies"),
    "indefinite": (np.where(np.eye(4) > 0, 1, -0.5), "negative eigenvalue"),
    "zero": (np.ones((4, 4)) - np.eye(4), "negative eigenvalue"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_solution_is_refused(key, name):
    Q, match = REFUSED[name]
    with pytest.raises(ValueError, match=match):
        krivine_transform(Q)
    with pytest.raises(ValueError, match=match):
        sample_signs(key, Q, 3)


def test_a_solution_to_rounding_is_sampled(key):
    Q = draw_gram(4, 2) + 1e-7 * np.diag(np.arange(-4, 4))
    got = np.asarray(krivine_transform(Q))
    np.testing.assert_array_equal(np.diag(got), 1)
    assert np.linalg.eigvalsh(got)[0] > -1e-13
    with pytest.raises(ValueError, match="to 1e-09 rho"):
        sample_signs(key, Q, 3, rtol=1e-9)
    with pytest.raises(ValueError, match="num_neurons"):
        sample_signs(key, Q, -1)
