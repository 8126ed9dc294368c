"""The relaxation: exact in two dimensions, a bound in more, and its network."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import cvxjax as cj
from cvxjax.arrangements.facets import find_facets
from cvxjax.bounds.several_outputs import gated_maxima, relaxed_maxima
from cvxjax.solvers.neurons.doubly_nonnegative import make_relaxation
from tests.vector_references import copositive_optimum, gated_optimum


def make(n, d, c, seed, beta=0.15, **options):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n, d)), rng.standard_normal((n, c))
    return cj.programs.make_vector_output(X, Y, beta=beta, **options)


def solve(program, **options):
    return cj.solve(program, cj.solvers.CopositiveRelaxation(**options))


@pytest.mark.parametrize("seed, beta", [(0, 0.15), (1, 0.6), (3, 0.02)])
def test_is_exact_in_two_dimensions(seed, beta):
    program = make(6, 2, 2, seed, beta)
    solution = solve(program).check()
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 1e-6
    assert certificate.scope is cj.Scope.EXHAUSTIVE
    assert_allclose(solution.objective, copositive_optimum(program), rtol=2e-6)
    want = cj.solve(program, cj.solvers.FrankWolfe()).check()
    assert_allclose(solution.objective, want.objective, rtol=1e-6)
    assert solution.dual_bound <= want.objective * (1 + 1e-9)


@pytest.mark.parametrize("d", [3, 4])
def test_bounds_in_more_dimensions(d):
    """CVXPY's value, between the gated optimum and Frank-Wolfe's."""
    program, gated = (make_few(d, gated=g) for g in (False, True))
    solution = solve(program)
    want = copositive_optimum(program)
    assert_allclose(solution.dual_bound, want, rtol=2e-6)
    assert solution.dual_bound >= gated_optimum(gated)
    if d == 3:
        found = cj.solve(program).check()
        assert solution.dual_bound <= found.objective * (1 + 1e-9)
    certificate = cj.certify(program, solution)
    assert certificate.gap <= solution.gap + 1e-9
    assert certificate.cone_violation <= 1e-9


def make_few(d, **options):
    """Eight cells of five points."""
    full = make(5, d, 2, 2)
    gates = np.asarray(full.cones.interior)[:8]
    patterns = cj.arrangements.from_gates(full.X, gates)
    return make(5, d, 2, 2, patterns=patterns, **options)


def test_the_certificate_takes_the_multipliers():
    """Rank four: without them it has the gated network's bound only."""
    program = make_few(4)
    solution = solve(program)
    optimum = copositive_optimum(program)
    dual = cj.certify(program, solution).dual
    assert_allclose(dual, optimum, rtol=2e-6)
    alone = cj.certify(program, solution.replace(multipliers=None))
    assert alone.dual < 0.99 * dual
    multipliers = solution.multipliers
    for wrong in (
        multipliers.at[..., 2].multiply(-1),
        multipliers.at[0].set(jnp.nan),
        multipliers.at[..., 0].set(5),
        multipliers[1:],
    ):
        certificate = cj.certify(program, solution.replace(multipliers=wrong))
        assert certificate.dual <= optimum * (1 + 1e-7)


def test_relaxed_maxima_bound_every_neuron():
    program = make_few(3)
    X, masks = np.asarray(program.X), np.asarray(program.masks)
    rng = np.random.default_rng(5)
    R = rng.standard_normal((5, 2))
    rows = np.stack(np.triu_indices(5, 1), axis=1)
    rows = np.broadcast_to(rows, (len(masks), *rows.shape))
    weights = rng.exponential(scale=0.1, size=(*rows.shape[:2], 1))
    bounds = relaxed_maxima(X, masks, R, np.concatenate([rows, weights], axis=2))
    assert np.all(bounds <= gated_maxima(X, masks, R) * (1 + 1e-9))
    u = rng.standard_normal((20_000, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    reached = np.linalg.norm(np.maximum(u @ X.T, 0) @ R, axis=1)
    which, cells = np.nonzero(np.all((u @ X.T >= 0)[:, None] == masks, axis=2))
    assert len(which) > 100
    assert np.all(reached[which] <= bounds[cells])


def test_facets():
    """Two in the plane; an octant's rows, not their sums; those of a square."""
    program = make(9, 2, 1, 6)
    rows, masks = np.asarray(program.cones.rows), np.asarray(program.masks)
    indices, valid = find_facets(rows, masks, np.asarray(program.cones.interior))
    assert indices.shape == (len(masks), 2) and np.all(valid)
    X = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0], [2, 0, 0]])
    mask, inside = np.ones((1, 6), bool), np.ones((1, 3))
    indices, valid = find_facets(X, mask, inside)
    facets = X[indices[0][valid[0]]]
    assert_array_equal(np.unique(facets > 0, axis=0), np.eye(3)[::-1] > 0)
    assert len(facets) == 3
    square = np.array([[1.0, 0, 1], [-1, 0, 1], [0, 1, 1], [0, -1, 1], [0.1, 0.1, 1]])
    indices, _ = find_facets(square, np.ones((1, 5), bool), np.array([[0.0, 0, 1]]))
    assert_array_equal(indices, [[0, 1, 2, 3]])


def test_start_is_strictly_inside():
    relaxation, start = make_relaxation(make_few(3))
    assert np.all(np.asarray(relaxation.slacks(start.U)) > 0)
    assert np.all(np.linalg.eigvalsh(np.asarray(start.U)) > 0)
    assert np.all(np.linalg.eigvalsh(np.asarray(start.Z)) > 0)


def test_ends_with_a_reason():
    program = make(6, 2, 2, 0)
    assert solve(program, tol=1e-30).status == cj.Status.STALLED
    short = solve(program, max_iters=3)
    assert short.status == cj.Status.MAX_ITERATIONS and int(short.iterations) == 3
    lost = solve(program.replace(y=program.y.at[0].set(jnp.nan)))
    assert lost.status == cj.Status.NONFINITE


def test_refusals():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9, 8))

    def refused(X, c=2, **options):
        patterns = cj.arrangements.from_gates(X, X[:1])
        Y = np.ones((len(X), c))
        solve(cj.programs.make_vector_output(X, Y, patterns, beta=0.1, **options))

    with pytest.raises(ValueError, match="not neurons .*vector outputs with cones"):
        refused(X, gated=True)
    with pytest.raises(ValueError, match="X has rank 8, more than 6"):
        refused(X)
    with pytest.raises(ValueError, match="float32"):
        refused(X.astype(np.float32))
    with pytest.raises(ValueError, match="n = 9, c = 1300 and .* too many"):
        refused(X[:, :2], c=1300)
