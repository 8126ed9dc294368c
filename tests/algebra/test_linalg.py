"""Factorisations and contractions against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cvxjax.algebra import linalg


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


@pytest.mark.parametrize("P, c", [(7, None), (7, 2), (1, None)])
@pytest.mark.parametrize("size", [1, 3, 5, 6])
def test_masked_products_in_chunks(P, c, size, monkeypatch):
    """The sums are those of all patterns at once, whatever is taken together."""
    n, d = 4, 3
    extra = () if c is None else (c,)
    masks, rows = jnp.asarray(draw(P, n) > 0), jnp.asarray(draw(n, d, seed=1))
    w = jnp.asarray(draw(P, *extra, d, seed=2))
    r = jnp.asarray(draw(*extra, n, seed=3))
    active = np.where(np.asarray(masks)[..., None], rows, 0)
    sums = np.einsum("pnd,p...d->...n", active, w)
    products = np.einsum("pnd,...n->p...d", active, r)
    for elements in (linalg._MASKED_ELEMENTS, size * r.size):
        monkeypatch.setattr(linalg, "_MASKED_ELEMENTS", elements)
        assert_allclose(linalg.masked_sum(masks, w, rows), sums, atol=1e-13)
        assert_allclose(linalg.masked_products(masks, r, rows), products, atol=1e-13)


def test_masked_products_of_many_patterns_in_little_memory():
    """Compiled for 20,000 samples and 4,096 patterns; nothing is run."""
    n, d, P = 20_000, 3, 4096
    shapes = [((P, n), bool), ((n,), float), ((P, d), float), ((n, d), float)]
    masks, r, w, rows = [jax.ShapeDtypeStruct(*shape) for shape in shapes]
    for f, x in ((linalg.masked_sum, w), (linalg.masked_products, r)):
        memory = jax.jit(f).lower(masks, x, rows).compile().memory_analysis()
        assert memory.temp_size_in_bytes <= 2.5 * 8 * linalg._MASKED_ELEMENTS
        assert memory.temp_size_in_bytes < P * n * 8 / 1.9


@pytest.mark.parametrize("values", [[3.0], [1, 1, 1], [0, 0], [5, 4.9, 0.1, 0], "wide"])
def test_eigenvalue_bound(values):
    """Never below the largest eigenvalue, and at most a twentieth above."""
    spread = 1 - np.linspace(0, 1, 400) ** 2  # many close to the largest
    values = np.asarray(spread if values == "wide" else values, float)
    turn = np.linalg.qr(draw(len(values), len(values)))[0]
    kernel = jnp.asarray((turn * values) @ turn.T)
    apply = lambda x: linalg.dot(kernel, x)  # noqa: E731
    for like in (jnp.zeros(len(values)), jnp.zeros((len(values), 2))):
        bound = linalg.eigenvalue_bound(apply, like)
        assert values.max() <= bound <= values.max() / 0.95 * (1 + 1e-12)
