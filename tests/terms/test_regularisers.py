"""The group norm's value, proximal map and dual norm against their definitions."""

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cvxjax.terms import regularisers
from tests.references import clarabel


def draw(seed=0):
    w = np.random.default_rng(seed).standard_normal((2, 4, 3))
    w[0, 1] = 0
    return w


def test_values():
    w = draw()
    norms = [[np.sqrt(sum(x * x for x in block)) for block in side] for side in w]
    assert_allclose(regularisers.group_norms(jnp.asarray(w)), norms, rtol=1e-14)


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.5, 10.0])
def test_prox_minimises_its_objective(threshold):
    w = draw()
    got = np.asarray(regularisers.prox_group(jnp.asarray(w), threshold))
    blocks = w.reshape(-1, 3)
    u = cp.Variable(blocks.shape)
    penalty = threshold * cp.sum(cp.norm(u, axis=1))
    clarabel(cp.Problem(cp.Minimize(0.5 * cp.sum_squares(u - blocks) + penalty)))
    assert_allclose(got.reshape(-1, 3), u.value, atol=1e-6)


def test_prox_is_exactly_zero_up_to_the_threshold():
    w = jnp.asarray([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    got = regularisers.prox_group(w, 0.5)
    assert_allclose(got[0], [2.7, 3.6], rtol=1e-14)
    assert np.all(np.asarray(got[1:]) == 0)
    assert np.all(np.asarray(regularisers.prox_group(w, 5.0)) == 0)


def test_prox_under_jit_and_in_float32():
    w = jnp.asarray(draw(), jnp.float32)
    got = jax.jit(regularisers.prox_group)(w, 0.5)
    assert got.dtype == jnp.float32
    assert_allclose(got, regularisers.prox_group(jnp.asarray(draw()), 0.5), atol=1e-6)


def test_dual_norm_is_dual():
    """max q^T w over sum ||w_b|| <= 1, by CVXPY."""
    q = draw(1)
    blocks = q.reshape(-1, 3)
    w = cp.Variable(blocks.shape)
    constraint = cp.sum(cp.norm(w, axis=1)) <= 1
    value = cp.sum(cp.multiply(blocks, w))
    want = clarabel(cp.Problem(cp.Maximize(value), [constraint]))
    dual_norms = regularisers.GroupNorm().dual_norms(jnp.asarray(q))
    assert_allclose(np.max(dual_norms), want, rtol=1e-7)


KINDS = {
    "group": (regularisers.GroupNorm(), lambda u: cp.norm(u)),
    "pairs": (
        regularisers.PairNorms(),
        lambda u: cp.sum(cp.norm(cp.reshape(u, (3, 2), order="C"), axis=1)),
    ),
    "nuclear": (
        regularisers.NuclearNorm(shape=(2, 3)),
        lambda u: cp.normNuc(cp.reshape(u, (2, 3), order="C")),
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_regulariser_against_its_definition(kind):
    """Norms, proximal maps and dual norms of blocks [2, 2, 6], one by one by CVXPY."""
    regulariser, norm = KINDS[kind]
    w = np.random.default_rng(2).standard_normal((2, 2, 6))
    w[0, 1] = 0
    prox = regulariser.prox(jnp.asarray(w), 0.7)
    for b in np.ndindex(2, 2):
        assert_allclose(regulariser.norms(jnp.asarray(w))[b], norm(w[b]).value)
        u = cp.Variable(6)
        value = 0.5 * cp.sum_squares(u - w[b]) + 0.7 * norm(u)
        clarabel(cp.Problem(cp.Minimize(value)))
        assert_allclose(prox[b], u.value, atol=1e-6)
        want = clarabel(cp.Problem(cp.Maximize(w[b] @ u), [norm(u) <= 1]))
        got = regulariser.dual_norms(jnp.asarray(w))[b]
        assert_allclose(got, want, rtol=1e-7, atol=1e-8)
