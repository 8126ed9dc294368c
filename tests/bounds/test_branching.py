"""Branch and bound is never below a neuron, at whatever moment it stops."""

import functools
import time

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.bounds.branching import price
from cvxjax.bounds.budget import Budget
from cvxjax.bounds.exact import best_neuron
from cvxjax.bounds.rays import make_rays
from cvxjax.bounds.simplicial import Majorant
from cvxjax.judges.relu import every_neuron_bound
from tests.bounds.test_exact import best_of_cells, draw

KINDS = ("gaussian", "integer", "duplicates", "ties", "badly scaled", "low rank")


def table(kind, n, d, seed=0):
    """X [n, d] and v [n] of one kind."""
    rng = np.random.default_rng(seed)
    X, v = rng.standard_normal((n, d)), rng.standard_normal(n)
    if kind == "integer":
        X = rng.integers(-1, 2, (n, d)).astype(float)
    elif kind == "duplicates":
        X[n // 3 :] = X[rng.integers(0, n // 3, n - n // 3)]
        X[n // 2 :] *= rng.integers(-2, 3, (n - n // 2, 1))
    elif kind == "ties":
        X[:, 0], v = 1.0, rng.integers(-1, 2, n).astype(float)
        X[1:] = X[:1] + 1e-9 * X[1:] * (np.arange(1, n)[:, None] % 2) + X[1:] // 1
    elif kind == "badly scaled":
        X = X * np.geomspace(1e-3, 1e4, d) + np.eye(d)[0] * 1e3
    elif kind == "low rank":
        X = X[:, : d - 1] @ rng.standard_normal((d - 1, d))
    return X, v


def best_of_search(X, v, seed=0):
    """The best of many neurons that climb from random starts."""
    rng = np.random.default_rng(seed)
    u, best = rng.standard_normal((2000, X.shape[1])) / np.linalg.norm(X, axis=0), 0.0
    for _ in range(30):
        u = u / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-300)
        best = max(best, np.max(np.abs(np.maximum(u @ X.T, 0) @ v)))
        slopes = np.where(u @ X.T > 0, v, 0) @ X
        u = u + slopes / np.maximum(np.linalg.norm(slopes, axis=1)[:, None], 1e-300)
    return best


@pytest.mark.parametrize("seed", range(12))
def test_price_of_rank_three_is_that_of_exact(seed):
    X, v = draw(seed)
    want = max(best_neuron(X, s * v)[0] for s in (1, -1))
    found = price(X, v, Budget())
    assert_allclose(found.upper, want, rtol=3e-6, atol=1e-12)
    assert_allclose(found.lower, want, rtol=3e-6, atol=1e-12)
    assert found.upper >= want
    assert found.closed or want == 0
    reached = np.abs(np.maximum(X @ found.neuron, 0) @ v)
    assert_allclose(reached, found.lower, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n, d", [(12, 4), (30, 5)])
def test_it_closes_and_is_above_every_neuron(kind, n, d):
    X, v = table(kind, n, d)
    found = price(X, v, Budget(20))
    assert found.closed
    assert best_of_search(X, v) <= found.upper
    assert np.linalg.norm(found.neuron) <= 1 + 1e-12


@pytest.mark.parametrize("kind", ["gaussian", "integer", "duplicates"])
def test_price_of_rank_four_is_that_of_all_cells(kind):
    X, v = table(kind, 8, 4, seed=1)
    want = max(best_of_cells(X, s * v) for s in (1, -1))
    found = price(X, v, Budget())
    assert_allclose([found.lower, found.upper], want, rtol=1e-5)
    assert found.upper >= want * (1 - 1e-12)


def test_rank_six_closes_to_a_thousandth():
    X, v = table("gaussian", 40, 6)
    found = price(X, v + 0.5, Budget(20))
    assert found.upper <= 1.001 * found.lower


@pytest.mark.parametrize("kind", KINDS)
def test_it_holds_whenever_it_stops(kind):
    X, v = table(kind, 60, 7)
    best, last = best_of_search(X, v), np.inf
    for seconds in (0, 0.05, 0.2):
        upper = price(X, v, Budget(seconds)).upper
        assert best <= upper
        last = min(last, upper)
    assert np.isfinite(last)


@pytest.mark.parametrize("kind", KINDS)
def test_merged_rows_are_the_same_function(kind):
    X, v = table(kind, 30, 4)
    rays = make_rays(X, v)
    u = np.random.default_rng(0).standard_normal((50, 4))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    want = np.maximum(u @ X.T, 0) @ v
    size = np.abs(v) @ np.linalg.norm(X, axis=1)
    assert_allclose(rays.values(u @ rays.basis), want, atol=1e-12 * size)
    assert np.max(np.abs(rays.values(u @ rays.basis) - want)) <= (
        rays.extra + 1e-14 * size
    )
    if kind == "duplicates":
        assert len(rays.rows) <= 10


def test_bounds_of_cones_are_above_neurons_in_them():
    """Also where cones are as thin as rounding."""
    rng = np.random.default_rng(0)
    X, v = table("gaussian", 40, 4)
    rays = make_rays(X, v)
    for width in (1.0, 1e-3, 1e-9, 1e-14):
        cones = 1 + width * rng.standard_normal((20, 4, 4))
        cones /= np.linalg.norm(cones, axis=1, keepdims=True)
        found = Majorant(rays, 1.0).bound(cones, 0.0).bounds
        weights = rng.exponential(size=(100, 4))
        u = np.einsum("bdk,mk->bmd", cones, weights)
        u /= np.linalg.norm(u, axis=2, keepdims=True)
        inside = np.max(rays.values(u), axis=1)
        known = np.isfinite(found)
        assert np.all(inside[known] <= found[known])
        if width == 1e-3:
            assert_allclose(found, np.max(inside), rtol=0.1)


def test_nothing_to_find():
    X = np.array([[1.0, 2.0], [0.0, 1.0]])
    for data, v in ((X, np.zeros(2)), (0 * X, np.ones(2)), (X[:0], np.zeros(0))):
        assert price(data, v, Budget()).upper == 0


@functools.cache
def solved():
    """A program of few patterns, and a solution that is good for all networks."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 4))
    y = np.maximum(X @ rng.standard_normal((4, 2)), 0) @ [1.0, -1.0]
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=10)
    program = cj.programs.make_two_layer(X, y, patterns, beta=2.0)
    return program, cj.solve(program, cj.solvers.ColumnGeneration(tol=1e-6))


def test_the_gap_of_small_rank_closes():
    certificate = cj.certify(*solved(), scope=cj.Scope.GLOBAL_BOUND, time_limit=20)
    assert certificate.gap <= 1e-4


def test_time_limits_of_certify():
    none, some = (
        cj.certify(*solved(), scope=cj.Scope.GLOBAL_BOUND, time_limit=limit)
        for limit in (0, 0.3)
    )
    assert 0 <= some.gap <= none.gap <= 1
    for limit in (-1, float("nan")):
        with pytest.raises(ValueError, match="want time_limit, seconds >= 0; got"):
            cj.certify(*solved(), scope=cj.Scope.GLOBAL_BOUND, time_limit=limit)


def test_bounds_of_large_rank_stop_in_time():
    X, v = table("gaussian", 300, 20)
    began = time.monotonic()
    bounds = [every_neuron_bound(X, v, Budget(seconds)) for seconds in (0, 0.5, 2)]
    assert time.monotonic() - began < 10
    assert min(bounds) > best_of_search(X, v)
    assert every_neuron_bound(X, v) < bounds[0]
