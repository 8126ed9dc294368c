"""Sums of neurons against the matrix, its rank, and what is no sum of neurons."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cvxjax.recovery.from_pairs import decompose, neurons_of, quadratic_neurons


def lift(u):
    return np.concatenate([u, np.ones((*u.shape[:-1], 1), u.dtype)], axis=-1)


def total(u, alpha):
    """[..., q, q], sum_j alpha_j [u_j; 1][u_j; 1]^T."""
    rows = lift(np.asarray(u))
    return np.einsum("...j,...ji,...jk->...ik", alpha, rows, rows)


def residual(Z, u, alpha):
    """||Z - sum|| / ||Z||, the largest of a batch."""
    apart = np.linalg.norm(np.asarray(Z) - total(u, alpha), axis=(-2, -1))
    return np.max(apart / np.linalg.norm(Z, axis=(-2, -1)))


def balanced(rows):
    """rows^T rows for rows [r, q], scaled so that the trace equation holds."""
    rows = rows.copy()
    rows[:, -1] *= np.linalg.norm(rows[:, :-1]) / np.linalg.norm(rows[:, -1])
    return rows.T @ rows


def draw(q, rank, seed=0):
    return balanced(np.random.default_rng(seed).normal(size=(rank, q)))


def altered(entry, value):
    Z = draw(4, 2)
    Z[entry] = value
    return Z


def unit(*shape, seed=0):
    u = np.random.default_rng(seed).normal(size=shape)
    return u / np.linalg.norm(u, axis=-1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("q", "rank"), [(2, 1), (2, 2), (5, 2), (5, 4), (5, 5), (30, 7), (30, 30)]
)
def test_neurons_sum_to_the_matrix(q, rank, seed):
    Z = draw(q, rank, seed) if rank > 1 else total(unit(1, q - 1), [2.0])
    u, alpha = neurons_of(Z)
    assert u.shape == (len(alpha), q - 1) and u.dtype == alpha.dtype == np.float64
    assert len(alpha) == rank and np.all(alpha > 0)
    assert residual(Z, u, alpha) < 1e-10
    assert_allclose(np.linalg.norm(u, axis=1), 1, rtol=1e-12)
    assert_allclose(alpha.sum(), Z[-1, -1], rtol=1e-12)


def test_one_neuron_is_found_again():
    u, alpha = unit(1, 4), np.array([0.3])
    got = neurons_of(total(u, alpha))
    assert_allclose(got[0], u, rtol=1e-12)
    assert_allclose(got[1], alpha, rtol=1e-12)


def test_zero_has_no_neurons():
    u, alpha = decompose(jnp.zeros((4, 4)))
    assert_allclose(alpha, 0)
    assert_allclose(np.linalg.norm(u, axis=-1), 1)
    u, alpha = neurons_of(np.zeros((4, 4)))
    assert u.shape == (0, 3) and alpha.shape == (0,)


@pytest.mark.parametrize(
    "diagonal", [[1, 1], [1, 1, 2], [1] * 8 + [8], [2, 0, 0, 2], [1, 1, 0, 0, 2]]
)
def test_equal_eigenvalues(diagonal):
    Z = np.diag(np.asarray(diagonal, float))
    u, alpha = neurons_of(Z)
    assert len(alpha) == np.count_nonzero(diagonal)
    assert residual(Z, u, alpha) < 1e-12
    assert_allclose(np.linalg.norm(u, axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_columns_that_are_neurons_from_the_start(dtype):
    """u and -u are orthogonal once lifted: p^T G p = 0 for all columns, to rounding.

    What rounding leaves is often one number for two columns, which are not to be taken
    for one column.
    """
    rng = np.random.default_rng(1)
    u = unit(2000, 1, 3) * np.array([[1.0], [-1.0]])
    alpha = rng.integers(1, 9, size=(2000, 2)) / 4
    Z = total(u, alpha).astype(dtype)
    got = decompose(jnp.asarray(Z))
    assert residual(Z, *got) < (1e-10 if dtype == "float64" else 1e-5)
    assert np.all(np.sum(np.asarray(got[1]) > 0, axis=1) == 2)


@pytest.mark.parametrize("seed", range(5))
def test_eigenvalues_of_many_sizes(seed):
    """From 1e-6 to 1e6: none is taken for rounding."""
    rng = np.random.default_rng(seed)
    rows = np.linalg.qr(rng.normal(size=(7, 7)))[0] * np.logspace(-3, 3, 7)[:, None]
    Z = balanced(rows)
    u, alpha = neurons_of(Z)
    assert len(alpha) == 7
    assert residual(Z, u, alpha) < 1e-10
    assert_allclose(np.linalg.norm(u, axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_of_the_matrix_is_that_of_alpha(scale):
    Z = draw(5, 3).astype(np.float32)
    u, alpha = neurons_of(Z)
    got = neurons_of(Z * np.float32(scale))
    assert_allclose(np.sum(got[1]), scale * np.sum(alpha), rtol=1e-5)
    assert_allclose(total(got[0], got[1] / scale), total(u, alpha), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(dtype):
    Z = jnp.asarray(np.diag([1.0, 2.0, 3.0]), dtype)
    u, alpha = decompose(Z)
    want = "float64" if dtype == "float64" else "float32"
    assert u.dtype == alpha.dtype == want
    assert residual(np.diag([1.0, 2.0, 3.0]), u, alpha) < 1e-6
    u, alpha = neurons_of(Z)
    assert len(alpha) == 3 and u.dtype == want


@pytest.mark.parametrize(("q", "rank"), [(5, 2), (5, 5), (30, 7)])
def test_float32(q, rank):
    Z = draw(q, rank).astype(np.float32)
    u, alpha = neurons_of(Z)
    assert u.dtype == np.float32 and len(alpha) <= rank
    assert residual(Z, u, alpha) < 1e-5


def test_integers_are_floats():
    u, alpha = neurons_of(np.diag([1, 1, 2]))
    assert u.dtype == float and len(alpha) == 3


def test_batches_and_transformations():
    Z = jnp.asarray(np.stack([[draw(5, r, s) for r in (2, 5)] for s in range(3)]))
    u, alpha = decompose(Z)
    chex.assert_shape([u, alpha], [(3, 2, 5, 4), (3, 2, 5)])
    assert residual(Z, u, alpha) < 1e-10
    again = jax.jit(jax.vmap(jax.vmap(decompose)))(Z)
    assert residual(Z, *again) < 1e-10
    chex.assert_trees_all_close(again[1].sum(-1), Z[..., -1, -1], rtol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_is_not_hidden(value):
    good = draw(4, 2)
    _, alpha = decompose(jnp.stack([good, altered((1, 1), value)]))
    assert_allclose(alpha[0].sum(), good[-1, -1], rtol=1e-12)
    assert np.isnan(alpha[1].sum())


@pytest.mark.parametrize("miss", [1e-8, -1e-8, 1e-2, -1e-2])
def test_a_miss_of_the_trace_equation_is_balanced(miss):
    """The neurons' sum is D Z D, D = diag(s, .., s, 1 / s), of rank three as Z is."""
    scale = np.array([1, 1, 1, 1, 1 + miss])
    Z = draw(5, 3) * scale * scale[:, None]
    u, alpha = decompose(Z)
    s = (1 + miss) ** 0.5
    D = np.array([s, s, s, s, 1 / s])
    assert residual(Z * D * D[:, None], u, alpha) < 1e-12
    assert_allclose(np.linalg.norm(u, axis=1), 1, rtol=1e-12)
    assert_allclose(alpha @ u, Z[-1, :-1], atol=1e-12 * np.trace(Z))
    assert np.count_nonzero(alpha) == 3


@pytest.mark.parametrize("seed", range(5))
def test_errors_of_a_solver_are_taken(seed):
    """An error of 1e-9 in all entries: negative eigenvalues, a trace that misses."""
    Z = draw(6, 3, seed)
    noise = np.random.default_rng(seed).normal(size=Z.shape)
    noisy = Z + 1e-9 * np.trace(Z) * (noise + noise.T) / np.linalg.norm(noise)
    assert np.linalg.eigvalsh(noisy)[0] < 0
    u, alpha = neurons_of(noisy)
    assert residual(Z, u, alpha) < 1e-8
    assert_allclose(np.linalg.norm(u, axis=1), 1, rtol=1e-12)
    assert np.sum(alpha > 1e-6 * np.sum(alpha)) == 3


@pytest.mark.parametrize(
    ("Z", "message"),
    [
        (np.ones((3, 4)), r"want a square matrix of order 2 or more; got \[3, 4\]"),
        (np.ones((2, 3, 3)), r"want a square matrix .* got \[2, 3, 3\]"),
        (np.ones((1, 1)), r"want a square matrix .* got \[1, 1\]"),
        (np.eye(2) * 1j, "want a real matrix; got dtype complex128"),
        (altered((1, 1), np.nan), "want a finite matrix"),
        (altered((1, 1), np.inf), "want a finite matrix"),
        (altered((0, 1), 9.0), "want a symmetric matrix; got entries .* the largest 9"),
        (np.diag([2.0, -1.0, 1.0]), "positive semidefinite .* from -1 to 2"),
        (np.diag([-1.0, -1.0, -2.0]), "positive semidefinite .* from -2 to -1"),
        (np.diag([1.0, 1.0, 2.001]), "last entry; got 2 and 2.001"),
        (np.diag([0.0, 0.0, 1.0]), "last entry; got 0 and 1"),
    ],
)
def test_what_has_no_neurons_is_refused(Z, message):
    with pytest.raises(ValueError, match=message):
        neurons_of(Z)


def test_refusals_are_relative_and_by_dtype():
    Z = np.diag([1.0, 1.0, 2.0])
    off = Z + np.diag([0, 0, 1e-5])
    for scale in (1e-12, 1.0, 1e12):
        assert len(neurons_of(scale * Z)[1]) == 3
        with pytest.raises(ValueError, match="last entry"):
            neurons_of(scale * off)
    assert len(neurons_of(off.astype(np.float32))[1]) == 3
    indefinite = np.diag([1.0, 1.0, -1e-5, 2.0 - 1e-5])
    with pytest.raises(ValueError, match="positive semidefinite"):
        neurons_of(indefinite)
    assert len(neurons_of(indefinite.astype(np.float32))[1]) == 3


@pytest.mark.parametrize("rank", [0, 1, 3, 6])
def test_quadratic_neurons(rank):
    rng = np.random.default_rng(rank)
    vectors = np.linalg.qr(rng.normal(size=(6, 6)))[0][:, :rank]
    values = rng.normal(size=rank)
    Z = (vectors * values) @ vectors.T
    u, alpha = quadratic_neurons(Z)
    assert u.shape == (rank, 6)
    assert_allclose((u.T * alpha) @ u, Z, atol=1e-13)
    assert_allclose(u @ u.T, np.eye(rank), atol=1e-13)
    assert_allclose(np.sort(alpha), np.sort(values), atol=1e-13)


def test_quadratic_neurons_refuse():
    with pytest.raises(ValueError, match="want a finite matrix"):
        quadratic_neurons(np.diag([1.0, np.nan]))
    with pytest.raises(ValueError, match="want a symmetric matrix"):
        quadratic_neurons(np.array([[0.0, 1.0], [-1.0, 0.0]]))
    with pytest.raises(ValueError, match="order 1 or more"):
        quadratic_neurons(np.zeros((0, 0)))
