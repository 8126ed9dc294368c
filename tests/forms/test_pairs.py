"""Operators with and without kept features against NumPy, and `svec`."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.algebra import symmetric
from cvxjax.forms import pairs as spectral_program

COEFFICIENTS = (0.09, 0.5, 0.47)


def make(kind, n=11):
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((n, 3)), rng.standard_normal((n, 2))
    patches = rng.standard_normal((n, 6, 2))
    polynomial = cj.programs.make_polynomial
    options = {"beta": 0.1, "coefficients": COEFFICIENTS}
    even = {"beta": 0.1, "coefficients": (-1.0, 0, 0.3)}
    makers = {
        "plain": lambda: polynomial(X, Y[:, 0], **options),
        "even": lambda: polynomial(X, Y[:, 0], **even),
        "two outputs": lambda: polynomial(X, Y, **options),
        "pool 1": lambda: polynomial(None, Y, patches=patches, pool=1, **options),
        "pool 2": lambda: polynomial(None, Y, patches=patches, pool=2, **options),
        "even, pool 3": lambda: polynomial(None, Y, patches=patches, pool=3, **even),
        "pool 6": lambda: polynomial(None, Y[:, 0], patches=patches, **options),
        "signs": lambda: cj.programs.make_quantized(X, Y[:, 0], beta=0.1),
    }
    return makers[kind]()


KINDS = (
    "plain",
    "even",
    "two outputs",
    "pool 1",
    "pool 2",
    "even, pool 3",
    "pool 6",
    "signs",
)


def features(program):
    """F_ik, [n, W, q, q], patch by patch."""
    X = np.asarray(program.X)
    patches = X[:, None] if X.ndim == 2 else X
    n, K, d = patches.shape
    pool = 1 if X.ndim == 2 else program.pool
    a, b, c = getattr(program, "coefficients", (1, 0, 0))
    F = np.zeros((n, K // pool, program.order, program.order))
    for i in range(n):
        for k in range(K):
            x = patches[i, k]
            if b == 0:
                F[i, k // pool] += (a * np.outer(x, x) + c * np.eye(d)) / pool
            else:
                column = b / 2 * x[:, None]
                whole = np.block([[a * np.outer(x, x), column], [column.T, c]])
                F[i, k // pool] += whole / pool
    return F


@pytest.fixture(params=["kept", "not kept"])
def small(request, monkeypatch):
    """Chunks of four samples; of eleven the last overlaps."""
    monkeypatch.setattr(spectral_program, "_CHUNK", 4)
    return request.param == "kept"


@pytest.mark.parametrize("kind", KINDS)
def test_operators_are_their_formulas(kind, small):
    program = make(kind)
    assert program.features is not None
    program = program if small else program.replace(features=None)
    F, rng = features(program), np.random.default_rng(1)
    n, W, c = len(F), program.windows, program.outputs
    w = rng.standard_normal(program.shape)  # not symmetric: f sees what is
    D = (w[0] - w[1]).reshape(c, W, *w.shape[2:])
    want = np.einsum("nkij,tkij->nt", F, (D + np.swapaxes(D, 2, 3)) / 2)
    got = np.asarray(program.forward(jnp.asarray(w)))
    assert_allclose(got.reshape(n, c), want, atol=1e-12)

    r = rng.standard_normal(program.y.shape)
    blocks = np.einsum("nt,nkij->tkij", r.reshape(n, c), F).reshape(program.shape[1:])
    got = np.asarray(program.adjoint(jnp.asarray(r)))
    assert_allclose(got, np.stack([blocks, -blocks]), atol=1e-12)
    i, j = np.triu_indices(program.order)
    flat = blocks[:, i, j] * np.where(i == j, 1, np.sqrt(2))
    pulled = np.asarray(program.pull(jnp.asarray(r)))
    assert_allclose(pulled, flat.reshape(c, -1), atol=1e-12)

    weights = rng.uniform(size=n)
    rows = (F[..., i, j] * np.where(i == j, 1, np.sqrt(2))).reshape(n, -1)
    gram = np.asarray(program.gram(jnp.asarray(weights)))
    assert_allclose(gram, (rows.T * weights) @ rows, atol=1e-12)
    judge = program.judge()
    assert_allclose(judge.predict(w).reshape(n, c), want, atol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 11, 50])
def test_any_size_of_chunks(size, monkeypatch):
    want = make("pool 2")
    monkeypatch.setattr(spectral_program, "_CHUNK", size)
    assert_allclose(make("pool 2").features, want.features, rtol=1e-14)
    weights = jnp.arange(11.0)
    gram = want.replace(features=None).gram(weights)
    assert_allclose(gram, want.gram(weights), rtol=1e-12, atol=1e-13)


def test_the_optimum_without_kept_features(monkeypatch):
    monkeypatch.setattr(spectral_program, "_DENSE", 0)
    monkeypatch.setattr(spectral_program, "_CHUNK", 4)
    program = make("plain")
    assert program.features is None
    assert cj.certify(program, cj.solve(program).check()).gap <= 2e-8


def test_single_precision_is_kept():
    rng = np.random.default_rng(0)
    X, y = (rng.standard_normal(shape).astype(np.float32) for shape in ((8, 3), 8))
    program = cj.programs.make_polynomial(X, y, beta=0.1)
    w = jnp.ones(program.shape, jnp.float32)
    outputs = (
        program.features,
        program.forward(w),
        program.adjoint(program.y),
        program.gram(program.y),
    )
    assert all(x.dtype == np.float32 for x in outputs)


@pytest.mark.parametrize("q", [1, 2, 7])
def test_svec_and_back(q):
    rng = np.random.default_rng(q)
    M, N = (x + np.swapaxes(x, 1, 2) for x in rng.standard_normal((2, 5, q, q)))
    vectors = symmetric.svec(jnp.asarray(M))
    assert vectors.shape == (5, q * (q + 1) // 2)
    assert symmetric.order_of(vectors.shape[-1]) == q
    assert_allclose(symmetric.smat(vectors), M, rtol=1e-15, atol=0)
    products = np.sum(np.asarray(vectors) * symmetric.svec(jnp.asarray(N)), axis=1)
    assert_allclose(products, np.sum(M * N, axis=(1, 2)), rtol=1e-12, atol=1e-13)
    z = jnp.asarray(rng.standard_normal((2, 3, q * (q + 1) // 2)))
    assert_allclose(symmetric.svec(symmetric.smat(z)), z, rtol=1e-15)


def test_order_of_every_length():
    assert [symmetric.order_of(q * (q + 1) // 2) for q in range(1, 2000)] == list(
        range(1, 2000)
    )


@pytest.mark.parametrize("kind", ["indefinite", "positive", "negative", "zero"])
def test_positive_part(kind):
    M = np.random.default_rng(0).standard_normal((3, 4, 4))
    M = M + np.swapaxes(M, 1, 2)
    given = {"indefinite": M, "positive": M @ M, "negative": -M @ M, "zero": 0 * M}
    M = given[kind]
    got = np.asarray(symmetric.positive_part(jnp.asarray(M)))
    # Projection on a cone: got and M - got are orthogonal, got >= 0 >= M - got.
    assert np.min(np.linalg.eigvalsh(got)) >= -1e-13
    assert np.max(np.linalg.eigvalsh(M - got)) <= 1e-13
    assert_allclose(np.sum(got * (M - got), axis=(1, 2)), 0, atol=1e-11)


def test_congruence():
    rng = np.random.default_rng(0)
    L, M = rng.standard_normal((2, 3, 4, 4))
    M = M + np.swapaxes(M, 1, 2)
    got = symmetric.congruence(jnp.asarray(L), jnp.asarray(M))
    assert_allclose(got, L @ M @ np.swapaxes(L, 1, 2), atol=1e-12)
    half = symmetric.symmetrise(jnp.asarray(L))
    assert_allclose(half, (L + np.swapaxes(L, 1, 2)) / 2)
