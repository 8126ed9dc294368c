"""Factorisations and contractions against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cvxjax import linalg


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def gram(n, rank):
    A = draw(n, rank)
    return A @ A.T


def test_dot_asks_for_the_highest_precision():
    a, b = jnp.asarray(draw(3, 4)), jnp.asarray(draw(4, 2, seed=1))
    assert_allclose(linalg.dot(a, b), np.asarray(a) @ np.asarray(b), rtol=1e-14)
    assert "HIGHEST" in str(jax.make_jaxpr(linalg.dot)(a, b))


def test_masked_gram_is_its_sum():
    masks, weights = draw(5, 4) > 0, np.abs(draw(5, seed=1))
    kernel = gram(4, 3)
    want = sum(
        w * np.diag(m) @ kernel @ np.diag(m)
        for w, m in zip(weights, masks * 1.0, strict=True)
    )
    got = linalg.masked_gram(
        jnp.asarray(masks), jnp.asarray(weights), jnp.asarray(kernel)
    )
    assert_allclose(got, want, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("rank", [0, 2, 5])
def test_shifted_eigh_solves_for_any_shift(rank):
    kernel, b = gram(5, rank), draw(5, seed=2)
    factor = linalg.ShiftedEigh.factor(jnp.asarray(kernel))
    assert np.all(np.asarray(factor.values) >= 0)
    for shift in (1e-3, 1.0, 1e3):
        want = np.linalg.solve(shift * np.eye(5) + kernel, b)
        assert_allclose(factor.solve(shift, jnp.asarray(b)), want, rtol=1e-9)


@pytest.mark.parametrize("rank", [0, 2, 5])
def test_pinv_ignores_the_null_space(rank):
    kernel, b = gram(5, rank), draw(5, seed=2)
    factor = linalg.ShiftedEigh.factor(jnp.asarray(kernel))
    want = np.linalg.pinv(kernel, rcond=1e-12, hermitian=True) @ b
    assert_allclose(factor.pinv(jnp.asarray(b)), want, rtol=1e-9, atol=1e-12)


def test_largest_eigenvalue():
    kernel = gram(6, 4)
    want = np.linalg.norm(kernel, 2)
    assert_allclose(linalg.largest_eigenvalue(jnp.asarray(kernel)), want, rtol=1e-12)
