"""Penalties on pairs of PSD matrices against grids, CVXPY and the judge."""

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from cvxjax.judges.pairs import dominating_trace, sphere_maximum
from cvxjax.terms.spectra import ConstantDiagonal, TracePair, UnitNeurons
from tests.references import clarabel

RECORDS = (UnitNeurons(), TracePair(), ConstantDiagonal())


def name_of(record):
    return type(record).__name__


def symmetric(q, seed=0):
    M = np.random.default_rng(seed).standard_normal((q, q))
    return (M + M.T) / 2


def lifted(A, g, c):
    return np.block([[np.asarray(A), np.c_[g]], [np.r_[g], c]])


dual_norms = jax.jit(lambda record, matrices: record.dual_norms(matrices))
inside_of = jax.jit(lambda record, w: record.inside(w))


def dual_norm(record, Q, dtype=float):
    """Of Q for Z+, from the pair Q and -Q as the adjoint gives it."""
    pair = jnp.asarray(np.stack([Q, -Q])[:, None], dtype)
    return float(dual_norms(record, pair)[0, 0])


def on_circle(Q, count=200_000):
    """The maximum over angles, too low by at most 1e-9 of Q."""
    angle = np.linspace(0, 2 * np.pi, count)
    u = np.stack([np.cos(angle), np.sin(angle), np.ones(count)])
    return float(np.max(np.sum(u * (Q @ u), axis=0)))


def on_sphere(Q):
    """The maximum over u, by the semidefinite program that the neurons' sums are."""
    Z = cp.Variable(Q.shape, PSD=True)
    equations = [cp.trace(Z) == 2, Z[-1, -1] == 1]
    return -clarabel(cp.Problem(cp.Minimize(-cp.trace(Q @ Z)), equations))


def gauge_of_difference(S):
    """max {<S, Z+ - Z->: diag(Z+ + Z-) = 1}."""
    pair = [cp.Variable(S.shape, PSD=True) for _ in range(2)]
    equations = [cp.diag(pair[0] + pair[1]) == 1]
    return -clarabel(
        cp.Problem(cp.Minimize(-cp.trace(S @ (pair[0] - pair[1]))), equations)
    )


TURN = np.linalg.qr(symmetric(2))[0]
CIRCLES = {
    "any": symmetric(3),
    "another": symmetric(3, 1),
    "large g": symmetric(3) * [[1, 1, 50], [1, 1, 50], [50, 50, 1]],
    "hard": lifted(TURN @ np.diag([2, -1]) @ TURN.T, TURN @ [0, 0.5], 0.3),
    "nearly hard": lifted(TURN @ np.diag([2, -1]) @ TURN.T, TURN @ [1e-9, 0.5], 0.3),
    "at the edge": lifted(np.diag([2.0, -1]), [0, 3], 0.3),
    "twice the same eigenvalue": lifted(3 * np.eye(2), [0.3, 0.4], -1),
    "no g": lifted(symmetric(2), [0, 0], 3),
    "g of the size of rounding": lifted(np.diag([2.0, 1]), [1e-20, 1e-20], 1),
    "no first block": lifted(np.zeros((2, 2)), [0.3, -0.4], 0.5),
}


@pytest.mark.parametrize("name", CIRCLES)
def test_unit_neurons_on_the_circle(name):
    Q = CIRCLES[name]
    want, size = on_circle(Q), np.max(np.abs(Q))
    judged = sphere_maximum(Q)
    for got in (dual_norm(UnitNeurons(), Q), judged):
        assert want - 1e-12 * size <= got <= want + 2e-9 * size
    assert judged >= dual_norm(UnitNeurons(), Q) - 1e-13 * size


@pytest.mark.parametrize("d, seed", [(1, 0), (3, 1), (6, 2)])
def test_unit_neurons_in_any_dimension(d, seed):
    Q = symmetric(d + 1, seed)
    Q[-1, -1] += 5
    got, judged = dual_norm(UnitNeurons(), Q), sphere_maximum(Q)
    assert_allclose(got, on_sphere(Q), rtol=1e-7)
    assert_allclose(judged, got, rtol=1e-13)
    u = np.random.default_rng(seed).standard_normal((20_000, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    rows = np.c_[u, np.ones(len(u))]
    values = np.sum((rows @ Q) * rows, axis=1)
    assert np.max(values) <= min(got, judged) + 1e-12
    if d == 1:
        assert_allclose(got, np.max(values), rtol=1e-13)


def test_the_hard_case_in_more_dimensions():
    """g is orthogonal to a double top eigenvector, and short."""
    V = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    A = V @ np.diag([-3, -1, 0, 2, 2]) @ V.T
    Q = lifted(A, V @ [0.5, -0.3, 0.2, 0, 0], 1.0)
    want = 2 + 0.25 / 5 + 0.09 / 3 + 0.04 / 2 + 1
    assert_allclose(on_sphere(Q), want, rtol=1e-8)
    assert_allclose(dual_norm(UnitNeurons(), Q), want, rtol=1e-12)
    assert_allclose(sphere_maximum(Q), want, rtol=1e-12)


@pytest.mark.parametrize("scale", [1e-300, 1e-17, 3e-16, 1e-12])
@pytest.mark.parametrize("d", [1, 4, 60])
def test_linear_parts_as_small_as_rounding(d, scale):
    """As of data with x and -x: the bound must not be lost."""
    for A in (np.ones((d, d)), np.diag(np.linspace(1, 2, d))):
        top = float(np.linalg.eigvalsh(A)[-1])
        for direction in (np.ones(d), np.arange(1.0, d + 1)):
            Q = lifted(A, scale * direction, 0.5)
            most = top + 2 * np.linalg.norm(Q[-1, :-1]) + 0.5
            for got in (dual_norm(UnitNeurons(), Q), sphere_maximum(Q)):
                assert top + 0.5 - 1e-13 * top <= got <= most + 1e-13 * top


def test_single_precision_is_near():
    for Q in CIRCLES.values():
        want, size = dual_norm(UnitNeurons(), Q), np.max(np.abs(Q))
        got = dual_norm(UnitNeurons(), Q, np.float32)
        assert abs(got - want) <= 1e-5 * size
        for record in (TracePair(), ConstantDiagonal()):
            want = dual_norm(record, Q)
            got = dual_norm(record, Q, np.float32)
            assert_allclose(got, want, rtol=1e-4)


@pytest.mark.parametrize("q", [1, 2, 5])
def test_trace_pair_against_unit_vectors(q):
    Q = symmetric(q, q)
    pair = jnp.asarray(np.stack([Q, -Q])[:, None])
    got = np.asarray(TracePair().dual_norms(pair))[:, 0]
    u = np.random.default_rng(0).standard_normal((100_000, q))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    values = np.sum((u @ Q) * u, axis=1)
    best = np.maximum([np.max(values), np.max(-values)], 0)
    assert np.all(best <= got + 1e-12)
    assert np.max(got - best) <= 0.1 * np.max(np.abs(got))
    Z = cp.Variable((q, q), PSD=True)
    problem = cp.Problem(cp.Minimize(-cp.trace(Q @ Z)), [cp.trace(Z) <= 1])
    assert_allclose(got[0], -clarabel(problem), atol=1e-8)


@pytest.mark.parametrize("q", [1, 2, 5])
def test_constant_diagonal_against_signs_and_cvxpy(q):
    S = symmetric(q, 10 + q)
    got, judged = dual_norm(ConstantDiagonal(), S), dominating_trace(S)
    assert_allclose(got, gauge_of_difference(S), rtol=1e-8)
    assert got <= judged * (1 + 1e-12) and judged <= got * (1 + 1e-11)
    signs = np.array(np.meshgrid(*[[-1, 1]] * q)).reshape(q, -1)
    for value in (S, -S):
        assert np.max(np.sum(signs * (value @ signs), axis=0)) <= got * (1 + 1e-12)
    t = 1.01 * np.abs(S).sum(axis=1)  # dominates in the PSD order
    assert got <= np.sum(t)


@pytest.mark.parametrize(
    "S, want",
    [
        (np.diag([3.0, -2, 0.5]), 5.5),
        (np.ones((3, 3)), 9),
        (-np.outer([1.0, -2, 3], [1.0, -2, 3]), 36),
        (np.diag([1.0, 0, 0]), 1),
        (np.array([[0.0, 1], [1, 0]]), 2),
        (np.diag([1.0, 1e-9]), 1 + 1e-9),
    ],
)
def test_constant_diagonal_in_closed_form(S, want):
    assert_allclose(dual_norm(ConstantDiagonal(), S), want, rtol=1e-12)
    assert_allclose(dominating_trace(S), want, rtol=1e-12)


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
@pytest.mark.parametrize("q", [2, 5])
def test_zero_matrices(record, q):
    zero = jnp.zeros((2, 1, q, q))
    assert_array_equal(dual_norms(record, zero), np.zeros((2, 1)))
    assert_array_equal(record.norms(zero), np.zeros((2, 1)))
    inside = inside_of(record, zero)
    assert_array_equal(inside, zero)
    judge = dominating_trace if name_of(record) == "ConstantDiagonal" else None
    if name_of(record) == "UnitNeurons":
        judge = sphere_maximum
    assert judge is None or judge(np.zeros((q, q))) == 0


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_dual_norms_are_homogeneous(record, scale):
    Q = symmetric(4)
    assert_allclose(
        dual_norm(record, scale * Q), scale * dual_norm(record, Q), rtol=1e-11
    )


def unmet(record, w):
    """The largest miss of the equations, from their words, and of eigenvalues."""
    w = np.asarray(w)
    worst = max(0.0, -float(np.min(np.linalg.eigvalsh(w))))
    diagonals = np.diagonal(w, axis1=2, axis2=3)
    if name_of(record) == "UnitNeurons":
        miss = diagonals[..., :-1].sum(axis=-1) - diagonals[..., -1]
        worst = max(worst, np.max(np.abs(miss)))
    if name_of(record) == "ConstantDiagonal":
        worst = max(worst, np.ptp(diagonals.sum(axis=0)))
    return worst


def feasible(record, blocks, q, rank, seed=0):
    rng = np.random.default_rng(seed)
    if name_of(record) == "ConstantDiagonal":
        rows = rng.standard_normal((2, q, rank))
        rows /= np.linalg.norm(rows, axis=(0, 2), keepdims=True)
        return np.einsum("sir,sjr->sij", rows, rows)[:, None]
    rows = rng.standard_normal((2, blocks, q, rank))
    if name_of(record) == "UnitNeurons":
        upper = np.linalg.norm(rows[..., :-1, :], axis=(2, 3), keepdims=True)
        rows[..., -1:, :] *= (
            upper / np.linalg.norm(rows[..., -1:, :], axis=(2, 3))[..., None, None]
        )
    w = rows @ np.swapaxes(rows, 2, 3)
    if name_of(record) == "TracePair":  # at its least: of orthogonal ranges
        w[0, ..., rank:, :] = w[0, ..., rank:] = 0
        w[1, ..., :rank, :] = w[1, ..., :rank] = 0
    return w


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
@pytest.mark.parametrize("rank", [1, 2])
def test_inside_keeps_feasible_points(record, rank):
    w = feasible(record, 3, 4, rank)
    assert unmet(record, w) <= 1e-13
    assert_allclose(inside_of(record, jnp.asarray(w)), w, atol=1e-13)


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["any", "positive", "negative", "badly scaled"])
def test_inside_gives_feasible_points(record, seed, kind):
    B = 1 if name_of(record) == "ConstantDiagonal" else 3
    w = np.stack(
        [[symmetric(4, 10 * seed + b + 5 * s) for b in range(B)] for s in (0, 1)]
    )
    if kind == "positive":
        w = w @ w
    if kind == "negative":
        w = -(w @ w)
    if kind == "badly scaled":
        scales = np.array([1e-3, 1, 1, 1e2])
        w = (w @ w) * scales * scales[:, None]
    got = np.asarray(inside_of(record, jnp.asarray(w)))
    size = max(np.max(np.abs(w)), 1)
    assert unmet(record, got) <= 1e-13 * size
    if kind == "negative" and name_of(record) == "UnitNeurons":
        assert_allclose(got, 0, atol=1e-13)
    kept = name_of(record) != "UnitNeurons" and kind == "positive"
    if kept or name_of(record) == "TracePair":
        assert_allclose(got[0] - got[1], w[0] - w[1], atol=1e-13 * size)
    if kind == "any" and name_of(record) == "ConstantDiagonal":
        parts = [positive(x) for x in w[:, 0]]
        assert_allclose(got[0, 0] - got[1, 0], parts[0] - parts[1], atol=1e-13)


def positive(M):
    values, vectors = np.linalg.eigh(M)
    return (vectors * np.maximum(values, 0)) @ vectors.T


def test_inside_of_unit_neurons_keeps_the_rank():
    """A trace that misses a little, as at the end of a solver, is met by scaling."""
    w = feasible(UnitNeurons(), 2, 5, 2)
    w[..., -1, :] *= 1.01
    w[..., -1] *= 1.01
    got = np.asarray(inside_of(UnitNeurons(), jnp.asarray(w)))
    assert np.all(np.linalg.matrix_rank(got, tol=1e-10) == 2)
    assert_allclose(got, w, rtol=0.03, atol=1e-12)


def test_inside_of_trace_pairs_has_the_least_penalty():
    w = np.stack([[symmetric(4, b) @ symmetric(4, b)] for b in (0, 1)])
    got = np.asarray(TracePair().norms(TracePair().inside(jnp.asarray(w))))
    assert_allclose(got.sum(), np.linalg.norm(w[0, 0] - w[1, 0], "nuc"), rtol=1e-12)


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
@pytest.mark.parametrize("q", [2, 5])
def test_ties_are_orthonormal_and_met_by_feasible_points(record, q):
    centre = record.centre(q)
    assert np.all(np.linalg.eigvalsh(centre) > 0)
    assert unmet(record, np.stack([centre, centre])[:, None]) == 0
    w = feasible(record, 2, q, 2)
    for ties, side in zip(record.ties(q), (w[0] + w[1], w[0] - w[1]), strict=True):
        flat = ties.reshape(len(ties), q * q)
        assert_allclose(flat @ flat.T, np.eye(len(ties)), atol=1e-14)
        assert_allclose(ties, np.swapaxes(ties, 1, 2))
        assert_allclose(np.einsum("kij,bij->bk", ties, side), 0, atol=1e-13)
    both = np.stack([centre, centre])[:, None]
    assert_allclose(
        np.einsum("kij,ij->k", record.ties(q)[0], 2 * centre), 0, atol=1e-13
    )
    want = np.sum(both * record.cost(q))
    assert_allclose(np.sum(record.norms(jnp.asarray(both))), want, rtol=1e-14)
    counts = {
        "UnitNeurons": (1, 1),
        "TracePair": (0, 0),
        "ConstantDiagonal": (q - 1, 0),
    }
    assert tuple(len(t) for t in record.ties(q)) == counts[name_of(record)]


@pytest.mark.parametrize("record", RECORDS, ids=name_of)
def test_norms_and_dual_norms_are_polar(record):
    """<Q, Z+ - Z-> <= dual norm times norm, with equality for some point."""
    Q = symmetric(4, 3)
    pair = jnp.asarray(np.stack([Q, -Q])[:, None])
    polar = float(np.max(np.asarray(dual_norms(record, pair))))
    for seed in range(50):
        w = feasible(record, 1, 4, 2, seed)
        norm = float(np.sum(record.norms(jnp.asarray(w))))
        assert np.sum(Q * (w[0] - w[1])) <= polar * norm * (1 + 1e-12)
